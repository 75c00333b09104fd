"""The predictions that a report draws: made from a study's checkpoints once, and kept in its folder.

What is drawn is decided by the tables, see `analysis.pictures.choice`. A study with plugins is opened only where that
is asked for, because a report runs nothing of a study unasked.
"""

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.pictures.choice import Choice, choose
from analysis.pictures.predictions import FILE, TEACHER, Pictures, keep, kept
from analysis.studies.study import Study, open_study


def pictures_of(folder: Path, *, plugins: bool) -> Pictures | str:
    """The pictures of a study, kept or new; or why there are none, as a sentence.

    Args:
        folder: the study's.
        plugins: whether code of plugins may be run for them.

    Raises:
        ValueError: there is no study, or no trial of it has ended.
    """
    study = open_study(folder)
    try:
        choice = choose(study)
        key = _key(study, choice)
        if (found := kept(folder / FILE, key)) and not _teacher_is_back(study, found):
            return found
        _refuse_plugins(study, allowed=plugins)
        print(f"predicting {len(choice.images)} images for the report ...", file=sys.stderr, flush=True)
        from study.commands.results.predicting import predicted  # what is kept needs no PyTorch

        made = predicted(study, choice, plugins=plugins)
    except (ValueError, OSError) as lacking:
        return f"{str(lacking)[:1].upper()}{str(lacking)[1:]}."
    _keep(folder / FILE, key, made)
    return made


def _key(study: Study, choice: Choice) -> Mapping[str, Any]:
    """What the predictions are of."""
    teacher = study.teacher.get("sha256") if study.teacher else None
    return {"choice": asdict(choice), "split": study.split, "teacher": teacher}


def _teacher_is_back(study: Study, found: Pictures) -> bool:
    """Whether kept pictures lack a teacher whose file is there now."""
    return TEACHER not in found.names and study.teacher is not None and Path(study.teacher["path"]).is_file()


def _refuse_plugins(study: Study, *, allowed: bool) -> None:
    if study.config.get("plugins") and not allowed:
        raise ValueError(
            "the study has plugins, and a report runs their code only where asked to: kdstudy report --pictures"
        )


def _keep(path: Path, key: Mapping[str, Any], made: Pictures) -> None:
    try:
        keep(path, key, made)
    except OSError as wrong:
        print(f"kdstudy: warning: the next report has to predict again, because {wrong}", file=sys.stderr)
