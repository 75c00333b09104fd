"""Whole studies from the command line, each driver a process of its own, with kills where they hurt."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from study import tables
from tests.study.conftest import ray_environment, tiny, write_study, write_teacher
from tests.study.test_presets import SHRUNKEN

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

INLINE = {"engine": "inline", "concurrent": 1}
LONG: dict[str, Any] = {"train__iterations": 40}
"""Trials that take long enough for a signal to find them at work."""
ENVIRONMENT = ray_environment()


def kdstudy(*arguments: object, cwd: Path) -> Any:
    command = [sys.executable, "-m", "study", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=ENVIRONMENT, check=False, timeout=600)


def driver(*arguments: object, cwd: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "study", *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=cwd, env=ENVIRONMENT)


def trial_rows(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = tables.read(folder / "tables", "trials").to_pylist()
    return sorted(rows, key=lambda row: (row["arm"], row["trial"]))


def outcomes(folder: Path) -> list[dict[str, Any]]:
    """Of every trial what must not depend on when and where it ran."""
    kept = ("arm", "trial", "state", "config_hash", "iterations", "last_miou_percent", "best_miou_percent")
    return [
        {name: value for name, value in row.items() if name in kept or name.startswith("param/")}
        for row in trial_rows(folder)
        if row["arm"] != "teacher"
    ]


def weights(folder: Path, trial: str) -> dict[str, torch.Tensor]:
    last = sorted((folder / "trials" / trial).glob("checkpoint_[0-9]*"))[-1]
    found: dict[str, torch.Tensor] = load_file(last / "weights.safetensors")
    return found


def assert_consistent(folder: Path, *, teacher_every: int = 6) -> None:
    """The ledger and the tables tell of the same trials, each once, and every evaluation is there once."""
    counts = json.loads(kdstudy("status", folder, "--json", cwd=folder).stdout)
    rows = trial_rows(folder)
    assert len({(row["arm"], row["trial"]) for row in rows}) == len(rows)
    for arm, found in counts.items():
        states = Counter(row["state"] for row in rows if row["arm"] == arm)
        assert {s: found[s] for s in ("COMPLETE", "PRUNED", "FAIL")} == {
            s: states[s] for s in ("COMPLETE", "PRUNED", "FAIL")
        }
        assert found["RUNNING"] == 0
        assert found["COMPLETE"] + found["PRUNED"] == found["budget"]
    reports = tables.read(folder / "tables", "reports", ["arm", "trial", "iteration"]).to_pylist()
    keys = [tuple(report.values()) for report in reports]
    assert len(set(keys)) == len(keys)
    for row in rows:
        mine = sorted(key[2] for key in keys if key[:2] == (row["arm"], row["trial"]))
        every = teacher_every if row["arm"] == "teacher" else 2
        if row["state"] != "FAIL":
            assert mine == list(range(every, row["iterations"] + 1, every))


def of_this_study(pid: int) -> list[psutil.Process]:
    """Processes of the cluster that the driver `pid` started; it names its session folder after itself."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(f"_{pid}/" in part for part in process.info["cmdline"] or ())
    ]


