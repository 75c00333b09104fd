"""A real disk becomes full: what a study wrote stays readable, and with space again the study goes on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from study import tables
from tests.e2e.disks import FILLER, fill, small_disk
from tests.e2e.drivers import ENOUGH_S, driver, kdstudy, wait_while_alive
from tests.e2e.studies import assert_consistent, assert_same_study, checkpoints, contents, journal, trial_rows
from trainers.checkpoints.manifest import fault

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800), pytest.mark.xdist_group("undisturbed")]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as place:
        if place is None:
            pytest.skip("only root can make a disk to fill")
        yield place


def assert_readable(folder: Path) -> None:
    assert kdstudy("status", folder, "--json", cwd=folder.parent.parent).returncode == 0
    for name in contents(folder):
        assert tables.read(folder / "tables", name).schema.names
    assert checkpoints(folder) and not [wrong for path in checkpoints(folder) if (wrong := fault(path))]


def test_a_full_disk_stops_a_study_that_goes_on_with_space(
    whole: Path, undisturbed: Path, disk: Path, tmp_path: Path
) -> None:
    folder = disk / "run"
    started = driver("run", whole, "--out", folder, cwd=tmp_path)
    assert wait_while_alive(started, lambda: journal(folder).count(b'"intermediate_value":') > 3)
    fill(disk, leave=0)  # not even a line of the ledger fits
    _, said = started.communicate(timeout=ENOUGH_S)
    assert started.returncode == 1 and "Traceback" not in said, said
    assert f"go on with: kdstudy resume {folder}" in said and "No space left on device" in said
    again = kdstudy("resume", folder, cwd=tmp_path)
    assert again.returncode == 1 and "Traceback" not in again.stderr, again.stderr
    assert "No space left on device" in again.stderr
    assert_readable(folder)
    (disk / FILLER).unlink()
    done = kdstudy("resume", folder, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_consistent(folder)
    assert_same_study(folder, undisturbed)


@pytest.mark.stress
def test_a_checkpoint_that_does_not_fit_halts_the_study_however_often(
    whole: Path, undisturbed: Path, disk: Path, tmp_path: Path
) -> None:
    folder = disk / "run"
    started = driver("run", whole, "--out", folder, cwd=tmp_path)
    assert wait_while_alive(started, lambda: list(folder.glob("trials/baseline-00000/checkpoint_[0-9]*")))
    fill(disk, leave=300_000)  # for lines and rows, and for less than a checkpoint
    _, said = started.communicate(timeout=ENOUGH_S)
    assert started.returncode == 1 and "Traceback" not in said, said
    assert f"go on with: kdstudy resume {folder}" in said
    for _ in range(2):
        again = kdstudy("resume", folder, cwd=tmp_path)
        assert again.returncode == 1 and "Traceback" not in again.stderr, again.stderr
        assert "must fit on the disk" in again.stderr and f"go on with: kdstudy resume {folder}" in again.stderr
    assert_readable(folder)
    assert not trial_rows(folder)
    (disk / FILLER).unlink()
    done = kdstudy("resume", folder, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_same_study(folder, undisturbed)
