"""What the students of a study take: parameters, multiply-accumulates and latency, by the values that make the student.

Parameters and operations are counted, the same on every machine. Latency is measured once for each distinct student
and number of threads, when the study begins, and kept in its ledger: measured again it would be another number, and a
study that is resumed would draw other settings. So the students must be known then, which they are where what makes
them is chosen from a list or is a whole number of a short range.
"""

import json
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod
from typing import Any

from search_spaces.space import Float, Int, Space
from study.configuration.config import StudyConfig
from trainers.config import TrialConfig, canonical_json

Size = tuple[int, int]
STUDENT, THREADS = "student/", "train/threads"
"""Paths of what a student's latency depends on; all below the first."""
MOST_STUDENTS = 64
"""Combinations of values that make students up to which each is timed."""
SECONDS = 2.0
"""Time for the runs of one student, at most, but for a warm-up and a first run."""


@dataclass(frozen=True, kw_only=True)
class MeasuredStudent:
    """What a student takes for one image.

    Attributes:
        parameters: their number, the auxiliary head's included.
        multiply_accumulates: of a forward in evaluation mode, as `kdstudy profile` counts exact ones.
        latency_ms: median of such forwards in float32; None where it was not measured.
        latency_conditions: the image's size, the device and its threads; None like the latency.
    """

    parameters: int
    multiply_accumulates: int
    latency_ms: float | None = None
    latency_conditions: str | None = None


@dataclass(frozen=True, kw_only=True)
class TimedStudent:
    """A student to be timed: its network, and the threads of a worker."""

    network: Any
    threads: int

    @property
    def key(self) -> str:
        """The same for students of the same network, whatever their weights begin as."""
        from trainers.models import without_weights  # who reads a ledger needs no PyTorch

        return canonical_json([without_weights(self.network), self.threads])


MeasureLatency = Callable[[Mapping[str, TimedStudent], Size, int], Mapping[str, tuple[float, str]]]
"""Milliseconds of a forward of each of several students by key, and under which conditions; the other arguments are
height and width of the image, and the number of classes."""


@dataclass(frozen=True, kw_only=True)
class ArmStudents:
    """What the students of an arm take.

    Attributes:
        shaping: searched paths whose values make the student.
        size: height and width of an image that trials are judged on.
        found: by these values as `key` writes them.
    """

    shaping: tuple[str, ...]
    size: Size
    found: Mapping[str, MeasuredStudent] = field(default_factory=dict)

    def key(self, values: Mapping[str, Any]) -> str:
        """What `found` has a student by, at these searched values by path."""
        return json.dumps([values.get(path) for path in self.shaping])

    def of(self, values: Mapping[str, Any]) -> MeasuredStudent | None:
        """The student at these searched values; None where it is not known."""
        return self.found.get(self.key(values))

    def with_student(self, config: StudyConfig, arm: str, values: Mapping[str, Any]) -> "ArmStudents":
        """These and the student at these values, counted but not timed; the same where it is known, or no network."""
        if (key := self.key(values)) in self.found:
            return self
        try:
            trial = config.trial(arm, values, None)
            counted = count(trial, self.size, len(config.class_names))
        except ValueError:  # the trial will say what is wrong with it
            return self
        return replace(self, found={**self.found, key: counted})

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "ArmStudents":
        """From what `plain` made of one."""
        height, width = values["size"]
        found = {key: MeasuredStudent(**student) for key, student in values["found"].items()}
        return cls(shaping=tuple(values["shaping"]), size=(height, width), found=found)


def count(trial: TrialConfig, size: Size, num_classes: int) -> MeasuredStudent:
    """A trial's student, counted on the meta device and not timed."""
    from trainers.models import profile

    return MeasuredStudent(
        parameters=profile.parameters(trial.student, num_classes=num_classes),
        multiply_accumulates=profile.macs(trial.student, size=size, num_classes=num_classes).exact,
    )


def image_size(config: StudyConfig) -> Size:
    """Height and width of the first image that trials are judged on; a dataset's others may differ.

    Raises:
        ValueError: the dataset is not there.
    """
    from trainers.data.splits import judging_images

    label = judging_images(config.data, config.evaluate_on, holdout=config.holdout).load(0)[1]
    return label.shape[0], label.shape[1]


