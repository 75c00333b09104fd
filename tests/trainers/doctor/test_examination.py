import json
from pathlib import Path

import pytest
import torch

from trainers.doctor import cases, checks, examination
from trainers.doctor.checks import Examination, Found, UnwellError
from trainers.doctor.examination import Outcome
from trainers.doctor.steps import differences
from trainers.optim import sgd

CPU = torch.device("cpu")
ONLY = {"kd": cases.settings()["kd"]}


def outcomes(*named: str) -> dict[str, Outcome]:
    """Of these checks of an examination of the CPU, by name."""
    of = Examination(device=CPU, steps=cases.TINY, times=cases.TINY, settings=ONLY)
    wanted = [(name, check) for name, check in checks.checks(of) if name in named]
    return {outcome.name: outcome for outcome in examination.run_all(wanted, lambda _: None)}


def test_a_step_has_its_losses_in_every_precision() -> None:
    found = outcomes("step: kd, float32", "step: kd, bfloat16", "step: kd, float16")
    assert len(found) == 3 and all(outcome.well for outcome in found.values()), found
    losses = [outcome.figures["train/loss"] for outcome in found.values()]
    assert len(set(losses)) == 3 and losses == pytest.approx([losses[0]] * 3, rel=0.05)


def test_a_recorded_teacher_is_held_against_the_live_one() -> None:
    (found,) = outcomes("recorded teacher").values()
    assert found.well and found.figures.keys() == {"live_ms", "recorded_ms"}, found


def test_every_method_and_weighting_is_examined() -> None:
    of = Examination(device=CPU, steps=cases.TINY, times=cases.TINY)
    names = [name for name, _ in checks.checks(of)]
    for method in ("at", "cirkd", "cwd", "dsd", "fitnet", "idd", "ifvd", "kd", "skd", "no teacher", "ohem", "rdd, TSE"):
        assert {f"step: {method}, {precision}" for precision in ("float32", "bfloat16", "float16")} <= {*names}
    assert names[-3:] == ["two ranks", "recorded teacher", "step times"]


def test_losses_that_differ_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {"train/loss": 4.0, "train/term/kd/logits": 0.5, "train/term/task/main": 2.0}
    assert differences(expected, expected, 0.0) == []
    assert differences({**expected, "train/term/kd/logits": 0.53}, expected, 0.05) == []  # little of the whole loss
    assert differences({**expected, "train/loss": 4.3}, expected, 0.1) == []
    (line,) = differences({**expected, "train/loss": float("nan")}, expected, 0.1)
    assert line == "train/loss is nan, and 4 in float32 on the CPU"
    monkeypatch.setitem(checks.TOLERANCE, "bfloat16", 1e-9)
    monkeypatch.setattr("trainers.doctor.steps.LEAST", 0.0)
    (found,) = outcomes("step: kd, bfloat16").values()
    assert not found.well and found.text.startswith("losses must agree within 0%, but train/loss is ")


def test_a_fault_is_a_line_and_not_the_end() -> None:
    def breaks() -> Found:
        sgd([], lr=0.1)  # raises within PyTorch
        raise AssertionError

    def unwell() -> Found:
        raise UnwellError("a loss differs")

    said: list[Outcome] = []
    all_checks = [("one", breaks), ("two", unwell), ("three", lambda: Found("fine", {"ms": 1.0}))]
    found = examination.run_all(all_checks, said.append)
    assert found == said and [outcome.well for outcome in found] == [False, False, True]
    assert found[0].text.startswith("ValueError: optimizer got an empty parameter list at trainers/optim.py:")
    assert found[1].text == "a loss differs" and found[2].figures == {"ms": 1.0}


def test_what_is_written_tells_nothing_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/data/people/ada")
    monkeypatch.setattr("getpass.getuser", lambda: "ada")
    monkeypatch.chdir(tmp_path)
    text = examination.private(f"/data/people/ada/lib, {tmp_path}/here, /scratch/ada/there")
    assert text == "~/lib, ./here, /scratch/USER/there"
    written = examination.record([Outcome(name="one", well=True, text="fine")])
    assert json.loads(json.dumps(written)) == written and written.keys() == {"versions", "devices", "checks"}
    assert written["versions"]["torch"] == torch.__version__ and written["devices"]["cpus"] >= 1
