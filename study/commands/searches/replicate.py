"""`kdstudy replicate`: the best settings of a study and its baseline, trained again with seeds that it has not used.

What a search finds best is best partly by luck: of the seed, and of having been chosen among many on one split. The
new study has one replicated arm for each setting, so that trials of equal seeds are paired, and it may judge on a
split that the search has not seen. It says in its `study.json` what it replicates.
"""

import argparse
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import pyarrow.compute as pc

from study import tables
from study.commands.options import add_cluster, add_folder, add_out
from study.commands.searches.driving import drive
from study.configuration.checks import examine
from study.configuration.config import TEACHER, ArmConfig, Replicated, StudyConfig, TeacherConfig
from study.configuration.identity import differences
from study.folder import CONFIG, TEACHER_NOTE, create_study, read_config
from trainers.config import ConfigError, EvaluationSplit, TeacherFile, TrialConfig, content_hash, parse, plain

BASELINE = "baseline"
"""The arm that holds the best plain student, in the new study and by its name in the old one."""
SEED_OFFSET = 1000
"""From the seed of a study to that of its replicates; the search has used its own seed, or some from there on."""
SUFFIX = "-replicate"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_folder(parser)
    add_out(parser)
    add_cluster(parser)
    parser.add_argument("--top", type=int, default=3, metavar="K", help="how many settings, besides the baseline's; 3")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="trials of each; 5 by default")
    parser.add_argument(
        "--split", choices=("val", "test", "holdout"), help="what they are judged on; as in the study by default"
    )


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    asked = {name: getattr(options, name) for name in ("top", "seeds", "split", "out")}
    return drive(prepare(options.folder, **asked), options.address)


class Scored(NamedTuple):
    """A finished trial and its mIoU by the study's objective."""

    arm: str
    trial: int
    miou_percent: float


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting of an arm, and the finished trials that had it with this or that seed.

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
        return f"{self.arm}-{self.trial}"

    @property
    def miou_percent(self) -> float:
        """The mean over its trials."""
        return fmean(trial.miou_percent for trial in self.trials)


def settings(config: StudyConfig, folder: Path) -> list[Setting]:
    """The distinct settings of a study's finished trials, the best first.

    Raises:
        ValueError: no trial has used its whole budget.
    """
    place = folder / "tables"
    ended = tables.read(place, "trials") if (place / "trials").is_dir() else None
    finished = [] if ended is None else ended.filter(pc.field("state") == "COMPLETE").sort_by("trial").to_pylist()
    by_setting: dict[str, list[dict[str, Any]]] = {}
    for row in finished:
        if row["arm"] != TEACHER:
            by_setting.setdefault(_seedless(parse(TrialConfig, json.loads(row["config"]))), []).append(row)
    if not by_setting:
        raise ValueError(f"there must be a finished trial to go by, but none in {folder} has used its whole budget")
    found = [_setting(config, rows) for rows in by_setting.values()]
    return sorted(found, key=lambda setting: (-setting.miou_percent, setting.arm, setting.trial))


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


def chosen(config: StudyConfig, found: list[Setting], top: int) -> dict[str, Setting]:
    """By the names of the arms to be: the best plain student, and the best `top` settings besides it.

    Raises:
        ValueError: no finished trial is of a plain student.
    """
    baseline = _baseline(config, found)
    best = [setting for setting in found if setting is not baseline][:top]
    return {BASELINE: baseline, **{setting.name: setting for setting in best}}


def _baseline(config: StudyConfig, found: list[Setting]) -> Setting:
    plain_arms = [n for n, arm in config.arms.items() if not arm.methods and arm.task.weighting == "uniform"]
    name = BASELINE if BASELINE in config.arms else next(iter(plain_arms), None)
    if name is None:
        raise ValueError(
            f"a study must have a plain student to compare with, but {config.name} has no arm {BASELINE!r} and none "
            "without methods and with uniform weighting; add one to its file, and run it as a new study"
        )
    of_it = [setting for setting in found if setting.arm == name]
    if not of_it:
        raise ValueError(
            f"a study must have a finished plain student to compare with, but no trial of its arm {name!r} is; go on "
            "with it: kdstudy resume DIR"
        )
    return of_it[0]


