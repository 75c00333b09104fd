"""Trials measured side by side, with processes that only pretend, and one that is real."""

from collections.abc import Callable, Iterator
from typing import ClassVar, Self

import pytest

from study.configuration.config import StudyConfig
from study.configuration.prices import priced_trial
from study.execution.planning.measurement import Measurement, largest_batch
from study.execution.planning.processes import Placement, TrialFaultError, TrialProcess
from trainers.config import TrialConfig
from trainers.costs.trial import TrialMemory, TrialTimes

PLACE = Placement(host_mib=1000)
MEMORY = TrialMemory(peak_mib=300, host_mib=300, reserved_mib=0, checkpoint_bytes=10)


class Pretended:
    """A process whose trial's batch decides what it does."""

    lives: ClassVar[int] = 0
    most: ClassVar[int] = 0
    import_s = 1.5

    def __init__(self, placement: Placement) -> None:
        self._batch, self._begun = 0, False

    def __enter__(self) -> Self:
        Pretended.lives += 1
        Pretended.most = max(Pretended.most, Pretended.lives)
        return self

    def __exit__(self, *_: object) -> None:
        Pretended.lives -= 1

    def memory(self, trial: TrialConfig) -> TrialMemory:
        self._batch = trial.train.batch
        if self._batch == 13:
            raise TrialFaultError("ValueError: thirteen")
        return MEMORY

    def begin(self) -> None:
        self._begun = True

    def times(self) -> TrialTimes:
        assert self._begun
        if self._batch == 14:
            raise TrialFaultError("ValueError: fourteen")
        return TrialTimes(step_s=Pretended.lives, teacher_s=0.0, evaluation_s=1.0, start_s=1.0, steps=5)


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("study.execution.planning.measurement.TrialProcess", Pretended)
    Pretended.lives = Pretended.most = 0
    yield
    assert Pretended.lives == 0


Config = Callable[..., StudyConfig]


def trials(config: Config, **batches: int) -> dict[str, TrialConfig]:
    return {name: priced_trial(config(train__batch=batch), "baseline", {}) for name, batch in batches.items()}


@pytest.mark.usefixtures("pretended")
def test_trials_are_timed_beside_as_many_as_run_at_a_time(config: Config) -> None:
    said: list[str] = []
    measurement = Measurement([PLACE, PLACE], said.append)
    found = measurement.measure(trials(config, a=4, b=6, c=8))
    assert {name: one.times.step_s for name, one in found.items()} == {"a": 2, "b": 2, "c": 2}
    assert found["a"].times.steps == 10, "the odd place is taken by the first again"
    assert measurement.import_s == 1.5
    assert any("a, b" in line for line in said) and any("c, a" in line for line in said)


@pytest.mark.usefixtures("pretended")
def test_no_more_at_a_time_than_the_memory_takes(config: Config) -> None:
    assert Measurement([PLACE] * 8, lambda _: None).measure(trials(config, a=4))["a"].times.step_s == 3
    assert Pretended.most == 3


@pytest.mark.usefixtures("pretended")
def test_an_arm_that_fails_is_named_and_the_others_go_on(config: Config) -> None:
    measurement = Measurement([PLACE, PLACE], lambda _: None)
    found = measurement.measure(trials(config, early=13, late=14, sound=4))
    assert set(found) == {"sound"}
    assert {name: str(fault) for name, fault in measurement.faults.items()} == {
        "early": "ValueError: thirteen",
        "late": "ValueError: fourteen",
    }


@pytest.mark.parametrize(("limit", "fits"), [(500, 20), (300, 10), (250, 7), (150, 2), (119, None), (10_000, 63)])
def test_the_largest_batch_by_a_straight_line(limit: float, fits: int | None) -> None:
    def memory(batch: int) -> float:
        if (taken := 100 + 20 * batch) > max(limit, 460):
            raise TrialFaultError("out of memory", "GPU")
        return taken

    found = largest_batch(64, memory, limit)
    assert found == (fits if limit >= 140 else None)


def test_a_batch_that_nothing_else_explains_is_not_sought() -> None:
    def broken(_: int) -> float:
        raise TrialFaultError("ValueError: no images")

    assert largest_batch(64, broken, 1000) is None


def test_a_real_process_says_what_a_trial_takes_and_one_that_takes_too_much_is_ended(config: Config) -> None:
    trial = priced_trial(config(), "baseline", {})
    with TrialProcess(Placement(host_mib=100_000)) as process:
        memory = process.memory(trial)
        process.begin()
        times = process.times()
        folder = process.folder
    assert not folder.exists()
    assert 200 < memory.host_mib < 5000
    assert memory.checkpoint_bytes > 10_000
    assert 0 < times.step_s < times.step_s * times.steps
    with TrialProcess(Placement(host_mib=100_000)) as process:
        assert process.steps({"one": trial}, None, {})["one"] > 0
    with TrialProcess(Placement(host_mib=1)) as process:
        with pytest.raises(TrialFaultError, match="more than 1 MiB") as fault:
            process.memory(trial)
        assert fault.value.lacks == "host"


def test_a_process_that_ends_is_named(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.execution.planning.processes.START", "import os; os.write(2, b'why'); os._exit(3)")
    with TrialProcess(PLACE) as process, pytest.raises(TrialFaultError, match="ended with code 3: why"):
        process.memory(priced_trial(config(), "baseline", {}))
