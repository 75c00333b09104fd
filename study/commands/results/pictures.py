"""The predictions that a report draws: made from a study's checkpoints once, and kept in its folder.

What is drawn is decided by the tables, see `analysis.pictures.choice`. A study with plugins is opened only where that
is asked for, because a report runs nothing of a study unasked.
"""

import hashlib
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
    study, found = open_study(folder), None
    try:
        choice = choose(study)
        key = _key(study, choice)
        found = kept(folder / FILE, key)
        if found is not None and not _teacher_is_back(study, found):
            return found
        _refuse_plugins(study, allowed=plugins)
        print(f"predicting {len(choice.images)} images for the report ...", file=sys.stderr, flush=True)
        from study.commands.results.predicting import predicted  # what is kept needs no PyTorch

        made = predicted(study, choice, plugins=plugins)
    except (ValueError, OSError) as lacking:
        if found is not None:  # made when the teacher was away, and as good as they were
            return found
        return f"{str(lacking)[:1].upper()}{str(lacking)[1:]}."
    _keep(folder / FILE, key, made)
    return made


def _key(study: Study, choice: Choice) -> Mapping[str, Any]:
    """What the predictions are of."""
    teacher = study.teacher.get("sha256") if study.teacher else None
    return {"choice": asdict(choice), "split": study.split, "teacher": teacher}


def _teacher_is_back(study: Study, found: Pictures) -> bool:
    """Whether kept pictures lack a teacher whose very file is there now."""
    if TEACHER in found.names or study.teacher is None or not (path := Path(study.teacher["path"])).is_file():
        return False
    expected = study.teacher.get("sha256")
    with path.open("rb") as file:
        return expected in (None, hashlib.file_digest(file, "sha256").hexdigest())


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
