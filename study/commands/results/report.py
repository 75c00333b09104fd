"""`kdstudy report`: one HTML page on one or several studies, and its numbers as tables."""

import argparse
from pathlib import Path

from analysis.report import report
from study.commands.options import add_folders


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_folders(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page; DIR/report.html by default")


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    print(f"written to {report(options.folders, options.out)}")
    return 0
