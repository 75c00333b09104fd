"""Whole studies from the command line, each driver a process of its own, with kills where they hurt."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from study import tables
from tests.e2e.drivers import (
    ENOUGH_S,
    ENVIRONMENT,
    WORKER,
    below,
    driver,
    eventually,
    kdstudy,
    of_this_study,
    wait_while_alive,
)
from tests.e2e.studies import INLINE, SMALL, WHOLE, assert_consistent, assert_same_study, checkpoints, trial_rows
from tests.pages import blocks
from tests.study.conftest import tiny, write_study, write_teacher
from tests.study.test_presets import RANKS_COUNT, SHRUNKEN

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800)]


def lock_text(folder: Path) -> str:
    path = folder / "study.lock"
    return path.read_text() if path.exists() else ""


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
    status = json.loads(kdstudy("status", undisturbed, "--json", cwd=undisturbed).stdout)
    assert {arm: counts["budget"] for arm, counts in status.items()} == {"teacher": 1, "baseline": 3, "rdd": 3}
    best = json.loads(kdstudy("best", undisturbed, "--json", "--top", "2", cwd=undisturbed).stdout)
    rows = [row for row in trial_rows(undisturbed) if row["state"] == "COMPLETE"]
    for arm in best["arms"]:
        scores = sorted((r["last_miou_percent"] for r in rows if r["arm"] == arm["arm"]), reverse=True)
        assert [trial["last_miou_percent"] for trial in arm["best"]] == scores[:2]
        assert len(arm["best"][0]["class_iou_percent"]) == 11
    shown = kdstudy("best", undisturbed, cwd=undisturbed)
    assert shown.returncode == 0 and "teacher" in shown.stdout


def test_a_folder_holds_one_study(undisturbed: Path, whole: Path) -> None:
    again = kdstudy("run", whole, "--out", "run", cwd=whole.parent)
    assert again.returncode == 2 and f"kdstudy resume {undisturbed}" in again.stderr
    other = kdstudy("run", whole, "--set", "seed=9", "--out", "run", cwd=whole.parent)
    assert other.returncode == 2 and "choose another --out" in other.stderr
    none = kdstudy("resume", whole.parent, cwd=whole.parent)
    assert none.returncode == 2 and "holds no study.json" in none.stderr
    client = kdstudy("run", whole, "--out", "client", "--address", "ray://head:10001", cwd=whole.parent)
    assert client.returncode == 2 and "ray job submit" in client.stderr
    assert not (whole.parent / "client").exists()


def test_a_finished_study_has_nothing_to_resume(undisturbed: Path) -> None:
    before = trial_rows(undisturbed)
    done = kdstudy("resume", undisturbed, cwd=undisturbed)
    assert done.returncode == 0, done.stderr
    assert trial_rows(undisturbed) == before


def test_more_workers_than_the_cluster_has_are_refused(undisturbed: Path, whole: Path) -> None:
    workers = 4 * len(os.sched_getaffinity(0))
    batch = 2 * workers
    wide = (f"train.workers={workers}", f"train.batch={batch}", f"data.train_images={batch}", "execution={}")
    sets = [f"--set={setting}" for setting in wide]
    done = kdstudy("run", whole, *sets, "--out", "wide", cwd=whole.parent)
    assert done.returncode == 2, done.stderr
    assert f"needs {workers} workers with 1 CPUs" in done.stderr
    assert f"there are {len(os.sched_getaffinity(0))} CPUs" in done.stderr


def test_the_python_of_the_pages_runs_a_study(tmp_path: Path) -> None:
    (script,) = (block for block in blocks("python") if "study.run" in block)
    arms = {"baseline": {"trials": 2, "space": "optimizer"}}
    write_study(tmp_path, tiny(**SMALL, execution=INLINE, arms=arms)).rename(tmp_path / "study.yaml")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("baseline ") and "mine.html" in done.stdout
    assert_consistent(tmp_path / "runs" / "mine")


def test_a_diverging_trial_is_a_row_and_the_others_go_on(undisturbed: Path, tmp_path: Path) -> None:
    arms = {
        "baseline": {"trials": 1, "space": "optimizer"},
        "wild": {"trials": 1, "space": "kd", "methods": {"kd": {}}, "fixed": {"train/optimizer/lr": 1e30}},
        # breaks before its first evaluation
        "wilder": {
            "trials": 1,
            "space": "kd",
            "methods": {"kd": {}},
            "fixed": {"train/optimizer/lr": 1e30, "train/evaluate_every": 12},
        },
    }
    # the first evaluation comes before the loss breaks, and leaves a checkpoint
    teacher = {**WHOLE["teacher"], "folder": str(undisturbed.parent / "teachers")}
    changes = {"execution": {**INLINE, "max_failed": 1}, "arms": arms, "train__evaluate_every": 1, "teacher": teacher}
    study = write_study(tmp_path, tiny(**SMALL, **changes))
    done = kdstudy("run", study, "--out", "run", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    for arm in ("wild", "wilder"):
        assert f"{arm}: given up after 1 failed trial (execution.max_failed)\n" in done.stderr
    assert "Traceback" not in done.stderr
    rows = {row["arm"]: row for row in trial_rows(tmp_path / "run")}
    told = (tmp_path / "run" / rows["wild"]["error_file"]).read_text()
    assert "DivergedError: every term must" in told and "in check_finite" in told
    assert rows["baseline"]["state"] == "COMPLETE"
    assert rows["wild"]["state"] == "FAIL"
    assert rows["wild"]["error"].startswith("DivergedError: every term must stay finite, but ")
    assert rows["wild"]["iterations"] == 1
    assert (rows["wilder"]["state"], rows["wilder"]["iterations"]) == ("FAIL", 0)
    assert rows["wilder"]["error"].startswith("DivergedError: ") and rows["wilder"]["peak_memory_mib"] > 0


def test_stopped_a_study_goes_on_to_the_same_trials_with_the_same_teacher(
    undisturbed: Path, whole: Path, tmp_path: Path
) -> None:
    """Its teacher is a Ray Train run here, its trials are not; which engine trains changes nothing."""
    folder = tmp_path / "run"
    started = driver("run", whole, "--set", "execution.engine=auto", "--out", folder, cwd=tmp_path)
    # the file is there a moment before the driver has locked it and written its name
    assert wait_while_alive(started, lambda: f'"pid": {started.pid}' in lock_text(folder))
    second = driver("resume", folder, cwd=tmp_path)  # beside the first, which goes on
    assert wait_while_alive(started, lambda: below(started.pid, WORKER)), started.communicate()
    assert wait_while_alive(started, lambda: checkpoints(folder)), started.communicate()
    _, refused = second.communicate(timeout=ENOUGH_S)
    assert second.returncode == 2 and f"process {started.pid}" in refused
    started.send_signal(signal.SIGINT)
    _, said = started.communicate(timeout=ENOUGH_S)
    assert started.returncode == 1, said
    assert f"kdstudy resume {folder}" in said
    eventually(lambda: not of_this_study(started.pid), what="processes are left after Ctrl-C")
    done = kdstudy("resume", folder, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_consistent(folder)
    assert_same_study(folder, undisturbed)


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
