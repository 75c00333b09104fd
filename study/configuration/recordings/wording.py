"""What a person is told of the recordings of a study before its first trial."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from study.configuration.recordings.shared import SharedOutputs, Taps
from study.configuration.recordings.text import bytes_text, taps_text


class Space(NamedTuple):
    """What recordings may take.

    Attributes:
        folder: where they lie.
        quota: bytes that all recordings there may take together.
        left: bytes of it that recordings of other studies leave.
        unwritable: why nothing can be written there, None where it can.
    """

    folder: Path
    quota: int
    left: int
    unwritable: str | None = None


class Decision(NamedTuple):
    """What is recorded of outputs.

    Attributes:
        outputs: of the teacher for one sequence of batches.
        wanted: what more than one trial reads and the study lets be recorded.
        recorded: what of it fits.
    """

    outputs: SharedOutputs
    wanted: Taps
    recorded: Taps

    @property
    def left_out(self) -> Taps:
        """What is wanted and does not fit."""
        return {tap: length for tap, length in self.wanted.items() if tap not in self.recorded}


def plan_lines(decisions: Sequence[Decision], space: Space, allowed: Sequence[str] | None) -> Iterator[str]:
    """What is recorded where and how large it gets, and what is not, and why."""
    recorded = [(decision, decision.recorded) for decision in decisions if decision.recorded]
    left_out = [(decision, decision.left_out) for decision in decisions if decision.left_out]
    if recorded:
        within = f"at most {bytes_text(space.quota)} in {space.folder}"
        yield f"teacher's outputs: recorded once for all trials that read them, {within}: {_sizes(recorded)}"
    if space.unwritable:
        reads = "; what is recorded there is read" if space.folder.is_dir() else ""
        yield (
            f"teacher's outputs: not recorded, because {space.unwritable}{reads}; name a folder that can be written: "
            "--set teacher.record.folder=FOLDER"
        )
    elif left_out:
        left = space.left - sum(decision.outputs.size(taps) for decision, taps in recorded)
        yield (
            f"teacher's outputs: not recorded, because {bytes_text(left)} are left of the "
            f"{bytes_text(space.quota)} that recordings in {space.folder} may take: {_sizes(left_out)}; raise "
            f"teacher.record.max_gib, or remove others: kdstudy recordings {space.folder} --prune"
        )
    elif not recorded:
        yield f"teacher's outputs: not recorded, because {_unshared(decisions, allowed)}"


def _sizes(found: Sequence[tuple[Decision, Taps]]) -> str:
    """Taps with their iterations and bytes; those of several sequences of batches together where they are alike."""
    alike = Counter((taps_text(taps), decision.outputs.size(taps)) for decision, taps in found)
    return "; ".join(
        f"{text}, {bytes_text(size * count)}" + (f" in {count} recordings" if count > 1 else "")
        for (text, size), count in alike.items()
    )


def _unshared(decisions: Sequence[Decision], allowed: Sequence[str] | None) -> str:
    read = sorted({tap for decision in decisions for tap in decision.outputs.shared_taps()})
    if read and allowed is not None:
        return f"arms read {', '.join(read)}, and teacher.record.taps has only {', '.join(allowed)}"
    return "no two planned trials read the same outputs"
