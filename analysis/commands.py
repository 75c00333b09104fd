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
    best = add("best", _best, "best configurations of all arms and of every arm, the baseline and the teacher")
    best.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="folders of studies on one dataset")
    best.add_argument("--top", type=int, default=1, metavar="N", help="configurations of all arms, and of each")
    best.add_argument("--json", action="store_true", help="one JSON document on standard output")
    tables = add("export-table", _export_table, "write a study's tables as files for other programs")
    tables.add_argument("folder", type=Path, metavar="DIR", help="a study's folder")
    tables.add_argument(
        "--table", action="append", metavar="NAME", dest="names", help="may be given repeatedly; all by default"
    )
    tables.add_argument("--format", required=True, choices=("parquet", "csv", "arrow"), dest="form")
    tables.add_argument("--out", type=Path, metavar="DIR", help="folder for the files; DIR/exports/tables by default")


def _best(options: argparse.Namespace) -> int:
    from analysis.leaderboard import show
    from analysis.queries import best

    answer = best(*options.folders, top=options.top)
    if options.json:
        print(json.dumps(answer))
    else:
        show(answer)
    return 0


def _export_table(options: argparse.Namespace) -> int:
    from analysis.studies import study_at
    from analysis.table_export import ALL, export_tables

    out = options.out or options.folder / "exports" / "tables"
    for file in export_tables(study_at(options.folder), options.names or [ALL], options.form, out):
        print(f"written to {file}")
    return 0
