"""run and resume: open the ledger, join a cluster, build a new Tuner on it, fit, close the tables.

Every start does the same. Nothing of Tune's own state is read back: what was done stands in the ledger, what was
trained stands in the trials' checkpoints, and a start that finds both simply goes on.
"""

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from study import session, tables
from study.changes import Changes, differences
from study.config import TEACHER, StudyConfig
from study.environment import environment
from study.journal import repair_journal
from study.ledger import ArmLedger, failed, open_arms, states, status, study_names
from study.lock import locked
from study.room import PLENTY, Room
from study.stopping import Drain, HaltedError
from study.teaching import StudyTeacher
from study.view import View
from trainers.checkpoints import checkpoints_at, refuse_taken
from trainers.config import ConfigError, canonical_json, parse, plain
from trainers.registry import module_of

CONFIG, WRITING = "study.json", "study.writing"
CLASSES = "classes.json"
"""Names and colours of the dataset's classes, for whoever draws them: [{"name", "rgb"}]."""
TUNE = "tune"
"""What Tune keeps of itself, which is never read back."""
AS_IT_STANDS = Changes()


def create(config: StudyConfig, folder: Path) -> None:
    """Make a study's folder, with the content of every file that the study searches.

    Raises:
        ValueError: the folder holds a study already, or something else; so does the place of its checkpoints.
    """
    config = config.with_spaces()
    if (folder / CONFIG).exists():
        other = differences(plain(read(folder)), plain(config))
        held = f"another study already, which differs in {', '.join(other)}" if other else "this study already"
        remedy = "choose another --out" if other else f"go on with it: kdstudy resume {folder}"
        raise ValueError(f"--out must be a new folder, but {folder} holds {held}; {remedy}")
    # of a driver that died as it began there may be half a configuration
    if folder.exists() and any(path.name != WRITING for path in folder.iterdir()):
        raise ValueError(f"--out must be a new folder, but {folder} holds other files; choose another --out")
    if config.checkpoints:
        refuse_taken(config.checkpoints)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / CONFIG, canonical_json(config))
    dataset = module_of(config.data).Dataset
    classes = zip(dataset.class_names, dataset.palette, strict=True)
    _write(folder / CLASSES, json.dumps([{"name": name, "rgb": rgb} for name, rgb in classes]))


def _write(path: Path, text: str) -> None:
    writing = path.with_name(WRITING)
    with writing.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    writing.replace(path)


def _rewrite(config: StudyConfig, folder: Path) -> None:
    """Put a changed configuration in the place of the study's, which is kept as the next of study.1.json, ..."""
    kept = len(list(folder.glob("study.[0-9]*.json")))
    _write(folder / f"study.{kept + 1}.json", (folder / CONFIG).read_text())
    _write(folder / CONFIG, canonical_json(config))


def discard_unstarted(folder: Path) -> None:
    """Remove the folder of a study that no driver has begun."""
    if not (folder / "tables").exists():
        shutil.rmtree(folder)


def given_up_arms(folder: Path) -> list[str]:
    """The arms of which so many trials failed that no more are started."""
    config = read(folder)
    return [arm for arm, trials in states(config, folder).items() if len(failed(trials)) >= config.max_failed(arm)]


def has_ended_trials(folder: Path) -> bool:
    """Whether the tables of a study hold a trial."""
    try:
        return bool(tables.read(folder / "tables", "trials").num_rows)
    except FileNotFoundError:  # none was written yet, or none can be read
        return False


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


def resume(
    folder: Path, address: str = "local", *, only_teacher: bool = False, changes: Changes = AS_IT_STANDS
) -> bool:
    """Start, or go on with, the study in `folder` until every arm's budget is used.

    Args:
        folder: the study's.
        address: of the Ray cluster: "local", "auto" or host:port.
        only_teacher: train the teacher and nothing else.
        changes: of the study, made first.

    Returns:
        Whether it came to its end; False where it was interrupted or an arm was given up.

    Raises:
        ValueError: no study there, another driver at work, a cluster that is too small, a teacher that does not fit, a
            change after which trials would not compare.
        HaltedError: the disk takes no more.
    """
    session.refuse_client(address)
    folder = folder.absolute()
    read(folder)
    drain = Drain()
    with locked(folder), drain.listening():
        view = View({})
        config = _changed(changes, folder)
        for line in repair_journal(folder, list(study_names(config).values())):
            view.say(f"warning: {line}")
        if changes.retry_failed:
            _retry_failed(config, folder, changes.arms, view)
        if _settled(config, folder):
            return True
        # Ray takes the signals for itself as it starts
        with session.connected(config.execution, address), drain.listening():
            return _drive(config, folder, drain, only_teacher)


