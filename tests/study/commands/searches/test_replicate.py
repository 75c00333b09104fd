"""Replicating a study: its best settings and its baseline, with new seeds, as a study that says what it repeats."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study import tables
from study.commands.searches.replicate import SEED_OFFSET, prepare, replicates
from study.configuration.config import StudyConfig
from study.execution.recording import recorder
from study.folder import create_study, read_config
from tests.study.execution.recording.test_recorder import Driver
from trainers.config import TeacherFile, content_hash, plain
from trainers.teachers import teacher as teachers

Reader = Callable[..., StudyConfig]
Finisher = Callable[..., Path]
SCORES = {"baseline": [20.0, 22.0], "rdd": [21.0, 25.0, 24.0]}


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "release", lambda _: None)


@pytest.fixture
def finished(config: Reader, teacher_file: Path, tmp_path: Path) -> Finisher:
    """Runs the tiny study on paper: the n-th trial of an arm scores the n-th of these."""

    def finish(scores: dict[str, list[float]] = SCORES, **changes: Any) -> Path:
        arms = {f"arms__{arm}__trials": len(values) for arm, values in scores.items()}
        study = config(teacher={"file": str(teacher_file)}, **{**arms, **changes})
        folder = tmp_path / "study"
        create_study(study, folder)
        file = TeacherFile(path=str(teacher_file), sha256=teachers.sha256(teacher_file))
        (folder / "teacher.json").write_text(json.dumps({**plain(file), "miou_percent": 50.0}))
        driver = Driver(study, folder)
        driver.searcher._teacher = lambda: file
        while not all(arm.exhausted for arm in driver.arms.values()):
            trial = driver.start()
            value = scores[trial.config["arm"]][trial.config["number"]]
            driver.result(trial, **{"iteration": 12, "val/miou_percent": value, "final": True})
            driver.recorder.on_trial_complete(0, [], trial)
        driver.tables.close()
        return folder

    return finish


def test_the_best_settings_of_all_arms_and_the_baseline_are_taken(finished: Finisher, teacher_file: Path) -> None:
    folder = finished()
    study = replicates(folder, top=2, seeds=3)
    old = read_config(folder)
    assert list(study.arms) == ["baseline", "rdd-1", "rdd-2"]
    assert {arm.trials for arm in study.arms.values()} == {3} and all(arm.replicated for arm in study.arms.values())
    assert (study.name, study.seed) == ("tiny-replicate", old.seed + SEED_OFFSET)
    assert (study.teacher.file, study.teacher.sha256) == (str(teacher_file), teachers.sha256(teacher_file))
    found = study.replicates["rdd-1"]
    assert (found.study, found.folder, found.arm, found.trial, found.miou_percent) == (
        "tiny", str(folder), "rdd", 1, 25.0,
    )  # fmt: skip
    assert (study.replicates["baseline"].trial, study.replicates["baseline"].miou_percent) == (1, 22.0)
    # five settings were tried: the best plain one is the baseline, and takes no place among the others
    assert list(replicates(folder, top=9, seeds=1).arms) == ["baseline", "rdd-1", "rdd-2", "rdd-0", "baseline-0"]


def test_a_replicate_is_its_trial_but_for_the_seeds(finished: Finisher) -> None:
    folder = finished()
    study = replicates(folder, top=1, seeds=2)
    rows = tables.read(folder / "tables", "trials").to_pylist()
    (row,) = (row for row in rows if (row["arm"], row["trial"]) == ("rdd", 1))
    assert study.replicates["rdd-1"].config_hash == row["config_hash"]
    file = TeacherFile(path=str(study.teacher.file), sha256=study.teacher.sha256)
    ours = [plain(study.trial("rdd-1", {"replicate": number}, file)) for number in range(2)]
    assert [trial["init_seed"] for trial in ours] == [trial["data_seed"] for trial in ours] == [1001, 1002]
    seeds = {"init_seed": 0, "data_seed": 0}
    assert {**ours[1], **seeds} == {**json.loads(row["config"]), **seeds}


def test_replicates_may_be_judged_on_a_split_that_the_search_has_not_seen(finished: Finisher) -> None:
    folder = finished(evaluate_on="holdout", holdout=0.3)
    assert replicates(folder, top=1, seeds=1).evaluate_on == "holdout"
    study = replicates(folder, top=1, seeds=1, split="val")
    trial = study.trial("rdd-1", {"replicate": 0}, TeacherFile(path="teacher"))
    assert (trial.evaluate_on, trial.holdout) == ("val", 0.3), "what the search was judged on stays out of training"


def test_a_setting_that_was_repeated_counts_once_by_its_mean(finished: Finisher) -> None:
    lucky = {"trials": 2, "fixed": {"train/optimizer/lr": 0.1}}
    even = {"trials": 2, "fixed": {"train/optimizer/lr": 0.2}}
    folder = finished(
        {"baseline": [20.0], "lucky": [30.0, 10.0], "even": [22.0, 24.0]}, arms={"baseline": {"trials": 1}},
        arms__lucky=lucky, arms__even=even,
    )  # fmt: skip
    study = replicates(folder, top=5, seeds=2)
    assert list(study.arms) == ["baseline", "even-0", "lucky-0"]
    assert study.replicates["even-0"].miou_percent == 23.0
    assert study.arms["even-0"].fixed == even["fixed"]
    assert study.teacher.file and study.teacher.sha256 is None, "no setting has a teacher"


def test_the_baseline_is_the_arm_of_that_name_or_the_first_plain_one(finished: Finisher, config: Reader) -> None:
    arms = {"kd": {"trials": 1, "space": "kd", "methods": {"kd": {}}}, "plain": {"trials": 1, "space": "optimizer"}}
    folder = finished({"kd": [30.0], "plain": [20.0]}, arms=arms)
    study = replicates(folder, top=1, seeds=1)
    assert study.replicates["baseline"].arm == "plain" and list(study.arms) == ["baseline", "kd-0"]


def test_a_study_without_a_baseline_is_told_what_to_add(finished: Finisher) -> None:
    arms = {"kd": {"trials": 1, "space": "kd", "methods": {"kd": {}}}}
    folder = finished({"kd": [30.0]}, arms=arms)
    with pytest.raises(ValueError, match=r"tiny has no arm 'baseline' and none without methods .* add one to its file"):
        replicates(folder, top=1, seeds=1)


def test_a_study_without_a_finished_trial_is_refused(config: Reader, tmp_path: Path) -> None:
    create_study(config(), tmp_path / "study")
    with pytest.raises(ValueError, match="there must be a finished trial"):
        replicates(tmp_path / "study", top=1, seeds=1)
    with pytest.raises(ValueError, match="--top and --seeds must be at least 1, but got 0 and 5"):
        replicates(tmp_path / "study", top=0, seeds=5)


def test_an_edited_study_is_not_replicated_as_something_else(finished: Finisher) -> None:
    folder = finished()
    edited = json.loads((folder / "study.json").read_text())
    edited["train"]["batch"] = 2
    (folder / "study.json").write_text(json.dumps(edited))
    with pytest.raises(ValueError, match=r"but baseline-1 differs in train.batch; was study.json edited\?"):
        replicates(folder, top=1, seeds=1)


def test_a_second_call_goes_on_with_the_first_or_refuses(finished: Finisher) -> None:
    folder = finished()
    place = prepare(folder, top=2, seeds=3, out=None)
    assert place == folder / "replicate"
    before = (place / "study.json").read_text()
    assert prepare(folder, top=2, seeds=3, out=None) == place
    with pytest.raises(ValueError, match=r"differ from what is asked for in arms.rdd-2, replicates.rdd-2; choose ano"):
        prepare(folder, top=1, seeds=3, out=None)
    assert (place / "study.json").read_text() == before
    other = prepare(folder, top=1, seeds=3, out=folder.parent / "other")
    assert content_hash(read_config(other)) != content_hash(read_config(place))


def test_a_teachers_file_that_changed_is_found_before_anything_starts(
    finished: Finisher, tmp_path: Path, teacher_file: Path
) -> None:
    folder = finished()
    note = json.loads((folder / "teacher.json").read_text())
    (folder / "teacher.json").write_text(json.dumps({**note, "path": str(tmp_path / "gone.safetensors")}))
    with pytest.raises(ValueError, match=r"teacher: .*gone.safetensors"):
        prepare(folder, top=1, seeds=1, out=None)
    assert not (folder / "replicate").exists()
