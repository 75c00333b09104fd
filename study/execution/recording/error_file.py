"""error.txt: all that is left of a trial that failed, and how to run it alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.folder import error_file
from study.tables import parameters_of
from trainers.resources.output import last_lines, log_files

PRINTED_LINES = 50
"""Of what each rank printed last."""


def alone(row: Mapping[str, Any], own: Path) -> str:
    """The command that runs a trial again, by itself.

    Args:
        row: of the trials table.
        own: the trial's folder.
    """
    return f"kdstudy train {own.parents[1]} --trial {row['arm']}-{row['trial']} --workers 0"


def write_error_file(row: Mapping[str, Any], own: Path, text: str | None) -> str:
    """Write down why a trial failed; the file's path below the study's folder.

    Args:
        row: of the trials table.
        own: the trial's folder; made where the trial never began.
        text: of what was raised, with the traceback; None where nothing was.
    """
    own.mkdir(parents=True, exist_ok=True)
    parameters = [f"  {name}: {value}" for name, value in parameters_of(row).items()]
    sections = {
        f"{row['arm']}-{row['trial']}: {row['error']}": [
            f"failed at iteration {row['iterations']} of {row['budget']}, on {row['host']}, {row['ended'][:19]} UTC",
            *(["with", *parameters] if parameters else []),
            f"to run it alone: {alone(row, own)}",
        ],
        "Traceback": [text.strip() if text else "Nothing was raised."],
        **_printed(own),
    }
    error_file(own).write_text("\n".join(_section(title, lines) for title, lines in sections.items()))
    return str(error_file(own).relative_to(own.parents[1]))


def _printed(own: Path) -> Mapping[str, list[str]]:
    """What each rank printed last."""
    ranks = log_files(own).items()
    found = {
        f"Printed last{rank and ', by ' + rank} ({file.name})": last_lines(file, PRINTED_LINES) for rank, file in ranks
    }
    return found or {"Printed last": ["Nothing was printed."]}


def _section(title: str, lines: list[str]) -> str:
    return "\n".join([title, "-" * min(len(title), 80), *lines, ""])
