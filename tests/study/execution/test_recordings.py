"""Studies whose teacher is recorded: which trials have a plan, and that nothing but their time depends on it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ray import tune

from analysis.report.recorded import LIVE, RECORDED
from study.configuration.config import StudyConfig
from study.configuration.recordings.plan import plan_recordings
from study.execution import trial
from study.execution.recording import recorder
from study.ledger.ledger import noted_run
from study.ledger.trial_run import TrialRun
from tests.e2e.studies import INLINE, SMALL, SMALL_NETWORK, assert_same_study, rows_of, weights
from tests.study.execution.recording.test_recorder import Driver
from trainers.config import TeacherFile
from trainers.teachers import teacher as teachers
from trainers.teachers.recordings.catalog import catalog

Reader = Callable[..., StudyConfig]


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "release", lambda _: None)
    monkeypatch.setattr(trial, "reserved_device", lambda: torch.device("cpu"))


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
    hashes = [[noted_run(one).hash for one in driver.arms["rdd"].study.trials] for driver in (recording, live)]
    assert hashes[0] == hashes[1]


def test_a_run_that_an_older_version_noted_has_no_plan(config: Reader, tmp_path: Path) -> None:
    run = Driver(config(), tmp_path).start().config
    del run["recording"]
    assert TrialRun.parse(run).recording is None


NO_AUX = {**SMALL_NETWORK, "aux": False}
ARMS = {
    "kd": {"trials": 2, "methods": {"kd": {}}},
    "at": {"trials": 2, "methods": {"at": {}, "kd": {}}},
    "rdd": {"trials": 2, "task": {"weighting": "rdd", "tfe_fraction": 0.5}},
}
"""Replicates with two seeds. The features are read by `at` alone, and the auxiliary head by the first half of `rdd`."""


def run(study: StudyConfig, folder: Path, teacher: TeacherFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a study to its end, one trial after the other, in this process; what trials report is told as Tune would."""
    folder.mkdir()
    driver = Driver(study, folder, teacher=teacher, recordings=plan_recordings(study, folder, teacher))
    while not all(arm.exhausted for arm in driver.arms.values()):
        started, reports = driver.start(), list[dict[str, Any]]()
        monkeypatch.setattr(tune, "report", reports.append)
        trial.run_trial(started.config)
        for started.last_result in reports:
            driver.recorder.on_trial_result(0, [], started, started.last_result)
        driver.recorder.on_trial_complete(0, [], started)
        driver.searcher.on_trial_complete(str(driver.asked))
    driver.tables.close()


def teacher_steps(folder: Path) -> dict[str, tuple[float, float]]:
    """Steps with a recorded and with a live teacher of every trial."""
    found: dict[str, tuple[float, float]] = {}
    for row in rows_of(folder, "reports"):
        read, ran = found.get(name := f"{row['arm']}-{row['trial']:05d}", (0.0, 0.0))
        metrics = dict(row["metrics"])
        found[name] = (read + metrics.get(RECORDED, 0.0), ran + metrics.get(LIVE, 0.0))
    return found


def test_a_study_is_the_same_with_and_without_recordings(
    config: Reader, teacher_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "recordings"
    file = TeacherFile(path=str(teacher_file), sha256=teachers.sha256(teacher_file))
    changes: dict[str, Any] = {
        **SMALL,
        "student": NO_AUX,
        "arms": ARMS,
        "execution": INLINE,
        "train__iterations": 6,
        "train__evaluate_every": 3,
    }
    for name, record in {"off": "off", "on": {"folder": str(place)}, "again": {"folder": str(place)}}.items():
        study = config(**changes, teacher={"file": str(teacher_file), "record": record})
        run(study, tmp_path / name, file, monkeypatch)
    for name in ("on", "again"):
        assert_same_study(tmp_path / name, tmp_path / "off")
        for number in teacher_steps(tmp_path / "off"):
            expected, found = weights(tmp_path / "off", number), weights(tmp_path / name, number)
            assert expected.keys() == found.keys()
            assert all(torch.equal(expected[key], found[key]) for key in expected), number
    live, reads = (0.0, 6.0), (6.0, 0.0)
    assert set(teacher_steps(tmp_path / "off").values()) == {(0.0, 0.0)}, "nobody counts where nothing is recorded"
    first = {"kd-00000": live, "kd-00001": live, "at-00000": live, "at-00001": live}
    half = {"rdd-00000": (3.0, 3.0), "rdd-00001": (3.0, 3.0)}
    assert teacher_steps(tmp_path / "on") == first | half
    assert teacher_steps(tmp_path / "again") == first | {"kd-00000": reads, "kd-00001": reads} | half
    recorded = {entry.key["data_seed"]: dict(entry.iterations) for entry in catalog(place)}
    assert recorded == {seed: {"logits": 6} for seed in (study.seed, study.seed + 1)}
