"""Studies whose checkpoints lie in a store: what is refused, what a trial and its readers do. No cluster is started."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ray import tune

from study.__main__ import main
from study.configuration.changes import Changes
from study.configuration.config import StudyConfig
from study.configuration.loading import load
from study.execution.recording import recorder
from study.execution.report_keys import ERROR, FINAL
from study.execution.trial import run_trial
from study.folder import create_study, trial_checkpoints
from tests.stores import KEY, Bucket, changed, s3_bucket
from tests.study.commands.trials.test_export import trained_study
from tests.study.conftest import tiny, write_study
from tests.study.execution.recording.test_recorder import Driver
from tests.trainers.stops import reproducible
from trainers.checkpoints import store
from trainers.checkpoints.places import checkpoints_at
from trainers.config import ConfigError, TeacherFile, content_hash
from trainers.worker import CHECKPOINT

Reader = Callable[..., StudyConfig]
ONE_ARM = {"baseline": {"trials": 2, "space": "optimizer"}}


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with s3_bucket() as made:
        yield made


@pytest.fixture
def place(bucket: Bucket, tmp_path: Path) -> str:
    return f"{bucket.url}/{tmp_path.name}"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("s3://key:topsecret@bucket/x", "a URL must hold no credentials, but one of s3:// does; leave them out"),
        ("ftp://host/x", "checkpoints must lie in a folder or at a URL of s3, gs, "),
        ("s3:///x", "checkpoints must lie in a folder or at a URL of s3, gs, "),
    ],
)
def test_places_that_cannot_hold_checkpoints_are_refused(config: Reader, value: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config(execution={"checkpoints": value})
    (fault,) = raised.value.faults
    assert fault.startswith(f"execution.checkpoints: {said}") and "topsecret" not in fault


def test_where_checkpoints_lie_is_no_part_of_a_trial(config: Reader, tmp_path: Path) -> None:
    plain, stored, elsewhere = (
        config(execution={"checkpoints": place}) for place in (None, "s3://bucket/x?region=eu-north-1", "elsewhere")
    )
    assert len({content_hash(study.trial("baseline", {}, None)) for study in (plain, stored, elsewhere)}) == 1
    found = [trial_checkpoints(study, tmp_path, "kd", 3) for study in (plain, stored, elsewhere)]
    assert found == [
        str(tmp_path / "trials" / "kd-00003"),
        "s3://bucket/x/tiny/kd-00003?region=eu-north-1",
        str(Path("elsewhere/tiny/kd-00003").absolute()),
    ]


def test_it_stays_while_a_study_lasts(config: Reader) -> None:
    with pytest.raises(ConfigError) as raised:
        Changes(sets=("execution.checkpoints=s3://key:topsecret@bucket/x",)).apply(config())
    assert raised.value.faults == [
        "execution.checkpoints: must stay None while a study lasts, but got 's3://key@bucket/x': its trials' "
        "checkpoints lie there; put it back, or start another study"
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "{study}", "--out", "s3://bucket/x"],
        ["teacher", "{study}", "--out", "gs://bucket/x"],
        ["train", "{study}", "--out", "s3://bucket/x"],
        ["resume", "s3://bucket/x"],
        ["status", "s3://bucket/x"],
        ["best", "s3://bucket/x"],
        ["export", "s3://bucket/x"],
    ],
)
def test_a_studys_folder_is_no_url(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = write_study(tmp_path, tiny())
    monkeypatch.chdir(tmp_path)
    assert main([part.format(study=study) for part in arguments]) == 2
    said = capsys.readouterr().err
    assert f"must be on a local disk or NFS, but got {arguments[-1]}: a study's ledger, lock and tables need" in said
    assert "execution.checkpoints=" in said
    assert list(tmp_path.iterdir()) == [study]


def test_a_new_study_needs_a_place_of_its_own(config: Reader, place: str, tmp_path: Path) -> None:
    for kept in (place, str(tmp_path / "kept")):
        study = config(execution={"checkpoints": kept})
        taken = trial_checkpoints(study, tmp_path, "baseline", 0)
        checkpoints_at(taken).write({"trial.json": b"{}"}, iteration=2, best=2)
        with pytest.raises(ValueError, match=r"must have a place of their own, but .*/tiny holds files; remove them"):
            create_study(study, tmp_path / "run")
        assert not (tmp_path / "run").exists()


def trial_of(config: StudyConfig, folder: Path) -> dict[str, Any]:
    """What the searcher hands out first."""
    folder.mkdir(exist_ok=True)
    found: dict[str, Any] = Driver(config, folder).start().config
    return found


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What trials report to Tune."""
    reports: list[dict[str, Any]] = []
    monkeypatch.setattr(tune, "report", reports.append)
    return reports


