"""What lies where in a study's folder: its files by name, and how its configuration is written and read."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from study.configuration.config import StudyConfig
from study.configuration.identity import differences
from study.configuration.outline import StudyOutline
from study.configuration.tuning import with_former_rules
from study.saved import read_object
from trainers.addresses import joined
from trainers.config import ConfigError, canonical_json, identity, parse, plain
from trainers.data.classes import classes_of
from trainers.data.fingerprint import NOTE
from trainers.plugins.content import COPIES, PACKAGE, copied, named_plugins
from trainers.plugins.loading import load

OutlineT = TypeVar("OutlineT", bound=StudyOutline)

CONFIG, WRITING = "study.json", "study.writing"
TUNE = "tune"
"""What Tune keeps of itself, which is never read back."""
CLASSES = "classes.json"
"""Names and colours of the dataset's classes, for whoever draws them: [{"name", "rgb"}]."""


def create_study(config: StudyConfig, folder: Path) -> None:
    """Make a study's folder, with the content of every file that the study searches, and copies of its plugins.

    Raises:
        ValueError: the folder holds a study already, or something else; so does the place of its checkpoints.
    """
    config = config.with_spaces()
    if (folder / CONFIG).exists():
        found = differences(identity(read_config(folder)), identity(config))
        other = [path for path in found if not _is_plugin_path(path)]
        held = f"another study already, which differs in {', '.join(other)}" if other else "this study already"
        remedy = "choose another --out" if other else f"go on with it: kdstudy resume {folder}"
        raise ValueError(f"--out must be a new folder, but {folder} holds {held}; {remedy}")
    # of a driver that died as it began there may be half a configuration
    if folder.exists() and any(path.name not in (WRITING, COPIES) for path in folder.iterdir()):
        raise ValueError(f"--out must be a new folder, but {folder} holds other files; choose another --out")
    if config.checkpoints:
        from trainers.checkpoints.places import refuse_taken  # who reads a study's outline needs no PyTorch

        refuse_taken(config.checkpoints)
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: copied(name, plugin, folder.absolute() / COPIES) for name, plugin in config.plugins.items()}
    _write(folder / CONFIG, canonical_json(replace(config, plugins=kept)))
    classes = classes_of(config.data)
    named = zip(classes.names, classes.palette, strict=True)
    _write(folder / CLASSES, json.dumps([{"name": name, "rgb": rgb} for name, rgb in named]))


def _is_plugin_path(path: str) -> bool:
    """Whether a path into a configuration is that of a plugin's file, which a study has in its own folder."""
    return path.startswith("plugins.") and path.endswith(".path")


def _write(path: Path, text: str) -> None:
    writing = path.with_name(WRITING)
    with writing.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    writing.replace(path)


def rewrite_config(config: StudyConfig, folder: Path) -> None:
    """Put a changed configuration in the place of the study's, which is kept as the next of study.1.json, ..."""
    kept = len(list(folder.glob("study.[0-9]*.json")))
    _write(folder / f"study.{kept + 1}.json", (folder / CONFIG).read_text())
    _write(folder / CONFIG, canonical_json(config))


@contextmanager
def starting(folder: Path) -> Iterator[None]:
    """The first start of a study: whatever ends it before its first trial, the folder is free again."""
    try:
        yield
    except BaseException:
        if not (folder / "tables").exists():
            shutil.rmtree(folder, ignore_errors=True)
        raise


def read_config(folder: Path) -> StudyConfig:
    """The configuration of the study in `folder`. Its plugins are imported, and with them their code is run.

    Raises:
        ValueError: there is none, or a plugin of it has changed.
    """
    values = _values(folder)
    if plugins := named_plugins(values):
        # where they are now: the folder may have been moved
        place = folder.absolute() / COPIES / PACKAGE
        kept = {name: replace(plugin, path=str(place / Path(plugin.path).name)) for name, plugin in plugins.items()}
        load(kept)
        values = {**values, "plugins": plain(kept)}
    return _parsed(StudyConfig, values, folder)


def read_outline(folder: Path) -> StudyOutline:
    """The name, storage and arms of the study in `folder`; imports none of its parts.

    Raises:
        ValueError: there is none.
    """
    return _parsed(StudyOutline, _values(folder), folder)


def _values(folder: Path) -> dict[str, Any]:
    """What the file says, as plain values."""
    held = folder / CONFIG
    if not held.is_file():
        raise ValueError(
            f"DIR must be a study's folder, but {folder} holds no {CONFIG}; start one: kdstudy run STUDY --out {folder}"
        )
    return with_former_rules(read_object(held))


def _parsed(kind: type[OutlineT], values: Mapping[str, Any], folder: Path) -> OutlineT:
    try:
        return parse(kind, values)
    except ConfigError as error:
        raise ValueError(f"{folder / CONFIG} must be what kdstudy wrote there, but: {error}; restore it") from None


def trial_folder(folder: Path, arm: str, number: int) -> Path:
    """What a trial has of the study's folder; named after the ledger's number, so that every attempt finds it."""
    return folder / "trials" / f"{arm}-{number:05d}"


def trial_checkpoints(config: StudyConfig, folder: Path, arm: str, number: int) -> str:
    """The folder or URL where a trial's checkpoints lie."""
    own = trial_folder(folder, arm, number)
    return joined(place, own.name) if (place := config.checkpoints) else str(own)


def error_file(own: Path) -> Path:
    """What is left of a trial that failed, by its `trial_folder`: the traceback, and what it printed last."""
    return own / "error.txt"


def dataset_note(own: Path) -> Path:
    """The note on the study's dataset, for a trial by its `trial_folder`."""
    return own.parents[1] / NOTE


def request_note(own: Path) -> Path:
    """The file by which the driver asks a trial for something, by the trial's `trial_folder`."""
    return own.parents[1] / REQUEST


REQUEST = "request"
"""In the study's folder: what its driver asks of all running trials."""
TEACHER_NOTE = "teacher.json"
"""In the study's folder: which teacher its trials have, and what it scored."""
