"""The processors that this process may use, on systems with and without affinities."""

import os


def usable_cpus() -> int:
    """CPUs that this process may run on; on systems without affinities, such as macOS, those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
