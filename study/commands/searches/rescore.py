"""`kdstudy rescore`: the stored checkpoints of the best settings and of the baseline, judged on another split.

Nothing is trained: what the search chose by its own images is looked at on images that chose nothing. A study that was
searched on the validation split can so be judged on a test split with labels, and one searched on a holdout on the
validation split. Rows are appended to the table `rescored`; what stands there already is not computed again.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from study import tables
from study.commands.options import add_folder, add_json
from study.commands.searches.replicate import Scored, chosen, settings
from study.configuration.config import StudyConfig
from study.folder import read_config, trial_checkpoints
from study.ledger.lock import locked
from study.tables import RESCORED, TableWriter
from trainers.checkpoints.places import checkpoints_at, damage
from trainers.data import SegmentationDataset
from trainers.data.splits import Judged, judging_images
from trainers.data.transforms import NORMALISATION
from trainers.evaluation.evaluation import evaluate
from trainers.teachers.from_checkpoint import student


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_folder(parser)
    add_json(parser)
    parser.add_argument("--split", required=True, choices=("train", "val", "test", "holdout"))
    parser.add_argument("--top", type=int, default=3, metavar="K", help="how many settings, besides the baseline's; 3")


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    rows = rescore(options.folder, top=options.top, split=options.split)
    if options.json:
        print(json.dumps(rows))
    else:
        print_rescored(rows)
    return 0


def rescore(folder: Path, *, top: int, split: Judged) -> list[dict[str, Any]]:
    """Judge the best `top` settings of a study and its best plain student, every finished trial of each.

    Args:
        folder: the study's; no driver may be at work there.
        top: how many settings besides the plain student's.
        split: of the dataset, or "holdout" for the study's own.

    Returns:
        The rows of the table `rescored`, the plain student's first, each with the "setting", what the search was
        judged on ("searched_on") and what the trial scored there ("searched_miou_percent").

    Raises:
        ValueError: no such study, nothing finished in it, a split without labels, a checkpoint that is not whole, or a
            driver is at work.
    """
    if top < 1:
        raise ValueError(f"--top must be at least 1, but got {top}")
    config, place = read_config(folder), folder / "tables"
    taken = chosen(config, settings(config, folder), top)
    data = judging_images(config.data, split, holdout=config.holdout)
    with locked(folder), TableWriter(place, RESCORED) as writer:
        for setting in taken.values():
            for trial in setting.trials:
                if not writer.contains((trial.arm, trial.trial, split)):
                    writer.append([{"split": split, **_scores(config, folder, trial, data)}])
    rows = tables.read(place, "rescored").to_pylist()
    known = {(row["arm"], row["trial"]): row for row in rows if row["split"] == split}
    return [
        {
            "setting": name,
            **known[trial.arm, trial.trial],
            "searched_on": config.evaluate_on,
            "searched_miou_percent": trial.miou_percent,
        }
        for name, setting in taken.items()
        for trial in setting.trials
    ]


def _scores(config: StudyConfig, folder: Path, trial: Scored, data: SegmentationDataset) -> dict[str, Any]:
    iteration = _iteration(config, folder, trial)
    checkpoint = checkpoints_at(trial_checkpoints(config, folder, trial.arm, trial.trial)).of(iteration)
    if wrong := damage(checkpoint):
        raise ValueError(
            f"a trial is judged by the checkpoint that its score comes from, but {wrong}; leave {trial.arm} "
            f"{trial.trial} out with a lower --top, or train it again: kdstudy replicate {folder}"
        )
    _, network, _ = student(checkpoint)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    counted = evaluate(network.to(device), data, normalisation=NORMALISATION, device=device)
    return {
        "arm": trial.arm,
        "trial": trial.trial,
        "iteration": iteration,
        "images": len(data),
        "miou_percent": counted.miou_percent,
        "pixel_accuracy_percent": counted.pixel_accuracy_percent,
    }


def _iteration(config: StudyConfig, folder: Path, trial: Scored) -> int:
    """Of the evaluation that the study's objective looks at."""
    column = "best_iteration" if config.objective == "best" else "iterations"
    rows = tables.read(folder / "tables", "trials", ["arm", "trial", column]).to_pylist()
    return int(next(row[column] for row in rows if (row["arm"], row["trial"]) == (trial.arm, trial.trial)))


def print_rescored(rows: list[dict[str, Any]], console: Console | None = None) -> None:
    """Print the new scores beside the search's."""
    console = console or Console()
    split, images, searched_on = rows[0]["split"], rows[0]["images"], rows[0]["searched_on"]
    table = Table(box=None, pad_edge=False)
    table.add_column("setting")
    table.add_column("trial")
    for column in (f"{searched_on} mIoU %", f"{split} mIoU %", "difference", f"{split} pixels %"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(row["setting"], f"{row['arm']} {row['trial']}", *_figures(row))
    console.print(table)
    console.print(f"searched on {searched_on}, judged again on {split}: {images} images", highlight=False)


def _figures(row: dict[str, Any]) -> Iterator[str]:
    searched, found = row["searched_miou_percent"], row["miou_percent"]
    yield from (f"{searched:.2f}", f"{found:.2f}", f"{found - searched:+.2f}", f"{row['pixel_accuracy_percent']:.2f}")
