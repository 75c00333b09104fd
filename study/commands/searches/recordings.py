"""`kdstudy recordings`: what is recorded of teachers' outputs, and the removal of it."""

import argparse
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from study.commands.options import add_json, duration
from study.configuration.recordings.text import bytes_text, taps_text
from study.folder import CONFIG
from trainers.teachers.recordings.catalog import RecordingEntry, catalog, remove

DEFAULT = Path("runs/teachers/recordings")
SHORT = 12
"""Digits of a name or a checksum that are shown, and are enough to give."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    text = f"of recordings, or of a study; {DEFAULT} by default"
    parser.add_argument("folder", type=Path, nargs="?", metavar="FOLDER", help=text)
    text = "only this one, by the first digits of its name; may be given repeatedly"
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help=text)
    text = "only what no trial has opened for so long: 12h, 30d"
    parser.add_argument("--unused", type=duration, default=0, metavar="TIME", help=text)
    parser.add_argument("--prune", action="store_true", help="remove these; trials that need them run their teacher")
    add_json(parser)


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    place = _place(options.folder)
    entries = _chosen(catalog(place), options.only, options.unused)
    for entry in entries if options.prune else ():
        remove(entry)
    if options.json:
        print(json.dumps([_plain(entry) for entry in entries]))
        return 0
    for entry in entries:
        print(f"{entry.folder.name[:SHORT]}  {_contents(entry)}\n    {_of_what(entry.key)}")
    done = "removed from" if options.prune else "in"
    print(f"{done} {place}: {len(entries)} recordings, {bytes_text(sum(entry.bytes for entry in entries))}")
    return 0


def _place(given: Path | None) -> Path:
    """The folder of recordings that is meant."""
    if given is None:
        return DEFAULT
    if not given.is_dir():
        raise ValueError(f"FOLDER must be one of recordings, or of a study, but there is no folder {given}")
    if not (given / CONFIG).is_file():
        return given
    from study.configuration.recordings.plan import recordings_folder  # imports PyTorch, as reading the study does
    from study.folder import read_config

    return recordings_folder(read_config(given), given)


def _chosen(entries: list[RecordingEntry], names: list[str], unused_s: float) -> list[RecordingEntry]:
    """The entries that are asked for.

    Raises:
        ValueError: a name is of none of them.
    """
    for name in names:
        if not any(entry.folder.name.startswith(name) for entry in entries):
            known = ", ".join(entry.folder.name[:SHORT] for entry in entries) or "none"
            raise ValueError(
                f"--only must be the name of a recording, or begin it, but got {name!r}; there are: {known}"
            )
    since = time.time() - unused_s
    named = [entry for entry in entries if not names or entry.folder.name.startswith(tuple(names))]
    return [entry for entry in named if not unused_s or entry.last_used < since]


def _contents(entry: RecordingEntry) -> str:
    counts = {"damaged": entry.damaged, "unfinished": entry.unfinished, "being written": entry.writing}
    chunks = [f"chunks: {entry.chunks}", *(f"{what}: {count}" for what, count in counts.items() if count)]
    parts = (
        taps_text(entry.iterations) or "nothing whole",
        bytes_text(entry.bytes),
        ", ".join(chunks),
        f"last used {_when(entry):%Y-%m-%d %H:%M} UTC",
    )
    return "; ".join(parts)


def _when(entry: RecordingEntry) -> datetime:
    return datetime.fromtimestamp(entry.last_used, UTC)


def _of_what(key: Mapping[str, Any]) -> str:
    """The key in words."""
    try:
        data, crop = key["data"], "x".join(map(str, key["augment"]["crop"]))
        layout = ", channels last" if key["channels_last"] else ""
        return (
            f"{data['name']}, crop {crop}, batch {key['batch']}, data_seed {key['data_seed']}, {key['precision']}"
            f"{layout}, ranks: {key['ranks']}, threads: {key['threads']}, {key['device']}, torch {key['torch']}; "
            f"teacher {key['teacher']['sha256'][:SHORT]}"
        )
    except (KeyError, TypeError):
        return "of what cannot be read"


def _plain(entry: RecordingEntry) -> dict[str, Any]:
    return {**vars(entry), "folder": str(entry.folder), "last_used": _when(entry).isoformat(timespec="seconds")}
