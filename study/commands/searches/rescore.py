"""`kdstudy rescore`: the stored checkpoints of each arm's best settings and the baseline's, judged on another split.

Nothing is trained: what the search chose by its own images is looked at on images that chose nothing. A study that was
searched on the validation split can so be judged on a test split with labels, and one searched on a holdout on the
validation split. Rows are appended to the table `rescored`, and what each image counted to `rescored_confusion`; what
stands there already is not computed again.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from study import tables
from study.commands.options import add_arms, add_folder, add_json
from study.commands.searches.selection import Scored, select
from study.configuration.config import StudyConfig
from study.execution.recording.image_groups import group_rows
from study.execution.recording.rows import count_rows
from study.folder import read_config, trial_checkpoints
from study.ledger.lock import locked
from study.tables import IMAGES, RESCORED, RESCORED_CONFUSION, TableWriter
from trainers.checkpoints.places import checkpoints_at, damage
from trainers.data import SegmentationDataset
from trainers.data.splits import Judged, judging_images
from trainers.data.transforms import NORMALISATION
from trainers.evaluation.evaluation import Evaluation, evaluate
from trainers.teachers.from_checkpoint import student


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_folder(parser)
    add_json(parser)
    parser.add_argument("--split", required=True, choices=("train", "val", "test", "holdout"))
    add_arms(parser, "only this arm and the baseline; may be given repeatedly")
    parser.add_argument("--top", type=int, default=1, metavar="K", help="how many settings of each arm; 1 by default")


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    rows = rescore(options.folder, top=options.top, split=options.split, arms=options.arms)
    if options.json:
        print(json.dumps(rows))
    else:
        print_rescored(rows)
    return 0


def rescore(folder: Path, *, top: int = 1, split: Judged, arms: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Judge the best settings of each arm of a study and its best plain student, every finished trial of each.

    Args:
        folder: the study's; no driver may be at work there.
        top: how many settings of each arm; of the baseline the best one.
        split: of the dataset, or "holdout" for the study's own.
        arms: judge these only, besides the baseline.

    Returns:
        The rows of the table `rescored`, the plain student's first, each with the "setting", what the search was
        judged on ("searched_on") and what the trial scored there ("searched_miou_percent").

    Raises:
        ValueError: no such study, nothing finished in it, a split without labels, a checkpoint that is not whole, or a
            driver is at work.
    """
    config, place = read_config(folder), folder / "tables"
    selection = select(config, folder, top=top, arms=arms)
    for line in selection.notes():
        print(line, file=sys.stderr)
    chosen = {name: choice.setting for name, choice in selection.chosen.items()}
    data = judging_images(config.data, split, holdout=config.holdout)
    with locked(folder), _Tables(place) as written:
        written.images.append(group_rows(data, split, config.groups))
        for setting in chosen.values():
            for trial in setting.trials:
                _judge(config, folder, trial, split, data, written)
    rows = tables.read(place, "rescored").to_pylist()
    known = {(row["arm"], row["trial"]): row for row in rows if row["split"] == split}
    return [
        {
            "setting": name,
            **known[trial.arm, trial.trial],
            "searched_on": config.evaluate_on,
            "searched_miou_percent": trial.miou_percent,
        }
        for name, setting in chosen.items()
        for trial in setting.trials
    ]


class _Tables(ExitStack):
    """What a rescoring writes."""

    def __init__(self, place: Path) -> None:
        super().__init__()
        opened = (self.enter_context(TableWriter(place, schema)) for schema in (RESCORED, RESCORED_CONFUSION, IMAGES))
        self.scores, self.counts, self.images = opened


def _judge(
    config: StudyConfig, folder: Path, trial: Scored, split: Judged, data: SegmentationDataset, written: _Tables
) -> None:
    """Judge a trial, unless what it scored and what each image counted are there."""
    key = {"arm": trial.arm, "trial": trial.trial, "split": split}
    scored, counted = (table.contains(tuple(key.values())) for table in (written.scores, written.counts))
    if scored and counted:
        return
    iteration = _iteration(config, folder, trial)
    checkpoint = checkpoints_at(trial_checkpoints(config, folder, trial.arm, trial.trial)).of(iteration)
    if wrong := damage(checkpoint):
        if scored:  # by a kdstudy that kept no counts, and the checkpoint is gone since
            return
        raise ValueError(
            f"a trial is judged by the checkpoint that its score comes from, but {wrong}; leave {trial.arm} "
            f"{trial.trial} out with a lower --top or other --arm, or train it again: kdstudy replicate {folder}"
        )
    found = _evaluated(checkpoint, data)
    key["iteration"] = iteration
    names = [data.image_name(index) for index in range(len(data))]
    # the score comes last: what it stands for is whole
    written.counts.append(count_rows(key, found.images, names, config.class_names))
    scores = {"miou_percent": found.miou_percent, "pixel_accuracy_percent": found.pixel_accuracy_percent}
    written.scores.append([{**key, "images": len(data), **scores}])


def _evaluated(checkpoint: str, data: SegmentationDataset) -> Evaluation:
    _, network, _ = student(checkpoint)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return evaluate(network.to(device), data, normalisation=NORMALISATION, device=device)


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
