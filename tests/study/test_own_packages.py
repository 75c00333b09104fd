"""A user's own folders and files with names of ours do not stand in their place."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.own_parts import write_shown
from tests.study.conftest import ray_environment

PACKAGES = ("analysis", "search_spaces", "study", "trainers")
OURS = """
import sys
sys.path[:0] = [{mine!r}]
sys.path.append({root!r})
import study
import analysis, search_spaces, trainers.config
print(*{{module.__file__.rpartition("/")[0] for module in (analysis, search_spaces, trainers)}}, sep="\\n")
"""


def shadow(folder: Path, *names: str) -> Path:
    """Write files and packages that end whoever imports them."""
    for name in names:
        path = folder / name if name.endswith(".py") else folder / name / "__init__.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"raise AssertionError('{path} stands in the place of ours')\n")
    return folder


def python(*arguments: object, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, *map(str, arguments)]
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**own, **environment}, check=False)


def test_ours_win_wherever_python_looks_first(tmp_path: Path) -> None:
    mine = shadow(tmp_path / "mine", "analysis.py", "search_spaces", "trainers")
    done = python("-c", OURS.format(mine=str(mine), root=str(ROOT)), cwd=mine)
    assert done.returncode == 0, done.stderr
    assert {*done.stdout.split()} == {str(ROOT / name) for name in PACKAGES if name != "study"}


def test_the_command_line_is_ours_in_a_folder_of_such_names(tmp_path: Path) -> None:
    mine = shadow(tmp_path / "mine", "analysis.py", "search_spaces", "trainers")
    done = python("-m", "study", "best", "nowhere", cwd=mine, PYTHONPATH=str(ROOT))
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr


def test_others_that_were_imported_before_are_refused(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "trainers.py").write_text("")
    done = python("-c", f"import sys; sys.path.append({str(ROOT)!r}); import trainers, study", cwd=mine)
    assert "trainers must be kdstudy's, but" in done.stderr and "rename that, or import study before it" in done.stderr


@pytest.mark.stress
@pytest.mark.skipif(find_spec("pip") is None, reason="pip builds the wheel")
def test_an_installed_wheel_trains_on_workers_in_a_folder_of_such_names(tmp_path: Path) -> None:
    wheel = python("-m", "pip", "wheel", "--no-deps", "--wheel-dir", tmp_path, source(tmp_path), cwd=tmp_path)
    assert wheel.returncode == 0, wheel.stderr
    fresh = tmp_path / "fresh"
    venv.create(fresh, symlinks=True)
    (site,) = fresh.glob("lib/python*/site-packages")
    zipfile.ZipFile(next(tmp_path.glob("kdstudy-*.whl"))).extractall(site)
    (site / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    mine = shadow(tmp_path / "mine", "analysis.py", "search_spaces", "trainers")
    write_shown(mine)
    environment = {name: value for name, value in ray_environment().items() if name != "PYTHONPATH"}
    called = {"python -m study": ["-m", "study"], "kdstudy": ["-P", "-m", "study"]}
    for name, how in called.items():
        command = [fresh / "bin" / "python", *how, "run", "own.yaml", "--out", name, "--arm", "baseline"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=mine, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        shadow(mine, "study.py")  # which `python -m study` would run


def source(folder: Path) -> Path:
    """What a wheel is built of; setuptools writes beside it."""
    copy = folder / "source"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    return copy
