"""The loss scale: skipped steps are counted and reported, and a scale that falls for ever ends the trial."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.trainers import small
from tests.trainers.stops import AskedContext, asked_to_stop
from trainers import loop
from trainers.context import LocalContext
from trainers.distillation.loss_scale import LossScale
from trainers.loop import train
from trainers.worker import attempt

FLOAT16 = {"train/precision": "float16"}


def spoil(monkeypatch: pytest.MonkeyPatch, bad: Callable[[int], bool]) -> None:
    """Make the gradients of some steps, counted from 0, infinite."""
    placed, steps = loop._placed, iter(range(10_000))

    def hooked(distiller: nn.Module, *others: Any) -> nn.Module:
        model = placed(distiller, *others)  # type: ignore[arg-type]
        first = next(parameter for parameter in distiller.parameters() if parameter.requires_grad)
        first.register_hook(lambda gradient: gradient * float("inf") if bad(next(steps)) else gradient)
        return model

    monkeypatch.setattr(loop, "_placed", hooked)


def test_gradients_that_are_never_finite_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, lambda step: True)
    context = LocalContext(tmp_path)
    train(small.trial(FLOAT16), context)
    reported = [(report["train/skipped_steps"], report["train/loss_scale"]) for report in context.reports]
    assert reported == [(3, 65536 / 2**3), (3, 65536 / 2**6), (1, 65536 / 2**7)]


def test_skipped_steps_are_counted_over_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, lambda step: True)
    assert asked_to_stop(FLOAT16, AskedContext(tmp_path, 2)) == 2
    context = LocalContext(tmp_path)
    train(small.trial(FLOAT16), context)
    reported = [(report["train/skipped_steps"], report["train/loss_scale"]) for report in context.reports]
    assert reported == [(3, 65536 / 2**3), (3, 65536 / 2**6), (1, 65536 / 2**7)]


def test_they_end_the_trial_once_the_scale_is_too_low(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, lambda step: True)
    values = small.values({**FLOAT16, "train/iterations": 40, "train/evaluate_every": 40})
    outcome = attempt(values, LocalContext(tmp_path), 0)
    assert outcome["error"].startswith("DivergedError: gradients must be finite at a loss scale of 0.01 or more, but")
    assert "at iteration 22, and the scale fell to 0.0078125; lower train.optimizer.lr" in outcome["error"]


def test_a_normal_overflow_stays_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scaler begins with a high scale, and skips steps until it has found one."""
    spoil(monkeypatch, lambda step: step == 1)
    context = LocalContext(tmp_path)
    train(small.trial({**FLOAT16, "train/iterations": 12}), context)
    skipped = [report["train/skipped_steps"] for report in context.reports]
    assert 0 < sum(skipped) < 12 and skipped[-1] == 0
    assert context.reports[-1]["train/loss_scale"] == 65536 / 2 ** sum(skipped)


def test_other_precisions_have_no_scale(tmp_path: Path) -> None:
    context = LocalContext(tmp_path)
    train(small.trial({"train/iterations": 1}), context)
    assert not [name for name in context.reports[-1] if "scale" in name or "skipped" in name]


def test_a_scale_that_grows_is_no_skipped_step() -> None:
    weight = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    scaler = torch.amp.GradScaler("cpu", growth_interval=1)
    scale = LossScale(torch.device("cpu"))
    for iteration in range(3):
        optimizer.zero_grad()
        scaler.scale(weight.sum()).backward()
        scaler.step(optimizer)
        scale.update(scaler, iteration)
    assert scale.drain(scaler) == {"train/skipped_steps": 0, "train/loss_scale": 65536 * 8}
