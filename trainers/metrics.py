"""The path by which users import the metrics of `trainers.evaluation.metrics`."""

from trainers.evaluation.metrics import confusion_matrix, iou_per_class, mean_iou, pixel_accuracy

__all__ = ["confusion_matrix", "iou_per_class", "mean_iou", "pixel_accuracy"]
