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
    ablate = add("ablate", _ablate, "the papers' ablation tables out of a study's trials, beside the published numbers")
    ablate.add_argument("folder", type=Path, metavar="DIR", help="a study's folder")
    ablate.add_argument("--json", action="store_true", help="one JSON document on standard output")


def _best(options: argparse.Namespace) -> int:
    from analysis.leaderboard import show
    from analysis.queries import best

    answer = best(options.folder, top=options.top)
    if options.json:
        print(json.dumps(answer))
    else:
        show(answer)
    return 0


def _ablate(options: argparse.Namespace) -> int:
    from analysis.ablation import ablations, as_values
    from analysis.ablation_view import show
    from analysis.studies import open_study

    study = open_study(options.folder)
    tables = ablations(study)
    if options.json:
        print(json.dumps(as_values(study, tables)))
    else:
        show(study, tables)
    return 0
