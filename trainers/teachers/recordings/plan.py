"""RecordingPlan: which outputs of a study's teacher are recorded, and where."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, MinLen


@dataclass(frozen=True, kw_only=True)
class RecordingPlan:
    """Which outputs of a study's teacher are recorded, and where; changes no number of a trial.

    It is therefore no part of TrialConfig, and a trial's hash does not depend on it.

    Attributes:
        folder: where recordings lie; each key has a folder below it.
        taps: number n of each recorded tap; it is recorded at the iterations 0 to n - 1.
        max_bytes: of all recordings in `folder` together; 0 to read what is there and to leave the folder as it is.
    """

    folder: Annotated[str, MinLen(1)]
    taps: Mapping[str, Annotated[int, Ge(0)]]
    max_bytes: Annotated[int, Ge(0)]

    def taps_at(self, iteration: int) -> frozenset[str]:
        """The taps that are recorded at this 0-based iteration."""
        return frozenset(tap for tap, stop in self.taps.items() if iteration < stop)

    def next_change(self, iteration: int) -> int | None:
        """The first iteration after this one at which other taps are recorded; None where there is none."""
        return min((stop for stop in self.taps.values() if stop > iteration), default=None)


def latest(reads: Collection[Mapping[str, int]]) -> dict[str, int]:
    """The taps of several trials together: each up to where the last of them reads it."""
    taps = sorted({tap for read in reads for tap in read})
    return {tap: max(read.get(tap, 0) for read in reads) for tap in taps}
