"""What a process prints is in a file, bounded, and not where nothing was printed."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainers.resources import output
from trainers.resources.output import kept_output, last_lines, log_file, log_files


def program(*lines: str, file: Path) -> int:
    """Run lines, each with what it prints kept, in a process of its own; pytest keeps warnings for itself."""
    text = "import ctypes, warnings\nfrom pathlib import Path\nfrom trainers.resources.output import kept_output\n"
    text += "".join(f"with kept_output(Path({str(file)!r})): {line}\n" for line in lines)
    return subprocess.run([sys.executable, "-c", text], capture_output=True, check=False).returncode


def test_print_and_logging_are_kept_and_still_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with kept_output(log_file(tmp_path)):
        print("one", 2)
        print("three", file=sys.stderr)
        sys.stderr.writelines(["four\n", "five\n"])
        logging.StreamHandler().emit(logging.makeLogRecord({"msg": "six"}))
    first, *text = log_file(tmp_path).read_text().splitlines()
    assert first.startswith(f"[process {os.getpid()} on ")
    assert text == ["one 2", "three", "four", "five", "six"]
    assert capsys.readouterr().out == "one 2\n"
    print("seven")
    assert "seven" not in log_file(tmp_path).read_text()


def test_the_next_trial_of_a_process_appends_and_gives_its_warnings_again(tmp_path: Path) -> None:
    give = "[warnings.warn('careful') for _ in range(3)]"
    assert program(give, give, file=log_file(tmp_path)) == 0
    text = log_file(tmp_path).read_text()
    assert text.count("UserWarning: careful") == text.count("[process ") == 2


def test_where_nothing_is_printed_there_is_no_file(tmp_path: Path) -> None:
    with kept_output(log_file(tmp_path)):
        pass
    assert not list(tmp_path.iterdir())


def test_a_disk_that_takes_nothing_ends_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with kept_output(tmp_path / "none" / "log.txt"):
        print("shown")
    assert capsys.readouterr().out == "shown\n"


def test_a_long_file_keeps_its_newer_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "LIMIT_BYTES", 1000)
    with kept_output(log_file(tmp_path)):
        for number in range(1000):
            print(f"line {number}")
            assert log_file(tmp_path).stat().st_size <= 1000 + len(output.CUT)
    text = log_file(tmp_path).read_text()
    assert text.startswith(output.CUT) and text.count(output.CUT) == 1
    lines = text.splitlines()[1:]
    assert len(lines) > 20 and lines == [f"line {number}" for number in range(1000 - len(lines), 1000)]


def test_ranks_have_files_of_their_own_in_their_order(tmp_path: Path) -> None:
    for rank in (10, 2, 0):
        log_file(tmp_path, rank).write_text(f"of {rank}\n")
    assert list(log_files(tmp_path)) == ["", "rank 2", "rank 10"]
    assert [file.read_text() for file in log_files(tmp_path).values()] == ["of 0\n", "of 2\n", "of 10\n"]


def test_the_last_lines_are_those_of_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "log.txt"
    file.write_text("".join(f"line {number}\n" for number in range(100)))
    assert last_lines(file, 2) == ["line 98", "line 99"]
    monkeypatch.setattr(output, "TAIL_BYTES", 16)
    assert last_lines(file, 50)[-2:] == ["line 98", "line 99"] and len(last_lines(file, 50)) <= 3


def test_a_crash_in_a_library_leaves_its_stack(tmp_path: Path) -> None:
    assert program("ctypes.string_at(0)", file=log_file(tmp_path)) < 0
    text = log_file(tmp_path).read_text()
    assert "Fatal Python error: Segmentation fault" in text and "in string_at" in text
