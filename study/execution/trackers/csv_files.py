"""CSV: a file for each trial, one line for each evaluation.

Ray's own CSVLoggerCallback fixes the columns by the first report of a driver: it drops what is reported later, and
after a restart it puts values into columns of other names. Here a column may come at any time.
"""

import csv
from pathlib import Path
from typing import Any

from ray.tune.logger import LoggerCallback


class CsvFiles(LoggerCallback):  # type: ignore[misc]
    """`progress.csv` of each trial, which grows, also over restarts; empty where an evaluation has no such value.

    Args:
        folder: of the trials' own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        trial.init_local_path()
        file = Path(trial.local_path) / "progress.csv"
        columns = self._columns(file, result)
        with file.open("a", newline="") as opened:
            writer = csv.DictWriter(opened, columns)
            if not opened.tell():
                writer.writeheader()
            writer.writerow(result)

    def _columns(self, file: Path, result: dict[str, Any]) -> list[str]:
        """The file's, after those that are new were added to all of its lines."""
        if not file.exists() or not file.stat().st_size:
            return list(result)
        with file.open(newline="") as opened:
            reader = csv.DictReader(opened)
            known = list(reader.fieldnames or ())
            new = [name for name in result if name not in known]
            rows = list(reader) if new else []
        if new:
            writing = file.with_name(f"{file.name}.tmp")
            with writing.open("w", newline="") as opened:
                writer = csv.DictWriter(opened, [*known, *new])
                writer.writeheader()
                writer.writerows(rows)
            writing.replace(file)
        return known + new

    def log_verdict(self, text: str) -> None:
        """Write it beside the trials."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "verdict.txt").write_text(text)
