"""The commands of `kdstudy` that read tables: their options, and what each calls. Exit codes as in `study.__main__`."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Protocol


class AddCommand(Protocol):
    """Adds a subcommand of a name, its function and one line of help, and gives its parser."""

    def __call__(
        self, name: str, command: Callable[[argparse.Namespace], int], text: str
    ) -> argparse.ArgumentParser: ...


def add_commands(add: AddCommand) -> None:
    """Add every command of analysis to a command line; what they need is imported when one of them runs."""
    best = add("best", _best, "best configurations of every arm, and the teacher")
    best.add_argument("folder", type=Path, metavar="DIR", help="a study's folder")
    best.add_argument("--top", type=int, default=1, help="configurations per arm")
    best.add_argument("--json", action="store_true", help="one JSON document on standard output")
    report = add("report", _report, "one HTML page on one or several studies, and its numbers as tables")
    report.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="folders of studies on one dataset")
    report.add_argument("--out", type=Path, metavar="FILE", help="the page; DIR/report.html by default")


def _best(options: argparse.Namespace) -> int:
    from analysis.leaderboard import show
    from analysis.queries import best

    answer = best(options.folder, top=options.top)
    if options.json:
        print(json.dumps(answer))
    else:
        show(answer)
    return 0


def _report(options: argparse.Namespace) -> int:
    from analysis.report import report

    print(report(options.folders, options.out))
    return 0
