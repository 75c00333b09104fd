"""Which outputs of the teacher the planned trials of a study read, and which trials read the same ones.

Trials read the same outputs where they have the same batches and arithmetic: the key of a recording says which these
are. Searched values are taken to be drawn evenly, so each of k choices has a k-th of an arm's trials; a trial that will
be stopped early counts like a whole one.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any, NamedTuple

from search_spaces.parameters import Parameter
from search_spaces.space import Categorical, Int
from study.configuration.config import REPLICATE, StudyConfig
from study.configuration.identity import on_gpus
from trainers.config import TeacherFile, TrialConfig, content_hash
from trainers.teachers.recordings.key import of_trial
from trainers.teachers.recordings.reads import taps_read

STAND_IN = TeacherFile(path="teacher")
"""Nothing here depends on which file the teacher is."""
MOST = 256
"""Values of a whole number, and combinations of values, that are told apart."""


class Readers(NamedTuple):
    """Planned trials of an arm that read the same outputs.

    Attributes:
        trial: one of them, with a stand-in for its teacher.
        key: of the recording that they read, as `key_of` has it.
        taps: n by tap: they read it at some of the iterations 0 to n - 1.
        trials: how many they are.
    """

    trial: TrialConfig
    key: str
    taps: Mapping[str, int]
    trials: float


def key_of(trial: TrialConfig, *, on_gpu: bool) -> str:
    """Tells recordings of one study apart: its trials have one teacher, one dataset and like machines."""
    return content_hash(of_trial(trial, on_gpu=on_gpu))


def planned_readers(config: StudyConfig, teacher: Collection[str]) -> list[Readers]:
    """The planned trials of all arms that have a teacher; none of those whose every trial has batches of its own.

    Args:
        config: the study.
        teacher: the taps that its teacher has.
    """
    taught = [arm for arm in config.arms if config.needs_teacher(arm)]
    return [readers for arm in taught for readers in _readers_of(config, arm, teacher)]


def planned_trials(config: StudyConfig, arm: str) -> float:
    """How many trials an arm will have; of one with a budget by cost, as many as whole trials of the plain student."""
    most, budget = config.arms[arm].trials, config.budget_of(arm)
    if budget is None or budget.seconds is not None:
        return most
    whole = budget.whole_trials or (budget.iterations or 0) / config.train.iterations
    return min(most, max(1.0, whole))


def _readers_of(config: StudyConfig, arm: str, teacher: Collection[str]) -> list[Readers]:
    settings = _replicates(config, arm) if config.arms[arm].replicated else _settings(config, arm, teacher)
    share = planned_trials(config, arm) / max(1, len(settings))
    found = (_readers(config, arm, values, teacher, share) for values in settings)
    return [readers for readers in found if readers is not None and readers.taps]


def _readers(
    config: StudyConfig, arm: str, values: Mapping[str, Any], teacher: Collection[str], trials: float = 1.0
) -> Readers | None:
    """The trials at these values; None where these do not fit together."""
    try:
        trial = config.trial(arm, values, STAND_IN)
        taps = taps_read(trial, teacher=teacher, num_classes=len(config.class_names))
    except ValueError:
        return None
    return Readers(trial, key_of(trial, on_gpu=on_gpus(config)), taps, trials)


def _replicates(config: StudyConfig, arm: str) -> Sequence[Mapping[str, Any]]:
    return [{REPLICATE: number} for number in range(config.arms[arm].trials)]


def _settings(config: StudyConfig, arm: str, teacher: Collection[str]) -> Sequence[Mapping[str, Any]]:
    """Values that each stand for equally many trials of an arm that searches; none where no two share their batches."""
    space = config.space(arm)
    deciding: dict[str, Sequence[Any]] = {}
    for path, parameter in space.parameters.items():
        settings = (space.setting({path: value}) for value in _values(parameter))
        found = [readers for values in settings if (readers := _readers(config, arm, values, teacher)) is not None]
        if len({readers.key for readers in found}) > 1 and not _is_listed(parameter):
            return []
        if any((readers.key, readers.taps) != (found[0].key, found[0].taps) for readers in found):
            deciding[path] = _values(parameter)
    if prod(map(len, deciding.values())) > MOST:
        return []
    chosen = (dict(zip(deciding, values, strict=True)) for values in product(*deciding.values()))
    return [space.defaults(values) for values in chosen]


def _is_listed(parameter: Parameter) -> bool:
    """Whether its values are few."""
    return isinstance(parameter, Categorical) or (isinstance(parameter, Int) and len(_grid(parameter)) <= MOST)


def _grid(parameter: Int) -> range:
    return range(parameter.low, parameter.high + 1, parameter.step or 1)


def _values(parameter: Parameter) -> Sequence[Any]:
    """All values where they are few, else both ends of the range and the default."""
    if isinstance(parameter, Int) and _is_listed(parameter):
        return _grid(parameter)
    return tuple(dict.fromkeys((*parameter.values(), parameter.default)))
