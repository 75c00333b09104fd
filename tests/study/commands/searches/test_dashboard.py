"""`kdstudy dashboard`: optuna-dashboard sees a copy that follows the journal, and cannot harm the study's own."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.study import StudyDirection

from study.__main__ import main
from study.commands.searches import dashboard
from study.configuration.config import StudyConfig
from study.folder import create_study
from study.ledger.following import FollowingCopy
from study.ledger.journal import JOURNAL, repair_journal
from study.ledger.ledger import ArmLedger, open_arms, status
from tests.study.ledger.test_ledger import end, start

Reader = Callable[..., StudyConfig]


@pytest.fixture
def folder(config: Reader, tmp_path: Path) -> Path:
    create_study(config(), tmp_path / "run")
    return tmp_path / "run"


def ledger(config: Reader, folder: Path) -> ArmLedger:
    return open_arms(config(), folder, with_teacher=False)["rdd"]


def test_what_is_shown_follows_the_journal_and_harms_nothing(
    config: Reader, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm = ledger(config, folder)
    end(arm, start(arm), value=20.0)
    served: dict[str, Any] = {}

    def run_server(storage: Any, **options: Any) -> None:
        served.update(options)
        shown = optuna.load_study(study_name="tiny/rdd", storage=storage)
        assert shown.metric_names == ["mIoU %"] and shown.best_value == 20.0
        end(arm, start(arm), value=30.0)
        deadline = time.monotonic() + 300
        while shown.best_value != 30.0:
            assert time.monotonic() < deadline, "what the journal gained did not come"
            time.sleep(0.01)
        optuna.delete_study(study_name="tiny/rdd", storage=storage)

    monkeypatch.setitem(sys.modules, "optuna_dashboard", SimpleNamespace(run_server=run_server))
    monkeypatch.setattr(dashboard, "EVERY_S", 0.01)
    assert main(["dashboard", str(folder), "--port", "8099"]) == 0
    assert served == {"host": "localhost", "port": 8099}
    assert status(config(), folder)["rdd"]["COMPLETE"] == 2
    assert b"metric_names" not in (folder / JOURNAL).read_bytes()


def test_without_optuna_dashboard_the_way_to_it_is_said(
    config: Reader, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dashboard", str(folder)]) == 2
    assert "must have begun" in capsys.readouterr().err
    ledger(config, folder)
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    assert main(["dashboard", str(folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'kdstudy[dashboard]'" in line


def test_a_database_is_not_followed(config: Reader, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create_study(config(storage=f"sqlite:///{tmp_path}/ledger.db"), tmp_path / "run")
    assert main(["dashboard", str(tmp_path / "run")]) == 2
    assert "an account that may only read" in capsys.readouterr().err


def test_only_whole_lines_are_copied_and_a_journal_that_was_replaced_is_no_longer_followed(
    config: Reader, folder: Path, tmp_path: Path
) -> None:
    ledger(config, folder)
    journal = folder / JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code":4,"wor')
    copy = FollowingCopy(folder, tmp_path / "copy", {"tiny/rdd": [StudyDirection.MAXIMIZE]})
    copy.follow()
    assert (tmp_path / "copy").read_bytes() == whole
    repair_journal(folder)
    copy.follow()
    assert (tmp_path / "copy").read_bytes() == whole
    journal.rename(folder / "former")
    journal.write_bytes(whole)
    with pytest.raises(ValueError, match="was replaced, and is no longer followed"):
        copy.follow()
