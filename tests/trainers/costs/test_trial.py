"""A few steps of a real trial: which they are, what counts, and that the figures are the trial's own."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from tests.trainers.costs.test_step import trial
from trainers import loop
from trainers.checkpoints.places import checkpoints_at
from trainers.config import TrialConfig
from trainers.context import LocalContext
from trainers.costs import trial as costs
from trainers.costs.trial import STEPS, WARM_UP, TrialMemory, measure


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "STEPS_S", 0.0)
    monkeypatch.setattr(costs, "EVALUATIONS_S", 0.0)


def small(**train: object) -> TrialConfig:
    config = trial(**train)  # type: ignore[arg-type]
    return replace(config, data=replace(config.data, train_images=8, val_images=3))


def test_steps_are_spread_over_the_trial_and_its_ends_come_before_any_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    begun_after: list[int] = []

    def step(parts: loop.StepParts, state: loop.TrainState, *batch: torch.Tensor) -> None:
        seen.append(state.iteration)
        loop.step(parts, state, *batch)

    monkeypatch.setattr(costs, "step", step)
    times = measure(small(iterations=100), LocalContext(tmp_path), begin=lambda _: begun_after.append(len(seen)))
    assert begun_after == [WARM_UP]
    assert {seen[0], seen[1]} == {0, 99}
    counted = seen[WARM_UP:]
    assert times.steps == len(counted) == STEPS
    assert len(set(counted)) == STEPS and max(counted) - min(counted) > 50
    thirds = {iteration * 3 // 100 for iteration in counted}
    assert thirds == {0, 1, 2}, "so that every stage has its share"


def test_a_checkpoint_is_as_large_as_a_trials(tmp_path: Path) -> None:
    found: list[TrialMemory] = []
    config = small(iterations=4, evaluate_every=4)
    times = measure(config, LocalContext(tmp_path / "measured"), begin=found.append)
    (tmp_path / "trained").mkdir()
    loop.train(config, LocalContext(tmp_path / "trained"))
    last = Path(checkpoints_at(str(tmp_path / "trained")).all()[-1])
    really = sum(file.stat().st_size for file in last.iterdir())
    assert found[0].checkpoint_bytes == pytest.approx(really, rel=0.05)
    assert found[0].host_mib == found[0].peak_mib > 0
    assert found[0].reserved_mib == 0
    assert times.step_s > 0 and times.evaluation_s > 0 and times.start_s > 0
    assert times.teacher_s == 0


def test_the_teachers_part_of_a_step_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Teacher:
        channels: ClassVar = {"logits": 11}

        def outputs(self, images: torch.Tensor, dtype: torch.dtype, *, iteration: int) -> dict[str, torch.Tensor]:
            clock[0] += 2.0
            return {}

    clock = [0.0]
    monkeypatch.setattr(costs.time, "perf_counter", lambda: clock[0])
    timed = costs._TimedTeacher(Teacher(), torch.device("cpu"))
    assert timed.outputs(torch.empty(0), torch.float32, iteration=0) == {}
    timed.outputs(torch.empty(0), torch.float32, iteration=1)
    assert timed.seconds == 4.0
    assert timed.channels == {"logits": 11}


def test_an_evaluation_of_a_few_images_stands_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small(iterations=4)
    many = replace(config, data=replace(config.data, val_images=24))
    monkeypatch.setattr(costs, "_timed", lambda act: (act(), 1.0)[1])
    times = measure(many, LocalContext(tmp_path))
    assert times.evaluation_s == pytest.approx(24 / 8 + 1), "three times the eight images, and a checkpoint"
