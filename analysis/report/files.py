"""The numbers of a report as files: CSV with every digit, Markdown and LaTeX rounded as the page shows them."""

import math
import os
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv

from analysis.report.section import Table

LONG = 1000
"""Rows beyond which a table is data, not something to print."""
NOTHING = "\N{EN DASH}"
LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def formatted(column: str, value: Any) -> str:
    """A cell as it is read: percentages with two decimals, seconds with one or none, others in four digits."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    if not isinstance(value, float):
        return str(value)
    if "%" in column or "points" in column:
        return f"{value:.2f}"
    if "seconds" in column:
        return f"{value:.1f}" if value < 1000 else f"{value:,.0f}"
    return f"{value:.4g}"


def cells(rows: pa.Table) -> list[list[str]]:
    """Every cell as it is read, by row."""
    columns = [[formatted(name, value) for value in rows[name].to_pylist()] for name in rows.column_names]
    return [list(row) for row in zip(*columns, strict=True)]


def is_number(kind: pa.DataType) -> bool:
    """Whether a column is set flush right."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def markdown(table: Table) -> str:
    """The table as GitHub reads it, below its caption."""
    marks = ["---:" if is_number(field.type) else "---" for field in table.rows.schema]
    lines = [table.rows.column_names, marks, *cells(table.rows)]
    body = "\n".join("| " + " | ".join(_markdown(cell) for cell in line) + " |" for line in lines)
    return f"{table.caption}\n\n{body}\n"


def _markdown(cell: str) -> str:
    return re.sub(r"\s*\n\s*", " ", cell).replace("|", r"\|")


def latex(table: Table) -> str:
    """A table environment with booktabs' rules."""
    columns = "".join("r" if is_number(field.type) else "l" for field in table.rows.schema)
    head, *body = (" & ".join(map(_latex, row)) + r" \\" for row in [table.rows.column_names, *cells(table.rows)])
    lines = [
        r"\begin{table}", r"\centering", rf"\caption{{{_latex(table.caption)}}}", rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule",
        r"\end{tabular}", r"\end{table}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _latex(cell: str) -> str:
    dashed = cell.replace("\n", " ").replace(NOTHING, "--")
    return "".join(LATEX.get(character, character) for character in dashed)


def write_tables(tables: Sequence[Table], folder: Path) -> None:
    """Write each table as NAME.csv, NAME.md and NAME.tex; tables of an earlier report are taken away.

    Long ones are written as CSV alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = {path for table in tables for path in _write_table(table, folder)}
    for path in folder.iterdir():
        if path.suffix in (".csv", ".md", ".tex") and path not in written:
            path.unlink()


def _write_table(table: Table, folder: Path) -> list[Path]:
    sink = pa.BufferOutputStream()
    csv.write_csv(table.rows, sink)
    forms = {"csv": sink.getvalue().to_pybytes()}
    if table.rows.num_rows <= LONG:
        forms |= {"md": markdown(table).encode(), "tex": latex(table).encode()}
    return [write(folder / f"{table.name}.{suffix}", content) for suffix, content in forms.items()]


def write(path: Path, content: bytes) -> Path:
    """Put a file in its place whole, also where one lies there."""
    writing = path.with_name(f".{path.name}.{os.getpid()}.writing")
    writing.write_bytes(content)
    writing.replace(path)
    return path
