"""Studies whose teacher is recorded: which trials have a plan, and that nothing but their time depends on it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from study.configuration.config import StudyConfig
from study.configuration.recordings.plan import plan_recordings
from study.execution.recording import recorder
from study.ledger.ledger import noted_run
from study.ledger.trial_run import TrialRun
from tests.study.execution.recording.test_recorder import Driver

Reader = Callable[..., StudyConfig]


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "release", lambda _: None)


def test_trials_that_distil_have_a_plan_and_their_hash_does_not_depend_on_it(config: Reader, tmp_path: Path) -> None:
    study = config(teacher__record={"folder": str(tmp_path / "recordings")})
    recordings = plan_recordings(study, tmp_path)
    (plan,) = recordings.plans.values()
    for name in ("recording", "live"):
        (tmp_path / name).mkdir()
    recording, live = Driver(study, tmp_path / "recording", recordings=recordings), Driver(study, tmp_path / "live")
    for driver in (recording, live):
        runs = [TrialRun.parse(driver.start().config) for _ in range(4)]
        plans = {run.arm: run.recording for run in runs}
        assert plans == {"baseline": None, "rdd": plan if driver is recording else None}
    hashes = [[noted_run(trial).hash for trial in driver.arms["rdd"].study.trials] for driver in (recording, live)]
    assert hashes[0] == hashes[1]


def test_a_run_that_an_older_version_noted_has_no_plan(config: Reader, tmp_path: Path) -> None:
    run = Driver(config(), tmp_path).start().config
    del run["recording"]
    assert TrialRun.parse(run).recording is None
