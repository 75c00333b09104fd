"""Queries on small tables written by hand."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console

from analysis.leaderboard import print_leaderboard
from analysis.queries import best
from study.__main__ import main
from study.tables import CLASS_IOU, TableWriter, trials_schema

ARMS: dict[str, Any] = {
    "focal": {"task": {"weighting": "focal"}},
    "stopped": {"task": {"weighting": "uniform"}},
    "kd": {"methods": {"kd": {}}},
    "broken": {},
}
CONFIG = {"name": "small", "data": {"name": "camvid"}, "arms": ARMS}
NOON = datetime(2024, 5, 17, 12, tzinfo=UTC)
PARAMETERS = {"train/optimizer/lr": pa.float64(), "task/combine": pa.string()}


def trial(
    arm: str, number: int, miou: float | None, values: dict[str, Any] | None = None, *, state: str = "COMPLETE"
) -> dict[str, Any]:
    return {
        "arm": arm, "trial": number, "state": state, "attempts": 1, "iterations": 4, "budget": 4,
        "seconds": 2.5, "gpu_seconds": 5.0, "config": "{}", "config_hash": f"{arm}{number}",
        "started": NOON, "ended": NOON, "last_miou_percent": miou,
        "best_miou_percent": None if miou is None else miou + 1, "best_iteration": 2,
        **{f"param/{path}": value for path, value in (values or {}).items()},
    }  # fmt: skip


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Three arms: with a tie, with early stops alone, with failures alone."""
    rows = [
        trial("kd", 0, 20.0, {"train/optimizer/lr": 0.123456}),
        trial("kd", 3, 31.5, {"train/optimizer/lr": 0.05, "task/combine": "xor"}),
        trial("kd", 1, 31.5, {"train/optimizer/lr": 0.02}),
        trial("kd", 2, 99.0, state="PRUNED"),
        trial("stopped", 0, 50.0, state="PRUNED"),
        trial("broken", 0, None, state="FAIL"),
        trial("teacher", 0, 60.0),
    ]
    with TableWriter(tmp_path / "tables", trials_schema(PARAMETERS)) as writer:
        writer.append(rows)
    with TableWriter(tmp_path / "tables", CLASS_IOU) as writer:
        for number, iteration, iou in ((1, 2, 1.0), (1, 4, 40.0), (3, 4, 41.0), (0, 4, 42.0)):
            key = {"arm": "kd", "trial": number, "iteration": iteration}
            writer.append([{**key, "class": "sky", "iou_percent": iou}, {**key, "class": "sign"}])
    (tmp_path / "study.json").write_text(json.dumps(CONFIG))
    return tmp_path


def write_study(folder: Path, rows: list[dict[str, Any]], **config: Any) -> Path:
    with TableWriter(folder / "tables", trials_schema({})) as writer:
        writer.append(rows)
    (folder / "study.json").write_text(json.dumps({**CONFIG, **config}))
    return folder


def arms(answer: dict[str, Any]) -> dict[str, Any]:
    return {arm["arm"]: arm for arm in answer["arms"]}


def order(trials: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(trial["arm"], trial["trial"]) for trial in trials]


def lines(answer: dict[str, Any]) -> list[str]:
    console = Console(width=200, record=True)
    print_leaderboard(answer, console)
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_finished_trials_are_ranked_by_their_last_evaluation(study: Path) -> None:
    kd = arms(best(study, top=9))["kd"]
    # an early stop with a high mIoU is no finished trial; of equals the first one leads
    assert [found["trial"] for found in kd["best"]] == [1, 3, 0]
    assert [found["trial"] for found in arms(best(study))["kd"]["best"]] == [1]
    assert kd["states"] == {"COMPLETE": 3, "PRUNED": 1}
    assert (kd["trials"], kd["seconds"], kd["gpu_seconds"]) == (4, 10.0, 20.0)


def test_a_best_trial_comes_with_what_it_was(study: Path) -> None:
    first, second, _ = arms(best(study, top=3))["kd"]["best"]
    assert first == {
        "folder": str(study), "arm": "kd", "trial": 1, "last_miou_percent": 31.5, "best_miou_percent": 32.5,
        "best_iteration": 2, "iterations": 4, "seconds": 2.5, "gpu_seconds": 5.0, "config_hash": "kd1",
        "parameters": {"train/optimizer/lr": 0.02}, "over_baseline_points": None,
        "class_iou_percent": {"sky": 40.0, "sign": None},
    }  # fmt: skip
    assert second["parameters"] == {"train/optimizer/lr": 0.05, "task/combine": "xor"}


