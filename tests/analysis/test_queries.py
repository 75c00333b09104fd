"""Queries on small tables written by hand."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console

from analysis.leaderboard import show
from analysis.queries import best
from study.tables import CLASS_IOU, TableWriter, trials_schema

CONFIG = {"name": "small", "data": {"name": "camvid"}}

NOON = datetime(2024, 5, 17, 12, tzinfo=UTC)
PARAMETERS = {"train/optimizer/lr": pa.float64(), "task/combine": pa.string()}


def trial(
    arm: str, number: int, miou: float | None, values: dict[str, Any] | None = None, *, state: str = "COMPLETE"
) -> dict[str, Any]:
    return {
        "arm": arm, "trial": number, "state": state, "attempts": 1, "iterations": 4, "budget": 4,
        "seconds": 2.5, "gpu_seconds": 0.0, "config": "{}", "config_hash": f"{arm}{number}",
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


def arms(answer: dict[str, Any]) -> dict[str, Any]:
    return {arm["arm"]: arm for arm in answer["arms"]}


def test_finished_trials_are_ranked_by_their_last_evaluation(study: Path) -> None:
    kd = arms(best(study, top=9))["kd"]
    # an early stop with a high mIoU is no finished trial; of equals the first one leads
    assert [found["trial"] for found in kd["best"]] == [1, 3, 0]
    assert [found["trial"] for found in arms(best(study))["kd"]["best"]] == [1]
    assert kd["states"] == {"COMPLETE": 3, "PRUNED": 1}


def test_a_best_trial_comes_with_what_it_was(study: Path) -> None:
    first, second, _ = arms(best(study, top=3))["kd"]["best"]
    assert first == {
        "trial": 1, "last_miou_percent": 31.5, "best_miou_percent": 32.5, "best_iteration": 2, "iterations": 4,
        "seconds": 2.5, "config_hash": "kd1", "parameters": {"train/optimizer/lr": 0.02},
        "class_iou_percent": {"sky": 40.0, "sign": None},
    }  # fmt: skip
    assert second["parameters"] == {"train/optimizer/lr": 0.05, "task/combine": "xor"}


def test_arms_without_a_finished_trial_are_still_named(study: Path) -> None:
    found = arms(best(study))
    assert list(found) == ["broken", "kd", "stopped"]
    assert (found["broken"]["best"], found["broken"]["states"]) == ([], {"FAIL": 1})
    assert (found["stopped"]["best"], found["stopped"]["states"]) == ([], {"PRUNED": 1})


def test_the_teacher_is_what_its_note_says(study: Path) -> None:
    assert best(study)["teacher"] is None
    note = {"path": "/teachers/one.safetensors", "sha256": "0", "miou_percent": 60.0, "trained_by": "1"}
    (study / "teacher.json").write_text(json.dumps(note))
    answer = best(study)
    assert answer["teacher"] == {"miou_percent": 60.0, "path": "/teachers/one.safetensors"}
    assert answer["seconds"] == 7 * 2.5
    assert json.loads(json.dumps(answer)) == answer


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no study\.json"):
        best(tmp_path)


def test_a_study_without_tables_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps(CONFIG))
    with pytest.raises(ValueError, match="no trial has ended"):
        best(tmp_path)


def test_a_study_whose_trials_all_run_has_no_best_yet(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps(CONFIG))
    with TableWriter(tmp_path / "tables", trials_schema({})), pytest.raises(ValueError, match="no trial has ended"):
        best(tmp_path)


def test_the_leaderboard_shows_arms_scores_and_settings(study: Path) -> None:
    (study / "teacher.json").write_text('{"path": "t", "miou_percent": 60.0}')
    console = Console(width=200, record=True, quiet=False)
    show(best(study, top=2), console)
    lines = console.export_text().splitlines()
    assert [line.split()[:3] for line in lines[1:6]] == [
        ["broken", "no", "finished"],
        ["kd", "1", "31.50"],
        ["kd", "3", "31.50"],
        ["stopped", "no", "finished"],
        ["teacher", "60.00"],
    ]
    assert "32.50" in lines[2]
    assert lines[6:] == ["kd 1: train/optimizer/lr=0.02", "kd 3: train/optimizer/lr=0.05 task/combine=xor"]


def test_a_teacher_without_a_score_is_said_to_have_none(study: Path) -> None:
    (study / "teacher.json").write_text('{"path": "t", "miou_percent": null}')
    console = Console(width=200, record=True)
    show(best(study), console)
    assert ["teacher", "not", "measured"] in [line.split() for line in console.export_text().splitlines()]
