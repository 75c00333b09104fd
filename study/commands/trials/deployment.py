"""What a program needs to know to run an exported student without kdstudy's source: what goes in, what comes out."""

from dataclasses import asdict, dataclass
from typing import Any

from trainers.teachers.teacher import TeacherCard


@dataclass(frozen=True, kw_only=True)
class OnnxFacts:
    """What there is to know of an ONNX file.

    Attributes:
        size: height and width of the images that it takes; None for any.
        upsampled: whether its logits are as large as the images; otherwise they are at the network's own stride.
        opset: version of its operators.
        why_fixed: why it takes one size alone; None where it takes any.
    """

    size: tuple[int, int] | None
    upsampled: bool
    opset: int
    why_fixed: str | None = None


def deployment(card: TeacherCard, onnx: tuple[str, OnnxFacts] | None) -> dict[str, Any]:
    """Of the student itself, and of the ONNX file of that name where there is one.

    Returns:
        {"images": what the network takes, "logits": what it gives, "class_names", "onnx": None or of the file}.
    """
    normalisation = card.normalisation
    return {
        "images": {
            "shape": "[batch, 3, height, width]",
            "values": "0 to 255",
            "channels": "BGR" if normalisation.bgr else "RGB",
            # the card's are in RGB order whatever the network sees
            "mean": list(normalisation.mean[:: -1 if normalisation.bgr else 1]),
            "std": list(normalisation.std[:: -1 if normalisation.bgr else 1]),
            "normalised": "(values - mean) / std",
        },
        "logits": {
            "shape": "[batch, classes, rows, columns]",
            "to_image_size": {"mode": "bilinear", "align_corners": True},
            "prediction": "argmax over classes",
        },
        "class_names": list(card.class_names),
        "onnx": {"file": onnx[0], **asdict(onnx[1])} if onnx else None,
    }
