"""The study that is left alone, once for all tests that disturb another one like it; no driver is left to run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.drivers import end_drivers, kdstudy
from tests.e2e.studies import WHOLE
from tests.study.conftest import write_study


@pytest.fixture(autouse=True)
def _no_driver_is_left() -> Iterator[None]:
    yield
    end_drivers()


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a small study with everything in it."""
    return write_study(tmp_path_factory.mktemp("whole"), WHOLE)


@pytest.fixture(scope="session")
def undisturbed(whole: Path) -> Path:
    done = kdstudy("run", whole, "--out", "run", cwd=whole.parent)
    assert done.returncode == 0, done.stderr
    return whole.parent / "run"
