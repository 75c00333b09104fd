"""The best settings of each arm of a study: what `replicate` trains again and `rescore` judges again.

Each arm is chosen from on its own, because arms are what a study compares: the best settings of all arms together may
all be the baseline's. The searches of one arm are arms here too, for each is one try of what that arm's search finds.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import pyarrow.compute as pc

from study import tables
from study.configuration.config import BASELINE, StudyConfig
from study.configuration.outline import NAME_LENGTH
from study.configuration.searches import named_arms
from trainers.config import TrialConfig, content_hash, parse
from trainers.registry import nearest

NONE_ENDED = "has used its whole budget; go on with it: kdstudy resume DIR"
AT_DEFAULTS = (
    "at its defaults has used its whole budget; go on with one that has not ended: kdstudy resume DIR; one that was "
    "stopped early stays so, and in a new study pruning.keep_every lets the first trial of each arm end"
)
"""What no trial of an arm has done that is left out, and the remedy; `_nothing_kept` has a third."""


class Scored(NamedTuple):
    """A finished trial and its mIoU by the study's objective."""

    arm: str
    trial: int
    miou_percent: float


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting, and the finished trials that had it with this or that seed.

    Attributes:
        trials: all of them, the first one first; the setting is named after that.
        values: what was searched, by path.
        config: of the first.
    """

    trials: tuple[Scored, ...]
    values: Mapping[str, Any]
    config: TrialConfig

    @property
    def arm(self) -> str:
        return self.trials[0].arm

    @property
    def trial(self) -> int:
        return self.trials[0].trial

    @property
    def name(self) -> str:
        """`ARM-TRIAL`; of an arm whose name is too long for that, its beginning and that of the trial's hash."""
        name = f"{self.arm}-{self.trial}"
        if len(name) <= NAME_LENGTH:
            return name
        tail = f"-{content_hash(self.config)[:8]}-{self.trial}"
        return self.arm[: NAME_LENGTH - len(tail)] + tail

    @property
    def miou_percent(self) -> float:
        """The mean over its trials."""
        return fmean(trial.miou_percent for trial in self.trials)

    def has(self, arm: str) -> bool:
        """Whether a finished trial of this arm had it."""
        return any(trial.arm == arm for trial in self.trials)


class Choice(NamedTuple):
    """A setting that was chosen, and the arms that it is among the best of: several where they found the same one."""

    setting: Setting
    arms: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The best settings of each arm.

    Attributes:
        chosen: by the names of the arms to be; that of the best plain student, BASELINE, comes first.
        left_out: arms that were to be chosen from, but have nothing to choose, and what no trial of theirs has done.
    """

    chosen: Mapping[str, Choice]
    left_out: Mapping[str, str]

    def notes(self) -> Iterator[str]:
        """What whoever asked for so many of each arm should know, one line each."""
        for arm, reason in self.left_out.items():
            yield f"{arm} is left out: no trial of it {reason}"
        for name, choice in self.chosen.items():
            if len(choice.arms) > 1:
                yield f"{name} stands for {' and '.join(choice.arms)}, which found the same setting"


def settings(config: StudyConfig, folder: Path, *, bounded: bool = True) -> list[Setting]:
    """The distinct settings of a study's finished trials, the best first; of equals the first arm's first trial.

    Args:
        config: the study's.
        folder: the study's.
        bounded: leave out those that break one of the search's bounds.

    Raises:
        ValueError: no trial has used its whole budget, or none keeps the bounds.
    """
    order, whole = list(config.arms), _finished_rows(config, folder)
    bounds = config.search.bounds if bounded else ()
    rows = [row for row in whole if all(bound.keeps(row, config.objective) for bound in bounds)]
    if whole and not rows:
        broken = ", ".join(config.search.constraints)
        raise ValueError(f"there must be a finished trial to go by, but none in {folder} keeps {broken}; search longer")
    by_setting: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (order.index(row["arm"]), row["trial"])):
        by_setting.setdefault(_seedless(parse(TrialConfig, json.loads(row["config"]))), []).append(row)
    if not by_setting:
        raise ValueError(f"there must be a finished trial to go by, but none in {folder} has used its whole budget")
    return sorted((_setting(config, rows) for rows in by_setting.values()), key=lambda found: -found.miou_percent)


def _finished_rows(config: StudyConfig, folder: Path) -> list[dict[str, Any]]:
    """The rows of all trials that used their whole budget, but the teacher's."""
    place = folder / "tables"
    ended = tables.read(place, "trials") if (place / "trials").is_dir() else None
    finished = [] if ended is None else ended.filter(pc.field("state") == "COMPLETE").to_pylist()
    return [row for row in finished if row["arm"] in config.arms]


