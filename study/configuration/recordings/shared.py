"""What could be recorded of a study's teacher, what of it several trials read, and what of that fits somewhere."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate, combinations, pairwise
from typing import Any, NamedTuple

import torch

from study.configuration.config import StudyConfig
from study.configuration.recordings.readers import Readers, planned_readers
from trainers import models
from trainers.config import TrialConfig
from trainers.teachers.recordings.plan import latest
from trainers.teachers.recordings.sizes import bytes_per_iteration

LEAST_READERS = 2 - 1e-9
"""Trials that must read what is recorded; counts are sums of fractions."""

Taps = Mapping[str, int]
"""n by tap: of the iterations 0 to n - 1."""


class SharedOutputs(NamedTuple):
    """Outputs of the teacher for one sequence of batches, and the planned trials that have these.

    Attributes:
        readers: these trials.
        bytes: of one iteration, by tap.
    """

    readers: Sequence[Readers]
    bytes: Mapping[str, int]

    def shared_taps(self) -> Taps:
        """Those that at least two trials read, up to where the second-longest reader stops."""
        lengths = {name: self._shared_length(name) for name in self.read_taps()}
        return {name: length for name, length in lengths.items() if length}

    def _shared_length(self, tap: str) -> int:
        found = sorted(((readers.taps.get(tap, 0), readers.trials) for readers in self.readers), reverse=True)
        so_far = accumulate(trials for _, trials in found)
        return next((length for (length, _), trials in zip(found, so_far, strict=True) if trials >= LEAST_READERS), 0)

    def read_taps(self) -> Taps:
        """All that a trial reads, up to where the longest reader stops."""
        return latest([readers.taps for readers in self.readers])

    def size(self, taps: Taps) -> int:
        """Bytes of a recording of these."""
        return sum(length * self.bytes[tap] for tap, length in taps.items())

    def spared(self, taps: Taps) -> float:
        """Steps of all trials that find everything they read in a recording of these."""
        return sum(readers.trials * replayed(readers.taps, taps) for readers in self.readers)

    def fitting(self, taps: Taps, most_bytes: float) -> Taps:
        """Of some taps those that fit and spare most steps, in the least space; none where that is none."""
        chosen = ({tap: taps[tap] for tap in some} for k in range(len(taps) + 1) for some in combinations(taps, k))
        fitting = (some for some in chosen if self.size(some) <= most_bytes)
        return max(fitting, key=lambda some: (self.spared(some), -self.size(some)))


def replayed(read: Taps, recorded: Taps) -> int:
    """Iterations at which a trial finds all that it reads then."""
    edges = sorted({0, *read.values(), *recorded.values()})
    return sum(
        stop - start
        for start, stop in pairwise(edges)
        if (now := [tap for tap, length in read.items() if length > start])
        and all(recorded.get(tap, 0) > start for tap in now)
    )


def shared_outputs(config: StudyConfig, network: object) -> dict[str, SharedOutputs]:
    """What the planned trials of a study read of a teacher, by the key of its recording, most readers first.

    Args:
        config: the study.
        network: configuration of the teacher's network.
    """
    classes = len(config.class_names)
    with torch.device("meta"):
        there = models.build(network, num_classes=classes, initial_weights=False).channels
    by_key: dict[str, list[Readers]] = defaultdict(list)
    for readers in planned_readers(config, there):
        by_key[readers.key].append(readers)
    shapes = {_shape(of_key[0].trial): of_key[0].trial for of_key in by_key.values()}
    sizes = {shape: bytes_per_iteration(trial, network, classes) for shape, trial in shapes.items()}
    found = {key: SharedOutputs(of_key, sizes[_shape(of_key[0].trial)]) for key, of_key in by_key.items()}
    return dict(sorted(found.items(), key=lambda item: -sum(readers.trials for readers in item[1].readers)))


def _shape(trial: TrialConfig) -> tuple[Any, ...]:
    """What of a trial decides how large its teacher's outputs are."""
    return trial.train.batch, trial.augment.crop, trial.train.precision
