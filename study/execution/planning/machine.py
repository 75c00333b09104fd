"""What this machine has for the trials of a study: how many fit at a time, and the memory of each."""

from pathlib import Path

import psutil
import torch

from study.configuration.config import ExecutionConfig
from study.execution.capacity import MAX_CONCURRENT, trials_that_fit, workers_on
from study.execution.planning.processes import Placement
from trainers.resources.memory import OUTSIDE_BYTES
from trainers.resources.processors import usable_cpus

DRIVER_MIB = 1000.0
"""What the driver of a study and Ray's processes take beside its trials, of memory of their own."""
RAY_LEAVES = 0.95
"""Share of the host's memory above which Ray ends trials."""
CGROUP = Path("/sys/fs/cgroup")


class Machine:
    """This machine, as trials of one study share it.

    Args:
        execution: of the study.

    Raises:
        ValueError: the study's trials run on GPUs and this machine has none.
    """

    def __init__(self, execution: ExecutionConfig) -> None:
        share = execution.gpus_per_worker
        self._execution, self._gpus = execution, torch.cuda.device_count() if share else 0
        if share and not self._gpus:
            raise ValueError(
                f"a study is planned where its trials run, but they have execution.gpus_per_worker={share:g} "
                "and this machine has no GPU that PyTorch can use; plan on one that has, or --set "
                "execution.gpus_per_worker=0"
            )

    @property
    def name(self) -> str:
        """What trains."""
        if not self._gpus:
            return f"{usable_cpus()} CPUs"
        return f"{self._gpus} x {torch.cuda.get_device_name(0)}, {usable_cpus()} CPUs"

    def slots(self, workers: int) -> int:
        """Trials of so many workers that run at a time.

        Raises:
            ValueError: not one fits.
        """
        execution = self._execution
        accelerator = dict.fromkeys(execution.node_resources, 1.0)
        node = {**accelerator, "CPU": float(usable_cpus()), "GPU": float(self._gpus)}
        fitting = trials_that_fit([workers_on(node, execution)], workers, execution.placement)
        if not fitting:
            raise ValueError(
                f"a trial must fit on this machine, which is {self.name}, but needs {workers} workers with "
                f"{execution.cpus_per_worker:g} CPUs and {execution.gpus_per_worker:g} GPUs each; lower train.workers "
                "or execution.cpus_per_worker, or plan on a larger machine"
            )
        return min(fitting, execution.concurrent or MAX_CONCURRENT)

    def places(self, ranks: int) -> list[Placement]:
        """Where so many ranks run that run at a time."""
        gpus = self._execution.gpus_per_worker
        on_one = max(1, int(1 / gpus + 1e-6)) if gpus else 1
        return [
            Placement(
                gpu_share=min(gpus, 1.0),
                gpu=int(number // on_one * max(1, gpus)),
                loader_workers=self._execution.loader_workers,
                host_mib=self.host_mib,
            )
            for number in range(ranks)
        ]

    @property
    def host_mib(self) -> float:
        """Memory of the host that is there for trials now."""
        memory = psutil.virtual_memory()
        left = min(memory.available, _left_to_group(), memory.available - (1 - RAY_LEAVES) * memory.total)
        return max(0.0, left / 2**20 - DRIVER_MIB)

    @property
    def gpu_mib(self) -> float:
        """Memory that PyTorch may reserve of a GPU for one rank."""
        total = torch.cuda.get_device_properties(0).total_memory
        return float(min(self._execution.gpus_per_worker, 1.0) * total - OUTSIDE_BYTES) / 2**20


def _left_to_group(root: Path = CGROUP) -> float:
    """Bytes that the system lets this process's group of processes still take; infinite where it sets no limit."""
    try:
        limit = int((root / "memory.max").read_text())
        used = int((root / "memory.current").read_text())
        stat = dict(line.split() for line in (root / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return float("inf")
    return float(limit - used + int(stat.get("inactive_file", 0)))  # what files have left there is given back
