"""`kdstudy report`: one HTML page on one or several studies, and its numbers as tables."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from analysis.report import report
from analysis.studies.study import open_studies
from study.commands.options import add_folders

LEFT_OUT = "They were not wanted."


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_folders(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page; DIR/report.html by default")
    parser.add_argument(
        "--pictures",
        action=argparse.BooleanOptionalAction,
        help="predictions on a few images of the dataset, by the checkpoints; by default where no plugin's code has to "
        "be run for them",
    )


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    print(f"written to {write_report(options.folders, options.out, pictures=options.pictures)}")
    return 0


def write_report(folders: Sequence[Path], out: Path | None = None, *, pictures: bool | None = None) -> Path:
    """Write the report with pictures of predictions, as far as checkpoints and dataset are there.

    Args:
        folders: of studies on one dataset.
        out: the page; report.html in the folder of a single study, or here where there are several.
        pictures: False for none; True also where plugins' code has to be run for them.

    Returns:
        The page.

    Raises:
        ValueError: as `analysis.report.report`.
    """
    if pictures is False:
        return report(folders, out, dict.fromkeys(folders, LEFT_OUT))
    from study.commands.results.pictures import pictures_of

    open_studies(folders)  # predicts nothing for a report that will be refused
    return report(folders, out, {folder: pictures_of(folder, plugins=bool(pictures)) for folder in folders})
