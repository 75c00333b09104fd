"""Reports wait for their checkpoints, keep their order, and surface what kept a checkpoint from being written."""

import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from trainers.checkpoints.folder import WRITING
from trainers.checkpoints.manifest import READERS, fault
from trainers.context import LocalContext, Metrics
from trainers.reports import AGREED_EVERY, Reports

FILES = {name: name.encode() for name in READERS}


def metrics(iteration: int) -> Metrics:
    return {"iteration": iteration, "best/iteration": iteration}


class StrictContext(LocalContext):
    """Takes only checkpoints that are whole, from the thread that trains."""

    def write(self, metrics: Metrics, files: Mapping[str, bytes]) -> None:
        assert threading.current_thread() is not threading.main_thread() and not self.rank
        super().write(metrics, files)

    def report(self, metrics: Metrics) -> None:
        assert threading.current_thread() is threading.main_thread()
        assert self.rank or fault(self.folder / WRITING) is None
        super().report(metrics)

    @property
    def told(self) -> list[int]:
        return [int(report["iteration"]) for report in self.reports]


class SlowContext(StrictContext):
    """Writes when it is let."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.free, self.done = threading.Event(), threading.Event()

    def write(self, metrics: Metrics, files: Mapping[str, bytes]) -> None:
        assert self.free.wait(30)
        super().write(metrics, files)
        self.done.set()


class FullContext(StrictContext):
    def write(self, metrics: Metrics, files: Mapping[str, bytes]) -> None:
        raise ValueError("the disk is full")


def test_a_report_comes_once_its_checkpoint_is_written(tmp_path: Path) -> None:
    context = SlowContext(tmp_path)
    with Reports(context) as reports:
        reports.begin(metrics(3), FILES)
        for iteration in (4, 5):
            reports.advance(iteration)
        assert context.told == []
        context.free.set()
        assert context.done.wait(30)
        reports._writer.submit(int).result()  # the thread is through with the writing
        reports.advance(6)
        assert context.told == [3]
        reports.begin(metrics(6), FILES)
        reports.begin(metrics(9), FILES)
    assert context.told == [3, 6, 9]
    assert not (tmp_path / WRITING).exists()


def test_several_ranks_report_at_the_same_step(tmp_path: Path) -> None:
    for rank, files in ((0, FILES), (1, None)):
        context = StrictContext(tmp_path, rank=rank, world_size=2)
        with Reports(context) as reports:
            reports.begin(metrics(3), files)
            reports._writer.submit(int).result()
            steps = [iteration for iteration in range(4, 30) if (reports.advance(iteration), context.told)[1]]
        assert steps[0] == AGREED_EVERY


@pytest.mark.parametrize("then", ["advance", "finish", "begin", "end"])
def test_what_kept_a_checkpoint_from_being_written_ends_the_training(tmp_path: Path, then: str) -> None:
    context = FullContext(tmp_path)

    def training() -> None:
        with Reports(context) as reports:
            reports.begin(metrics(3), FILES)
            reports._writer.submit(int).result()
            if then == "advance":
                reports.advance(4)
            elif then == "finish":
                reports.finish()
            elif then == "begin":
                reports.begin(metrics(6), FILES)
            assert then == "end", "went on"

    with pytest.raises(ValueError, match="the disk is full"):
        training()
    assert context.told == [] and context.checkpoints() == []


def test_what_waits_when_the_training_fails_is_dropped(tmp_path: Path) -> None:
    context = StrictContext(tmp_path)

    def training() -> None:
        with Reports(context) as reports:
            reports.begin(metrics(3), FILES)
            raise RuntimeError("elsewhere")

    with pytest.raises(RuntimeError, match="elsewhere"):
        training()
    assert context.told == []
    assert list(tmp_path.iterdir()) == []
