"""`kdstudy data check`: a dataset's files, read and counted, and held against what was published."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from study.commands.lookup.datasets import dataset_config
from study.commands.options import WRONG_INPUT, add_json
from trainers.data.check import check as check_files
from trainers.data.contact_sheet import refuse_other_files, write
from trainers.data.files import FileDataset
from trainers.registry import module_of

MAX_PRINTED = 20
"""Faults that are printed; --json has them all."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    text = "read every file of a dataset, count its classes, and hold it against what was published"
    check_parser = commands.add_parser("check", help=text, description=text)
    add_json(check_parser)
    check_parser.add_argument(
        "name", metavar="NAME|FILE.yaml", help="a published dataset, or the file that describes one's own under `data`"
    )
    check_parser.add_argument("--root", default="", metavar="DIR", help="the dataset's folder, if not that of the file")
    check_parser.add_argument(
        "--sheet", type=Path, metavar="FILE.png", help="write a contact sheet: images with their labels laid over"
    )


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    found = check(options.name, options.root, sheet=options.sheet)
    if options.json:
        print(json.dumps(found))
    else:
        print_check(found)
    return 0 if found["well"] else WRONG_INPUT


def check(name: str, root: str, *, sheet: Path | None = None) -> dict[str, Any]:
    """Check a dataset's files.

    Args:
        name: of the dataset, or a YAML file that describes one's own.
        root: the dataset's folder; "" for that of the file.
        sheet: the PNG file to draw a contact sheet into.

    Returns:
        {"dataset", "well", "notes", "sheet", "splits": {split: what SplitCheck holds}}.

    Raises:
        ValueError: unknown dataset, or one that is drawn; the sheet cannot be written.
    """
    dataset = module_of(dataset_config(name, "")).Dataset
    if not issubclass(dataset, FileDataset):
        raise ValueError(f"a dataset to check must lie on disk, but {name} is drawn; there is nothing to check")
    config = dataset_config(name, root)
    if sheet is not None:
        refuse_other_files(sheet)
    found = check_files(dataset, config, sheet=sheet is not None)
    if sheet is not None and found.sheet is not None:
        write(sheet, found.sheet)
    return {
        "dataset": config.name,
        "well": not any(split.faults for split in found.splits.values()),
        "notes": found.notes,
        "sheet": None if sheet is None or found.sheet is None else str(sheet),
        "splits": {split: asdict(checked) for split, checked in found.splits.items()},
    }


def print_check(checked: Mapping[str, Any]) -> None:
    """Print what `check` found: counts and class frequencies; faults and notes on standard error."""
    splits = checked["splits"]
    for split, found in splits.items():
        print(f"{split}: {found['absent'] or _counted(found)}")
    _print_frequencies(splits)
    for split, found in splits.items():
        if found["sizes"]:
            print(f"sizes in {split}, height x width: {_sizes(found['sizes'])}")
    for split, found in splits.items():
        if found["unseen"]:
            print(f"never seen in {split}: {', '.join(found['unseen'])}")
    if checked["sheet"]:
        print(f"contact sheet: {checked['sheet']}")
    # what is odd in every split, or a wrong root, is printed once
    notes = [note for found in splits.values() for note in found["notes"]]
    for note in dict.fromkeys([*checked["notes"], *notes]):
        print(f"kdstudy: note: {note}", file=sys.stderr)
    _print_faults(list(dict.fromkeys(fault for found in splits.values() for fault in found["faults"])))


def _print_frequencies(splits: Mapping[str, Any]) -> None:
    frequencies = {split: found["class_percent"] for split, found in splits.items() if found["class_percent"]}
    names = list(next(iter(frequencies.values()), ()))
    width = max(map(len, names), default=0)
    for name in names:
        print(
            f"  {name:{width}}  " + "  ".join(f"{split} {shares[name]:6.2f} %" for split, shares in frequencies.items())
        )


def _print_faults(faults: Sequence[str]) -> None:
    for fault in faults[:MAX_PRINTED]:
        print(f"kdstudy: {fault}", file=sys.stderr)
    if len(faults) > MAX_PRINTED:
        print(f"kdstudy: and {len(faults) - MAX_PRINTED} more; --json has them all", file=sys.stderr)


def _counted(split: Mapping[str, Any]) -> str:
    """`2975 of 2975 images, labels are labelIds, 11.50 % of the pixels ignored, faults: 0`."""
    of = "" if split["published"] is None else f" of {split['published']}"
    parts = [f"{split['images'] or 0}{of} images"]
    if split["labels"]:
        parts.append(f"labels are {split['labels']}")
    if split["ignored_percent"] is not None:
        parts.append(f"{split['ignored_percent']:.2f} % of the pixels ignored")
    return ", ".join([*parts, f"faults: {len(split['faults'])}"])


def _sizes(sizes: Mapping[str, int]) -> str:
    """`360 x 480 (367), 720 x 960 (2), and 3 others`, the most frequent first."""
    shown = ", ".join(f"{size} ({count})" for size, count in list(sizes.items())[:6])
    return shown + (f", and {len(sizes) - 6} others" if len(sizes) > 6 else "")
