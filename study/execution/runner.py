"""run and resume: open the ledger, join a cluster, build a new Tuner on it, fit, close the tables.

Every start does the same. Nothing of Tune's own state is read back: what was done stands in the ledger, what was
trained stands in the trials' checkpoints, and a start that finds both simply goes on.
"""

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from optuna.trial import TrialState

from study import tables
from study.configuration.changes import Changes
from study.configuration.config import TEACHER, StudyConfig
from study.configuration.searches import named_arms
from study.configuration.trackers.checks import check_trackers
from study.execution import session
from study.execution.display.view import View
from study.execution.stopping import Drain, HaltedError, write_fault
from study.folder import REQUEST, TUNE, read_config, rewrite_config
from study.ledger.dataset import dataset_of, hold_dataset
from study.ledger.journal import repair_journal
from study.ledger.ledger import ArmLedger, given_up_because, open_arms, status, study_directions, trials_by_arm
from study.ledger.lock import locked
from study.ledger.presence import refuse_missing
from trainers.checkpoints.requests import Request, Requests
from trainers.config import ConfigError

NO_CHANGES = Changes()
DONE = ("COMPLETE", "PRUNED")
"""States of trials that count in a budget."""


def given_up_arms(folder: Path) -> dict[str, str]:
    """The arms of which no more trials are started because of those that failed, and the reason of each."""
    config = read_config(folder)
    reasons = {
        arm: given_up_because(trials, config.max_failed(arm)) for arm, trials in trials_by_arm(config, folder).items()
    }
    return {arm: reason for arm, reason in reasons.items() if reason}


def has_ended_trials(folder: Path) -> bool:
    """Whether the tables of a study hold a trial."""
    try:
        return bool(tables.read(folder / "tables", "trials").num_rows)
    except FileNotFoundError:  # none was written yet, or none can be read
        return False


def resume(
    folder: Path,
    address: str = "local",
    *,
    only_teacher: bool = False,
    changes: Changes = NO_CHANGES,
    time_limit_s: float | None = None,
    verbose: bool = False,
    verdict: Callable[[Path], str] | None = None,
) -> bool:
    """Start, or go on with, the study in `folder` until every arm's budget is used.

    Args:
        folder: the study's.
        address: of the Ray cluster: "local", "auto" or host:port.
        only_teacher: train the teacher and nothing else.
        changes: of the study, made first.
        time_limit_s: seconds after which it stops as if asked to, ready to go on; None for no limit.
        verbose: show what trials print, which their log files have anyway.
        verdict: gives the verdict on the study in a folder, as text, for its trackers; None for not sending it one.

    Returns:
        Whether it came to its end; False where it was interrupted or an arm was given up.

    Raises:
        ValueError: no study there, another driver at work, a cluster that is too small, a teacher that does not fit, a
            change after which trials would not compare.
        HaltedError: the disk takes no more.
    """
    session.refuse_client(address)
    folder = folder.absolute()
    read_config(folder)
    requests = Requests(folder / REQUEST)
    drain = Drain(requests)
    if time_limit_s is not None:
        drain.limit(time_limit_s)
    with locked(folder), drain.listening():
        view = View({})
        config = _changed(changes, folder)
        for line in repair_journal(folder, study_directions(config)):
            view.say(f"warning: {line}")
        refuse_missing(config, folder)
        if changes.retry_failed:
            _retry_failed(config, folder, named_arms(config, changes.arms), view)
        _hold_dataset(config, folder, view, accept=changes.accept_data)
        if _settled(config, folder, view):
            return True
        _refuse_missing_trackers(config)
        requests.ask(Request.NONE)  # the last driver may have asked them to stop
        advice, local = f"go on with: kdstudy resume {folder}", address == "local"
        with _halting_on_full_disks(advice), session.connected(config.execution, address, say=view.say, advice=advice):
            # imported here because it imports Ray, which must read its settings first
            with session.signals_held():
                from study.execution.driver import Start, drive
            return drive(
                Start(
                    config=config,
                    folder=folder,
                    drain=drain,
                    requests=requests,
                    only_teacher=only_teacher,
                    local=local,
                    verbose=verbose,
                    verdict=None if only_teacher else verdict,
                )
            )


@contextmanager
def _halting_on_full_disks(advice: str) -> Iterator[None]:
    """Say of any file that finds no space how to go on; Tune and Ray write files of their own too."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise HaltedError(f"{write_fault(error)}; nothing is lost: free some space, then {advice}") from None


def _changed(changes: Changes, folder: Path) -> StudyConfig:
    config = read_config(folder)
    changed = changes.apply(config)
    if changed != config:
        rewrite_config(changed, folder)
    return changed


def _refuse_missing_trackers(config: StudyConfig) -> None:
    if faults := [finding.text for finding in check_trackers(config.execution.trackers)]:
        raise ConfigError(faults)


def _retry_failed(config: StudyConfig, folder: Path, names: tuple[str, ...], view: View) -> None:
    arms = _begun_arms(config, folder)
    again = {name: arm.retry_failed() for name, arm in arms.items() if name in (names or arms)}
    counts = ", ".join(f"{count} of {name}" for name, count in again.items() if count)
    view.say(f"failed trials to run again: {counts or 'none'}")
    full = [name for name in again if arms[name].finished and arms[name].count(TrialState.FAIL)]
    if full:
        view.say(f"the budget is used, which retries only fill: {', '.join(full)}; raise it with --trials or --set")


def _hold_dataset(config: StudyConfig, folder: Path, view: View, *, accept: bool) -> None:
    """Hold the dataset of a study that has begun against what its ledger has of it."""
    counts = status(config, folder)
    if not any(arm[state.name] for arm in counts.values() for state in TrialState):
        return  # the first start records it, with all its arms
    arms = _begun_arms(config, folder)
    try:
        found = dataset_of(config)
    except ValueError:
        if all(arm.finished for arm in arms.values()):  # nobody will read it again
            return
        raise
    if said := hold_dataset(config, folder, arms, found, accept=accept):
        view.say(said)


def _begun_arms(config: StudyConfig, folder: Path) -> dict[str, ArmLedger]:
    """The ledger of every arm; of the teacher's only where the study has begun to train one."""
    return open_arms(config, folder, with_teacher=TEACHER in status(config, folder))


def _settled(config: StudyConfig, folder: Path, view: View) -> bool:
    """Whether the ledger has nothing left to do; then the tables are made to say the same, without any cluster."""
    counts = status(config, folder)
    # an arm may have spent its budget before it had all its trials
    by_cost = {name for name in config.arms if config.budget_of(name) is not None}
    for name, arm in counts.items():
        ended = sum(arm[state] for state in DONE)
        if not ended or (ended < arm["budget"] and name not in by_cost):
            return False
    from study.execution.recording.image_groups import record_groups
    from study.execution.recording.study_tables import StudyTables, finish

    arms = _begun_arms(config, folder)
    if not all(arm.finished for arm in arms.values()):
        return False
    view.warn(finish(StudyTables(config, folder, arms), config, folder, arms))
    if wrong := record_groups(config, folder):
        view.say(f"warning: {wrong}")
    shutil.rmtree(folder / TUNE, ignore_errors=True)
    return True
