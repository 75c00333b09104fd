"""`kdstudy evaluate`: what a checkpoint or a teacher's file scores on a split."""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from study.commands.lookup.trained_networks import load_trained
from study.commands.options import add_json, add_plugins, load_plugins
from trainers.config import parse
from trainers.data import Split
from trainers.data.export import Export, Kind
from trainers.evaluation.evaluation import ONCE
from trainers.evaluation.evaluation import evaluate as count
from trainers.evaluation.prediction import Views


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_json(parser)
    add_plugins(parser)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="its folder or URL, or a teacher's file")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--root", default="", help="the dataset's folder")
    parser.add_argument("--split", default="val", choices=("train", "val", "test"))
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0], metavar="S", help="look at these sizes too")
    parser.add_argument("--flip", action="store_true", help="look at mirror images too")
    parser.add_argument("--window", type=int, nargs=2, metavar=("H", "W"), help="slide a window over each image")
    parser.add_argument("--stride", type=int, nargs=2, metavar=("H", "W"), help="of the window; 2/3 of it by default")
    parser.add_argument("--export", type=Path, metavar="DIR", help="write the predictions as PNG")
    parser.add_argument("--as", dest="kind", default="colour", choices=("colour", "ids"), help="what is written")


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    load_plugins(options)
    looks = {name: getattr(options, name) for name in ("scales", "flip", "window", "stride")}
    scores = evaluate(
        options.checkpoint,
        dataset=options.dataset,
        root=options.root,
        split=options.split,
        views=parse(Views, looks),
        export=(options.export, options.kind) if options.export else None,
    )
    if options.json:
        print(json.dumps(scores))
        return 0
    if scores["miou_percent"] is None:
        print(f"{scores['images']} images predicted; {options.split} has no published labels, so nothing is scored")
        return 0
    print(f"mIoU {scores['miou_percent']:.2f} %, pixel accuracy {scores['pixel_accuracy_percent']:.2f} %")
    for name, iou in scores["class_iou_percent"].items():
        print(f"  {name}: " + ("does not occur" if iou is None else f"{iou:.2f} %"))
    return 0


def evaluate(
    checkpoint: str | Path,
    *,
    dataset: str,
    root: str,
    split: Split,
    views: Views = ONCE,
    export: tuple[Path, Kind] | None = None,
) -> dict[str, Any]:
    """Score a trial's checkpoint folder or a teacher's file on a split, and write its predictions where asked.

    Args:
        checkpoint: a `checkpoint_...` folder or its URL, or a teacher's .safetensors file.
        dataset: name of a dataset; where the trial used the same one, at the size that it used.
        root: the dataset's folder.
        split: without published labels nothing is scored.
        views: how often and at what sizes an image is looked at.
        export: a folder for the predictions, and as what they are written there.

    Returns:
        {"miou_percent", "pixel_accuracy_percent", "class_iou_percent": {class: percent or None}, "images"}; the first
        two are None where no pixel has a label.

    Raises:
        ValueError: wrong input.
    """
    network, normalisation, data, _ = load_trained(checkpoint, dataset=dataset, root=root, split=split)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    counted = count(
        network.to(device),
        data,
        normalisation=normalisation,
        device=device,
        views=views,
        export=Export(export[0], data, export[1]) if export else None,
    )
    ious = counted.iou_percent(data.class_names)
    labelled = bool(counted.confusion.any())
    return {
        "miou_percent": counted.miou_percent if labelled else None,
        "pixel_accuracy_percent": counted.pixel_accuracy_percent if labelled else None,
        "class_iou_percent": {name: ious.get(name) for name in data.class_names},
        "images": len(data),
    }
