"""What docs/own-methods.md and the README show of one's own parts is what works."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.own_parts import PLUGIN, TESTS, write, write_shown
from tests.pages import blocks


def run_tests(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), "."]
    path = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=path, check=False)


def test_the_tests_of_the_page_pass(tmp_path: Path) -> None:
    """In a folder of their own, as an outsider has them."""
    write_shown(tmp_path)
    write(tmp_path / "test_mylab.py", TESTS)
    done = run_tests(tmp_path)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_a_part_that_breaks_a_promise_is_found_out(tmp_path: Path) -> None:
    broken = PLUGIN.replace(".clamp(max=self.config.limit)", " + 1").replace("teacher.detach()", "teacher")
    assert broken != PLUGIN
    write(tmp_path / "mylab.py", broken)
    write(tmp_path / "test_mylab.py", TESTS)
    done = run_tests(tmp_path)
    assert done.returncode == 1
    assert "not_the_teacher" in done.stdout


def test_the_readme_shows_a_part_of_the_same() -> None:
    readme = (ROOT / "README.md").read_text()
    (shown,) = (block for block in blocks("python") if block in readme and "class Method(" in block)
    assert shown.strip() in PLUGIN
