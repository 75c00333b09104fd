"""A configuration under examination, with what several checks look at, each made once.

Parts of it may be broken: what stood there could not be read, and a value that can be stands in its place, so that the
rest is examined in the same go. What rests on a broken part is not examined.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import product
from math import prod
from pathlib import Path
from typing import NamedTuple

import torch

from search_spaces.space import Float, Space, Value
from study.configuration.checks.arms import Reading, examined_values, read_arm
from study.configuration.checks.data import Sample, Splits, open_splits, read_sample
from study.configuration.checks.findings import Finding
from study.configuration.checks.networks import UNBUILDABLE, Networks, check_weighting
from study.configuration.checks.teacher import check_teacher_data
from study.configuration.config import TEACHER, StudyConfig
from trainers import models
from trainers.config import ConfigError, TeacherFile, TrialConfig
from trainers.teachers.teacher import read_card

STAND_IN = TeacherFile(path="teacher")
TOGETHER = {("student/",): 64, ("train/batch", "train/workers", "train/freeze_batch_norm"): 1024}
"""Prefixes of paths whose values fit or do not fit together: they are examined in all combinations, up to so many."""


class Case(NamedTuple):
    """A trial that the study may run.

    Attributes:
        where: the part of the configuration that asks for it: `arms.kd`, `arms.kd.space` or `teacher`.
        arm: whose it is.
        searched: the values that differ from the spaces' defaults, by path.
    """

    where: str
    arm: str
    searched: Mapping[str, Value]
    trial: TrialConfig


class Subject:
    """A study's configuration under examination.

    Args:
        given: the study.
        broken: paths, with dots, at which stands what was not asked for.

    Attributes:
        given: the study.
        config: the study without the fixed values that do not fit.
    """

    def __init__(self, given: StudyConfig, broken: Sequence[str] = ()) -> None:
        self.given, self._broken = given, tuple(broken)
        sound = {name: replace(given.arms[name], fixed=reading.fixed) for name, reading in self.readings.items()}
        self.config = replace(given, arms={**given.arms, **sound})
        self._networks = Networks()

    def reads(self, *paths: str) -> bool:
        """Whether nothing at, below or above these paths, with dots, is broken."""
        return not any(_overlap(path, broken) for path in paths for broken in self._broken)

    @property
    def arms(self) -> list[str]:
        """The arms, without further searches of these, of which at most budget or enqueued settings are broken."""
        arms = self.given.arms
        return [name for name in arms if name != TEACHER and arms[name].search_of not in arms and self._is_sound(name)]

    def _is_sound(self, arm: str) -> bool:
        spared = (f"arms.{arm}.trials", f"arms.{arm}.enqueue")
        return all(broken.startswith(spared) or not _overlap(f"arms.{arm}", broken) for broken in self._broken)

    @cached_property
    def readings(self) -> Mapping[str, Reading]:
        """What of each arm can be read."""
        return {arm: read_arm(self.given, arm) for arm in self.arms}

    @cached_property
    def distils(self) -> bool:
        """Whether an arm does."""
        return any(self.config.needs_teacher(arm) for arm in self.arms)

    @property
    def trains_teacher(self) -> bool:
        """Whether the study trains a teacher."""
        teacher = self.config.teacher
        described = teacher.file is None and teacher.model is not None and teacher.train is not None
        return self.distils and described and not list(check_teacher_data(self.config))

    @cached_property
    def splits(self) -> Splits:
        """The images of the study, as far as they can be opened."""
        return open_splits(self.config)

    @cached_property
    def sample(self) -> Sample | None:
        """Some of them; None where they cannot be opened."""
        train, val = self.splits.train, self.splits.val
        return read_sample(train, val) if train and val else None

    @cached_property
    def teacher_channels(self) -> Mapping[str, int] | None:
        """Channels of the teacher's taps, from its configuration or its file's card; None where neither can be had."""
        teacher = self.config.teacher
        try:
            model = read_card(Path(teacher.file)).model if teacher.file else teacher.model
            with torch.device("meta"):
                classes = len(self.config.class_names)
                return model and models.build(model, num_classes=classes, initial_weights=False).channels
        except UNBUILDABLE:
            return None

    @cached_property
    def cases(self) -> Sequence[Case]:
        """The trials to examine: the teacher's, and of each arm that at its defaults and those at other values."""
        taught = [Case(TEACHER, TEACHER, {}, self.config.teacher_trial())] if self.trains_teacher else []
        return [*taught, *(case for arm in self.arms for case in self._cases_of(arm))]

    def _cases_of(self, arm: str) -> Iterator[Case]:
        space = self.readings[arm].space
        yield from self._case(f"arms.{arm}", arm, {})
        for chosen in _settings(space):
            yield from self._case(f"arms.{arm}.space", arm, chosen)
        for position, values in enumerate(self.config.arms[arm].enqueue):
            if values and values.keys() <= space.parameters.keys():
                yield from self._case(f"arms.{arm}.enqueue.{position}", arm, values)

    def _case(self, where: str, arm: str, chosen: Mapping[str, Value]) -> Iterator[Case]:
        """One, or none where values that fit alone do not fit together."""
        try:
            trial = self.config.trial(arm, self.readings[arm].space.setting(chosen), STAND_IN)
        except (ConfigError, ValueError):
            return
        yield Case(where, arm, chosen, trial)

    def network_findings(self, case: Case) -> list[Finding]:
        """What is wrong with the networks of a case."""
        of_arm = case.arm != TEACHER
        taught = of_arm and self.config.needs_teacher(case.arm)
        untaught = not of_arm and self.config.teacher.task.needs_teacher
        said = (taught and self.teacher_channels is None) or (of_arm and list(check_weighting(self.config, case.arm)))
        if said or untaught or not self._shapes(case):
            return []  # another check says what is wrong, or the arm's defaults are built alike
        return self._networks.check(case.trial, self.teacher_channels if taught else None)

    def _shapes(self, case: Case) -> bool:
        """Whether its values shape a network: a real number shapes none but the student, and the schedule none."""
        space = self.readings[case.arm].space if case.searched else Space({})
        return not case.searched or any(_shapes(space, path) for path in case.searched)


def _shapes(space: Space, path: str) -> bool:
    real = isinstance(space.parameters[path], Float)
    return path.startswith("student/") or (path.startswith(("task/", "methods/", "augment/crop")) and not real)


def _settings(space: Space) -> Iterator[dict[str, Value]]:
    """Every value that is examined, beside the others' defaults, and combinations of those that fit together."""
    values = {path: examined_values(space, path) for path in space.parameters}
    yield from ({path: value} for path, choices in values.items() for value in choices)
    for prefixes, most in TOGETHER.items():
        paths = [path for path in values if path.startswith(prefixes)]
        if len(paths) > 1 and prod(len(values[path]) for path in paths) <= most:
            yield from (dict(zip(paths, chosen, strict=True)) for chosen in product(*(values[path] for path in paths)))


def _overlap(one: str, other: str) -> bool:
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")
