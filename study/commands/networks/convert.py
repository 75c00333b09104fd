"""`kdstudy convert`: a published checkpoint becomes a teacher's file."""

import argparse
from pathlib import Path

from study.commands.lookup.datasets import dataset_config
from study.commands.options import add_plugins, load_plugins
from trainers import models
from trainers.data.classes import classes_of
from trainers.data.transforms import Normalisation
from trainers.models.cirkd_layout import from_published
from trainers.models.state_files import read_tensors
from trainers.models.weights import refuse_outputs_not_finite, sample_images
from trainers.teachers import teacher as teachers

CIRKD_NORMALISATION = Normalisation(mean=(122.67891434, 116.66876762, 104.00698793), std=(1.0, 1.0, 1.0), bgr=True)
"""Of the networks that CIRKD and RDD publish: BGR values less their mean, nothing divided. Our mean is in RGB order."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    parser.add_argument("checkpoint", type=Path, metavar="FILE")
    parser.add_argument("--from", required=True, choices=("cirkd",), dest="layout", help="its key layout")
    parser.add_argument("--model", required=True, help="the network that was saved, as in 'deeplabv3(resnet101)'")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="the .safetensors file to write")
    parser.add_argument("--dataset", help="what it was trained on, or a YAML file with `data`, for class names")
    add_plugins(parser)


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    load_plugins(options)
    card = convert(options.checkpoint, model=options.model, out=options.out, dataset=options.dataset)
    print(f"{options.out}: {options.model}, {len(card.class_names)} classes, mIoU not measured")
    return 0


def convert(checkpoint: Path, *, model: str, out: Path, dataset: str | None) -> teachers.TeacherCard:
    """Write a checkpoint in the layout of CIRKD and RDD as a teacher's file; what it scores stays unmeasured.

    Args:
        checkpoint: the published .pth file; nothing but tensors is unpickled.
        model: name of the network that was saved, as in `deeplabv3(resnet101)`.
        out: the .safetensors file to write.
        dataset: name of the dataset that it was trained on, or a YAML file with `data`; its class names are written
            into the file. None where not known.

    Returns:
        What the file says of itself.

    Raises:
        ValueError: an unknown network or dataset; a file that does not hold this network, or values or outputs that are
            not finite; other classes.
    """
    if out.is_dir():
        raise ValueError(f"--out must be the .safetensors file to write, but {out} is a folder; name a file in it")
    if not checkpoint.is_file():
        raise ValueError(f"the checkpoint must be a file, but there is no {checkpoint}; give its path")
    config = models.named(model)
    weights = from_published(read_tensors(str(checkpoint)), config, source=str(checkpoint))
    classes = len(weights["classifier.weight"])
    network = models.build(config, num_classes=classes, initial_weights=False)
    network.load_state_dict(weights)
    refuse_outputs_not_finite(network, CIRKD_NORMALISATION(sample_images()), source=str(checkpoint))
    data = dataset_config(dataset, "") if dataset else None
    names = classes_of(data).names if data else (None,) * classes
    if len(names) != classes:
        raise ValueError(
            f"--dataset must have the checkpoint's classes, but {dataset} has {len(names)} and {checkpoint} predicts "
            f"{classes}; name the dataset that it was trained on"
        )
    card = teachers.TeacherCard(
        model=config,
        class_names=names,
        normalisation=CIRKD_NORMALISATION,
        data=data,
        converted_from=teachers.sha256(checkpoint),
    )
    teachers.save(network, card, out)
    return card
