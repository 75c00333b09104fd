"""Whether the trials of a study fit the memory of this machine, and what would where they do not."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache

from study.configuration.config import TEACHER, Engine, StudyConfig
from study.configuration.recordings.plan import StudyRecordings
from study.execution.planning.machine import Machine
from study.execution.planning.measurement import Measurement, largest_batch, one_rank, with_batch
from study.execution.planning.processes import TrialFaultError
from trainers.config import TrialConfig
from trainers.costs.trial import TrialMemory
from trainers.resources.memory import Memory
from trainers.teachers.recordings.reading import AHEAD_BYTES
from trainers.teachers.recordings.writing import WAITING_BYTES

BATCH = "train/batch"


class MemoryFit:
    """The memory of a study's trials beside that of this machine.

    Args:
        config: the study.
        machine: this one.
        measurement: measures trials on it.
        recordings: of the study.
        say: shows a line to the user.
    """

    def __init__(
        self,
        config: StudyConfig,
        machine: Machine,
        measurement: Measurement,
        recordings: StudyRecordings,
        say: Callable[[str], None],
    ) -> None:
        self._config, self._machine, self._measurement = config, machine, measurement
        self._recordings, self._say = recordings, say

    def with_buffers(self, name: str, trial: TrialConfig, memory: TrialMemory) -> TrialMemory:
        """With what a trial holds of recordings on their way, as one has that runs where such a trial ran before."""
        kept = engine_of(self._config, name, trial) == "inline"
        if name == TEACHER or not (trial.teacher or kept):
            return memory
        buffers = min(self._recordings.bytes, AHEAD_BYTES + WAITING_BYTES) / 2**20
        return replace(memory, host_mib=memory.host_mib + buffers)

    def lacking(self, trials: Mapping[str, TrialConfig], faults: Mapping[str, TrialFaultError]) -> Iterator[str]:
        """A line for each arm that found too little memory with nothing beside it.

        Args:
            trials: by arm.
            faults: of those that could not be measured, for whatever reason.
        """
        for name, fault in faults.items():
            if fault.lacks is None:
                continue
            there = self._machine.gpu_mib if fault.lacks == "GPU" else self._machine.host_mib
            yield (
                f"{name}: a trial must fit the {fault.lacks}'s memory, but one rank with a batch of "
                f"{one_rank(trials[name]).train.batch} lacks it where there are {there:.0f} MiB; "
                f"{self._fitting(name, trials[name], fault.lacks)}; it is in none of these figures"
            )

    def crowded(self, trials: Mapping[str, TrialConfig], memories: Mapping[str, TrialMemory]) -> Iterator[str]:
        """A line for each arm whose trials do not fit the host's memory side by side.

        Args:
            trials: by arm.
            memories: of one rank of them, with buffers.
        """
        for name, memory in memories.items():
            beside, there = self._beside(name, trials[name]), self._machine.host_mib
            taken = trials[name].train.workers * memory.host_mib
            if beside * taken <= there:
                continue
            fewer = int(there // taken)
            options = [f"execution.concurrent={fewer}"] if fewer else []
            options.append(self._fitting(name, trials[name], "host"))
            yield (
                f"{name}: all trials that run at a time must fit the host's memory, but {beside} of {taken:.0f} MiB do "
                f"not fit the {there:.0f} MiB that are there beside Ray and the driver; {', or '.join(options)}"
            )

    def _beside(self, name: str, trial: TrialConfig) -> int:
        """Trials of an arm that run at a time."""
        return 1 if name == TEACHER else self._machine.slots(trial.train.workers)

    def _fitting(self, name: str, trial: TrialConfig, lacks: Memory) -> str:
        """Which batch would fit, beside all trials that run at a time."""
        self._say(f"{name}: does not fit; looking for a batch that does")
        rank, workers, beside = one_rank(trial), trial.train.workers, self._beside(name, trial)

        @cache
        def memory(batch: int) -> TrialMemory:
            return self.with_buffers(name, trial, self._measurement.memory(with_batch(rank, batch)))

        share = self._machine.host_mib / beside / workers
        found = [largest_batch(rank.train.batch, lambda batch: memory(batch).host_mib, share)]
        if lacks == "GPU":
            limit = self._machine.gpu_mib
            found.append(largest_batch(rank.train.batch, lambda batch: memory(batch).reserved_mib, limit))
        fitting = [batch for batch in found if batch is not None]
        if len(fitting) < len(found):
            fewer = "fewer trials at a time, " if beside > 1 else ""
            return f"no smaller batch would fit: take {fewer}a smaller augment.crop or network, or a larger machine"
        return f"{self._batch_of(name, workers * min(fitting))} would fit"

    def _batch_of(self, name: str, batch: int) -> str:
        """How an arm has this batch."""
        if name == TEACHER:
            return f"teacher.train.batch={batch}"
        arm = self._config.arms[name]
        if not arm.replicated and BATCH in self._config.space(name).parameters:
            return f"a largest {BATCH} of {batch} in its space"
        if BATCH in arm.fixed:
            return f"arms.{name}.fixed.{BATCH}={batch}"
        return f"train.batch={batch}"


def engine_of(config: StudyConfig, name: str, trial: TrialConfig) -> Engine:
    """What runs a trial of an arm on this machine."""
    return config.execution.engine_of(name, trial.train.workers, local=True)
