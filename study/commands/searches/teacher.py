"""`kdstudy teacher`: train the teacher of a study, as a study that has no other arm, or find it."""

import argparse
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from study.commands.checked import checked_study
from study.commands.options import FAILED, add_cluster, add_out, add_study
from study.commands.searches.driving import refuse_lost_places
from study.configuration.config import StudyConfig
from study.configuration.identity import differences
from study.execution import runner, session
from study.folder import CONFIG, create_study, read_config, starting
from trainers.config import identity


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_study(parser)
    parser.add_argument(
        "--retrain",
        action="store_true",
        help="train it even if kdstudy comes with it; --set teacher.folder=DIR says where it is kept",
    )
    add_out(parser)
    add_cluster(parser)


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    session.refuse_client(options.address)
    config, _ = checked_study(options.study, [*options.sets, *(["teacher.shipped=false"] if options.retrain else [])])
    if not config.any_needs_teacher:
        raise ValueError(f"a teacher is for arms that distil, but no arm of {config.name} does; add `methods` to one")
    refuse_lost_places(options.out, config)
    folder = (options.out or Path("runs") / f"{config.name}-teacher").absolute()
    if options.retrain and (folder / CONFIG).exists() and read_config(folder).teacher.shipped:
        raise ValueError(
            f"--out must be a new folder for --retrain, but {folder} has a teacher's study; choose another"
        )
    first: AbstractContextManager[None] = nullcontext()
    if (folder / CONFIG).exists():
        _refuse_another(config, read_config(folder), folder)
    else:
        create_study(config, folder)
        first = starting(folder)
    with first:
        return 0 if runner.resume(folder, options.address, only_teacher=True) else FAILED


def _refuse_another(asked: StudyConfig, begun: StudyConfig, folder: Path) -> None:
    """Refuse to go on with the study of another teacher than is asked for."""
    if found := differences(_taught(asked), _taught(begun)):
        raise ValueError(
            f"--out must be a new folder, or that of this very teacher, but {folder} has one that differs in "
            f"{', '.join(found)}; choose another --out"
        )


def _taught(config: StudyConfig) -> dict[str, Any]:
    """What decides which teacher a study has: its file, or its training and how it is stored."""
    teacher = config.teacher
    if teacher.train is None:
        return {**identity(teacher)}
    return {**identity(config.teacher_trial()), "stored": teacher.stored}
