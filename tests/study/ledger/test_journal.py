"""The journal: whatever its lines have suffered, it is readable again, and what is lost is named."""

import json
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import TrialState

from study.configuration.config import StudyConfig
from study.ledger.journal import JOURNAL, Studies, repair, repair_journal
from study.ledger.ledger import open_arms, study_directions, trials_by_arm
from tests.study.ledger.test_ledger import end, opened, run_of, start

Reader = Callable[..., StudyConfig]


@pytest.fixture
def study(config: Reader, tmp_path: Path) -> StudyConfig:
    """With a journal of one trial that ended in each arm, and one that runs."""
    read = config()
    for arm in open_arms(read, tmp_path, with_teacher=True).values():
        for value in (20.0, None):
            if asked := arm.ask():
                arm.note(run_of(asked))
                arm.report(asked.number, 6, 10.0)
                if value:
                    end(arm, asked, value=value)
    return read


def names(study: StudyConfig) -> Studies:
    return study_directions(study)


def test_a_journal_is_readable_wherever_its_last_line_was_cut(study: StudyConfig, tmp_path: Path) -> None:
    journal = tmp_path / JOURNAL
    whole = journal.read_bytes()
    kept = whole[: whole[:-1].rfind(b"\n") + 1]
    assert repair_journal(tmp_path) == []
    for length in range(len(kept) + 1, len(whole)):
        journal.write_bytes(whole[:length])
        (said,) = repair_journal(tmp_path)
        assert f"({length - len(kept)} bytes)" in said
        assert journal.read_bytes() == kept
        assert (tmp_path / f"{JOURNAL}.torn").read_bytes() == whole[len(kept) : length]
    again = opened(study, tmp_path)
    assert again.complete()[0].value == 20.0
    assert start(again).number == 1
    json.loads(journal.read_bytes().splitlines()[-1])


def test_no_journal_needs_no_repair(tmp_path: Path) -> None:
    assert repair_journal(tmp_path) == []


GARBAGE = [b"\0\0\0\xff\n", b"{}\n", b"17\n", b'{"op_code":5,"worker_id":"a","trial_id":0}\n', b'{"op_code":4,"wor\n']


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_line_that_is_no_entry_is_passed_over_and_named(study: StudyConfig, tmp_path: Path, garbage: bytes) -> None:
    journal = tmp_path / JOURNAL
    before = trials_by_arm(study, tmp_path)
    lines = journal.read_bytes().splitlines(keepends=True)
    damaged = b"".join([*lines[:9], garbage, *lines[9:]])
    journal.write_bytes(damaged)
    assert trials_by_arm(study, tmp_path) == before, "a reader passes over it too"
    (said,) = repair_journal(tmp_path, names(study))
    assert "line 10 cannot be read" in said and f"{JOURNAL}.damaged" in said
    assert (tmp_path / f"{JOURNAL}.damaged").read_bytes() == damaged
    assert journal.read_bytes() == b"".join(lines)


def test_whichever_line_is_lost_no_other_trial_changes(study: StudyConfig, tmp_path: Path) -> None:
    """Creations too: a trial whose creation is lost keeps its number, and with it its values, run and row."""
    lines = (tmp_path / JOURNAL).read_bytes().splitlines(keepends=True)
    expected = {
        arm: [t.user_attrs.get("run") for t in trials] for arm, trials in trials_by_arm(study, tmp_path).items()
    }
    for place, lost in enumerate(lines):
        (tmp_path / JOURNAL).write_bytes(b"".join([*lines[:place], b"\xff\n", *lines[place + 1 :]]))
        found = trials_by_arm(study, tmp_path)
        runs = {arm: [trial.user_attrs.get("run") for trial in trials] for arm, trials in found.items()}
        different = [
            (arm, number)
            for arm, kept in expected.items()
            for number, run in enumerate(kept)
            if runs[arm][number : number + 1] != [run]
        ]
        operation = json.loads(lost)
        assert len(different) <= ("run" in operation.get("user_attr", {})), operation
        assert sum(map(len, runs.values())) == sum(map(len, expected.values()))


def test_a_study_whose_creation_is_lost_has_its_name_from_what_follows(study: StudyConfig, tmp_path: Path) -> None:
    lines = (tmp_path / JOURNAL).read_bytes().splitlines(keepends=True)
    lines[0] = b"torn\n"
    mended = repair(b"".join(lines), {})
    assert mended.unreadable == [1]
    # no name is known, but the entries that follow name the arm
    assert json.loads(mended.content.splitlines()[0])["study_name"] == "teacher"


def test_a_dead_drivers_lock_of_the_journal_is_not_waited_for(study: StudyConfig, tmp_path: Path) -> None:
    lock = tmp_path / f"{JOURNAL}.lock"
    lock.symlink_to(tmp_path / JOURNAL)
    assert repair_journal(tmp_path) == []
    assert not lock.is_symlink()
    start(opened(study, tmp_path))
    assert opened(study, tmp_path).count(TrialState.RUNNING) == 1


def test_a_line_that_did_not_fit_leaves_no_half_of_it(study: StudyConfig, tmp_path: Path) -> None:
    """Files may grow by so much and no further, as on a disk that becomes full in the middle of a line."""
    journal = tmp_path / JOURNAL
    whole = journal.read_bytes()
    arm = open_arms(study, tmp_path, with_teacher=True)["rdd"]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handled = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(journal.read_bytes()) + 20, before[1]))
    try:
        with pytest.raises(OSError, match=JOURNAL):
            arm.ask()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handled)
    assert journal.read_bytes().startswith(whole) and repair_journal(tmp_path, names(study)) == []
    assert open_arms(study, tmp_path, with_teacher=True)["rdd"].ask() is not None