def eventually(condition: Callable[[], object], *, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def checkpoints(folder: Path) -> set[Path]:
    return set((folder / "trials").glob("*/checkpoint_[0-9]*"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studies")


@pytest.fixture(scope="module")
def finished(place: Path) -> Path:
    """A study that ran from its start to its end, the teacher's training among it."""
    study = write_study(place, tiny(execution=INLINE, arms__rdd__trials=3, **LONG))
    done = kdstudy("run", study, "--out", "first", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return place / "first"


def test_ledger_and_tables_agree_at_the_end(finished: Path) -> None:
    assert_consistent(finished)
    rows = trial_rows(finished)
    assert Counter(row["arm"] for row in rows) == {"teacher": 1, "baseline": 2, "rdd": 3}
    names = ["trials", "reports", "class_iou", "mask_shares", "image_confusion", "environment"]
    assert all(tables.read(finished / "tables", name).num_rows for name in names)
    assert tables.read(finished / "tables", "environment").num_rows == 1
    for row in rows:
        if row["state"] == "COMPLETE":
            assert row["iterations"] == row["budget"] == (12 if row["arm"] == "teacher" else 40)


def test_best_and_status_are_one_json_document(finished: Path) -> None:
    status = json.loads(kdstudy("status", finished, "--json", cwd=finished).stdout)
    assert {arm: counts["budget"] for arm, counts in status.items()} == {"teacher": 1, "baseline": 2, "rdd": 3}
    best = json.loads(kdstudy("best", finished, "--json", "--top", "2", cwd=finished).stdout)
    rows = [row for row in trial_rows(finished) if row["state"] == "COMPLETE"]
    for arm in best["arms"]:
        scores = sorted((r["last_miou_percent"] for r in rows if r["arm"] == arm["arm"]), reverse=True)
        assert [trial["last_miou_percent"] for trial in arm["best"]] == scores[:2]
        assert len(arm["best"][0]["class_iou_percent"]) == 11
    shown = kdstudy("best", finished, cwd=finished)
    assert shown.returncode == 0 and "teacher" in shown.stdout


def test_a_folder_holds_one_study(finished: Path, place: Path) -> None:
    again = kdstudy("run", place / "tiny.yaml", "--out", "first", cwd=place)
    assert again.returncode == 2 and f"kdstudy resume {finished}" in again.stderr
    other = kdstudy("run", place / "tiny.yaml", "--set", "seed=9", "--out", "first", cwd=place)
    assert other.returncode == 2 and "choose another --out" in other.stderr
    none = kdstudy("resume", place, cwd=place)
    assert none.returncode == 2 and "holds no study.json" in none.stderr
    client = kdstudy("run", place / "tiny.yaml", "--out", "client", "--address", "ray://head:10001", cwd=place)
    assert client.returncode == 2 and "ray job submit" in client.stderr
    assert not (place / "client").exists()


def test_a_finished_study_has_nothing_to_resume(finished: Path) -> None:
    before = trial_rows(finished)
    done = kdstudy("resume", finished, cwd=finished)
    assert done.returncode == 0, done.stderr
    assert trial_rows(finished) == before


def test_the_same_study_gives_the_same_trials_and_reuses_the_teacher(finished: Path, place: Path) -> None:
    done = kdstudy("run", place / "tiny.yaml", "--out", "second", cwd=place)
    assert done.returncode == 0, done.stderr
    second = place / "second"
    assert outcomes(second) == outcomes(finished)
    assert not any(row["arm"] == "teacher" for row in trial_rows(second))
    assert_consistent(second)


def test_ray_train_and_the_trials_own_process_train_the_same_weights(finished: Path, place: Path) -> None:
    arms = {"rdd": tiny(arms__rdd__trials=1)["arms"]["rdd"]}
    study = write_study(place, tiny(arms=arms, **LONG), "train.yaml")
    done = kdstudy("run", study, "--out", "trained", cwd=place)
    assert done.returncode == 0, done.stderr
    expected, found = weights(finished, "rdd-00000"), weights(place / "trained", "rdd-00000")
    assert expected.keys() == found.keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    (trained,) = outcomes(place / "trained")
    assert trained.items() <= next(o for o in outcomes(finished) if o["arm"] == "rdd").items()


def test_more_workers_than_the_cluster_has_are_refused(finished: Path, place: Path) -> None:
    workers = 4 * len(os.sched_getaffinity(0))
    sets = ["--set", f"train.workers={workers}", "--set", f"train.batch={2 * workers}", "--set", "execution={}"]
    done = kdstudy("run", place / "tiny.yaml", *sets, "--out", "wide", cwd=place)
    assert done.returncode == 2, done.stderr
    assert f"needs {workers} workers with 1 CPUs" in done.stderr
    assert f"there are {len(os.sched_getaffinity(0))} CPUs" in done.stderr


def test_a_diverging_trial_is_a_row_and_the_others_go_on(tmp_path: Path) -> None:
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
    changes = {"execution": {**INLINE, "max_failed": 1}, "arms": arms, "train__evaluate_every": 1}
    study = write_study(tmp_path, tiny(**changes))
    done = kdstudy("run", study, "--out", "run", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert (
        "given up after execution.max_failed failures: wild, wilder" in done.stderr and "Traceback" not in done.stderr
    )
    rows = {row["arm"]: row for row in trial_rows(tmp_path / "run")}
    assert rows["baseline"]["state"] == rows["teacher"]["state"] == "COMPLETE"
    assert rows["wild"]["state"] == "FAIL"
    assert rows["wild"]["error"].startswith("DivergedError: every term must stay finite, but ")
    assert rows["wild"]["iterations"] == 1
    assert (rows["wilder"]["state"], rows["wilder"]["iterations"]) == ("FAIL", 0)
    assert rows["wilder"]["error"].startswith("DivergedError: ") and rows["wilder"]["peak_memory_mib"] > 0


def test_stopped_and_killed_a_study_still_comes_to_its_end(place: Path, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    started = driver("run", place / "tiny.yaml", "--out", folder, cwd=place)
    eventually(lambda: checkpoints(folder), seconds=240, what="no report")
    second = kdstudy("resume", folder, cwd=tmp_path)
    assert second.returncode == 2 and f"process {started.pid}" in second.stderr
    started.send_signal(signal.SIGINT)
    _, said = started.communicate(timeout=60)
    assert started.returncode == 1, said
    assert f"kdstudy resume {folder}" in said
    eventually(lambda: not of_this_study(started.pid), seconds=30, what="processes are left after Ctrl-C")
    before = sum(row["state"] != "FAIL" for row in trial_rows(folder))

    resumed = driver("resume", folder, cwd=tmp_path)
    counted = checkpoints(folder)
    eventually(lambda: checkpoints(folder) - counted, seconds=240, what="did not go on")
    resumed.kill()
    resumed.wait()
    assert json.loads(kdstudy("status", folder, "--json", cwd=tmp_path).stdout)
    last = kdstudy("resume", folder, cwd=tmp_path)
    assert last.returncode == 0, last.stderr
    assert_consistent(folder)
    assert len(trial_rows(folder)) >= before
    # stopped twice, the study says what it says without
    assert outcomes(folder) == outcomes(finished)


def test_a_row_of_the_papers_trains_on_two_workers(tmp_path: Path) -> None:
    teacher = write_teacher(tmp_path / "teacher.safetensors")
    sets = [f"--set={setting}" for setting in (*SHRUNKEN, f"teacher.file={teacher}", "train.batch=4", "execution={}")]
    row = ("camvid-methods-paper", "--arm", "rdd-cirkd", *sets)
    done = kdstudy("train", *row, "--workers", 2, "--out", tmp_path / "trial", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for term in ("task/main", "kd/pixel", "cirkd/minibatch", "cirkd/pixel_memory", "cirkd/region_memory"):
        assert f"train/term/{term}: " in done.stdout


def test_the_best_settings_are_trained_again_in_pairs(finished: Path, tmp_path: Path) -> None:
    asked = ("replicate", finished, "--top", 1, "--seeds", 2, "--out", tmp_path / "again")
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
    source = {(row["arm"], row["trial"]): row for row in trial_rows(finished)}
    arm, _, number = other.rpartition("-")
    settings = {**json.loads(source[arm, int(number)]["config"]), "init_seed": 1001, "data_seed": 1001}
    assert json.loads(rows[2]["config"]) == settings
