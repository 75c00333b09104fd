"""The ledger behind Tune's searcher: Tune asks here which trial to run next, in which arm.

Arms advance together, each by the share of its budget that has been started. The teacher comes first; arms that
distil wait for its file, and for one finished trial of an arm that does not distil, to see whether the teacher is one.
How trials end is recorded not here but by the recorder, which knows the reason.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from study.configuration.config import TEACHER, StudyConfig, prunable
from study.configuration.recordings.plan import NO_RECORDINGS, StudyRecordings
from study.execution.capacity import ClusterCapacity
from study.execution.stopping import Drain
from study.folder import trial_checkpoints, trial_folder
from study.ledger.ledger import ArmLedger
from study.ledger.trial_run import Suggestion, TrialRun
from trainers.config import TeacherFile, TrialConfig, content_hash


class LedgerSearcher(Searcher):  # type: ignore[misc]
    """Hands out trials until every arm's budget is used.

    Args:
        config: the study.
        arms: the ledger of every arm, the teacher's among them where the study trains it.
        teacher: gives the teacher's file, None while there is none yet.
        capacity: what the cluster can hold.
        folder: where the trials' own folders are made.
        recordings: of the teacher's outputs; none by default.
        drain: whether the driver is being stopped; then nothing is left to hand out.
        local: whether the cluster is the study's own.
    """

    def __init__(
        self,
        config: StudyConfig,
        arms: Mapping[str, ArmLedger],
        *,
        teacher: Callable[[], TeacherFile | None],
        capacity: ClusterCapacity,
        folder: Path,
        drain: Drain,
        local: bool,
        recordings: StudyRecordings = NO_RECORDINGS,
    ) -> None:
        super().__init__(metric="eval/miou_percent", mode="max")
        self._config, self._arms, self._capacity, self._folder = config, arms, capacity, folder
        self._teacher, self._drain, self._local, self._recordings = teacher, drain, local, recordings
        self._least = min(config.workers_of(arm) for arm in arms)

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Tune asks whether the searcher itself limits how many trials run; Tune's limit never changes."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """A trial's configuration; None while all that is left waits; FINISHED when nothing is left, for good."""
        if self._drain.on:
            return str(Searcher.FINISHED)
        nothing: dict[str, Any] | str | None = str(Searcher.FINISHED)
        return self._drain.guard(lambda: self._suggest(trial_id), nothing)

    def _suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        # asked at every event of every trial, so first what costs nothing; what is left may be nothing
        if not self._capacity.fits(self._least) and not self._capacity.idle:
            return None
        open_arms = [arm for arm in self._arms.values() if not arm.exhausted]
        ready = [arm for arm in open_arms if self._ready(arm.arm)]
        # an arm whose orphans were all given up may have nothing after all
        for arm in sorted(ready, key=lambda arm: (arm.arm != TEACHER, arm.started_share)):
            workers = self._config.workers_of(arm.arm)
            if not self._capacity.fits(workers):
                return None
            if suggestion := arm.ask():
                self._capacity.trial_started(trial_id, workers)
                run = self._run(suggestion)
                arm.note(run)
                return run.plain()
        waiting = [arm for arm in open_arms if arm not in ready and not self._teacher_lost()]
        # what runs may fail, and is replaced then
        return None if waiting or not self._capacity.idle else str(Searcher.FINISHED)

    def _ready(self, arm: str) -> bool:
        if arm == TEACHER or not self._config.needs_teacher(arm):
            return True
        return self._teacher() is not None

    def _teacher_lost(self) -> bool:
        """Whether the teacher's training failed for good."""
        return TEACHER in self._arms and self._arms[TEACHER].given_up is not None

    def _run(self, suggestion: Suggestion) -> TrialRun:
        trial = trial_config(self._config, suggestion, self._teacher())
        arm, number, execution = suggestion.arm, suggestion.number, self._config.execution
        engine = execution.engine_of(arm, trial.train.workers, local=self._local)
        return TrialRun(
            **vars(suggestion),
            trial=trial,
            hash=content_hash(trial),
            budget=trial.train.iterations,
            prunable=arm != TEACHER and prunable(trial),
            execution=replace(execution, engine=engine),
            decoded=self._config.decoded_plan,
            folder=str(trial_folder(self._folder, arm, number)),
            checkpoints=trial_checkpoints(self._config, self._folder, arm, number),
            recording=self._recordings.of(trial),
        )

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Let the next one begin; the recorder ends trials in the ledger."""
        self._capacity.trial_ended(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the ledger is on disk."""
        Path(checkpoint_path).write_text("{}")

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher; open files of the ledger have no place there."""
        return {"_metric": self._metric, "_mode": self._mode}


def trial_config(config: StudyConfig, suggestion: Suggestion, teacher: TeacherFile | None) -> TrialConfig:
    """What the trial that the ledger suggests trains."""
    if suggestion.arm == TEACHER:
        return config.teacher_trial()
    return config.trial(suggestion.arm, suggestion.values, teacher)
