"""A trial with parts of a user's own trains without Ray, and its checkpoint is read where it was moved to."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.own_parts import PLUGIN, unload, write
from tests.trainers.small import values
from trainers.checkpoints.reading import read_student
from trainers.config import plain
from trainers.context import LocalContext
from trainers.plugins.content import COPIES, copied, read_plugin
from trainers.worker import attempt


@pytest.fixture(autouse=True)
def _nothing_stays_loaded() -> Iterator[None]:
    yield
    unload()


def test_a_trial_names_all_that_its_processes_need(tmp_path: Path) -> None:
    name, plugin = read_plugin(write(tmp_path / "mylab.py", PLUGIN))
    kept = copied(name, plugin, tmp_path / "trial" / COPIES)
    chosen = {"data": {"name": "mylab"}, "task": {"weighting": "mylab"}, "train/iterations": 2}
    trial = {**values(chosen), "plugins": {name: plain(kept)}}
    outcome = attempt(trial, LocalContext(tmp_path / "trial"), 1)
    assert "error" not in outcome and outcome["iteration"] == 2

    shutil.move(tmp_path / "trial", tmp_path / "moved")
    unload()
    (checkpoint,) = (tmp_path / "moved").glob("checkpoint_[0-9]*")
    read, weights = read_student(checkpoint)
    assert (read.data.name, read.task.weighting, read.plugins["mylab"].sha256) == ("mylab", "mylab", plugin.sha256)
    assert weights

    unload()
    (copy,) = (tmp_path / "moved" / COPIES).glob("*/mylab_*.py")
    copy.write_text(f"{PLUGIN}# changed\n")
    with pytest.raises(ValueError, match=r"plugins\.mylab must stay what it was"):
        read_student(checkpoint)
    assert "plugins.mylab must lie where it was kept" in attempt(trial, LocalContext(tmp_path / "again"), 0)["error"]
