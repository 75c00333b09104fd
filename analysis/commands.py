"""The commands of `kdstudy` that read tables: their options, and what each calls. Exit codes as in `study.__main__`."""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
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
    report = add("report", _report, "one HTML page on one or several studies, and its numbers as tables")
    report.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="folders of studies on one dataset")
    report.add_argument("--out", type=Path, metavar="FILE", help="the page; DIR/report.html by default")
    ablate = add("ablate", _ablate, "the papers' ablation tables out of a study's trials, beside the published numbers")
    ablate.add_argument("folder", type=Path, metavar="DIR", help="a study's folder")
    ablate.add_argument("--json", action="store_true", help="one JSON document on standard output")
    tables = add("export-table", _export_table, "write a study's tables as files for other programs")
    tables.add_argument("folder", type=Path, metavar="DIR", help="a study's folder")
    tables.add_argument(
        "--table", action="append", metavar="NAME", dest="names", help="may be given repeatedly; all by default"
    )
    tables.add_argument("--format", required=True, choices=("parquet", "csv", "arrow"), dest="form")
    tables.add_argument("--out", type=Path, metavar="DIR", help="folder for the files; DIR/exports/tables by default")
    compare = add(
        "compare", _compare, "is A better than B? On the same images, and seed by seed where there are several"
    )
    for side in ("a", "b"):
        compare.add_argument(side, metavar=side.upper(), help="DIR (its best trial), DIR:ARM or DIR:ARM-N")
    compare.add_argument(
        "--evaluation", choices=("last", "best"), help="of each run; by default what the search maximised"
    )
    compare.add_argument("--json", action="store_true", help="one JSON document on standard output")
    verdict = add("verdict", _verdict, "which method is really better, and how sure that is")
    verdict.add_argument("folder", type=Path, metavar="DIR", help="a study's folder")
    verdict.add_argument("--json", action="store_true", help="one JSON document on standard output")


def _best(options: argparse.Namespace) -> int:
    from analysis.leaderboard import show
    from analysis.queries import best

    answer = best(*options.folders, top=options.top)
    if options.json:
        print(json.dumps(answer))
    else:
        show(answer)
    return 0


def _report(options: argparse.Namespace) -> int:
    from analysis.report import report

    print(f"written to {report(options.folders, options.out)}")
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


def _export_table(options: argparse.Namespace) -> int:
    from analysis.studies import study_at
    from analysis.table_export import ALL, export_tables

    out = options.out or options.folder / "exports" / "tables"
    for file in export_tables(study_at(options.folder), options.names or [ALL], options.form, out):
        print(f"written to {file}")
    return 0


def _compare(options: argparse.Namespace) -> int:
    from analysis.comparison import compare
    from analysis.comparison_view import sentence, show

    compared = compare(options.a, options.b, options.evaluation)
    if options.json:
        print(json.dumps({"answer": sentence(compared), **asdict(compared)}))
    else:
        show(compared)
    return 0


def _verdict(options: argparse.Namespace) -> int:
    from analysis.studies import open_study
    from analysis.verdict import verdict
    from analysis.verdict_view import show

    found = verdict(open_study(options.folder))
    if options.json:
        print(json.dumps(asdict(found)))
    else:
        show(found)
    return 0
