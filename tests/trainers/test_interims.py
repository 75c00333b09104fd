"""Checkpoints between evaluations: what goes on from one comes to the same bits, and its next report says the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.trainers import small
from tests.trainers.checkpoints.test_folder import full_at
from tests.trainers.stops import AskedContext, StoppedError, asked_to_stop, ending, equal, reproducible
from trainers import optim
from trainers.checkpoint import TrainState
from trainers.checkpoints.interval import Interval
from trainers.checkpoints.requests import Request, Requests
from trainers.context import LocalContext
from trainers.loop import train
from trainers.reports import AGREED_EVERY, Interims
from trainers.worker import InlineContext, attempt

KINDS: dict[str, dict[str, Any]] = {
    "distilled": {**small.DISTILLED, "train/probe_every": 1},
    "adversarial": {**small.DISTILLED, "methods": {"skd": {"discriminator": {"loss": "hinge"}}}},
}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return {"teacher/path": str(small.teacher_file(tmp_path_factory.mktemp("teacher") / "teacher.safetensors"))}


@pytest.fixture(scope="module")
def undisturbed(teacher: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, LocalContext]:
    """Trials of 7 iterations, evaluated at 3, 6 and 7, by kind."""
    found = {}
    for name, changes in KINDS.items():
        found[name] = LocalContext(tmp_path_factory.mktemp(name))
        train(small.trial(changes | teacher), found[name])
    return found


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The iterations at which a step begins."""
    begun: list[int] = []
    poly_rate = optim.poly_rate

    def noted(config: Any, iteration: int, iterations: int) -> float:
        begun.append(iteration)
        return poly_rate(config, iteration, iterations)

    monkeypatch.setattr(optim, "poly_rate", noted)
    return begun


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# it is asked after every step but those of evaluations
@pytest.mark.parametrize(("kind", "after", "at"), [
    ("distilled", 1, 1), ("distilled", 2, 2), ("distilled", 3, 4), ("distilled", 4, 5), ("adversarial", 4, 5),
])  # fmt: skip
def test_a_stop_at_any_iteration_is_gone_on_from_with_the_same_bits(
    tmp_path: Path, undisturbed: dict[str, LocalContext], teacher: dict[str, Any], steps: list[int],
    kind: str, after: int, at: int,
) -> None:  # fmt: skip
    changes, expected = KINDS[kind] | teacher, undisturbed[kind]
    first = AskedContext(tmp_path, after)
    assert asked_to_stop(changes, first) == at
    assert names(tmp_path)[-1] == f"interim_{at:09d}"
    steps.clear()
    again = LocalContext(tmp_path)
    train(small.trial(changes), again)
    assert steps[0] == at
    assert equal(ending(tmp_path), ending(expected.folder))
    assert list(map(reproducible, first.reports + again.reports)) == list(map(reproducible, expected.reports))
    assert not any(name.startswith("interim") for name in names(tmp_path))


def lacking(name: str, state: TrainState, load: Callable[[], None]) -> None:
    state.running = {other: running for other, running in state.running.items() if other != name}
    load()


