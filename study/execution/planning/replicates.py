"""Short replicates of a study's arms, trained to see how much seeds change: what each counted in every image.

A short replicate is a whole trial of as many iterations as there are between two evaluations, its learning rate's
schedule among them. Its noise need not be that of a long trial.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.configuration.config import StudyConfig
from study.configuration.prices import priced_trial
from study.execution.planning.machine import Machine
from study.execution.planning.plan import teacher_origin
from study.execution.planning.processes import Placement, TrialFaultError, TrialProcess
from trainers.checkpoints.places import checkpoints_at
from trainers.checkpoints.reading import read_evaluations
from trainers.config import TrialConfig
from trainers.data.groups import image_groups
from trainers.data.splits import judging_images

SEED_OFFSET = 2000
"""From the seed of a study to that of its short replicates."""


class ShortReplicates(NamedTuple):
    """What they counted.

    Attributes:
        arms: that were trained, in the order of `counts`.
        counts: [arms, seeds, images, classes, 3].
        groups: [images], the group of each image.
        iterations: of each replicate.
    """

    arms: tuple[str, ...]
    counts: NDArray[np.int64]
    groups: NDArray[np.str_]
    iterations: int


def trainable_arms(config: StudyConfig) -> tuple[str, ...]:
    """Arms that short replicates are trained of, the plain one first; those with a teacher only where it is there.

    Raises:
        ValueError: there is none.
    """
    there = teacher_origin(config) != "has to be trained"
    first = [name for name, arm in config.arms.items() if arm.search_of is None]
    found = [name for name in first if there or not config.needs_teacher(name)]
    if not found:
        raise ValueError(
            "--noise must have an arm to train, but every arm distils and the teacher has to be trained first; "
            "kdstudy teacher STUDY, or give --noise-from or --noise-points"
        )
    return tuple(sorted(found, key=lambda name: name != config.plain_arm))


def short_replicates(
    config: StudyConfig, arms: Sequence[str], seeds: int, say: Callable[[str], None] = lambda _: None
) -> ShortReplicates:
    """Train so many short replicates of each of some arms.

    Args:
        config: the study, checked.
        arms: of `trainable_arms`, one or more; the others are held against the first.
        seeds: two or more.
        say: shows a line to the user.

    Raises:
        ValueError: too few seeds, or a replicate fails.
    """
    if seeds < 2:
        raise ValueError(f"--noise must be at least 2 short replicates, because one has no spread, but got {seeds}")
    trials = [(name, _short(config, name, number)) for name in arms for number in range(seeds)]
    machine = Machine(config.execution)
    counts = _trained(trials, machine.places(machine.slots(config.workers)), say)
    names, first_counts = counts[0]
    data = judging_images(config.data, config.evaluate_on, holdout=config.holdout)
    groups = image_groups(data, config.groups)
    return ShortReplicates(
        tuple(arms),
        np.stack([found for _, found in counts]).reshape(len(arms), seeds, *first_counts.shape),
        np.array([groups[name] for name in names]),
        trials[0][1].train.iterations,
    )


def _short(config: StudyConfig, arm: str, number: int) -> TrialConfig:
    seed = config.seed + SEED_OFFSET + number
    trial = priced_trial(config, arm, {})
    iterations = min(trial.train.evaluate_every, trial.train.iterations)
    teacher = trial.teacher and replace(trial.teacher, path=str(config.teacher_path))
    train = replace(trial.train, iterations=iterations, workers=1)
    return replace(trial, teacher=teacher, data_seed=seed, init_seed=seed, train=train)


Counted = tuple[list[str], NDArray[np.int64]]


def _trained(
    trials: list[tuple[str, TrialConfig]], places: list[Placement], say: Callable[[str], None]
) -> list[Counted]:
    """Names of images and their counts of each trial, as many at a time as there are places."""
    found: list[Counted] = []
    for begin in range(0, len(trials), len(places)):
        side_by_side = trials[begin : begin + len(places)]
        say(f"short replicates {begin + 1} to {begin + len(side_by_side)} of {len(trials)}")
        with ExitStack() as stack:
            processes = [stack.enter_context(TrialProcess(place)) for place in places[: len(side_by_side)]]
            for process, (_, trial) in zip(processes, side_by_side, strict=True):
                process.train(trial)
            found += [_counted(process, arm) for process, (arm, _) in zip(processes, side_by_side, strict=True)]
    return found


def _counted(process: TrialProcess, arm: str) -> Counted:
    try:
        process.report()
    except TrialFaultError as fault:
        raise ValueError(f"{arm}: a short replicate must train, but {fault}; leave --noise out, or mend it") from None
    names, counts = read_evaluations(checkpoints_at(str(process.folder)).all()[-1])
    return names, counts["last"].numpy()
