"""Replicating a study: its best settings and its baseline, with new seeds, as a study that says what it repeats."""

import json
from collections.abc import Callable
from math import nan
from pathlib import Path
from typing import Any

import pytest

from study import tables
from study.commands.searches.replicate import SEED_OFFSET, prepare, replicates
from study.configuration.config import StudyConfig
from study.execution.recording import recorder
from study.folder import create_study, read_config
from study.ledger.lock import locked
from tests.study.execution.recording.test_recorder import Driver
from trainers.config import TeacherFile, content_hash, plain
from trainers.teachers import teacher as teachers

Reader = Callable[..., StudyConfig]
Finisher = Callable[..., Path]
SETTINGS = ("baseline", "rdd-1", "rdd-2")
SCORES = {"baseline": [20.0, 22.0], "rdd": [21.0, 25.0, 24.0]}


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "release", lambda _: None)


@pytest.fixture
def finished(config: Reader, teacher_file: Path, tmp_path: Path) -> Finisher:
    """Runs the tiny study on paper: the n-th trial of an arm scores the n-th of these."""

    def finish(scores: dict[str, list[float]] = SCORES, **changes: Any) -> Path:
        first = {arm: values for arm, values in scores.items() if "-search" not in arm}
        arms = {f"arms__{arm}__trials": len(values) for arm, values in first.items()}
        study = config(teacher={"file": str(teacher_file)}, **{**arms, **changes})
        folder = tmp_path / "study"
        create_study(study, folder)
        file = TeacherFile(path=str(teacher_file), sha256=teachers.sha256(teacher_file))
        (folder / "teacher.json").write_text(json.dumps({**plain(file), "miou_percent": 50.0}))
        drive(study, folder, file, scores)
        return folder

    return finish


def drive(study: StudyConfig, folder: Path, file: TeacherFile, scores: dict[str, list[float]]) -> None:
    """Use every budget."""
    driver = Driver(study, folder)
    driver.searcher._teacher = lambda: file
    while not all(arm.exhausted for arm in driver.arms.values()):
        trial = driver.start()
        value = scores[trial.config["arm"]][trial.config["number"]]
        driver.result(trial, **{"iteration": 12, "eval/miou_percent": value, "final": True})
        driver.recorder.on_trial_complete(0, [], trial)
    driver.tables.close()


def test_each_arm_is_replicated_however_good_the_baselines_runners_up_are(finished: Finisher) -> None:
    kd = {"trials": 2, "space": "kd", "methods": {"kd": {}}}
    rdd = {"trials": 1, "space": ["rdd", "kd"], "task": {"weighting": "rdd"}, "methods": {"kd": {}}}
    arms = {"baseline": {"trials": 4, "space": "optimizer"}, "kd": kd, "rdd": rdd}
    folder = finished({"baseline": [24.8, 24.6, 24.4, 24.2], "kd": [20.0, 22.7], "rdd": [22.2]}, arms=arms)
    assert list(replicates(folder).arms) == ["baseline", "kd-1", "rdd-0"]
    assert list(replicates(folder, top=3).arms) == ["baseline", "kd-1", "kd-0", "rdd-0"]
    assert list(replicates(folder, top=3, arms=["rdd"]).arms) == ["baseline", "rdd-0"]
    assert list(replicates(folder, arms=["baseline"]).arms) == ["baseline"]
    with pytest.raises(ValueError, match=r"--arm must be an arm of the study, but got 'rd'; did you mean 'rdd'\?"):
        replicates(folder, arms=["rd"])


def test_the_defaults_of_each_arm_are_replicated_in_a_folder_of_their_own(
    finished: Finisher, capsys: pytest.CaptureFixture
) -> None:
    folder = finished()
    place = prepare(folder, defaults=True)
    assert place.name == "replicate-defaults" and prepare(folder).name == "replicate"
    study, old = read_config(place), read_config(folder)
    assert list(study.arms) == ["baseline", "rdd-0"]
    for name, arm in (("baseline", "baseline"), ("rdd-0", "rdd")):
        assert study.arms[name].fixed == old.space(arm).defaults()


