"""What another program deletes from the ledger is refused by name, by a driver at work and by the next one."""

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from study.__main__ import main
from study.configuration.config import StudyConfig
from study.execution import runner, stopping
from study.execution.recording import recorder
from study.folder import create_study
from study.ledger.deletion import DeletedArmError
from study.ledger.journal import JOURNAL, repair_journal
from study.ledger.ledger import open_arms, status
from study.ledger.presence import refuse_missing
from tests.study.execution.recording.test_recorder import Driver

Reader = Callable[..., StudyConfig]


@pytest.fixture
def driver(config: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """Of a study with two trials of the baseline that ended and one that runs."""
    monkeypatch.setattr(recorder, "release", lambda _: None)
    study = config(arms={name: {"trials": 3, "space": "optimizer"} for name in ("baseline", "other")})
    create_study(study, tmp_path / "run")
    driver = Driver(study, tmp_path / "run")
    for trial in [driver.start() for _ in range(4)]:
        driver.result(trial, final=True)
        driver.recorder.on_trial_complete(0, [], trial)
    return driver


def delete(folder: Path, name: str) -> None:
    """What the button of optuna-dashboard does."""
    optuna.delete_study(study_name=name, storage=JournalStorage(JournalFileBackend(str(folder / JOURNAL))))


def test_a_deleted_arm_is_refused_by_name_until_its_line_is_taken_out(
    driver: Driver, capsys: pytest.CaptureFixture[str]
) -> None:
    driver.tables.close()
    before = status(driver.config, driver.folder)
    lines = (driver.folder / JOURNAL).read_bytes().splitlines(keepends=True)
    delete(driver.folder, "tiny/other")
    for command in ("resume", "status"):
        assert main([command, str(driver.folder)]) == 2
        said = capsys.readouterr().err
        assert f"line {len(lines) + 1} of {JOURNAL} deletes tiny/other" in said and "Traceback" not in said
    after = (driver.folder / JOURNAL).read_bytes().splitlines(keepends=True)
    (driver.folder / JOURNAL).write_bytes(b"".join(after[: len(lines)] + after[len(lines) + 1 :]))
    assert status(driver.config, driver.folder) == before
    refuse_missing(driver.config, driver.folder)


def test_a_driver_at_work_comes_to_a_halt_and_writes_nothing_more(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping.Drain, "end", staticmethod(lambda: None))
    trial = driver.start()
    delete(driver.folder, "tiny/baseline")
    driver.result(trial, final=True)
    driver.recorder.on_trial_complete(0, [], trial)
    assert driver.drain.fault is not None and "deletes tiny/baseline" in driver.drain.fault
    assert driver.drain.remedy == "mend the ledger" and len(driver.rows("trials")) == 4
    assert driver.searcher.suggest("any") == "FINISHED"


def test_a_trial_that_the_tables_have_and_the_ledger_lacks_is_named(driver: Driver) -> None:
    driver.tables.close()
    refuse_missing(driver.config, driver.folder)
    journal = driver.folder / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    created = [place for place, line in enumerate(lines) if b'"op_code":4' in line]
    journal.write_bytes(b"".join(lines[: created[1]]))  # a copy from before the second trial was enqueued
    with pytest.raises(ValueError, match=rf"it lacks baseline 1, the whole arm other .*; put {JOURNAL} of .* back"):
        refuse_missing(driver.config, driver.folder)
    journal.unlink()
    law = r"the whole arm baseline \(2 trials\), the whole arm other \(2 trials\)"
    with pytest.raises(ValueError, match=law):
        runner.resume(driver.folder)


def test_an_arm_deleted_and_made_again_is_still_refused(config: Reader, tmp_path: Path) -> None:
    study = config()
    open_arms(study, tmp_path, with_teacher=False)
    delete(tmp_path, "tiny/rdd")
    optuna.create_study(study_name="tiny/rdd", storage=JournalStorage(JournalFileBackend(str(tmp_path / JOURNAL))))
    assert repair_journal(tmp_path) == []
    for _ in range(2):
        with pytest.raises(DeletedArmError, match="deletes tiny/rdd"):
            open_arms(study, tmp_path, with_teacher=False)
