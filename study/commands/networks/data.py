"""`kdstudy data check`: a dataset's files held against what was published."""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from study.commands.lookup.datasets import dataset_config
from study.commands.options import WRONG_INPUT, add_json, add_plugins, load_plugins
from trainers.data.check import check as check_files
from trainers.data.files import FileDataset
from trainers.registry import module_of

MAX_PRINTED = 20
"""Faults that are printed; --json has them all."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    text = "hold a dataset's files against what was published"
    check_parser = commands.add_parser("check", help=text, description=text)
    add_json(check_parser)
    add_plugins(check_parser)
    check_parser.add_argument("name", metavar="NAME", help="a dataset of trainers/data")
    check_parser.add_argument("--root", required=True, metavar="DIR", help="the dataset's folder")


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    load_plugins(options)
    found = check(options.name, options.root)
    if options.json:
        print(json.dumps(found))
    else:
        print_check(found)
    return 0 if found["well"] else WRONG_INPUT


def check(name: str, root: str) -> dict[str, Any]:
    """Check a dataset's files.

    Returns:
        {"dataset", "well", "splits": {split: what SplitCheck holds}}.

    Raises:
        ValueError: unknown dataset, or one that is drawn.
    """
    dataset = module_of(dataset_config(name, "")).Dataset
    if not issubclass(dataset, FileDataset):
        raise ValueError(f"a dataset to check must lie on disk, but {name} is drawn; there is nothing to check")
    splits = check_files(dataset, dataset_config(name, root))
    well = not any(split.faults for split in splits.values())
    return {"dataset": name, "well": well, "splits": {split: asdict(found) for split, found in splits.items()}}


def print_check(checked: Mapping[str, Any]) -> None:
    """Print what `check` found: counts and class frequencies, and the faults on standard error."""
    splits = checked["splits"]
    for split, found in splits.items():
        print(f"{split}: {found['absent'] or _counted(found)}")
    frequencies = {split: found["class_percent"] for split, found in splits.items() if found["class_percent"]}
    names = list(next(iter(frequencies.values()), ()))
    width = max(map(len, names), default=0)
    for name in names:
        print(
            f"  {name:{width}}  " + "  ".join(f"{split} {shares[name]:6.2f} %" for split, shares in frequencies.items())
        )
    # a wrong root is every split's fault, and printed once
    faults = list(dict.fromkeys(fault for found in splits.values() for fault in found["faults"]))
    for fault in faults[:MAX_PRINTED]:
        print(f"kdstudy: {fault}", file=sys.stderr)
    if len(faults) > MAX_PRINTED:
        print(f"kdstudy: and {len(faults) - MAX_PRINTED} more; --json has them all", file=sys.stderr)


def _counted(split: Mapping[str, Any]) -> str:
    """`2975 of 2975 images, labels are labelIds, 11.50 % of the pixels ignored, faults: 0`."""
    parts = [f"{split['images'] or 0} of {split['published']} images"]
    if split["labels"]:
        parts.append(f"labels are {split['labels']}")
    if split["ignored_percent"] is not None:
        parts.append(f"{split['ignored_percent']:.2f} % of the pixels ignored")
    return ", ".join([*parts, f"faults: {len(split['faults'])}"])
