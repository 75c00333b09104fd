"""Counted randomness: which sample comes when, and how it is cut, as a pure function of seed, epoch and index.

No random stream is kept. So all trials of a study see the same batches, a resume in mid-epoch is exact, and the number
of loader workers and ranks changes nothing.
"""

import hashlib
from collections.abc import Iterator

import numpy as np


def generator(*key: int | str) -> np.random.Generator:
    """A random generator that depends on `key` alone, the same on every machine."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


class CountedBatches:
    """Sampler of batches of (epoch, index), for one rank, from iteration `start` to `stop`.

    Batch i of the whole trial holds the positions i * batch ... (i + 1) * batch - 1, cut evenly over the ranks.
    """

    def __init__(self, *, length: int, batch: int, seed: int, start: int, stop: int, rank: int, ranks: int) -> None:
        if batch % ranks:
            raise ValueError(
                f"train.batch must be a multiple of the number of workers, but got batch={batch} and "
                f"workers={ranks}; choose batch={batch - batch % ranks or ranks}"
            )
        self.length, self.batch, self.seed = length, batch, seed
        self.start, self.stop, self.rank, self.ranks = start, stop, rank, ranks

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        share = self.batch // self.ranks
        epoch, order = -1, np.empty(0, dtype=np.int64)
        for iteration in range(self.start, self.stop):
            first = iteration * self.batch + self.rank * share
            samples = []
            for position in range(first, first + share):
                if position // self.length != epoch:
                    epoch = position // self.length
                    order = generator(self.seed, "order", epoch).permutation(self.length)
                samples.append((epoch, int(order[position % self.length])))
            yield samples