def _seedless(trial: TrialConfig) -> str:
    return content_hash(replace(trial, data_seed=0, init_seed=0))


def _setting(config: StudyConfig, rows: list[dict[str, Any]]) -> Setting:
    first = rows[0]
    searched = {} if config.arms[first["arm"]].replicated else first
    return Setting(
        trials=tuple(Scored(row["arm"], row["trial"], row[config.objective_column]) for row in rows),
        values=tables.parameters_of(searched),
        config=parse(TrialConfig, json.loads(first["config"])),
    )


def select(
    config: StudyConfig, folder: Path, *, top: int, arms: Sequence[str] = (), defaults: bool = False
) -> Selection:
    """The best settings of each arm, and of each search of the baseline the best one; or the defaults of each arm.

    Args:
        config: the study's.
        folder: the study's, finished or stopped.
        top: how many settings of each arm.
        arms: choose from these only, besides the baseline; an arm's name stands for all of its searches.
        defaults: choose the setting that each arm's spaces have as their defaults, however good it is.

    Raises:
        ValueError: `top` below 1, an unknown arm, or no finished trial: of a plain student, or of a named arm.
    """
    _check(config, top, arms)
    found, plain = settings(config, folder, bounded=not defaults), _plain_arm(config)
    plain_arms = named_arms(config, [plain])
    asked = named_arms(config, arms) or tuple(config.arms)
    chosen: dict[str, Choice] = {}
    finished = {row["arm"] for row in _finished_rows(config, folder)}
    left_out = {}
    for arm in dict.fromkeys((*plain_arms, *(name for name in config.arms if name in asked))):
        best = [
            setting for setting in found if setting.has(arm) and (not defaults or _is_default(config, arm, setting))
        ]
        best = best[: 1 if arm in plain_arms else top]
        if not best:
            left_out[arm] = AT_DEFAULTS if defaults else _nothing_kept(config, arm in finished)
            _refuse_nothing(arm, plain, arms, left_out[arm])
        for setting in best:
            name = next((name for name, choice in chosen.items() if choice.setting is setting), None)
            name = name or (setting.name if chosen else BASELINE)
            chosen[name] = Choice(setting, (*(chosen[name].arms if name in chosen else ()), arm))
    return Selection(chosen=chosen, left_out=left_out)


def _nothing_kept(config: StudyConfig, has_finished: bool) -> str:
    if not has_finished:
        return NONE_ENDED
    return f"keeps the bounds of the search, {', '.join(config.search.constraints)}; search longer"


def _is_default(config: StudyConfig, arm: str, setting: Setting) -> bool:
    at_defaults = config.trial(arm, config.space(arm).defaults(), setting.config.teacher)
    return _seedless(at_defaults) == _seedless(setting.config)


def _check(config: StudyConfig, top: int, arms: Sequence[str]) -> None:
    if top < 1:
        raise ValueError(f"--top must be at least 1, but got {top}; ask for 1 setting of each arm or more")
    for arm in arms:
        if arm not in config.arms:
            raise ValueError(f"--arm must be an arm of the study, but got {arm!r}; {nearest(arm, config.arms)}")


def _plain_arm(config: StudyConfig) -> str:
    if config.plain_arm is None:
        raise ValueError(
            f"a study must have a plain student to compare with, but {config.name} has no arm {BASELINE!r} and none "
            "without methods and with uniform weighting; add one to its file, and run it as a new study"
        )
    return config.plain_arm


def _refuse_nothing(arm: str, plain: str, named: Sequence[str], reason: str) -> None:
    """Refuse to leave an arm out that was asked for by its name, or that all others are compared with."""
    if arm == plain:
        raise ValueError(
            f"a study must have a finished plain student to compare with, but no trial of {plain!r} {reason}"
        )
    if arm in named:
        raise ValueError(
            f"--arm must have a finished trial to go by, but no trial of {arm!r} {reason}, or leave it out"
        )
