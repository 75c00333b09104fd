"""One start of a study on a cluster: its ledger, its tables and a new Tuner, until budgets are used or it is stopped.

It imports Ray, which must have read its settings before: `runner` imports it once there is a cluster.
"""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from ray import tune

from study.configuration.config import TEACHER, StudyConfig
from study.configuration.recordings.plan import NO_RECORDINGS, StudyRecordings, plan_recordings
from study.execution.capacity import MAX_CONCURRENT, ClusterCapacity
from study.execution.display.pace import Pace
from study.execution.display.view import View
from study.execution.pricing import latencies, prices
from study.execution.ray_train import draining_nodes
from study.execution.recording.environment import environment
from study.execution.recording.image_groups import record_groups
from study.execution.recording.printed import PrintedLines
from study.execution.recording.recorder import Recorder
from study.execution.recording.study_tables import StudyTables, finish
from study.execution.scheduler import LedgerScheduler
from study.execution.searcher import LedgerSearcher
from study.execution.stopping import DRAIN_S, Drain, HaltedError, NodeNotices
from study.execution.teacher import StudyTeacher
from study.execution.trackers.feeds import CLOSE_S, Trackers
from study.execution.trial import run_trial, trial_resources
from study.folder import TUNE, trial_checkpoints
from study.ledger.dataset import dataset_of, hold_dataset
from study.ledger.ledger import ArmLedger, open_arms
from trainers.checkpoints.places import checkpoints_at
from trainers.checkpoints.requests import Requests
from trainers.data.decoded.copies import size_text, taken_bytes
from trainers.data.decoded.reader import Reader
from trainers.data.splits import judging_images, training_images


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a start is asked for.

    Attributes:
        config: the study.
        folder: the study's, locked.
        drain: says when to stop.
        requests: what running trials are asked for.
        only_teacher: train the teacher and nothing else.
        local: whether the cluster is this process's own.
        verbose: show what trials print.
        verdict: gives the verdict on the study in a folder, as text, for its trackers; None for not sending it one.
    """

    config: StudyConfig
    folder: Path
    drain: Drain
    requests: Requests
    only_teacher: bool
    local: bool
    verbose: bool
    verdict: Callable[[Path], str] | None


def drive(start: Start) -> bool:
    """Run the study's trials; whether it came to its end.

    Raises:
        ValueError: the cluster is too small, the teacher does not fit, or the dataset has changed.
        HaltedError: a fault of the machine after which no trial can go on.
    """
    driver = _Driver(start)
    if start.only_teacher and not driver.teacher.must_train:
        return True
    driver.open()
    driver.fit()
    return driver.leave()


class _Driver:
    """The parts of a start, in the order in which they are made."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._config, self._folder, self._drain = start.config, start.folder, start.drain
        self._arms: dict[str, ArmLedger] = {}
        self._view = View(self._arms)
        self._capacity = ClusterCapacity(self._config.execution, on_change=self._view.show_capacity)
        self._capacity.check(self._config.workers)
        self.teacher = StudyTeacher(self._config, self._folder, self._view.say)

    def open(self) -> None:
        """Open the ledger, hold the dataset against it, and bring the tables to what it says."""
        config, folder, view = self._config, self._folder, self._view
        opened = self._opened_arms()
        if said := hold_dataset(config, folder, opened, dataset_of(config), accept=False):
            view.say(said)
        begin_copies(config, view)
        wanted = [name for name in opened if name == TEACHER or not self._start.only_teacher]
        self._arms.update({name: opened[name] for name in wanted})
        if self.teacher.must_train and self._arms[TEACHER].finished:
            # the last driver died between the end of the training and the writing of the file
            self.teacher.trained(_teacher_checkpoint(config, folder, self._arms[TEACHER]))
        self._tables = StudyTables(config, folder, self._arms)
        view.warn(self._tables.complete(self._arms))
        self._tables.add_start(environment(config.plugins))
        if wrong := record_groups(config, folder):
            view.say(f"warning: {wrong}")

    def _opened_arms(self) -> dict[str, ArmLedger]:
        config, say = self._config, self._view.say
        if self._start.only_teacher:
            return open_arms(config, self._folder, with_teacher=self.teacher.must_train)
        return open_arms(
            config,
            self._folder,
            with_teacher=self.teacher.must_train,
            price=lambda: prices(config, say),
            measure=partial(latencies, config, say, local=self._start.local),
        )

    def fit(self) -> None:
        """Run trials until every budget is used, or the study is stopped."""
        self._trackers = Trackers(self._config, self._folder, self._view.say)
        tuner = self._tuner(self._recordings())
        try:
            with self._view, self._drain.looping():
                tuner.fit()
        except Exception:
            if self._drain.fault is None:  # Tune cannot keep its own state on a full disk either
                raise
        finally:
            shutil.rmtree(self._folder / TUNE, ignore_errors=True)
            self._finish()

    def _recordings(self) -> StudyRecordings:
        """What is recorded of the teacher's outputs, which the view says, and reckons with."""
        config, view = self._config, self._view
        nothing = self._start.only_teacher
        found = NO_RECORDINGS if nothing else plan_recordings(config, self._folder, self.teacher.file)
        for line in found.lines:
            view.say(line)
        recorded = [name for name in config.arms if found.plans and config.needs_teacher(name)]
        view.follow(Pace(config, self._arms, self._capacity.at_a_time, recorded))
        return found

    def _tuner(self, recordings: StudyRecordings) -> tune.Tuner:
        config = self._config
        return tune.Tuner(
            tune.with_resources(run_trial, trial_resources(self._capacity)),
            tune_config=tune.TuneConfig(
                search_alg=self._searcher(recordings),
                scheduler=LedgerScheduler(self._arms, config.objective_metric, self._drain),
                num_samples=-1,
                # the searcher knows how many fit on the cluster
                max_concurrent_trials=MAX_CONCURRENT,
                # starting a process that has Ray and PyTorch costs more than a short trial
                reuse_actors=True,
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(
                name=f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}",
                storage_path=str(self._folder / TUNE),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=config.execution.max_attempts - 1),
                callbacks=[self._recorder()],
            ),
        )

    def _searcher(self, recordings: StudyRecordings) -> LedgerSearcher:
        return LedgerSearcher(
            self._config,
            self._arms,
            teacher=lambda: self.teacher.ready(self._arms),
            capacity=self._capacity,
            folder=self._folder,
            drain=self._drain,
            recordings=recordings,
            local=self._start.local,
        )

    def _recorder(self) -> Recorder:
        start, say = self._start, self._view.say
        return Recorder(
            self._config,
            self._arms,
            self._tables,
            self._view,
            on_teacher=self.teacher.trained,
            drain=self._drain,
            notices=None if start.local else NodeNotices(draining_nodes, start.requests, say),
            printed=PrintedLines(say) if start.verbose else None,
            trackers=self._trackers,
        )

    def _finish(self) -> None:
        """Write the tables to their end, where the machine lets it, and close the trackers."""
        if self._drain.fault is None:
            self._view.warn(finish(self._tables, self._config, self._folder, self._arms))
        try:
            if self._drain.fault is None and self._finished:
                self._tell_verdict()
        finally:
            self._trackers.close(DRAIN_S if self._drain.on else CLOSE_S)

    def _tell_verdict(self) -> None:
        if self._start.verdict is None or not self._trackers:
            return
        try:
            self._trackers.verdict(self._start.verdict(self._folder))
        except (ValueError, OSError) as error:
            self._view.say(f"warning: execution.trackers: there is no verdict to send: {error}")

    @property
    def _finished(self) -> bool:
        return all(arm.finished for arm in self._arms.values())

    def leave(self) -> bool:
        """Leave the ledger to the next driver; whether nothing is left to do.

        Raises:
            HaltedError: a fault of the machine has stopped the study.
        """
        drain = self._drain
        if drain.fault is None:
            self._leave_arms()
            return self._finished
        with suppress(OSError):  # a full disk takes no line of the ledger
            self._leave_arms()
        raise HaltedError(
            f"{drain.fault}; nothing is lost: {drain.remedy}, then go on with: kdstudy resume {self._folder}"
        )

    def _leave_arms(self) -> None:
        for arm in self._arms.values():
            arm.leave()


def begin_copies(config: StudyConfig, view: View) -> None:
    """Begin the copies of decoded images on this machine, and say what they will take, or why there are none."""
    plan = config.decoded_plan
    if plan is None:
        return
    before = taken_bytes(plan.folder)
    reader = Reader(plan, warn=lambda message: view.warn([message]))
    with suppress(ValueError):  # of a file that cannot be read, which the first trial names
        training_images(config.data, holdout=config.holdout, opener=reader)
        judging_images(config.data, config.evaluate_on, holdout=config.holdout, opener=reader)
    if (begun := taken_bytes(plan.folder) - before) > 0:
        view.say(f"decoded images are kept for all trials: {size_text(begun)} in {plan.folder}")


def _teacher_checkpoint(config: StudyConfig, folder: Path, arm: ArmLedger) -> str:
    """The address of the teacher's last one."""
    kept = checkpoints_at(trial_checkpoints(config, folder, TEACHER, arm.complete()[-1].number))
    return kept.of(config.teacher_trial().train.iterations)
