"""`kdstudy export-table`: a study's tables as files for other programs."""

import argparse
from pathlib import Path

from analysis.studies.study import study_at
from analysis.table_export import ALL, export_tables
from study.commands.options import add_folder


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_folder(parser)
    parser.add_argument(
        "--table", action="append", metavar="NAME", dest="names", help="may be given repeatedly; all by default"
    )
    parser.add_argument("--format", required=True, choices=("parquet", "csv", "arrow"), dest="form")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the files; DIR/exports/tables by default")


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    out = options.out or options.folder / "exports" / "tables"
    for file in export_tables(study_at(options.folder), options.names or [ALL], options.form, out):
        print(f"written to {file}")
    return 0
