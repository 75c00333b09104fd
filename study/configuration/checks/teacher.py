"""The teacher of a study: is it there, of the same classes, can it be trained, and can it be kept?"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path

from study.configuration.checks.findings import Finding, fault, warning
from study.configuration.config import StudyConfig
from trainers.addresses import is_url, redacted
from trainers.config import ConfigError, parse, plain
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
    else:
        yield from check_teacher_data(config)
        yield from _check_task(config)


def _check_task(config: StudyConfig) -> Iterable[Finding]:
    if config.teacher.task.needs_teacher:
        yield fault(
            "teacher.task: a teacher is trained without a teacher, but got weighting="
            f"{config.teacher.task.weighting}, which needs one; choose another, such as uniform"
        )


def check_teacher_data(config: StudyConfig) -> Iterable[Finding]:
    """What a teacher is trained on is the study's dataset, of other numbers of images, say."""
    chosen = config.teacher.data
    places = [f.name for f in fields(config.data) if f.metadata.get("location") or f.metadata.get("path")]
    for key in chosen:
        if key == "name" or key in places:
            yield fault(f"teacher.data.{key}: a teacher is trained on the study's dataset; leave it out")
    try:
        parse(type(config.data), {**plain(config.data), **chosen})
    except ConfigError as error:
        yield from (fault(f"teacher.data.{text}") for text in error.faults)


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


def check_options(config: StudyConfig, *, distils: bool) -> Iterable[Finding]:
    """How the teacher is run matters to a trial: it has one, and computes what it answers.

    Args:
        config: the study.
        distils: whether an arm does.
    """
    teacher = config.teacher
    asked = [name for name in ("fold_batch_norm", "compile") if getattr(teacher, name)]
    if asked and not distils:
        yield warning(f"teacher.{asked[0]}: no arm distils, so nothing runs the teacher; leave it out")
    elif teacher.compile and teacher.record.on:
        yield warning(
            "teacher.compile: trials that read recorded outputs do not run the teacher, so only what is not recorded "
            "gains by it; leave it out, or set teacher.record to off"
        )


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
