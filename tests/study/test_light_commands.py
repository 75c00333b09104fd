"""What asks a study how it stands loads none of the libraries that train it."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from study.configuration.config import StudyConfig
from study.folder import create_study, read_config, read_outline
from study.ledger.ledger import open_arms
from tests.analysis.searches import search, write_search

HEAVY = ("torch", "timm", "cv2", "ray")
SCRIPT = """
import json, sys
from study.__main__ import main
try:
    code = main(sys.argv[1:])
except SystemExit as ended:
    code = ended.code
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""


def loaded(arguments: Sequence[str]) -> tuple[str, set[str]]:
    """What a command that succeeds prints, and the modules that it imports."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=True)
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert not code, done.stderr
    return done.stdout, set(modules)


@pytest.fixture
def folder(config: Callable[..., StudyConfig], tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    create_study(config(data={"name": "streets", "size": [48, 64], "train_images": 24}), folder)
    open_arms(read_config(folder), folder, with_teacher=False)
    return folder


def test_status(folder: Path) -> None:
    said, modules = loaded(["status", str(folder), "--json"])
    assert {arm: counts["budget"] for arm, counts in json.loads(said).items()} == {"baseline": 2, "rdd": 4}
    assert modules.isdisjoint(HEAVY)


def test_best(tmp_path: Path) -> None:
    said, modules = loaded(["best", str(write_search(tmp_path / "search", search()))])
    assert "baseline" in said
    assert modules.isdisjoint(HEAVY)


def test_recordings(tmp_path: Path) -> None:
    said, modules = loaded(["recordings", str(tmp_path)])
    assert "0 recordings" in said
    assert modules.isdisjoint(HEAVY)


@pytest.mark.parametrize("command", [[], ["status"], ["best"], ["report"]])
def test_help(command: Sequence[str]) -> None:
    said, modules = loaded([*command, "--help"])
    assert "usage: kdstudy" in said
    assert modules.isdisjoint(HEAVY)


def test_an_outline_is_of_the_study_and_needs_none_of_its_parts(folder: Path) -> None:
    whole = read_config(folder)
    outline = read_outline(folder)
    assert (outline.name, outline.storage) == (whole.name, whole.storage)
    assert {name: arm.trials for name, arm in outline.arms.items()} == {"baseline": 2, "rdd": 4}
    values = json.loads((folder / "study.json").read_text())
    (folder / "study.json").write_text(json.dumps({**values, "student": {"architecture": "of_a_lost_package"}}))
    assert read_outline(folder) == outline
    with pytest.raises(ValueError, match="student: architecture must name one of"):
        read_config(folder)


def test_a_damaged_study_is_refused_by_its_outline_too(folder: Path) -> None:
    (folder / "study.json").write_text('{"name": "tiny", "arms": {"rdd": {"trials": 0}}}')
    with pytest.raises(ValueError, match=r"arms\.rdd\.trials: .* but got 0; restore it"):
        read_outline(folder)


def test_a_line_comes_before_what_takes_seconds_to_import(tmp_path: Path) -> None:
    script = f"import sys; sys.modules['torch'] = None\n{SCRIPT}"  # to import it is an error
    done = subprocess.run(
        [sys.executable, "-c", script, "run", "quickstart", "--out", str(tmp_path / "run")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr.startswith("checking the study ...\n"), done.stderr
    asked = subprocess.run([sys.executable, "-c", SCRIPT, "run", "--help"], capture_output=True, text=True, check=True)
    assert "starting Ray" not in asked.stderr
