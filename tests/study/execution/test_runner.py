"""How a start ends that cannot go on: on a full disk, whoever writes to it, and on a cluster that is too small."""

import errno
import os
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from study.configuration.config import StudyConfig
from study.execution import driver, runner
from study.execution.stopping import HaltedError
from study.folder import create_study


@pytest.fixture
def resume(
    config: Callable[..., StudyConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], bool]:
    """Resumes a study in which whatever is written fails with this errno."""
    create_study(config(), tmp_path / "run")
    monkeypatch.setattr(runner.session, "connected", lambda *_, **__: nullcontext())

    def resumed(number: int) -> bool:
        def drive(*_: Any, **__: Any) -> bool:
            raise OSError(number, os.strerror(number), "/tmp/kd/session/tuner.pkl")

        monkeypatch.setattr(driver, "drive", drive)
        return runner.resume(tmp_path / "run")

    return resumed


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_halts_the_study(resume: Callable[[int], bool], tmp_path: Path, number: int) -> None:
    with pytest.raises(HaltedError) as caught:
        resume(number)
    assert str(caught.value) == (
        f"/tmp/kd/session/tuner.pkl could not be written: {os.strerror(number)}; nothing is lost: free some space, "
        f"then go on with: kdstudy resume {tmp_path / 'run'}"
    )


def test_another_fault_of_a_file_is_told_as_it_is(resume: Callable[[int], bool]) -> None:
    with pytest.raises(PermissionError, match=r"tuner\.pkl"):
        resume(errno.EACCES)


def test_more_workers_than_the_cluster_has_are_refused(
    config: Callable[..., StudyConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_study(config(train__workers=4, train__batch=8), tmp_path / "run")
    monkeypatch.setattr(runner.session, "connected", lambda *_, **__: nullcontext())
    small = partial(driver.ClusterCapacity, nodes=lambda: [{"CPU": 2.0}])
    monkeypatch.setattr(driver, "ClusterCapacity", small)
    with pytest.raises(ValueError, match=r"needs 4 workers with 1 CPUs .* there are 2 CPUs"):
        runner.resume(tmp_path / "run")