def measure_arms(
    config: StudyConfig, known: Mapping[str, ArmStudents], measure: MeasureLatency, *, leave: Collection[str] = ()
) -> dict[str, ArmStudents]:
    """The students of every arm that has none among the known ones; a student of any arm is timed once.

    Args:
        config: the study.
        known: what the ledger has, by arm.
        measure: times those that are not known.
        leave: arms whose students stay unknown, because they began without.

    Raises:
        ValueError: the dataset is not there.
    """
    new = [name for name in config.arms if name not in known and name not in leave]
    if not new:
        return {}
    size = next((one.size for one in known.values()), None) or image_size(config)
    asked = {name: _students(config, name) for name in new}
    timed = _known_latencies(config, known)
    unknown = {one.key: one for of_arm in asked.values() for one in of_arm.values() if one.key not in timed}
    timed |= measure(unknown, size, len(config.class_names)) if unknown else {}
    return {name: _of_arm(config, name, size, asked[name], timed) for name in new}


def _known_latencies(config: StudyConfig, known: Mapping[str, ArmStudents]) -> dict[str, tuple[float, str]]:
    """Latencies that the ledger has of other arms, by the key of the student."""
    return {
        student.key: (found.latency_ms, found.latency_conditions)
        for name, students in known.items()
        for key, student in _students(config, name).items()
        if (found := students.found.get(key)) and found.latency_ms is not None and found.latency_conditions is not None
    }


def _of_arm(
    config: StudyConfig,
    arm: str,
    size: Size,
    students: Mapping[str, TimedStudent],
    timed: Mapping[str, tuple[float, str]],
) -> ArmStudents:
    made = ArmStudents(shaping=shaping_paths(config, arm), size=size)
    for values in _settings(config, arm):
        made = made.with_student(config, arm, values)
    latencies = {key: timed[student.key] for key, student in students.items() if student.key in timed}
    found = {
        key: replace(one, latency_ms=latencies[key][0], latency_conditions=latencies[key][1])
        if key in latencies
        else one
        for key, one in made.found.items()
    }
    return replace(made, found=found)


def shaping_paths(config: StudyConfig, arm: str) -> tuple[str, ...]:
    """The searched paths of an arm whose values make the student, or how fast it is."""
    return () if config.arms[arm].replicated else tuple(_shaping(config.space(arm)))


def _shaping(space: Space) -> list[str]:
    return [path for path in space.parameters if path.startswith(STUDENT) or path == THREADS]


def untimed_because(space: Space) -> str | None:
    """Why the students that a space can draw are not all timed; None where they are."""
    shaping = _shaping(space)
    if endless := [path for path in shaping if isinstance(space.parameters[path], Float)]:
        return f"{', '.join(endless)} may be any real number of a range; make it categorical, with a few choices"
    if elsewhere := [path for path in shaping if not set(space.parameters[path].when) <= set(shaping)]:
        return f"{', '.join(elsewhere)} exists only at values of what makes no student; leave its `when` out"
    number = prod(len(_values(space, path)) for path in shaping)
    return f"{', '.join(shaping)} make {number} students; leave {MOST_STUDENTS}" if number > MOST_STUDENTS else None


def _values(space: Space, path: str) -> Sequence[Any]:
    """All values of a choice or a whole number."""
    parameter = space.parameters[path]
    if isinstance(parameter, Int):
        return range(parameter.low, parameter.high + 1, parameter.step or 1)
    return space.values(path)


def _settings(config: StudyConfig, arm: str) -> Iterable[dict[str, Any]]:
    """Values of an arm at which its students differ; the defaults alone where not all can be listed."""
    shaping = shaping_paths(config, arm)
    if not shaping:
        return [{}]
    space = config.space(arm)
    if untimed_because(space):
        return [space.defaults()]
    every = product(*(_values(space, path) for path in shaping))
    return [space.defaults(dict(zip(shaping, values, strict=True))) for values in every]


def _students(config: StudyConfig, arm: str) -> dict[str, TimedStudent]:
    """Those of an arm, by the key of their values."""
    keyed = ArmStudents(shaping=shaping_paths(config, arm), size=(0, 0))
    trials = {keyed.key(values): config.trial(arm, values, None) for values in _settings(config, arm)}
    return {key: TimedStudent(network=one.student, threads=one.train.threads) for key, one in trials.items()}


def time_students(
    students: Mapping[str, TimedStudent], size: Size, num_classes: int, *, on_gpu: bool = False
) -> dict[str, tuple[float, str]]:
    """A `MeasureLatency` of this process, one student after the other."""
    import torch

    # PyTorch's timer warns of a machine that has a CUDA toolkit and no GPU
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    from trainers.costs.network import latency

    device, found = torch.device("cuda" if on_gpu else "cpu"), {}
    for key, one in students.items():
        timed = latency(
            one.network, size=size, num_classes=num_classes, device=device, threads=one.threads, seconds=SECONDS
        )
        threads = f"{timed.threads} CPU thread{'s' if timed.threads > 1 else ''}"
        found[key] = (timed.median_ms, f"{size[0]}x{size[1]}, float32, {timed.device}, {threads}")
    return found
