"""Waiting for loaders: what is counted, and what is advised."""

from collections.abc import Iterator

import pytest

from trainers.resources.waiting import Waiting, lack_of_loaders


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_making_of_items_is_counted_and_not_their_use() -> None:
    clock = Clock()

    def made() -> Iterator[int]:
        for item, seconds in enumerate((100.0, 3.0, 5.0)):
            clock.now += seconds
            yield item

    waiting, found = Waiting(clock), []
    for item in waiting.of(made()):
        found.append(item)
        clock.now += 1000
    assert found == [0, 1, 2]
    assert waiting.drain() == pytest.approx(1000 * (3 + 5) / 3)  # the first waits for the loaders to start
    assert waiting.drain() == 0


@pytest.mark.parametrize(
    ("loaders", "step_ms", "waiting_ms", "wanted"), [(3, 300, 200, 9), (3, 300, 100, 5), (0, 300, 200, 2)]
)
def test_as_many_loaders_are_advised_as_make_a_batch_in_the_time_of_a_step(
    loaders: int, step_ms: float, waiting_ms: float, wanted: int
) -> None:
    lack = lack_of_loaders(loaders, step_ms=step_ms, waiting_ms=waiting_ms)
    assert lack is not None and f"set execution.loader_workers to {wanted}, with" in lack


def test_a_little_waiting_is_no_lack() -> None:
    assert lack_of_loaders(3, step_ms=300, waiting_ms=60) is None


def test_a_lack_is_said_once() -> None:
    waiting = Waiting()
    said = [waiting.lack(3, step_ms=300, waiting_ms=ms) for ms in (10, 200, 200)]
    assert [text is None for text in said] == [True, False, True]