@pytest.mark.parametrize("name", ["objective", "class_shares", "gradients"])
def test_no_sum_can_be_spared(
    tmp_path: Path, undisturbed: dict[str, LocalContext], teacher: dict[str, Any], monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:  # fmt: skip
    changes = KINDS["distilled"] | teacher
    asked_to_stop(changes, AskedContext(tmp_path, 2))
    load = TrainState.load
    monkeypatch.setattr(TrainState, "load", lambda state, *a, **o: lacking(name, state, lambda: load(state, *a, **o)))
    again = LocalContext(tmp_path)
    train(small.trial(changes), again)
    assert equal(ending(tmp_path), ending(undisturbed["distilled"].folder))
    assert reproducible(again.reports[0]) != reproducible(undisturbed["distilled"].reports[0])


def test_times_and_the_peak_are_those_of_all_attempts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.loop.peak_mib", lambda device: 5000.0)
    asked_to_stop({}, AskedContext(tmp_path, 2))
    monkeypatch.setattr("trainers.loop.peak_mib", lambda device: 4000.0)
    load = TrainState.load

    def slower(state: TrainState, *arguments: Any, **options: Any) -> None:
        load(state, *arguments, **options)
        assert 0 < state.step_seconds <= state.seconds
        state.step_seconds, state.seconds = 3000.0, 4000.0

    monkeypatch.setattr(TrainState, "load", slower)
    again = LocalContext(tmp_path)
    train(small.trial(), again)
    first, second, _ = again.reports
    assert first["memory/peak_mib"] == second["memory/peak_mib"] == 5000.0
    assert 1e6 <= float(first["time/step_ms"]) < 1.1e6 and float(second["time/step_ms"]) < 1e5
    assert 4000 < float(first["time/trial_seconds"]) < float(second["time/trial_seconds"]) < 5000


def test_a_killed_trial_goes_on_from_the_last_checkpoint_between_evaluations(
    tmp_path: Path, undisturbed: dict[str, LocalContext], teacher: dict[str, Any], steps: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    changes, every = small.trial(KINDS["distilled"] | teacher), Interval(iterations=2)
    set_rate = optim.set_rate

    def dying(optimizer: Any, rate: float) -> None:
        if steps[-1] == 5:
            raise StoppedError
        set_rate(optimizer, rate)

    with monkeypatch.context() as patch:
        patch.setattr(optim, "set_rate", dying)
        with pytest.raises(StoppedError):
            train(changes, LocalContext(tmp_path), checkpoint_every=every)
    steps.clear()
    train(changes, LocalContext(tmp_path), checkpoint_every=every)
    assert steps[0] == 4
    assert equal(ending(tmp_path), ending(undisturbed["distilled"].folder))


def test_a_request_for_a_checkpoint_does_not_end_the_trial(
    tmp_path: Path, undisturbed: dict[str, LocalContext], teacher: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    write = LocalContext.write_interim

    def noted(context: LocalContext, iteration: int, files: Any) -> None:
        write(context, iteration, files)
        written.append(iteration)

    monkeypatch.setattr(LocalContext, "write_interim", noted)
    context = AskedContext(tmp_path, 3, Request.CHECKPOINT)
    train(small.trial(KINDS["distilled"] | teacher), context)
    assert written == [4]
    assert equal(ending(tmp_path), ending(undisturbed["distilled"].folder))
    assert list(map(reproducible, context.reports)) == list(map(reproducible, undisturbed["distilled"].reports))


def test_a_full_disk_fails_the_trial_and_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_to_stop({}, AskedContext(tmp_path, 1))
    full_at(monkeypatch, "state.pt")
    outcome = attempt(small.values(), LocalContext(tmp_path), 0, checkpoint_every=Interval(iterations=2))
    assert outcome["error"].startswith("FullDiskError: a checkpoint of ")
    assert names(tmp_path) == ["interim_000000001"]


def test_an_attempt_that_is_stopped_says_where(tmp_path: Path) -> None:
    requests = tmp_path / "request"
    Requests(requests).ask(Request.STOP)
    reports: list[dict[str, Any]] = []
    context = InlineContext(tmp_path / "trial", reports.append, requests=requests)
    assert attempt(small.values(), context, 0) == {"stopped": True, "iteration": 1}
    assert reports == []


def test_a_request_is_seen_once_by_each_and_anew_when_it_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "request"
    asking, one, other = Requests(path), Requests(path), Requests(path)
    assert one.look() is Request.NONE
    for request in (Request.NONE, Request.CHECKPOINT, Request.CHECKPOINT, Request.STOP):
        asking.ask(request)
        assert [one.look(), one.look(), other.look()] == [request, Request.NONE, request]
    path.write_text("CHECK")  # half of it
    assert one.look() is Request.NONE
    path.write_text("CHECKPOINT 7\n")
    assert one.look() is Request.CHECKPOINT
    for damaged in (b"SUOP 7\n", b"\n", b"ST\xffP 7\n"):
        path.write_bytes(damaged)
        assert one.look() is Request.NONE


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, Interval()), (500, Interval(iterations=500)), ("90 s", Interval(seconds=90)),
        ("10 min", Interval(seconds=600)), ("10min", Interval(seconds=600)), ("1.5 h", Interval(seconds=5400)),
    ],
)  # fmt: skip
def test_an_interval_is_iterations_or_a_time(value: Any, expected: Interval) -> None:
    assert Interval.read(value) == expected


@pytest.mark.parametrize("value", [0, -1, True, 2.5, "0 min", "10", "10 minutes", "min", "-1 h", ""])
def test_what_is_no_interval_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="must be iterations or a time above 0, such as 500 or '10 min'"):
        Interval.read(value)


def due(context: LocalContext, interval: Interval, times: list[float]) -> list[int]:
    """The iterations, from 1, after which a checkpoint is due, by a clock with these times."""
    now = [0.0]
    interims = Interims(context, interval, clock=lambda: now[0])
    found = []
    for iteration, at in enumerate(times, start=1):
        now[0] = at
        if interims.due(iteration):
            found.append(iteration)
            interims.restart()
    return found


def test_checkpoints_are_due_by_count_or_by_the_time_since_the_last(tmp_path: Path) -> None:
    context = LocalContext(tmp_path)
    assert due(context, Interval(), [9e9] * 5) == []
    assert due(context, Interval(iterations=3), [0.0] * 10) == [3, 6, 9]
    assert due(context, Interval(seconds=10), [3, 9.9, 12, 21, 22, 33]) == [3, 5, 6]


def test_gpus_of_several_ranks_are_asked_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr("trainers.reports.from_first", lambda value, device: value)
    context = AskedContext(tmp_path, 2, world_size=2, device=torch.device("cuda"))
    assert due(context, Interval(iterations=7), [0.0] * 30) == [7, 14, 2 * AGREED_EVERY, 21, 28]
