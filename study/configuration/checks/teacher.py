"""The teacher of a study: is it there, of the same classes, can it be trained, and can it be kept?"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from study.configuration.checks.findings import Finding, fault
from study.configuration.config import StudyConfig
from trainers.addresses import is_url, redacted
from trainers.registry import nearest
from trainers.teachers.teacher import load, read_card


def check_teacher(config: StudyConfig) -> Iterable[Finding]:
    """A study with arms that distil has a teacher's file, or says how to train one."""
    teacher = config.teacher
    if teacher.file is not None:
        yield from _check_file(config, Path(teacher.file))
    elif teacher.model is None:
        yield fault("teacher: an arm distils, so a teacher.file or a teacher.model with teacher.train is required")
    elif teacher.train is None:
        yield fault("teacher.train: is required with teacher.model")


def _check_file(config: StudyConfig, file: Path) -> Iterable[Finding]:
    try:
        names = read_card(file).class_names
        if len(names) == len(config.class_names):
            load(file, class_names=names)
            return
    except ValueError as error:
        yield fault(f"teacher: {error}")
        return
    yield fault(
        f"teacher: teacher and dataset must have the same classes, but the file has {len(names)} and "
        f"{config.data.name} has {len(config.class_names)}"
    )


def check_teacher_folder(config: StudyConfig) -> Iterable[Finding]:
    """A teacher that is not there yet can be kept once it is trained."""
    if config.teacher_path.exists():
        return
    if why := unwritable(Path(config.teacher.folder)):
        yield fault(
            f"teacher.folder must be a folder that can be written, but {why}; name another: --set teacher.folder=FOLDER"
        )


def refuse_unwritable_folder(config: StudyConfig) -> None:
    """Raise ValueError where a teacher could not be kept once it is trained."""
    for finding in check_teacher_folder(config):
        raise ValueError(finding.text)


def check_record(config: StudyConfig, channels: Mapping[str, int] | None) -> Iterable[Finding]:
    """What may be recorded of the teacher's outputs exists, and so may the place.

    Args:
        config: the study.
        channels: of the teacher's taps, by name; None where they are not known.
    """
    record = config.teacher.record
    for tap in record.taps or ():
        if channels and tap not in channels:
            yield fault(
                f"teacher.record.taps: must be taps of the teacher's network, but got {tap!r}; {nearest(tap, channels)}"
            )
    if record.folder is not None and is_url(record.folder):
        yield fault(
            f"teacher.record.folder: must be a folder, whose files can be locked and renamed, but got "
            f"{redacted(record.folder)}; name one on a local disk or NFS"
        )


def unwritable(folder: Path) -> str | None:
    """Why nothing can be written below a folder, which need not exist yet; None where it can."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        return f"{there} is no folder"
    return None if os.access(there, os.W_OK | os.X_OK) else f"{there} cannot be written to"
