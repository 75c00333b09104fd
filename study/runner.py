"""run and resume: open the ledger, join a cluster, build a new Tuner on it, fit, close the tables.

Every start does the same. Nothing of Tune's own state is read back: what was done stands in the ledger, what was
trained stands in the trials' checkpoints, and a start that finds both simply goes on.
"""

import json
import os
import platform
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import psutil

from study import session, tables
from study.config import TEACHER, StudyConfig
from study.ledger import ArmLedger, open_arms, repair_journal, status
from study.lock import locked
from study.teaching import StudyTeacher
from study.view import View
from trainers.checkpoint_folder import Checkpoints
from trainers.config import ConfigError, canonical_json, parse

CONFIG = "study.json"


def create(config: StudyConfig, folder: Path) -> None:
    """Make a study's folder.

    Raises:
        ValueError: the folder holds a study already, or something else.
    """
    held = folder / CONFIG
    if held.exists():
        same = held.read_text() == canonical_json(config)
        remedy = f"go on with it: kdstudy resume {folder}" if same else "choose another --out"
        raise ValueError(
            f"--out must be a new folder, but {folder} holds {'this' if same else 'another'} study already; {remedy}"
        )
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"--out must be a new folder, but {folder} holds other files; choose another --out")
    folder.mkdir(parents=True, exist_ok=True)
    writing = held.with_suffix(".writing")
    writing.write_text(canonical_json(config))
    writing.replace(held)


def discard_unstarted(folder: Path) -> None:
    """Remove the folder of a study that no driver has begun."""
    if not (folder / "tables").exists():
        shutil.rmtree(folder)


def given_up_arms(folder: Path) -> list[str]:
    """The arms of which so many trials failed that no more are started."""
    config = read(folder)
    return [arm for arm, counts in status(config, folder).items() if counts["FAIL"] >= config.max_failed(arm)]


def has_ended_trials(folder: Path) -> bool:
    """Whether the tables of a study hold a trial."""
    place = folder / "tables"
    return place.exists() and tables.read(place, "trials").num_rows > 0


def read(folder: Path) -> StudyConfig:
    """The configuration of the study in `folder`.

    Raises:
        ValueError: there is none.
    """
    held = folder / CONFIG
    if not held.is_file():
        raise ValueError(
            f"DIR must be a study's folder, but {folder} holds no {CONFIG}; start one: kdstudy run STUDY --out {folder}"
        )
    try:
        return parse(StudyConfig, json.loads(held.read_text()))
    except (json.JSONDecodeError, ConfigError) as error:
        raise ValueError(f"{held} must be what kdstudy wrote there, but: {error}; restore it") from None


def resume(folder: Path, address: str = "local", *, only_teacher: bool = False) -> bool:
    """Start, or go on with, the study in `folder` until every arm's budget is used.

    Args:
        folder: the study's.
        address: of the Ray cluster: "local", "auto" or host:port.
        only_teacher: train the teacher and nothing else.

    Returns:
        Whether it came to its end; False where it was interrupted or an arm was given up.

    Raises:
        ValueError: no study there, another driver at work, a cluster that is too small, a teacher that does not fit.
    """
    session.refuse_client(address)
    folder = folder.absolute()
    config = read(folder)
    with locked(folder):
        torn = repair_journal(folder)
        if _settled(config, folder):
            return True
        with _stoppable(), session.connected(config.execution, address):
            return _drive(config, folder, torn, only_teacher)


def _settled(config: StudyConfig, folder: Path) -> bool:
    """Whether the ledger has nothing left to do; then the tables are made to say the same, without any cluster."""
    counts = status(config, folder)
    if any(arm["COMPLETE"] + arm["PRUNED"] < arm["budget"] for arm in counts.values()):
        return False
    from study.recorder import Tables

    arms = open_arms(config, folder, with_teacher=TEACHER in counts)
    written = Tables(folder, arms)
    written.complete(arms)
    written.close()
    return True


def _drive(config: StudyConfig, folder: Path, torn: str | None, only_teacher: bool) -> bool:
    # imported here because they import Ray, which must read its settings first
    from ray import tune

    from study.recorder import Recorder, Tables
    from study.scheduler import LedgerScheduler
    from study.searcher import LedgerSearcher, trial_folder
    from study.trial import run_trial

    arms: dict[str, ArmLedger] = {}
    view = View(arms)
    if torn:
        view.say(f"warning: {torn}")
    together = session.concurrency(config.execution, config.workers)
    teacher = StudyTeacher(config, folder, view.say)
    if only_teacher and not teacher.must_train:
        return True
    opened = open_arms(config, folder, with_teacher=teacher.must_train)
    arms.update({name: arm for name, arm in opened.items() if name == TEACHER or not only_teacher})
    if teacher.must_train and arms[TEACHER].finished:
        # the last driver died between the end of the training and the writing of the file
        teacher.trained(Checkpoints(trial_folder(folder, TEACHER, 0)).of(config.teacher_trial().train.iterations))
    written = Tables(folder, arms)
    written.complete(arms)
    written.environment.append([environment()])
    recorder = Recorder(config, arms, written, view, on_teacher=teacher.trained)
    tuner = tune.Tuner(
        tune.with_resources(run_trial, session.trial_resources(config.execution)),
        tune_config=tune.TuneConfig(
            search_alg=LedgerSearcher(config, arms, teacher=lambda: teacher.ready(arms), folder=folder),
            scheduler=LedgerScheduler(arms, config.objective),
            num_samples=-1,
            max_concurrent_trials=together,
            # starting a process that has Ray and PyTorch costs more than a short trial
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name=f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}",
            storage_path=str(folder / "tune"),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=config.execution.max_attempts - 1),
            callbacks=[recorder],
        ),
    )
    try:
        with view:
            tuner.fit()
    finally:
        written.complete(arms)
        written.close()
        # what Tune keeps of itself is never read back
        shutil.rmtree(folder / "tune", ignore_errors=True)
    return all(arm.finished for arm in arms.values())


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM stop a study as Ctrl-C does: trials end where they are and go on from there on resume."""

    def interrupt(_signal: int, _frame: object) -> None:
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def environment() -> dict[str, Any]:
    """The row of the environment table for this start of the driver."""
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "session": f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}",
        "started": datetime.now(UTC),
        "host": socket.gethostname(),
        "command": shlex.join(sys.argv),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": list(_packages().items()),
        "devices": gpus or [platform.processor() or platform.machine()],
        "cpus": len(os.sched_getaffinity(0)),
        "memory_mib": psutil.virtual_memory().total / 2**20,
        "git_commit": _git_commit(),
    }


def _packages() -> Mapping[str, str]:
    return {d.metadata["Name"]: d.version for d in distributions() if d.metadata["Name"]}


def _git_commit() -> str | None:
    """The commit of this program's own checkout, None where it was installed without one."""
    here = Path(__file__).parent
    asked = subprocess.run(["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or None
