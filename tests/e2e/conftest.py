"""The study that is left alone, once for all tests that disturb another one like it; no driver is left to run."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.drivers import ENOUGH_S, ENVIRONMENT, end_drivers
from tests.e2e.studies import WHOLE
from tests.pages import blocks
from tests.study.conftest import write_study


@pytest.fixture(autouse=True)
def _no_driver_is_left() -> Iterator[None]:
    yield
    end_drivers()


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a small study with everything in it."""
    return write_study(tmp_path_factory.mktemp("whole"), WHOLE, "study.yaml")


@pytest.fixture(scope="session")
def scripted(whole: Path) -> "subprocess.CompletedProcess[str]":
    """The study run to its end by the Python that the pages show, and what that prints."""
    (script,) = (block for block in blocks("python") if "study.run" in block)
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=whole.parent, env=ENVIRONMENT, check=False, timeout=2 * ENOUGH_S
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="session")
def undisturbed(scripted: object, whole: Path) -> Path:
    return whole.parent / "runs" / "mine"