def test_arms_whose_defaults_did_not_end_are_left_out(finished: Finisher, capsys: pytest.CaptureFixture) -> None:
    folder = finished({"baseline": [20.0, 22.0], "rdd": [nan, 21.0, 23.0]}, arms__rdd__trials=2)
    capsys.readouterr()
    assert list(read_config(prepare(folder, defaults=True)).arms) == ["baseline"]
    assert capsys.readouterr().err == (
        "rdd is left out: no trial of it at its defaults has used its whole budget; go on with one that has not ended: "
        "kdstudy resume DIR; one that was stopped early stays so, and in a new study pruning.keep_every lets the first "
        "trial of each arm end\n"
    )
    assert list(read_config(prepare(folder)).arms) == ["baseline", "rdd-2"]


def test_defaults_are_replicated_however_good_they_are(finished: Finisher) -> None:
    folder = finished(search={"constraints": ["miou >= 30"]}, pruning={"kind": "none"})
    with pytest.raises(ValueError, match="keeps miou >= 30"):
        replicates(folder)
    assert list(replicates(folder, defaults=True).arms) == ["baseline", "rdd-0"]


def test_the_best_settings_of_an_arm_and_the_baseline_are_taken(finished: Finisher, teacher_file: Path) -> None:
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
    assert study.planned_seeds == 3 and (found.chosen_by, found.search_of) == (("rdd",), None)
    assert list(replicates(folder, top=9, seeds=1).arms) == ["baseline", "rdd-1", "rdd-2", "rdd-0"]


def test_of_a_tie_the_first_trial_is_taken(finished: Finisher) -> None:
    folder = finished({"baseline": [20.0, 20.0], "rdd": [24.0, 25.0, 25.0]})
    study = replicates(folder)
    assert list(study.arms) == ["baseline", "rdd-1"] and study.replicates["baseline"].trial == 0


def test_what_breaks_a_bound_of_the_search_is_not_taken(finished: Finisher) -> None:
    folder = finished(search={"constraints": ["miou <= 24.5"]}, pruning={"kind": "none"})
    study = replicates(folder)
    assert list(study.arms) == ["baseline", "rdd-2"] and study.search.constraints == ()


