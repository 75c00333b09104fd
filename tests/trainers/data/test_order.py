import os
import subprocess
import sys
from itertools import chain
from typing import Any

import pytest

from tests.conftest import ROOT
from trainers.data.order import CountedBatches, generator


def batches(**changes: Any) -> list[list[tuple[int, int]]]:
    options: dict[str, Any] = {"length": 7, "batch": 4, "seed": 3, "start": 0, "stop": 21, "rank": 0, "ranks": 1}
    sampler = CountedBatches(**(options | changes))
    drawn = list(sampler)
    assert len(drawn) == len(sampler)
    return drawn


def test_every_epoch_holds_every_index_once() -> None:
    flat = [sample for batch in batches() for sample in batch]
    epochs = [[index for epoch, index in flat if epoch == wanted] for wanted in range(12)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert [epoch for epoch, _ in flat] == sorted(epoch for epoch, _ in flat)
    assert len({tuple(epoch) for epoch in epochs}) > 6
    assert batches(seed=4) != batches()


@pytest.mark.parametrize("ranks", [2, 4])
def test_the_ranks_cut_the_global_batch_in_order(ranks: int) -> None:
    parts = zip(*(batches(rank=rank, ranks=ranks) for rank in range(ranks)), strict=True)
    assert [[*chain(*part)] for part in parts] == batches()


@pytest.mark.parametrize("start", [0, 1, 5, 20, 21])
def test_a_start_in_mid_epoch_gives_the_tail_of_the_whole(start: int) -> None:
    assert batches(start=start) == batches()[start:]


def test_a_batch_that_ranks_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match=r"multiple of .* got batch=4 and workers=3; choose batch=3"):
        batches(ranks=3)
    with pytest.raises(ValueError, match="choose batch=8"):
        batches(ranks=8)


def test_the_generator_is_a_function_of_its_key_in_every_process() -> None:
    here = generator(5, "order", 2).permutation(50).tolist()
    code = "from trainers.data.order import generator as g; print(g(5, 'order', 2).permutation(50).tolist())"
    environment = {**os.environ, "PYTHONHASHSEED": "12"}
    there = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert there.stdout.strip() == str(here)
    keys: list[tuple[int | str, ...]] = [(5, "order", 2), (5, "order", 3), (5, "augment", 2), (52, "order"), (5, 2)]
    assert len({generator(*key).integers(2**62) for key in keys}) == len(keys)