def test_trials_are_ranked_by_what_the_search_maximised(tmp_path: Path) -> None:
    rows = [trial("kd", 0, 30.0), {**trial("kd", 1, 20.0), "best_miou_percent": 40.0}]
    folder = write_study(tmp_path, rows, objective="best")
    with TableWriter(folder / "tables", CLASS_IOU) as writer:
        for iteration in (2, 4):  # 2 is the best one
            writer.append([{"arm": "kd", "trial": 1, "iteration": iteration, "class": "sky", "iou_percent": iteration}])
    answer = best(folder)
    assert answer["ranked_by"] == "best_miou_percent"
    assert order(answer["top"]) == [("kd", 1)]
    assert answer["top"][0]["class_iou_percent"] == {"sky": 2.0}
    assert "ranked by mIoU of the best evaluation, which is optimistic" in "".join(lines(answer))


def test_arms_without_a_finished_trial_are_still_named(study: Path) -> None:
    found = arms(best(study))
    assert list(found) == ["broken", "kd", "stopped"]
    assert (found["broken"]["best"], found["broken"]["states"]) == ([], {"FAIL": 1})
    assert (found["stopped"]["best"], found["stopped"]["states"]) == ([], {"PRUNED": 1})


def test_the_teacher_is_what_its_note_says(study: Path) -> None:
    assert best(study)["studies"][0]["teacher"] is None
    note = {"path": "/teachers/one.safetensors", "sha256": "0", "miou_percent": 60.0, "trained_by": "1"}
    (study / "teacher.json").write_text(json.dumps(note))
    with TableWriter(study / "tables", CLASS_IOU) as writer:
        writer.append([{"arm": "teacher", "trial": 0, "iteration": 4, "class": "sky", "iou_percent": 70.0}])
    answer = best(study)
    (told,) = answer["studies"]
    assert told["teacher"] == {
        "miou_percent": 60.0, "path": "/teachers/one.safetensors", "class_iou_percent": {"sky": 70.0},
    }  # fmt: skip
    assert (told["trials"], told["seconds"], told["gpu_seconds"]) == (7, 7 * 2.5, 35.0)
    assert json.loads(json.dumps(answer)) == answer


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ({"kd": ARMS["kd"], "baseline": {"methods": {"kd": {}}}}, "baseline"),
        (
            {"kd": ARMS["kd"], "focal": ARMS["focal"], "second": {"task": {"weighting": "uniform"}}, "third": {}},
            "second",
        ),
        ({"kd": ARMS["kd"], "focal": ARMS["focal"]}, None),
    ],
)
def test_the_baseline_is_named_or_else_the_first_plain_arm(
    tmp_path: Path, listed: dict[str, Any], expected: str | None
) -> None:
    folder = write_study(tmp_path, [trial(name, 0, 30.0) for name in listed], arms=listed)
    assert best(folder)["studies"][0]["baseline"] == expected


def test_trials_stand_beside_the_best_of_the_baseline_in_their_own_study(tmp_path: Path) -> None:
    rows = [trial("stopped", 0, 30.0), trial("stopped", 1, 32.0), trial("kd", 0, 33.0)]
    first = write_study(tmp_path / "first", rows)
    second = write_study(tmp_path / "second", [trial("stopped", 0, 36.0), trial("kd", 0, 34.0)], name="other")
    answer = best(first, second, top=3)
    assert [(t["folder"], t["arm"], t["last_miou_percent"], t["over_baseline_points"]) for t in answer["top"]] == [
        (str(second), "stopped", 36.0, 0.0),
        (str(second), "kd", 34.0, -2.0),
        (str(first), "kd", 33.0, 1.0),
    ]
    assert [told["name"] for told in answer["studies"]] == ["small", "other"]
    assert len(answer["arms"]) == 4
    shown = lines(answer)
    assert str(second) in shown and f"{second} kd 0: nothing searched" in shown