def test_a_trial_goes_on_from_the_store_and_tells_what_it_told(
    config: Reader, place: str, tmp_path: Path, told: list[dict[str, Any]]
) -> None:
    changes: dict[str, Any] = {"arms": ONE_ARM, "train__iterations": 6}
    local = trial_of(config(**changes, execution={"engine": "inline"}), tmp_path / "local")
    run_trial(local)
    expected = [reproducible(report) for report in told]
    told.clear()
    stored = trial_of(config(**changes, execution={"engine": "inline", "checkpoints": place}), tmp_path / "stored")
    checkpoints = checkpoints_at(stored["checkpoints"])
    run_trial(stored)
    last = {name: value for name, value in told[-1].items() if not name.startswith(("time/", "memory/"))}
    assert last == {**expected[-1], CHECKPOINT: checkpoints.of(6)} and last[FINAL]
    # as if it had died after iteration 4, with 6 half written
    changed(checkpoints.of(6), "manifest.json", None)
    told.clear()
    run_trial(stored)
    assert [report["iteration"] for report in told][-3:] == [4, 6, 6]
    assert reproducible(told[-1]) == last
    assert not list((tmp_path / "stored").rglob("checkpoint*"))


def test_a_store_out_of_reach_is_the_error_of_the_trial(
    config: Reader, bucket: Bucket, place: str, tmp_path: Path, told: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(store, "WAITS_S", ())
    study = config(arms=ONE_ARM, execution={"engine": "inline", "checkpoints": place})
    trial = trial_of(study, tmp_path)
    bucket.stop()
    try:
        run_trial(trial)
    finally:
        bucket.start()
    (report,) = told
    assert report[ERROR].startswith(
        f"UnreachableError: checkpoints must be listed at {place}/tiny/baseline-00000, but "
    )


@pytest.fixture
def studied(bucket: Bucket, place: str, teacher_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a finished study with its checkpoints in the store."""
    monkeypatch.setattr(recorder, "release", lambda _: None)  # speaks to a cluster
    changes = {"teacher": {"file": str(teacher_file)}, "train__iterations": 4, "train__evaluate_every": 2}
    study = load(str(write_study(tmp_path, tiny(**changes, execution={"checkpoints": place}))))
    trained_study(study, tmp_path / "run", TeacherFile(path=str(teacher_file)))
    return tmp_path / "run"


def test_a_stored_student_is_exported_and_scored(
    studied: Path, place: str, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(studied), "--trial", "rdd-0"]) == 0
    address = f"{place}/tiny/rdd-00000/checkpoint_000000004"
    scores = []
    for scored in (address, studied / "exports" / "rdd-00000" / "student.safetensors"):
        capsys.readouterr()
        assert main(["evaluate", str(scored), "--dataset", "streets", "--json"]) == 0
        scores.append(json.loads(capsys.readouterr().out)["miou_percent"])
    assert scores[0] == scores[1] > 0
    # a damaged one is passed over by its name
    changed(address, "weights.safetensors", b"")
    shutil.rmtree(studied / "exports")
    assert main(["export", str(studied), "--trial", "rdd-0"]) == 0
    said = capsys.readouterr().err
    assert f"{address}/weights.safetensors must have " in said and "checkpoint_000000002 is exported instead" in said
    assert main(["evaluate", address, "--dataset", "streets"]) == 2
    assert "name a checkpoint_... folder of a trial" in capsys.readouterr().err
    assert not any(KEY.encode() in path.read_bytes() for path in studied.rglob("*") if path.is_file())


def test_the_recorder_reads_counts_from_the_store_and_says_where_it_cannot(
    config: Reader, bucket: Bucket, place: str, tmp_path: Path, told: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(recorder, "release", lambda _: None)  # speaks to a cluster
    monkeypatch.setattr(store, "WAITS_S", ())
    changes: dict[str, Any] = {"arms": ONE_ARM, "train__iterations": 2}
    driver = Driver(config(**changes, execution={"engine": "inline", "checkpoints": place}), tmp_path)
    for _ in range(2):
        trial = driver.start()
        run_trial(trial.config)
        trial.last_result = told[-1]
        if trial.config["number"] == 1:
            bucket.stop()
        try:
            driver.recorder.on_trial_complete(0, [], trial)
        finally:
            if trial.config["number"] == 1:
                bucket.start()
    rows = driver.rows("image_confusion")
    assert rows and {row["trial"] for row in rows} == {0}
    assert [row["state"] for row in driver.rows("trials")] == ["COMPLETE", "COMPLETE"]
    said = capsys.readouterr().err
    assert f"warning: baseline 1: checkpoints must be read at {place}/tiny/baseline-00001/checkpoint_0" in said
    assert "the table image_confusion does not have this trial" in said
