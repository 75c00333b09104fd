"""Every network of the papers' tables, as published, trains on the real CamVid and is evaluated there.

Reduced in what does not touch the networks: images of 48x64, every 8th of the training images and every 20th of the
validation images, and so few iterations that the whole takes about a minute of one core. The rows of the table in the
README's section on models are what `pytest -m camvid -s` prints.
"""

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import SHARED
from trainers import models
from trainers.config import TrialConfig, parse, plain
from trainers.context import LocalContext
from trainers.loop import train

REAL = SHARED / "data" / "camvid"
SIZE = [48, 64]
NETWORKS = {
    "deeplabv3(resnet18)": 8,
    "deeplabv3(mobilenetv2_100, aux=False)": 8,
    "pspnet(resnet18)": 8,
    "pspnet(mobilenetv2_100, aux=False)": 8,
    "pspnet_skd(resnet18)": 8,
    "pspnet_skd(resnet18, width=0.5)": 8,
    "espnet": 24,
    "enet": 24,
    "erfnet": 24,
    "icnet": 8,
    "ocnet": 2,
    "refinenet": 2,
    "fcn8s": 2,
}
"""Iterations of each."""


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """The real images under shorter lists."""
    with tempfile.TemporaryDirectory() as folder:
        for part in ("train", "trainannot", "val", "valannot"):
            (Path(folder) / part).symlink_to(REAL / part)
        for name, step in (("train.txt", 8), ("val.txt", 20)):
            lines = (REAL / name).read_text().splitlines()
            (Path(folder) / name).write_text("\n".join(lines[::step]) + "\n")
        yield Path(folder)


@pytest.mark.camvid
@pytest.mark.skipif(not REAL.exists(), reason=f"CamVid is not here: {REAL}")
@pytest.mark.parametrize("text", NETWORKS)
def test_it_learns_and_is_evaluated(root: Path, text: str) -> None:
    iterations = NETWORKS[text]
    values = {
        "data": {"name": "camvid", "root": str(root), "size": SIZE},
        "augment": {"crop": SIZE, "scale": [1, 1]},
        "student": plain(models.named(text)),
        "train": {
            "iterations": iterations,
            "batch": 4 if iterations > 2 else 2,
            "evaluate_every": max(2, iterations // 2),
        },
        "task": {"weighting": "uniform"},
    }
    with tempfile.TemporaryDirectory() as folder:  # a checkpoint of the largest has a gigabyte
        context = LocalContext(Path(folder), keep=1)
        train(parse(TrialConfig, values), context)
    losses = [float(report["train/term/task/main"]) for report in context.reports]
    last = context.reports[-1]
    miou, accuracy = float(last["eval/miou_percent"]), float(last["eval/pixel_accuracy_percent"])
    print(f"\n| `{text}` | {iterations} | {losses[-1]:.2f} | {miou:.2f} | {accuracy:.2f} |")
    assert last["iteration"] == iterations
    assert math.isfinite(losses[-1]) and losses == sorted(losses, reverse=True)
    assert miou > 0 and accuracy > 100 / 11