def test_an_arm_that_keeps_no_bound_is_not_said_to_be_unfinished(
    finished: Finisher, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = finished(search={"constraints": ["miou <= 20.5"]}, pruning={"kind": "none"})
    capsys.readouterr()
    assert list(read_config(prepare(folder)).arms) == ["baseline"]
    assert capsys.readouterr().err == (
        "rdd is left out: no trial of it keeps the bounds of the search, miou <= 20.5; search longer\n"
    )
    with pytest.raises(ValueError, match=r"no trial of 'rdd' keeps the bounds of the search, miou <= 20.5; search"):
        prepare(folder, arms=["rdd"])


def test_an_arm_without_a_finished_trial_is_named(finished: Finisher, capsys: pytest.CaptureFixture[str]) -> None:
    kd = {"trials": 1, "space": "kd", "methods": {"kd": {}}}
    folder = finished({"baseline": [20.0, 22.0], "rdd": [21.0], "kd": [nan]}, arms__kd=kd, execution__max_failed=1)
    capsys.readouterr()
    assert list(read_config(prepare(folder)).arms) == ["baseline", "rdd-0"]
    assert capsys.readouterr().err == (
        "kd is left out: no trial of it has used its whole budget; go on with it: kdstudy resume DIR\n"
    )
    with pytest.raises(ValueError, match=r"--arm must have a finished trial to go by, but no trial of 'kd' has"):
        prepare(folder, arms=["rdd", "kd"])


def test_names_that_are_too_long_stay_apart(finished: Finisher) -> None:
    arms = {
        f"{'a' * 58}{end}": {"trials": 1, "fixed": {"train/optimizer/lr": lr}} for end, lr in (("b", 0.1), ("c", 0.2))
    }
    folder = finished(
        {"baseline": [20.0], **{name: [21.0] for name in arms}},
        arms={"baseline": {"trials": 1, "space": "optimizer"}, **arms},
    )
    baseline, *long = replicates(folder).arms
    assert baseline == "baseline" and len(set(long)) == 2
    assert all(len(name) == 60 and name.startswith("a" * 45) and name.endswith("-0") for name in long)


def test_each_search_of_an_arm_is_replicated_and_one_setting_once(
    finished: Finisher, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = finished(
        {"baseline": [22.0, 20.0], "baseline-search2": [22.0, 23.0], "rdd": [25.0, 21.0], "rdd-search2": [25.0, 24.0]},
        searches=2,
    )
    study = replicates(folder)
    assert list(study.arms) == ["baseline", "baseline-search2-1", "rdd-0"] and study.searches == 1
    # both searches tried the defaults first, and found nothing better
    assert study.replicates["rdd-0"].chosen_by == ("rdd", "rdd-search2")
    again = study.replicates["baseline-search2-1"]
    assert (again.arm, again.search_of, again.chosen_by) == ("baseline-search2", "baseline", ("baseline-search2",))
    assert list(replicates(folder, top=2).arms)[2:] == ["rdd-0", "rdd-1", "rdd-search2-1"]
    assert list(replicates(folder, arms=["rdd"]).arms) == list(study.arms)
    prepare(folder)
    assert "rdd-0 stands for rdd and rdd-search2, which found the same setting" in capsys.readouterr().err


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
    with pytest.raises(ValueError, match="--top must be at least 1, but got 0"):
        replicates(tmp_path / "study", top=0, seeds=5)
    with pytest.raises(ValueError, match="--seeds must be at least 1, but got 0"):
        replicates(tmp_path / "study", seeds=0)


def test_an_edited_study_is_not_replicated_as_something_else(finished: Finisher) -> None:
    folder = finished()
    edited = json.loads((folder / "study.json").read_text())
    edited["train"]["batch"] = 2
    (folder / "study.json").write_text(json.dumps(edited))
    with pytest.raises(ValueError, match=r"but baseline-1 differs in train.batch; was study.json edited\?"):
        replicates(folder, top=1, seeds=1)


def test_a_second_call_goes_on_with_the_first(finished: Finisher) -> None:
    folder = finished()
    place = prepare(folder, top=2, seeds=3)
    assert place == folder / "replicate"
    before = (place / "study.json").read_text()
    assert prepare(folder, top=2, seeds=3) == prepare(folder) == prepare(folder, arms=["rdd"]) == place
    assert (place / "study.json").read_text() == before and not (place / "study.1.json").exists()
    other = prepare(folder, top=1, seeds=3, out=folder.parent / "other")
    assert content_hash(read_config(other)) != content_hash(read_config(place))


def test_more_settings_and_seeds_are_added_and_the_plan_stays(
    finished: Finisher, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = finished()
    place = prepare(folder, seeds=3)
    assert {name: arm.trials for name, arm in read_config(place).arms.items()} == {"baseline": 3, "rdd-1": 3}
    prepare(folder, top=2)
    assert {name: arm.trials for name, arm in read_config(place).arms.items()} == dict.fromkeys(SETTINGS, 3)
    assert read_config(place).replicates["rdd-2"].trial == 2 and (place / "study.1.json").exists()
    capsys.readouterr()
    prepare(folder, seeds=8)
    assert {name: arm.trials for name, arm in read_config(place).arms.items()} == {
        "baseline": 8, "rdd-1": 8, "rdd-2": 3,
    }  # fmt: skip
    assert capsys.readouterr().err.splitlines() == [
        f"{name} has 8 seeds instead of 3; 3 were planned" for name in ("baseline", "rdd-1")
    ]
    assert read_config(place).planned_seeds == 3
    with pytest.raises(ValueError, match=r"--seeds must be at least what .* begun, but got 5 and those in .* have 8;"):
        prepare(folder, seeds=5)


def test_an_arm_that_needs_the_teacher_brings_it(finished: Finisher, teacher_file: Path) -> None:
    folder = finished()
    place = prepare(folder, arms=["baseline"])
    assert read_config(place).teacher.sha256 is None
    prepare(folder, arms=["rdd"])
    assert read_config(place).teacher.sha256 == teachers.sha256(teacher_file)
    before = read_config(place)
    prepare(folder, arms=["baseline"])
    assert read_config(place) == before


def test_replicates_of_an_older_kdstudy_gain_a_plan_with_more_seeds(finished: Finisher) -> None:
    folder = finished()
    place = prepare(folder, seeds=2)
    old = json.loads((place / "study.json").read_text())
    del old["planned_seeds"]
    (place / "study.json").write_text(json.dumps(old))
    prepare(folder)
    assert read_config(place).planned_seeds is None, "nothing was added"
    prepare(folder, seeds=4)
    assert read_config(place).planned_seeds == 2


def test_another_baseline_split_or_study_is_refused(finished: Finisher) -> None:
    folder = finished(evaluate_on="holdout", holdout=0.3)
    place = prepare(folder, seeds=2, split="val")
    assert prepare(folder) == place, "the split that was begun with holds"
    before = (place / "study.json").read_text()
    with pytest.raises(
        ValueError, match=r"differ from what is asked for in evaluate_on; choose another --out, or go on"
    ):
        prepare(folder, split="holdout")
    with pytest.raises(ValueError, match=r"differ from what is asked for in .*arms.baseline.space, name, seed"):
        prepare(folder, out=folder)
    changed = json.loads(before)
    changed["arms"]["baseline"]["fixed"]["train/optimizer/lr"] = 0.9
    (place / "study.json").write_text(json.dumps(changed))
    with pytest.raises(ValueError, match=r"asked for in arms.baseline.fixed.train/optimizer/lr; choose"):
        prepare(folder)


def test_a_search_that_was_given_more_can_be_replicated_further(finished: Finisher) -> None:
    folder = finished(budget={"whole_trials": 9})
    place = prepare(folder)
    longer = json.loads((folder / "study.json").read_text())
    longer["budget"]["whole_trials"] = 20
    (folder / "study.json").write_text(json.dumps(longer))
    assert prepare(folder, top=2) == place and list(read_config(place).arms) == list(SETTINGS)


def test_replicates_that_are_being_driven_are_left_alone(finished: Finisher) -> None:
    folder = finished()
    place = prepare(folder)
    with locked(place), pytest.raises(ValueError, match="is driven by process"):
        prepare(folder, top=2)


def test_replicates_can_be_replicated(finished: Finisher, teacher_file: Path) -> None:
    folder = finished()
    place = prepare(folder, seeds=2)
    file = TeacherFile(path=str(teacher_file), sha256=teachers.sha256(teacher_file))
    (place / "teacher.json").write_text((folder / "teacher.json").read_text())
    drive(read_config(place), place, file, {"baseline": [20.0, 22.0], "rdd-1": [24.0, 26.0]})
    again = replicates(place)
    assert list(again.arms) == ["baseline", "rdd-1-0"] and again.seed == read_config(folder).seed + 2 * SEED_OFFSET
    assert again.replicates["rdd-1-0"].miou_percent == 25.0
    assert again.arms["rdd-1-0"].fixed == read_config(place).arms["rdd-1"].fixed


def test_a_teachers_file_that_changed_is_found_before_anything_starts(
    finished: Finisher, tmp_path: Path, teacher_file: Path
) -> None:
    folder = finished()
    note = json.loads((folder / "teacher.json").read_text())
    (folder / "teacher.json").write_text(json.dumps({**note, "path": str(tmp_path / "gone.safetensors")}))
    with pytest.raises(ValueError, match=r"teacher: .*gone.safetensors"):
        prepare(folder, top=1, seeds=1)
    assert not (folder / "replicate").exists()
