"""`kdstudy export`: the student of a trial alone, as a file that says what it is, with a card of where it comes from.

The file is one of a teacher's kind, so that `kdstudy evaluate` scores it, `trainers.teachers.teacher.load` reads it,
and another study may distil from it.
"""

import argparse
import importlib.util
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from study import tables
from study.commands.lookup.trained_networks import STUDENT
from study.commands.lookup.trials import find_trial
from study.commands.options import add_folder, add_out
from study.commands.trials import model_card
from study.commands.trials.deployment import OnnxFacts, deployment
from study.configuration.config import StudyConfig
from study.folder import read_config, trial_checkpoints, trial_folder
from trainers.checkpoints.base import Checkpoints
from trainers.checkpoints.places import checkpoints_at, damage
from trainers.checkpoints.reading import read_metrics
from trainers.config import TrialConfig, identity
from trainers.teachers import teacher as teachers
from trainers.teachers.from_checkpoint import student

CONFIG, CARD, ONNX = "config.json", "README.md", "student.onnx"
"""What an export consists of; the last where asked for."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_folder(parser)
    add_out(parser)
    parser.add_argument("--trial", metavar="ARM-N", help="a trial that ended, ARM-N, or N with --arm; the best one")
    parser.add_argument("--arm", help="arm of the trial")
    parser.add_argument("--onnx", action="store_true", help="an ONNX file too, for images of any number and size")
    parser.add_argument(
        "--upsample",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether the ONNX file's logits are as large as the images, or at the network's own stride",
    )


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    wanted = {"onnx": options.onnx, "upsample": options.upsample}
    out = export(options.folder, trial=options.trial, arm=options.arm, out=options.out, **wanted)
    print(f"written to {out}")
    return 0


def export(
    folder: Path, *, trial: str | None, arm: str | None, out: Path | None, onnx: bool, upsample: bool = True
) -> Path:
    """Write the student of a trial that ended: weights, configuration, card; and an ONNX file where asked.

    Args:
        folder: the study's.
        trial: "ARM-N", or "N" in `arm`; None for the best finished one, by the study's objective.
        arm: where the trial is sought; None for all arms, and for any arm that `trial` names.
        out: a new folder; DIR/exports/ARM-NNNNN by default.
        onnx: also a network that takes RGB images of any number and size, or says why it takes one size alone.
        upsample: whether its logits are as large as the images; otherwise they are at the network's own stride.

    Returns:
        The folder that was written.

    Raises:
        ValueError: no such study or trial, no whole checkpoint of it, or `out` holds something.
    """
    config = read_config(folder)
    row = find_trial(config, folder, trial, arm)
    place = (out or folder / "exports" / trial_folder(folder, row["arm"], row["trial"]).name).absolute()
    if onnx:
        _require_onnx()
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise ValueError(f"--out must be a new folder, but {place} is not empty; choose another")
    kept = checkpoints_at(trial_checkpoints(config, folder, row["arm"], row["trial"]))
    checkpoint = _checkpoint(config, kept, row)
    trained, network, card = student(checkpoint)
    facts = model_card.facts(config, row, read_metrics(checkpoint), trained, _environment(folder, row))
    with _renamed_into(place) as writing:
        written = _write_onnx(network, card, trained, writing, upsample=upsample) if onnx else None
        teachers.save(network, card, writing / STUDENT)
        about = {
            "network": identity(card),
            "trial": identity(trained),
            "deployment": deployment(card, (ONNX, written) if written else None),
        }
        (writing / CONFIG).write_text(json.dumps(about, indent=2) + "\n")
        (writing / CARD).write_text(f"{facts}\n{model_card.usage(STUDENT, card, about['deployment'])}")
    return place


def _write_onnx(
    network: nn.Module, card: teachers.TeacherCard, trained: TrialConfig, place: Path, *, upsample: bool
) -> OnnxFacts:
    from study.commands.trials.onnx_file import write_onnx

    written = write_onnx(network, card, place / ONNX, size=_size(trained), upsampled=upsample)
    if written.size is not None:
        height, width = written.size
        print(
            f"kdstudy: warning: {ONNX} is for images of {height}x{width} alone, because this network cannot be written "
            f"for any size: {written.why_fixed}",
            file=sys.stderr,
        )
    return written


@contextmanager
def _renamed_into(place: Path) -> Iterator[Path]:
    """A folder that becomes `place` at the end, and is gone where something fails."""
    writing = place.with_name(f"{place.name}.writing")
    shutil.rmtree(writing, ignore_errors=True)
    writing.mkdir(parents=True)
    try:
        yield writing
        writing.replace(place)
    finally:
        shutil.rmtree(writing, ignore_errors=True)


def _checkpoint(config: StudyConfig, checkpoints: Checkpoints, row: Mapping[str, Any]) -> str:
    """Of the evaluation by which the study judges; where that one is damaged, the newest whole one, and says so."""
    wanted = row["best_iteration" if config.objective == "best" else "iterations"]
    wrong = damage(address := checkpoints.of(wanted or 0))
    if wrong is None:
        return address
    whole = next(checkpoints.whole(), None)
    if whole is None:
        raise ValueError(f"a trial must have a whole checkpoint to be exported, but {wrong}; export another trial")
    print(f"kdstudy: warning: {wrong}; {whole} is exported instead", file=sys.stderr)
    return whole


def _environment(folder: Path, row: Mapping[str, Any]) -> dict[str, Any]:
    """Of the driver that saw the trial end."""
    started = tables.read(folder / "tables", "environment").sort_by("started").to_pylist()
    before = [driver for driver in started if driver["started"] <= row["ended"]]
    return dict((before or started)[-1])


def _size(trial: TrialConfig) -> tuple[int, int]:
    """Of the images that the ONNX file takes: the dataset's where the trial sets one, else the crop's."""
    height, width = getattr(trial.data, "size", None) or trial.augment.crop
    return height, width


def _require_onnx() -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise ValueError(f"--onnx needs the package {package}, which is not here; pip install 'kdstudy[onnx]'")