def test_searches_of_one_arm_stand_together(tmp_path: Path) -> None:
    scores = {"baseline": 20.0, "baseline-search2": 22.0, "kd": 25.0, "kd-search2": 24.0, "kd-search3": 26.0}
    rows = [trial(arm, 0, score) for arm, score in scores.items()]
    further = {name: {"search_of": name.partition("-")[0]} for name in scores if "-" in name}
    study_arms = {name: {"methods": {"kd": {}} if "kd" in name else {}, **further.get(name, {})} for name in scores}
    answer = best(write_study(tmp_path, [*rows, trial("kd", 1, 19.0)], arms=study_arms, searches=3))
    assert {name: arm["search_of"] for name, arm in arms(answer).items()} == {
        "baseline": None, "baseline-search2": "baseline", "kd": None, "kd-search2": "kd", "kd-search3": "kd",
    }  # fmt: skip
    assert answer["studies"][0]["searches"] == [
        {"arm": "baseline", "best_miou_percent": [20.0, 22.0], "sd_points": pytest.approx(2**0.5)},
        {"arm": "kd", "best_miou_percent": [25.0, 24.0, 26.0], "sd_points": pytest.approx(1.0)},
    ]
    # the baseline's best trial is that of all its searches
    assert [found["over_baseline_points"] for found in answer["top"]] == [4.0]
    shown = lines(answer)
    assert sum(line.startswith(("baseline*", "baseline-search2*")) for line in shown) == 2
    assert (
        "kd: each of its 3 searches found 25.00, 24.00, 26.00 best; the standard deviation over searches is 1.00 points"
        in shown
    )


def test_replicates_of_further_searches_belong_to_those_of_the_first(tmp_path: Path) -> None:
    scores = {"baseline": 20.0, "plain-search2-4": 22.0, "kd-1": 25.0, "kd-search2-0": 24.0}
    sources = {"baseline": ("plain", None), "plain-search2-4": ("plain-search2", "plain"), "kd-1": ("kd", None),
               "kd-search2-0": ("kd-search2", "kd")}  # fmt: skip
    replicates = {name: {"arm": arm, "search_of": first} for name, (arm, first) in sources.items()}
    rows = [trial(arm, 0, score) for arm, score in scores.items()]
    answer = best(write_study(tmp_path, rows, arms={arm: {} for arm in scores}, replicates=replicates))
    assert {name: arm["search_of"] for name, arm in arms(answer).items()} == {
        "baseline": None, "plain-search2-4": "baseline", "kd-1": None, "kd-search2-0": "kd-1",
    }  # fmt: skip
    assert answer["studies"][0]["searches"] == [], "trials of one setting are no searches"
    assert answer["top"][0]["over_baseline_points"] == 3.0


def test_studies_that_do_not_compare_are_refused(study: Path, tmp_path: Path) -> None:
    other = write_study(tmp_path / "other", [trial("kd", 0, 30.0)], data={"name": "voc"})
    with pytest.raises(ValueError, match=r"must be of one dataset to be compared, but got camvid \(.*voc \("):
        best(study, other)
    with pytest.raises(ValueError, match=r"each study must be named once, but got .* again; leave it out"):
        best(study, study / ".." / study.name)


def test_studies_with_several_objectives_are_ranked_by_the_last_evaluation(study: Path, tmp_path: Path) -> None:
    other = write_study(tmp_path / "other", [trial("kd", 0, 30.0)], objective="best")
    assert best(study, other)["ranked_by"] == "last_miou_percent"


@pytest.mark.parametrize("top", [0, -3])
def test_no_trials_at_all_cannot_be_asked_for(study: Path, top: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["best", str(study), "--top", str(top)]) == 2
    assert f"--top must be at least 1, but got {top}; ask for" in capsys.readouterr().err


def test_a_study_of_one_trial(tmp_path: Path) -> None:
    answer = best(write_study(tmp_path, [trial("stopped", 0, 30.0)]), top=5)
    assert order(answer["top"]) == [("stopped", 0)]
    assert answer["top"][0]["over_baseline_points"] == 0.0
    assert any(line.split()[:3] == ["stopped*", "0", "30.00"] for line in lines(answer))


