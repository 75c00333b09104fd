"""The study that is left alone, once for all tests that disturb another one like it."""

from pathlib import Path

import pytest

from tests.e2e.drivers import kdstudy
from tests.e2e.studies import WHOLE
from tests.study.conftest import write_study


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a small study with everything in it."""
    return write_study(tmp_path_factory.mktemp("whole"), WHOLE)


@pytest.fixture(scope="session")
def undisturbed(whole: Path) -> Path:
    done = kdstudy("run", whole, "--out", "run", cwd=whole.parent)
    assert done.returncode == 0, done.stderr
    return whole.parent / "run"