def _changed(changes: Changes, folder: Path) -> StudyConfig:
    config = read(folder)
    changed = changes.apply(config)
    if changed != config:
        _rewrite(changed, folder)
    return changed


def _retry_failed(config: StudyConfig, folder: Path, names: tuple[str, ...], view: View) -> None:
    arms = open_arms(config, folder, with_teacher=TEACHER in status(config, folder))
    again = {name: arm.retry_failed() for name, arm in arms.items() if name in (names or arms)}
    told = ", ".join(f"{count} of {name}" for name, count in again.items() if count)
    view.say(f"failed trials to run again: {told or 'none'}")


def _settled(config: StudyConfig, folder: Path) -> bool:
    """Whether the ledger has nothing left to do; then the tables are made to say the same, without any cluster."""
    counts = status(config, folder)
    if any(arm["COMPLETE"] + arm["PRUNED"] < arm["budget"] for arm in counts.values()):
        return False
    from study.recorder import Tables

    arms = open_arms(config, folder, with_teacher=TEACHER in counts)
    if not all(arm.finished for arm in arms.values()):
        return False
    written = Tables(config, folder, arms)
    written.complete(arms)
    written.close()
    shutil.rmtree(folder / TUNE, ignore_errors=True)
    return True


def _drive(config: StudyConfig, folder: Path, drain: Drain, only_teacher: bool) -> bool:
    # imported here because they import Ray, which must read its settings first
    from ray import tune

    from study.recorder import Recorder, Tables
    from study.scheduler import LedgerScheduler
    from study.searcher import LedgerSearcher
    from study.trial import run_trial

    arms: dict[str, ArmLedger] = {}
    view = View(arms)
    room = Room(config.execution, tell=view.room)
    room.check(config.workers)
    teacher = StudyTeacher(config, folder, view.say)
    if only_teacher and not teacher.must_train:
        return True
    opened = open_arms(config, folder, with_teacher=teacher.must_train)
    arms.update({name: arm for name, arm in opened.items() if name == TEACHER or not only_teacher})
    if teacher.must_train and arms[TEACHER].finished:
        # the last driver died between the end of the training and the writing of the file
        teacher.trained(_teacher_checkpoint(config, folder, arms[TEACHER]))
    written = Tables(config, folder, arms)
    written.complete(arms)
    written.environment.append([environment()])
    recorder = Recorder(config, arms, written, view, on_teacher=teacher.trained, drain=drain)
    tuner = tune.Tuner(
        tune.with_resources(run_trial, room.trial_resources),
        tune_config=tune.TuneConfig(
            search_alg=LedgerSearcher(
                config, arms, teacher=lambda: teacher.ready(arms), room=room, folder=folder, drain=drain
            ),
            scheduler=LedgerScheduler(arms, config.objective, drain),
            num_samples=-1,
            # the searcher knows how many the cluster has room for
            max_concurrent_trials=PLENTY,
            # starting a process that has Ray and PyTorch costs more than a short trial
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name=f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}",
            storage_path=str(folder / TUNE),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=config.execution.max_attempts - 1),
            callbacks=[recorder],
        ),
    )
    try:
        with view, drain.looping():
            tuner.fit()
    except Exception:
        if drain.fault is None:  # Tune cannot keep its own state on a full disk either
            raise
    finally:
        shutil.rmtree(folder / TUNE, ignore_errors=True)
        if drain.fault is None:
            written.complete(arms)
            written.close()
    if drain.fault is not None:
        raise HaltedError(f"{drain.fault}; nothing is lost: free some space, then go on with: kdstudy resume {folder}")
    for arm in arms.values():
        arm.leave()
    return all(arm.finished for arm in arms.values())


def _teacher_checkpoint(config: StudyConfig, folder: Path, arm: ArmLedger) -> str:
    """The address of the teacher's last one."""
    from study.searcher import trial_checkpoints

    kept = checkpoints_at(trial_checkpoints(config, folder, TEACHER, arm.complete()[-1].number))
    return kept.of(config.teacher_trial().train.iterations)
