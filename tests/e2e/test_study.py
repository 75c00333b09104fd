"""A whole study that nothing disturbs, and what is made of it afterwards, each driver a process of its own."""

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from study import tables
from tests.e2e.drivers import in_process, kdstudy
from tests.e2e.studies import assert_consistent, trial_rows
from tests.study.conftest import write_teacher
from tests.study.test_presets import RANKS_COUNT, SHRUNKEN

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800), pytest.mark.xdist_group("undisturbed")]


def test_ledger_and_tables_agree_at_the_end(undisturbed: Path) -> None:
    assert_consistent(undisturbed)
    rows = trial_rows(undisturbed)
    assert Counter(row["arm"] for row in rows) == {"teacher": 1, "baseline": 3, "rdd": 3}
    names = ["trials", "reports", "class_iou", "gradients", "mask_shares", "image_confusion", "images", "environment"]
    assert all(tables.read(undisturbed / "tables", name).num_rows for name in names)
    assert tables.read(undisturbed / "tables", "environment").num_rows == 1
    for row in rows:
        if row["state"] == "COMPLETE":
            assert row["iterations"] == row["budget"] == (8 if row["arm"] == "teacher" else 12)


def test_best_and_status_are_one_json_document(undisturbed: Path) -> None:
    status = json.loads(in_process("status", undisturbed, "--json", cwd=undisturbed).stdout)
    assert {arm: counts["budget"] for arm, counts in status.items()} == {"teacher": 1, "baseline": 3, "rdd": 3}
    best = json.loads(in_process("best", undisturbed, "--json", "--top", "2", cwd=undisturbed).stdout)
    rows = [row for row in trial_rows(undisturbed) if row["state"] == "COMPLETE"]
    for arm in best["arms"]:
        scores = sorted((r["last_miou_percent"] for r in rows if r["arm"] == arm["arm"]), reverse=True)
        assert [trial["last_miou_percent"] for trial in arm["best"]] == scores[:2]
        assert len(arm["best"][0]["class_iou_percent"]) == 11
    shown = kdstudy("best", undisturbed, cwd=undisturbed)
    assert shown.returncode == 0 and "teacher" in shown.stdout


def test_a_folder_holds_one_study(undisturbed: Path, whole: Path) -> None:
    again = in_process("run", whole, "--out", "runs/mine", cwd=whole.parent)
    assert again.returncode == 2 and f"kdstudy resume {undisturbed}" in again.stderr
    other = in_process("run", whole, "--set", "seed=9", "--out", "runs/mine", cwd=whole.parent)
    assert other.returncode == 2 and "choose another --out" in other.stderr
    none = in_process("resume", whole.parent, cwd=whole.parent)
    assert none.returncode == 2 and "holds no study.json" in none.stderr
    client = in_process("run", whole, "--out", "client", "--address", "ray://head:10001", cwd=whole.parent)
    assert client.returncode == 2 and "ray job submit" in client.stderr
    assert not (whole.parent / "client").exists()


def test_a_finished_study_has_nothing_to_resume(undisturbed: Path) -> None:
    before = trial_rows(undisturbed)
    done = in_process("resume", undisturbed, cwd=undisturbed)
    assert done.returncode == 0, done.stderr
    assert trial_rows(undisturbed) == before


def test_the_python_of_the_pages_runs_a_study(
    scripted: "subprocess.CompletedProcess[str]", undisturbed: Path, whole: Path
) -> None:
    best, *_, report = scripted.stdout.splitlines()
    arm, trial, miou = best.split()
    (row,) = (row for row in trial_rows(undisturbed) if (row["arm"], str(row["trial"])) == (arm, trial))
    assert float(miou) == row["last_miou_percent"]
    assert report.endswith("mine.html") and (whole.parent / "mine.html").exists()


def test_a_row_of_the_papers_trains_on_two_workers(tmp_path: Path) -> None:
    teacher = write_teacher(tmp_path / "teacher.safetensors")
    ranks = [f"arms.{row}.fixed={{train/workers: 2}}" for row in RANKS_COUNT]
    settings = (*SHRUNKEN, *ranks, f"teacher.file={teacher}", "train.batch=4", "execution={}")
    sets = [f"--set={setting}" for setting in settings]
    row = ("camvid-methods-paper", "--arm", "rdd-cirkd", *sets)
    done = kdstudy("train", *row, "--workers", 2, "--out", tmp_path / "trial", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for term in ("task/main", "kd/pixel", "cirkd/minibatch", "cirkd/pixel_memory", "cirkd/region_memory"):
        assert f"train/term/{term}: " in done.stdout


def test_the_best_settings_are_trained_again_in_pairs(undisturbed: Path, tmp_path: Path) -> None:
    asked = ("replicate", undisturbed, "--top", 1, "--seeds", 2, "--out", tmp_path / "again")
    for _ in range(2):  # a second time there is nothing left to do
        done = kdstudy(*asked, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert_consistent(tmp_path / "again")
    rows = trial_rows(tmp_path / "again")
    other = next(arm for arm in {row["arm"] for row in rows} if arm != "baseline")
    assert [(row["arm"], row["param/replicate"]) for row in rows] == [
        ("baseline", 0), ("baseline", 1), (other, 0), (other, 1),
    ]  # fmt: skip
    assert all(row["state"] == "COMPLETE" for row in rows)
    source = {(row["arm"], row["trial"]): row for row in trial_rows(undisturbed)}
    arm, _, number = other.rpartition("-")
    settings = {**json.loads(source[arm, int(number)]["config"]), "init_seed": 1001, "data_seed": 1001}
    assert json.loads(rows[2]["config"]) == settings
