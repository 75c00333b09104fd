"""`kdstudy replicate`: the best settings of each arm and the baseline's, trained again with seeds that are new.

What a search finds best is best partly by luck: of the seed, and of having been chosen among many on one split. The
new study has one replicated arm for each setting, so that trials of equal seeds are paired, and it may judge on a
split that the search has not seen. It says in its `study.json` what it replicates, and how many seeds were planned. A
further call adds to it what it has not: settings, arms, seeds.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from study.commands.options import add_arms, add_cluster, add_folder, add_out
from study.commands.searches.driving import drive
from study.commands.searches.extension import additions, extended
from study.commands.searches.selection import Choice, Selection, Setting, select
from study.configuration.checks import examine
from study.configuration.config import ArmConfig, Replicated, StudyConfig, TeacherConfig
from study.configuration.identity import differences
from study.configuration.outline import NAME_LENGTH
from study.folder import CONFIG, TEACHER_NOTE, create_study, read_config, rewrite_config
from study.ledger.lock import locked
from study.measures import MIOU
from study.saved import TeacherNote, read_saved
from trainers.config import ConfigError, EvaluationSplit, TeacherFile, content_hash, parse, plain

SEED_OFFSET = 1000
"""From the seed of a study to that of its replicates; the search has used its own seed, or some from there on."""
SEEDS = 5
"""Trials of a setting, where no other number is asked for."""
SUFFIX = "-replicate"
FOLDER, DEFAULTS_FOLDER = "replicate", "replicate-defaults"
"""In the folder of the study that is replicated; two families of comparisons, each against a baseline of its own."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_folder(parser)
    add_out(parser)
    add_cluster(parser)
    add_arms(parser, "only this arm and the baseline; may be given repeatedly")
    parser.add_argument("--top", type=int, default=1, metavar="K", help="how many settings of each arm; 1 by default")
    parser.add_argument(
        "--seeds", type=int, metavar="N", help=f"trials of each; {SEEDS} by default, or as many as were begun"
    )
    parser.add_argument(
        "--defaults",
        action="store_true",
        help=f"the defaults of each arm instead, in DIR/{DEFAULTS_FOLDER}: what the methods are worth untuned",
    )
    parser.add_argument(
        "--split", choices=("val", "test", "holdout"), help="what they are judged on; as in the study by default"
    )


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    asked = {name: getattr(options, name) for name in ("top", "seeds", "split", "arms", "out", "defaults")}
    return drive(prepare(options.folder, **asked), options.address)


def replicates(
    folder: Path,
    *,
    top: int = 1,
    seeds: int = SEEDS,
    split: EvaluationSplit | None = None,
    arms: Sequence[str] = (),
    defaults: bool = False,
) -> StudyConfig:
    """The study that trains the best settings of another one again, `seeds` times each.

    Args:
        folder: of the study that is replicated, finished or stopped.
        top: how many of the best settings of each arm; of the baseline the best one.
        seeds: trials of each, which is also how many are planned.
        split: what they are judged on; as the study's trials where None. What is held out of training stays out.
        arms: replicate these only, besides the baseline.
        defaults: replicate the defaults of each arm instead of its best.

    Raises:
        ValueError: no such study, nothing in it to go by, or a trial that this kdstudy would train otherwise.
    """
    if seeds < 1:
        raise ValueError(f"--seeds must be at least 1, but got {seeds}; 5 is the default")
    folder = folder.absolute()
    config = read_config(folder)
    return _replicates(config, folder, select(config, folder, top=top, arms=arms, defaults=defaults), seeds, split)


def _replicates(
    config: StudyConfig, folder: Path, selection: Selection, seeds: int, split: EvaluationSplit | None
) -> StudyConfig:
    taken = selection.chosen
    study = replace(
        config,
        name=config.name[: NAME_LENGTH - len(SUFFIX)] + SUFFIX,
        seed=config.seed + SEED_OFFSET,
        evaluate_on=split or config.evaluate_on,
        arms={name: _arm(config, choice.setting, seeds) for name, choice in taken.items()},
        teacher=_teacher(config, folder, [choice.setting for choice in taken.values()]),
        replicates={name: _replicated(config, folder, choice) for name, choice in taken.items()},
        searches=1,
        budget=None,
        # what has been found is not searched again
        search=replace(config.search, objectives=(MIOU,), constraints=()),
        planned_seeds=seeds,
        spaces={},
    )
    for name, choice in taken.items():
        _refuse_another(study, name, choice.setting)
    return parse(StudyConfig, plain(study))


