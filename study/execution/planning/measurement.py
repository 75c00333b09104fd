"""The trials of a study's arms, each measured in processes of its own: alone for memory, side by side for time.

As many ranks as the study will run at a time are timed side by side, the arms mixed, because they share caches, memory
and disks, and a step takes longer beside others than alone.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import cycle, islice
from math import ceil
from statistics import mean

from study.execution.planning.processes import Placement, TrialFaultError, TrialProcess
from trainers.config import TrialConfig
from trainers.costs.trial import TrialMemory, TrialTimes
from trainers.plugins.content import Plugin

FEWEST_IMAGES = 2
"""Of a batch: batch normalisation can do with no fewer."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one rank of a trial takes: memory alone, time beside others."""

    memory: TrialMemory
    times: TrialTimes


class Measurement:
    """Measures trials on this machine.

    Args:
        places: where ranks run that run at a time, each with the memory that it may take; one or more.
        say: shows a line to the user.
    """

    def __init__(self, places: Sequence[Placement], say: Callable[[str], None]) -> None:
        self._places, self._say = places, say
        self.faults: dict[str, TrialFaultError] = {}
        """Of the trials that could not be measured, by name."""
        self.import_s = 0.0
        """Seconds in which a trial's process starts; 0 before one has."""

    def measure(self, trials: Mapping[str, TrialConfig]) -> dict[str, Measured]:
        """What one rank of each trial takes; those that fail are in `faults`.

        Args:
            trials: of one worker, by name.
        """
        memories = self._memories(trials)
        times = self._times({name: trials[name] for name in memories}, memories)
        return {
            name: Measured(memory=memories[name], times=_together(found))
            for name, found in times.items()
            if name not in self.faults
        }

    def memory(self, trial: TrialConfig) -> TrialMemory:
        """What one rank of a trial takes, alone.

        Raises:
            TrialFaultError: it cannot be trained.
        """
        with TrialProcess(self._places[0]) as process:
            found = process.memory(trial)
            self.import_s = process.import_s
            return found

    def steps(
        self, trials: Mapping[str, TrialConfig], teacher: object | None, plugins: Mapping[str, Plugin]
    ) -> dict[str, float]:
        """Seconds of a step of each trial while no other runs, as `TrialProcess.steps`.

        Raises:
            TrialFaultError: one cannot be trained.
        """
        with TrialProcess(self._places[0]) as process:
            return process.steps(trials, teacher, plugins)

    def _memories(self, trials: Mapping[str, TrialConfig]) -> dict[str, TrialMemory]:
        found = {}
        for name, trial in trials.items():
            self._say(f"{name}: its first steps, for their memory")
            try:
                found[name] = self.memory(trial)
            except TrialFaultError as fault:
                self.faults[name] = fault
        return found

    def _times(
        self, trials: Mapping[str, TrialConfig], memories: Mapping[str, TrialMemory]
    ) -> dict[str, list[TrialTimes]]:
        found: dict[str, list[TrialTimes]] = {name: [] for name in trials}
        if not trials:
            return found
        places = self._places[: self._at_once(max(memory.host_mib for memory in memories.values()))]
        names = cycle(trials)
        for _ in range(ceil(len(trials) / len(places))):
            wave = list(islice(names, len(places)))
            self._say(f"side by side, for their time: {', '.join(wave)}")
            for name, times in self._wave([(name, trials[name]) for name in wave], places):
                found[name].append(times)
        return {name: times for name, times in found.items() if times}

    def _at_once(self, host_mib: float) -> int:
        """As many as the host's memory takes, whatever the study will be refused for."""
        return max(1, min(len(self._places), int(self._places[0].host_mib / host_mib)))

    def _wave(
        self, trials: Sequence[tuple[str, TrialConfig]], places: Sequence[Placement]
    ) -> list[tuple[str, TrialTimes]]:
        ready, found = [], []
        with ExitStack() as stack:
            processes = [stack.enter_context(TrialProcess(place)) for place in places]
            for (name, trial), process in zip(trials, processes, strict=True):
                try:
                    process.memory(trial)
                    ready.append((name, process))
                except TrialFaultError as fault:
                    self.faults[name] = fault
            for _, process in ready:
                process.begin()
            for name, process in ready:
                try:
                    found.append((name, process.times()))
                except TrialFaultError as fault:
                    self.faults[name] = fault
        return found


def _together(times: Sequence[TrialTimes]) -> TrialTimes:
    """The mean over the processes that ran the same trial."""
    names = ("step_s", "teacher_s", "evaluation_s", "start_s")
    means = {name: mean(getattr(one, name) for one in times) for name in names}
    return TrialTimes(**means, steps=sum(one.steps for one in times))


def one_rank(trial: TrialConfig) -> TrialConfig:
    """What one of its ranks trains, with its share of a batch."""
    train = trial.train
    return replace(trial, train=replace(train, batch=max(1, train.batch // train.workers), workers=1))


def with_batch(trial: TrialConfig, batch: int) -> TrialConfig:
    """The same trial with another batch."""
    return replace(trial, train=replace(trial.train, batch=batch))


def largest_batch(batch: int, memory_mib: Callable[[int], float], limit_mib: float) -> int | None:
    """The largest batch below one that does not fit which would: by a straight line through two smaller ones.

    Args:
        batch: images of a rank's step that take too much memory.
        memory_mib: of a rank with a batch.
        limit_mib: that there is for a rank.

    Returns:
        None where no smaller batch would fit.
    """
    known: list[tuple[int, float]] = []
    smaller = batch // 2
    while smaller >= FEWEST_IMAGES and len(known) < 2:
        try:
            known.append((smaller, memory_mib(smaller)))
        except TrialFaultError as fault:
            if fault.lacks is None:
                break
        smaller //= 2
    if not known:
        return None
    large, taken = known[0]
    if len(known) == 1:
        return large if taken <= limit_mib else None
    small, least = known[1]
    of_an_image = max((taken - least) / (large - small), 1e-9)
    fitting = min(int(small + (limit_mib - least) / of_an_image), batch - 1)
    return fitting if fitting >= FEWEST_IMAGES else None
