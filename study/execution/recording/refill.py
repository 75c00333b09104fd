"""Evaluations that the ledger knows and the tables lack: put back from checkpoints and the ledger, or named as gaps.

A checkpoint holds the report that came with it and some before it, but only the newest and the best checkpoints are
kept; the ledger has the score of every evaluation. So what was lost of a table comes back whole, or with its score
alone, or not at all, and what does not come back whole is a gap. A trial that still runs is left alone with what no
checkpoint says: it may report the same evaluation once more.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial

from study.execution.recording.rows import report_row
from study.ledger.ledger import noted_run
from study.tables import TableWriter
from study.tables.gaps import Gap
from trainers.checkpoints.base import DamagedError
from trainers.checkpoints.manifest import METRICS
from trainers.checkpoints.places import checkpoints_at
from trainers.checkpoints.reading import read_reports
from trainers.checkpoints.store import UnreachableError

SCORE = {"eval/miou_percent": "mIoU", "best/miou_percent": "best mIoU so far"}
"""What of an evaluation the ledger has, by the study's objective."""

Key = tuple[str, int]
"""Arm and number of a trial."""


class Refill:
    """Puts back what the ledger and checkpoints know.

    Args:
        writers: of the tables that have rows of every evaluation, `reports` the first, by name.
        record: writes all that a report says of an evaluation, from its row of the reports table and the report.
        objective: the metric whose values the ledger has.
    """

    def __init__(
        self,
        writers: Mapping[str, TableWriter],
        record: Callable[[Mapping[str, Any], Mapping[str, Any]], None],
        objective: str,
    ) -> None:
        self._writers, self._record, self._objective = writers, record, objective

    def trial(self, key: Key, trial: FrozenTrial, place: str, *, all_tables: bool) -> Iterator[Gap]:
        """Complete a trial's rows; gives what is lacking then.

        Args:
            key: of the trial.
            trial: as it stands in the ledger.
            place: of its checkpoints.
            all_tables: whether checkpoints are to be looked at even where no evaluation is lacking, for the sake of
                tables that do not have rows of every one.
        """
        missing = self._missing(key, trial)
        if not all_tables and not any(missing.values()):
            return
        with contextlib.suppress(UnreachableError):
            self._from_checkpoints(key, trial, place)
            if trial.state.is_finished():
                yield from self._from_ledger(key, trial)
            return
        # what a store has that does not answer may be put back whole another time
        yield from (Gap(table, *key, tuple(lacking)) for table, lacking in missing.items() if lacking)

    def _missing(self, key: Key, trial: FrozenTrial) -> dict[str, Sequence[int]]:
        steps = set(trial.intermediate_values)
        return {table: sorted(steps.difference(writer.last_parts(key))) for table, writer in self._writers.items()}

    def _from_checkpoints(self, key: Key, trial: FrozenTrial, place: str) -> None:
        run = noted_run(trial)
        for address in checkpoints_at(place).whole((METRICS,)):
            with contextlib.suppress(DamagedError):
                for result in read_reports(address):
                    if (iteration := int(result["iteration"])) in trial.intermediate_values:
                        self._record(_row(key, iteration, result, run.attempt if run else None), result)

    def _from_ledger(self, key: Key, trial: FrozenTrial) -> Iterator[Gap]:
        missing = self._missing(key, trial)
        reports, *others = missing
        for iteration in missing[reports]:
            score = {self._objective: trial.intermediate_values[iteration]}
            self._writers[reports].append([_row(key, iteration, score, None)])
        if missing[reports]:
            yield Gap(reports, *key, tuple(missing[reports]), SCORE[self._objective])
        yield from (Gap(table, *key, tuple(missing[table])) for table in others if missing[table])


def _row(key: Key, iteration: int, result: Mapping[str, Any], attempt: int | None) -> dict[str, Any]:
    arm, number = key
    return report_row({"arm": arm, "trial": number, "iteration": iteration}, attempt, result, time=None)
