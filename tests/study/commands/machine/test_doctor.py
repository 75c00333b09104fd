import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from study.__main__ import main
from trainers.doctor import examination
from trainers.doctor.checks import Check, Examination, Found, UnwellError


def fine() -> Found:
    return Found("loss 1.0", {"train/loss": 1.0})


def wrong() -> Found:
    raise UnwellError("losses must agree")


def some(*checks: Check) -> object:
    def given(of: Examination) -> Iterator[tuple[str, Check]]:
        yield from ((f"check {number}", check) for number, check in enumerate(checks))

    return given


def test_all_is_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(examination, "checks", some(fine))
    assert main(["doctor", "--quick"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "well   check 0: loss 1.0",
        "well: all 1 checks; kdstudy-doctor.json has versions, devices and figures",
    ]
    (check,) = json.loads((tmp_path / "kdstudy-doctor.json").read_text())["checks"]
    assert (check["name"], check["well"], check["figures"]) == ("check 0", True, {"train/loss": 1.0})


def test_a_fault_makes_the_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(examination, "checks", some(wrong, fine))
    assert main(["doctor", "--out", str(tmp_path / "found.json")]) == 1
    shown = capsys.readouterr().out
    assert "FAULT  check 0: losses must agree\n" in shown and "well   check 1: loss 1.0\n" in shown
    assert "faults: 1 of 2 checks;" in shown
    assert main(["doctor", "--json", "--out", str(tmp_path / "again.json")]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert [check["well"] for check in printed["checks"]] == [False, True]
    assert printed["versions"] == json.loads((tmp_path / "again.json").read_text())["versions"]