def test_a_study_whose_trials_all_failed_has_no_best_but_a_cost(tmp_path: Path) -> None:
    folder = write_study(tmp_path, [trial("kd", number, None, state="FAIL") for number in range(3)])
    answer = best(folder)
    assert answer["top"] == [] and arms(answer)["kd"]["best"] == []
    shown = lines(answer)
    assert shown[1].split() == ["kd", "no", "finished", "trial", "0.002", "0.004", "3", "0", "3"]
    assert shown[3] == f"{folder}: 3 trials, 0.002 hours of trials, 0.004 GPU-hours"


def test_what_an_older_study_did_not_write_is_left_open(tmp_path: Path) -> None:
    older = {"gpu_seconds", "best_iteration", "retry_of", "peak_memory_mib", "config_hash"}
    schema = trials_schema(PARAMETERS)
    kept = pa.schema([field for field in schema if field.name not in older], schema.metadata)
    row = trial("kd", 0, 30.0, {"train/optimizer/lr": 0.1})
    with TableWriter(tmp_path / "tables", kept) as writer:
        writer.append([{name: value for name, value in row.items() if name not in older}])
    (tmp_path / "study.json").write_text(json.dumps({"name": "older", "data": {"name": "camvid"}}))
    answer = best(tmp_path)
    (found,) = answer["top"]
    assert (found["config_hash"], found["gpu_seconds"], found["class_iou_percent"]) == (None, None, {})
    assert found["parameters"] == {"train/optimizer/lr": 0.1}
    assert arms(answer)["kd"]["gpu_seconds"] == 0.0 and answer["studies"][0]["baseline"] is None
    assert any(line.split()[:3] == ["kd", "0", "30.00"] for line in lines(answer))


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no study\.json"):
        best(tmp_path)
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(ValueError, match=r"study\.json must be what kdstudy wrote there, but: .*; restore it"):
        best(tmp_path)


def test_a_study_without_tables_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps(CONFIG))
    with pytest.raises(ValueError, match="no trial has ended"):
        best(tmp_path)


def test_a_study_whose_trials_all_run_has_no_best_yet(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps(CONFIG))
    with TableWriter(tmp_path / "tables", trials_schema({})), pytest.raises(ValueError, match="no trial has ended"):
        best(tmp_path)


def test_the_leaderboard_shows_arms_scores_settings_and_classes(study: Path) -> None:
    (study / "teacher.json").write_text('{"path": "t", "miou_percent": 60.0}')
    with TableWriter(study / "tables", CLASS_IOU) as writer:
        writer.append([{"arm": "teacher", "trial": 0, "iteration": 4, "class": "sky", "iou_percent": 70.0}])
    shown = lines(best(study, top=2))
    assert [line.split()[:3] for line in shown[1:6]] == [
        ["broken", "no", "finished"],
        ["kd", "1", "31.50"],
        ["kd", "3", "31.50"],
        ["stopped*", "no", "finished"],
        ["teacher", "60.00"],
    ]
    assert "32.50" in shown[2]
    assert shown[8:] == [
        "broken 0: FAIL, no reason is known",
        "kd 1: train/optimizer/lr=0.02",
        "kd 3: train/optimizer/lr=0.05 task/combine=xor",
        "best of all: kd 1, kd 3",
        "IoU % of class   kd 1  teacher",
        "sky             40.00    70.00",
        "sign",
    ]


def test_a_teacher_without_a_score_is_said_to_have_none(study: Path) -> None:
    (study / "teacher.json").write_text('{"path": "t", "miou_percent": null}')
    assert ["teacher", "not", "measured"] in [line.split() for line in lines(best(study))]


def test_a_ranking_says_what_the_study_compares(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arms = {**ARMS, "kd": {**ARMS["kd"], "fixed": {"train/iterations": 40}}}
    config = {**CONFIG, "arms": arms, "train": {"iterations": 4}, "compares": ["train/iterations"]}
    (study / "study.json").write_text(json.dumps(config))
    line = "the study compares train/iterations (focal 4, stopped 4, kd 40, broken 4)"
    assert line in best(study)["studies"][0]["unequal_terms"][0]
    assert main(["best", str(study)]) == 0
    assert line in " ".join(capsys.readouterr().out.split())
