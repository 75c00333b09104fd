"""Why a trial failed, in one line, from what Ray says of it; and whether it would fail there again."""

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trainers.plugins.faults import Raised, read_traceback

STARVED = ("low on memory",)
"""What Ray writes when its memory monitor ends a process."""
KILLED = ("OOM killer", "killed by signal: Killed", "The actor is temporarily unavailable")
"""What Ray and PyTorch write of a process that ended without an exception.

Ray says the last of a process that is dead where it learns of the lost connection more than a second before the death.
"""
LOST_PEER = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")
"""What an exception says of which another rank, or the network, is the cause."""
LOST_PEER_KINDS = ("DistBackendError", "DistNetworkError", "DistStoreError", "ConnectionError", "ConnectionResetError")
BY_SETTINGS = ("DivergedError", "MemoryError", "OutOfMemoryError")
"""Kinds of what one setting of an arm meets at the same place as any other, and others do not."""
NO_MEMORY = ("can't allocate memory", "out of memory")
"""The same where PyTorch has no kind of its own for it."""
NOTE = "raised_before"
"""In a trial's folder: its number of this start of the driver, and where it has raised an exception."""
CAUSED = "The above exception was the direct cause of the following exception"
"""What Python writes between the tracebacks of an exception and of the one in which it is wrapped."""
_OF_RANK = re.compile(r"^\[Rank [\d,]+ Error Snippet\]:$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What is left of a trial that Ray gave up.

    Attributes:
        text: of what was raised; or of all failures of a trial, as Tune keeps them.
        starts: how often the trial was started.
        peak_mib: the highest resident memory of its processes, where it is known.
    """

    text: str
    starts: int
    peak_mib: float | None


def reason(failure: Failure) -> str:
    """The cause of a failure, and a remedy where it was a lack of memory."""
    last = _last_failure(failure.text)
    times = "" if failure.starts == 1 else f" at the last of {failure.starts} starts"
    known = failure.peak_mib is not None
    peak = f"its peak memory was {failure.peak_mib:.0f} MiB" if known else "its peak memory is not known"
    remedy = "lower train.batch, augment.crop or execution.concurrent"
    if any(sign in last for sign in STARVED):
        return f"OutOfMemory: Ray ended its process{times} because the machine ran low on memory; {peak}; {remedy}"
    if any(sign in last for sign in KILLED):
        return (
            f"Killed: its process was killed{times}, which is what a system does that has no memory left; {peak}; if "
            f"it was that, {remedy}"
        )
    if raised := read_traceback(_telling_rank(last)):
        return f"{raised.kind.rpartition('.')[2]}: {raised.message}".removesuffix(": ")
    # the innermost line, without the traceback
    lines = [line.strip() for line in last.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason is known"


def _last_failure(text: str) -> str:
    """Of all failures that Tune keeps of a trial, each below a line with its number, the last; else the whole text."""
    _, heading, last = text.rpartition("Failure # ")
    return last.partition("\n")[2] if heading else last


def deterministic_place(text: str) -> str | None:
    """The exception and the place in the code where a trial would fail again, as `TypeError at my_losses.py, line 7`.

    Args:
        text: with the traceback.

    Returns:
        None where no exception of the code's own ended it: its process or its machine was lost, another rank was; or
        where only a trial's own setting decides, as over divergence and memory.
    """
    last = _last_failure(text)
    raised = read_traceback(_without_wrapper(_telling_rank(last)))
    if raised is None or any(sign in last for sign in (*STARVED, *KILLED)):
        return None
    kind = raised.kind.rpartition(".")[2]
    if _is_collateral(raised) or kind in BY_SETTINGS or any(sign in raised.message for sign in NO_MEMORY):
        return None
    return f"{kind} at {raised.place}"


def _telling_rank(text: str) -> str:
    """What Ray Train says of the rank that failed by itself, and not because another one did."""
    parts = _OF_RANK.split(text)
    own = [part for part in parts if (raised := read_traceback(part)) and not _is_collateral(raised)]
    return own[0] if own else parts[-1]


def _without_wrapper(text: str) -> str:
    """The traceback of what a worker found, without that of the PermanentError in which it sends it."""
    cause, _, wrapper = text.rpartition(CAUSED)
    return cause if "PermanentError" in wrapper else text


def _is_collateral(raised: Raised) -> bool:
    """Whether an exception says that a process or a machine was lost, here or elsewhere."""
    kind = raised.kind.rpartition(".")[2]
    return raised.kind.startswith("ray.") or kind in LOST_PEER_KINDS or any(s in raised.message for s in LOST_PEER)


def raised_before(folder: Path, start: int, text: str) -> str | None:
    """The place where a trial raises an exception that it raised there before; else it is noted for the next time.

    Args:
        folder: of the trial.
        start: how many drivers have started it; what it raised under an earlier one may be mended.
        text: with the traceback of the exception.
    """
    place = deterministic_place(text)
    if place is None:
        return None
    note, line = folder / NOTE, f"{start} {place}"
    with suppress(OSError):  # a full disk, which others name
        if note.exists() and note.read_text() == line:
            return place
        note.write_text(line)
    return None
