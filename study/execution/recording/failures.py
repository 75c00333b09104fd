"""Why a trial failed, in one line, from what Ray says of it."""

from dataclasses import dataclass

STARVED = ("low on memory",)
"""What Ray writes when its memory monitor ends a process."""
KILLED = ("OOM killer", "killed by signal: Killed", "The actor is temporarily unavailable")
"""What Ray and PyTorch write of a process that ended without an exception.

Ray says the last of a process that is dead where it learns of the lost connection more than a second before the death.
"""


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
    _, heading, last = failure.text.rpartition("Failure # ")
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
    # the innermost line, without the traceback
    lines = [line.strip() for line in last.splitlines()[bool(heading) :] if line.strip()]
    return lines[-1] if lines else "no reason is known"
