"""What a trial says of itself between evaluations: when, at what speed, and at no wait for the device."""

from pathlib import Path

import pytest

from tests.trainers import small
from trainers.loop import CHECK_EVERY, train
from trainers.resources import progress
from trainers.resources.progress import Progress, ProgressNotes
from trainers.worker import RayContext


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_note_is_left_once_a_second_with_the_speed_of_the_steps_alone() -> None:
    said: list[Progress] = []
    clock = Clock()
    notes = ProgressNotes(said.append, 10, seconds=5.0, clock=clock)
    for iteration in range(11, 16):
        clock.now += 0.25
        notes.advance(iteration, lambda: 0.5)
    assert said == [Progress(iteration=14, seconds=6.0, steps_per_s=4.0, loss=0.5)]
    clock.now += 60  # an evaluation
    notes.restart(15)
    for iteration in range(16, 18):
        clock.now += 0.5
        notes.advance(iteration, None)
    assert said[1:] == [Progress(iteration=17, seconds=67.25, steps_per_s=2.0, loss=0.5)], "no loss was to be had"


def test_the_loss_is_looked_at_once_a_second() -> None:
    looked: list[float] = []
    clock = Clock()
    notes = ProgressNotes(lambda _: None, 0, clock=clock)
    for iteration in range(1, 31):
        clock.now += 0.125
        notes.advance(iteration, lambda: looked.append(clock.now))
    assert len(looked) == 4


def test_a_trial_says_how_far_it_is_to_whoever_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    said: list[Progress] = []
    context = RayContext(tmp_path)
    write = context.show_progress
    monkeypatch.setattr(context, "show_progress", lambda note: (said.append(note), write(note)))
    train(small.trial(), context)
    assert [note.iteration for note in said] == list(range(1, 8))
    assert all(note.loss and note.steps_per_s > 0 for note in said)
    # after the evaluations at 3 and 6 the mean begins anew
    assert [round(said[i - 1].loss or 0, 5) for i in (3, 6, 7)] == [
        round(float(report["train/loss"]), 5) for report in context.reports
    ]
    assert Progress.read(tmp_path) == said[-1]


def test_on_a_gpu_the_loss_waits_for_a_step_at_which_the_host_has_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from trainers import loop

    given: list[bool] = []
    notes = SimpleNamespace(advance=lambda iteration, loss: given.append(loss is not None))
    parts = SimpleNamespace(
        context=SimpleNamespace(rank=0, device=SimpleNamespace(type="cuda")),
        objective=SimpleNamespace(mean_loss=lambda: 1.0),
    )
    for iteration in range(1, 2 * CHECK_EVERY + 1):
        loop._note(parts, iteration, notes)  # type: ignore[arg-type]
    assert [i + 1 for i, looked in enumerate(given) if looked] == [CHECK_EVERY, 2 * CHECK_EVERY]
    parts.context.rank = 1
    loop._note(parts, CHECK_EVERY, notes)  # type: ignore[arg-type]
    assert len(given) == 2 * CHECK_EVERY, "one rank is enough"


def test_a_disk_that_takes_nothing_and_a_note_that_is_none_end_no_trial(tmp_path: Path) -> None:
    note = Progress(iteration=1, seconds=1.0, steps_per_s=1.0)
    note.write(tmp_path / "gone")
    assert Progress.read(tmp_path / "gone") is None
    for content in ("", "{}\n", "[1]\n", '{"iteration": 3', '{"later": 1}\n'):
        (tmp_path / progress.NOTE).write_text(content)
        assert Progress.read(tmp_path) is None
    note.write(tmp_path)
    assert Progress.read(tmp_path) == note