def replicates(folder: Path, *, top: int, seeds: int, split: EvaluationSplit | None = None) -> StudyConfig:
    """The study that trains the best settings of another one again, `seeds` times each.

    Args:
        folder: of the study that is replicated, finished or stopped.
        top: how many of its best settings, besides the best plain student.
        seeds: trials of each.
        split: what they are judged on; as the study's trials where None. What is held out of training stays out.

    Raises:
        ValueError: no such study, nothing in it to go by, or a trial that this kdstudy would train otherwise.
    """
    if top < 1 or seeds < 1:
        raise ValueError(f"--top and --seeds must be at least 1, but got {top} and {seeds}")
    folder = folder.absolute()
    config = read_config(folder)
    taken = chosen(config, settings(config, folder), top)
    study = replace(
        config,
        name=config.name[: 60 - len(SUFFIX)] + SUFFIX,
        seed=config.seed + SEED_OFFSET,
        evaluate_on=split or config.evaluate_on,
        arms={name: _arm(config, setting, seeds) for name, setting in taken.items()},
        teacher=_teacher(config, folder, taken.values()),
        replicates={name: _replicated(config, folder, setting) for name, setting in taken.items()},
        spaces={},
    )
    for name, setting in taken.items():
        _refuse_another(study, name, setting)
    return parse(StudyConfig, plain(study))


def _arm(config: StudyConfig, setting: Setting, seeds: int) -> ArmConfig:
    source = config.arms[setting.arm]
    return ArmConfig(trials=seeds, task=source.task, methods=source.methods, fixed={**source.fixed, **setting.values})


def _replicated(config: StudyConfig, folder: Path, setting: Setting) -> Replicated:
    return Replicated(
        study=config.name,
        folder=str(folder),
        arm=setting.arm,
        trial=setting.trial,
        config_hash=content_hash(setting.config),
        miou_percent=setting.miou_percent,
    )


def _teacher(config: StudyConfig, folder: Path, taken: Iterable[Setting]) -> TeacherConfig:
    """The file that the study's trials had, whatever else could be trained."""
    if all(setting.config.teacher is None for setting in taken):
        return config.teacher
    note = json.loads((folder / TEACHER_NOTE).read_text())
    return TeacherConfig(file=note["path"], sha256=note["sha256"], folder=config.teacher.folder)


def _refuse_another(study: StudyConfig, name: str, setting: Setting) -> None:
    """Hold the new study's trial against the one that it replicates: all but seeds, split and place must agree."""
    old = setting.config
    teacher = TeacherFile(path=study.teacher.file, sha256=study.teacher.sha256) if study.teacher.file else None
    kept = {field: getattr(old, field) for field in ("data_seed", "init_seed", "evaluate_on")}
    new = replace(study.trial(name, {}, teacher), **kept)
    if content_hash(new) != content_hash(old):
        other = ", ".join(differences(plain(old), plain(new)))
        raise ValueError(
            f"a replicate must train as its trial did, but {setting.name} differs in {other}; was study.json edited?"
        )


def prepare(
    folder: Path,
    *,
    top: int,
    seeds: int,
    out: Path | None,
    split: EvaluationSplit | None = None,
) -> Path:
    """Make the folder of the replicates, or find it where it was made before.

    Args:
        folder: of the study that is replicated.
        top: how many settings.
        seeds: trials of each.
        split: what they are judged on.
        out: the folder; `replicate` in the study's by default.

    Returns:
        The folder, to be gone on with as with any study.

    Raises:
        ValueError: as `replicates`; or the folder holds something else than is asked for.
    """
    study = replicates(folder, top=top, seeds=seeds, split=split)
    if wrong := examine(study).faults:
        raise ConfigError(wrong)
    place = (out or folder / "replicate").absolute()
    if not (place / CONFIG).exists():
        create_study(study, place)
        return place
    other = differences(plain(replace(read_config(place), execution=study.execution)), plain(study))
    if other:
        raise ValueError(
            f"replicates that were begun stay what they are, but those in {place} differ from what is asked for in "
            f"{', '.join(other)}; choose another --out, or go on with these: kdstudy resume {place} [--trials SEEDS]"
        )
    return place