def _arm(config: StudyConfig, setting: Setting, seeds: int) -> ArmConfig:
    source = config.arms[setting.arm]
    return ArmConfig(trials=seeds, task=source.task, methods=source.methods, fixed={**source.fixed, **setting.values})


def _replicated(config: StudyConfig, folder: Path, choice: Choice) -> Replicated:
    setting = choice.setting
    return Replicated(
        study=config.name,
        folder=str(folder),
        arm=setting.arm,
        trial=setting.trial,
        config_hash=content_hash(setting.config),
        miou_percent=setting.miou_percent,
        search_of=config.arms[setting.arm].search_of,
        chosen_by=choice.arms,
    )


def _teacher(config: StudyConfig, folder: Path, taken: Sequence[Setting]) -> TeacherConfig:
    """The file that the study's trials had, whatever else could be trained."""
    if all(setting.config.teacher is None for setting in taken):
        return config.teacher
    note, kept = read_saved(folder / TEACHER_NOTE, TeacherNote), config.teacher
    return replace(kept, file=note["path"], sha256=note.get("sha256"), model=None, train=None)


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
    top: int = 1,
    seeds: int | None = None,
    split: EvaluationSplit | None = None,
    arms: Sequence[str] = (),
    out: Path | None = None,
    defaults: bool = False,
) -> Path:
    """Make the folder of the replicates, or add to the one that was made before what it has not.

    Args:
        folder: of the study that is replicated.
        top: how many settings of each arm.
        seeds: trials of each; None for as many as the replicates there have, SEEDS where there are none.
        split: what they are judged on; None for what those there are judged on, else the study's.
        arms: replicate these only, besides the baseline.
        out: the folder; `replicate` in the study's by default, or `replicate-defaults`.
        defaults: replicate the defaults of each arm instead of its best.

    Returns:
        The folder, to be gone on with as with any study.

    Raises:
        ValueError: as `replicates`; or the folder holds something that is trained or judged otherwise, has more seeds
            than are asked for, or is being driven.
    """
    folder = folder.absolute()
    place = (out or folder / (DEFAULTS_FOLDER if defaults else FOLDER)).absolute()
    config = read_config(folder)
    selection = select(config, folder, top=top, arms=arms, defaults=defaults)
    _say(selection.notes())
    if (place / CONFIG).exists():
        with locked(place):
            _extend(place, config, folder, selection, seeds, split)
        return place
    study = _replicates(config, folder, selection, SEEDS if seeds is None else seeds, split)
    _refuse_faults(study)
    create_study(study, place)
    return place


def _extend(
    place: Path,
    config: StudyConfig,
    folder: Path,
    selection: Selection,
    seeds: int | None,
    split: EvaluationSplit | None,
) -> None:
    """Add to the replicates in `place` what is asked for and not there."""
    begun = read_config(place)
    there = max((arm.trials for name, arm in begun.arms.items() if name in selection.chosen), default=SEEDS)
    asked = _replicates(config, folder, selection, there if seeds is None else seeds, split or begun.evaluate_on)
    more = extended(begun, asked, place)
    if seeds is not None and seeds < there:
        raise ValueError(
            f"--seeds must be at least what replicates have that were begun, but got {seeds} and those in {place} have "
            f"{there}; leave it out, or choose another --out"
        )
    if more != begun:
        _refuse_faults(more)
        rewrite_config(more, place)
        _say(additions(begun, more))


def _refuse_faults(study: StudyConfig) -> None:
    if wrong := examine(study).faults:
        raise ConfigError(wrong)


def _say(lines: Iterable[str]) -> None:
    """To standard error, as all that is not the answer."""
    for line in lines:
        print(line, file=sys.stderr)
