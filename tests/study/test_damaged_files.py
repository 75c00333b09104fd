"""Files of a study that are not what was written: every command that reads them says so in lines, never a traceback."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from study import commands, tables
from study.__main__ import main
from study.commands import Command
from study.configuration.config import StudyConfig
from study.folder import create_study
from study.saved import SavedStudy, read_saved
from tests.analysis.searches import search, write_search

TEXTS = ("null", "[1, 2]", "{}", '"text"', "7", "", "\0", '{"schema_version": "abc"}')
COMMANDS = ("best", "verdict", "report", "ablate", "compare", "export-table")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_search(tmp_path_factory.mktemp("whole") / "search", search())


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "study"))


def call(command: str, folder: Path) -> int:
    options = {
        "report": ("--out", str(folder / "report.html")),
        "export-table": ("--format", "csv", "--out", str(folder / "exported")),
    }
    if command == "compare":
        return main([command, f"{folder}:baseline", f"{folder}:kd"])
    return main([command, str(folder), *options.get(command, ())])


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_study_json_of_another_kind_is_named(
    command: str, text: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "study.json").write_text(text)
    assert call(command, folder) == 2
    said = capsys.readouterr().err
    assert said.startswith("kdstudy: ") and f"{folder / 'study.json'} must be what kdstudy wrote there, but" in said


@pytest.mark.parametrize("text", TEXTS)
def test_a_status_of_another_kind_is_named(
    config: Callable[..., StudyConfig], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create_study(config(), tmp_path / "study")
    (tmp_path / "study" / "study.json").write_text(text)
    assert main(["status", str(tmp_path / "study")]) == 2
    assert "must be what kdstudy wrote there, but" in capsys.readouterr().err


@pytest.mark.parametrize("text", [text for text in TEXTS if text != "{}"])
@pytest.mark.parametrize(("name", "command"), [("teacher.json", "best"), ("classes.json", "report")])
def test_a_note_of_another_kind_is_named(
    name: str, command: str, text: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / name).write_text(text)
    assert call(command, folder) == 2
    assert f"{folder / name} must be what kdstudy wrote there, but" in capsys.readouterr().err


def test_a_key_that_was_lost_or_emptied_ends_in_no_traceback(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = json.loads((folder / "study.json").read_text())
    for key in values:
        for changed in ({**values, key: None}, {name: value for name, value in values.items() if name != key}):
            (folder / "study.json").write_text(json.dumps(changed))
            for command in ("best", "verdict"):
                assert call(command, folder) in (0, 2), (key, command)
    assert "own" not in capsys.readouterr().err


def test_what_is_not_read_of_a_file_stays_as_it_is(tmp_path: Path) -> None:
    written = {"name": "mine", "data": {"name": "streets", "size": [32, 48]}, "student": {"architecture": "unknown"}}
    (tmp_path / "study.json").write_text(json.dumps(written))
    assert read_saved(tmp_path / "study.json", SavedStudy) == written


def damage(part: Path) -> None:
    part.write_bytes(b"abc")


def another_version(part: Path) -> None:
    table = pq.read_table(part)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"schema_version": b"abc"}), part)


@pytest.mark.filterwarnings("ignore::study.tables.TableWarning")
@pytest.mark.parametrize("damaged", [damage, another_version])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_table_without_a_readable_part_is_passed_over_or_named(
    command: str, damaged: Callable[[Path], None], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for table in sorted(path.name for path in (folder / "tables").iterdir()):
        whole = {part: part.read_bytes() for part in (folder / "tables" / table).iterdir()}
        for part in whole:
            damaged(part)
        assert call(command, folder) in (0, 2)
        said = capsys.readouterr().err
        assert "None" not in said and "own" not in said
        for part, content in whole.items():
            part.write_bytes(content)


class Broken(Command):
    """A command that raises."""

    def __init__(self, fault: Exception) -> None:
        super().__init__("none", "none")
        object.__setattr__(self, "fault", fault)

    def load(self) -> Any:
        return self

    def add_options(self, parser: object) -> None:
        """It has none."""

    def execute(self, options: object) -> int:
        raise self.fault  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (OSError(errno.ENAMETOOLONG, "File name too long", "aaa"), 2, "kdstudy: aaa: File name too long; name another"),
        (OSError(errno.EIO, "Input/output error", "x"), 1, "kdstudy: x: Input/output error; see that this machine"),
        (OSError(errno.EROFS, "Read-only file system", "x"), 2, "name another path, or have it made writable"),
        (OSError(errno.ENOSPC, "No space left on device", "x"), 1, "free some space and give the same command again"),
        (FileNotFoundError("table 'x' has no readable file"), 2, "kdstudy: table 'x' has no readable file\n"),
    ],
)
def test_every_fault_of_a_file_is_a_line(
    fault: OSError, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(commands.COMMANDS, "best", Broken(fault))  # type: ignore[arg-type]
    assert main(["best"]) == code
    found = capsys.readouterr().err
    assert said in found and len(found.splitlines()) == 1


def test_a_fault_of_our_own_is_a_line_that_names_the_kept_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setitem(commands.COMMANDS, "best", Broken(KeyError("lost")))  # type: ignore[arg-type]
    assert main(["best"]) == 1
    (kept,) = tmp_path.glob("kdstudy-*.txt")
    assert "Traceback" in kept.read_text() and "in execute" in kept.read_text()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("kdstudy: a fault of kdstudy's own: KeyError: 'lost'") and str(kept) in line


def test_a_name_of_more_than_255_bytes_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["best", str(tmp_path / ("a" * 300))]) == 2
    assert "a" * 300 in capsys.readouterr().err


def test_who_reads_may_have_enough(folder: Path) -> None:
    """As `head` has: the rest is not written, and nothing is said."""
    script = f"import sys; from study.__main__ import main; sys.exit(main(['best', {str(folder)!r}]))"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", script], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.stderr, done.returncode) == ("", 0)


def test_a_part_of_a_version_that_is_no_number_is_damaged(folder: Path) -> None:
    (part, *_) = (folder / "tables" / "trials").glob("part-*.parquet")
    another_version(part)
    with (
        pytest.warns(tables.TableWarning, match=r"schema_version must be a number, but is b'abc'"),
        pytest.raises(FileNotFoundError, match="no readable file; kdstudy resume puts back"),
    ):
        tables.read(folder / "tables", "trials")
