"""What the tables of a study lack, as its last driver found it, and which of their files are damaged now.

The driver knows from the ledger which evaluations there were, and writes what it could not put back into `gaps.json`
beside the tables. Whoever reads the tables finds it there.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from study.tables.reading import damage

GAPS = "gaps.json"
NAMED = 5
"""Trials that a sentence names."""


class Gap(NamedTuple):
    """Evaluations of a trial whose rows a table lacks.

    Attributes:
        table: its name.
        arm: of the trial.
        trial: its number.
        iterations: of the evaluations; none where it is the row of the trial itself.
        kept: what the rows still have beside their key; empty where there are no rows.
    """

    table: str
    arm: str
    trial: int
    iterations: tuple[int, ...]
    kept: str = ""


class Gaps(NamedTuple):
    """What the tables lack.

    Attributes:
        rows: as far as it can be counted.
        lost: of tables whose rows nobody else knows, what was damaged, a line each.
    """

    rows: tuple[Gap, ...] = ()
    lost: tuple[str, ...] = ()


def noted_gaps(folder: Path) -> Gaps:
    """What the last driver wrote down.

    Args:
        folder: of all tables of a study.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        noted = json.loads((folder / GAPS).read_text())
        rows = [Gap(**{**row, "iterations": tuple(row["iterations"])}) for row in noted["rows"]]
        return Gaps(tuple(rows), tuple(map(str, noted["lost"])))
    except FileNotFoundError:
        return Gaps()
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{folder / GAPS} must be what kdstudy wrote there, but: {error}") from None


def note_gaps(folder: Path, gaps: Gaps) -> None:
    """Write down what the tables lack, in the place of what stood there."""
    if gaps == Gaps():
        (folder / GAPS).unlink(missing_ok=True)
        return
    writing = folder / f"{GAPS}.tmp"
    writing.write_text(json.dumps({"rows": [gap._asdict() for gap in gaps.rows], "lost": gaps.lost}))
    writing.replace(folder / GAPS)


def gaps(folder: Path) -> list[str]:
    """What the tables lack and what of them is damaged, in sentences; none where all is there.

    Args:
        folder: of all tables of a study.
    """
    try:
        noted = sentences(noted_gaps(folder))
    except ValueError as fault:
        noted = [f"{fault}; kdstudy resume writes it anew"]
    tables = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return noted + [f"{line}; kdstudy resume puts back what can be had" for table in tables for line in damage(table)]


def sentences(gaps: Gaps) -> list[str]:
    """One for each table and kind of gap, and one for each loss that cannot be counted."""
    rows = sorted(gaps.rows, key=lambda gap: (gap.table, gap.kept, gap.arm, gap.trial))
    kinds = groupby(rows, key=lambda gap: (gap.table, gap.kept))
    return [_sentence(table, kept, list(found)) for (table, kept), found in kinds] + list(gaps.lost)


def _sentence(table: str, kept: str, gaps: Sequence[Gap]) -> str:
    named = ", ".join(_named(gaps)) + (f" and {len(gaps) - NAMED} more" if len(gaps) > NAMED else "")
    if not any(gap.iterations for gap in gaps):
        return f"the table {table} lacks the rows of {len(gaps)} trials: {named}"
    evaluations = f"{sum(len(gap.iterations) for gap in gaps)} evaluations of {len(gaps)} trials"
    if kept:
        return f"the table {table} has only the {kept} of {evaluations}: {named}"
    return f"the table {table} lacks {evaluations}: {named}"


def _named(gaps: Iterable[Gap]) -> Iterator[str]:
    for gap, _ in zip(gaps, range(NAMED), strict=False):
        at = ", ".join(map(str, gap.iterations[:NAMED])) + (", ..." if len(gap.iterations) > NAMED else "")
        yield f"{gap.arm} {gap.trial} at {at}" if at else f"{gap.arm} {gap.trial}"
