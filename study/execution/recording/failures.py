"""Why a trial failed, in one line, from what Ray says of it."""

STARVED = ("low on memory",)
"""What Ray writes when its memory monitor ends a process."""
KILLED = ("OOM killer", "killed by signal: Killed")
"""What Ray and PyTorch write of a process that is gone without a word."""


def reason(failure: str, *, starts: int, peak_mib: float | None) -> str:
    """What to say of a trial that Ray gave up.

    Args:
        failure: the text of what was raised; or of all failures of a trial, as Tune keeps it.
        starts: how often the trial was started.
        peak_mib: the highest resident memory of its processes, where it is known.
    """
    _, heading, last = failure.rpartition("Failure # ")
    times = "" if starts == 1 else f" at the last of {starts} starts"
    peak = "its peak memory is not known" if peak_mib is None else f"its peak memory was {peak_mib:.0f} MiB"
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
