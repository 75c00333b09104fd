"""`make bench` runs, and measures what it says: on inputs too small for its figures to mean anything."""

import json
import math
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from analysis.queries import best
from study.tables import SCHEMAS, TableWriter, read
from tests.benchmarks import (
    cases,
    driver,
    gradients,
    losses,
    measure,
    pooling,
    reading,
    recorded,
    rivals,
    step,
    synthetic,
    tables,
    verdicts,
)

BARRED = {
    "ifvd": {"seconds"},
    "inter-class distance": {"seconds"},
    "cross entropy": {"seconds"},
    "rdd tse": {"seconds"},
    "rdd tse / plain cross entropy": {"seconds"},
    "cirkd mini-batch": {"mib", "seconds"},
    "cirkd memory": {"mib", "seconds"},
}


def test_all_losses_are_measured_and_the_barred_ones_beside_a_rival_that_agrees(tmp_path: Path) -> None:
    out = tmp_path / "bench" / "losses.json"
    losses.main(["--size", "tiny", "--repeats", "1", "--out", str(out)])
    written = json.loads(out.read_text())
    for setting in measure.settings():
        here = [
            row
            for row in written["comparisons"]
            if row["device"] == setting.device and row["precision"] == setting.precision
        ]
        assert {row["name"]: {bar["measure"] for bar in row["bars"]} for row in here} == BARRED
        for row in here:
            assert row["difference"] < losses.TOLERANCE
            assert row["ratios"]["seconds"] > 0 and math.isfinite(row["ratios"]["seconds"])
    measured = {row["name"] for row in written["terms"]}
    assert {"uniform", "rdd/tfe", "rdd/tse", "kd/pixel", "skd/pairwise", "skd/adversary"} <= measured
    assert all(row["seconds"] > 0 for row in written["terms"])


def test_a_rival_that_computes_something_else_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(rivals.HEADS, "aux", 0.3)
    with pytest.raises(ValueError, match="'cross entropy' differs by"):
        losses.main(["--size", "tiny", "--only", "cross entropy", "--out", str(tmp_path / "losses.json")])


def hungry(size: cases.Size, dtype: torch.dtype) -> cases.Prepared:
    """Holds 64 MiB while it is computed."""
    leaf = torch.ones((), requires_grad=True)
    return cases.Prepared(lambda: leaf * torch.ones(2**24)[0], [leaf])


def test_the_peak_is_what_a_loss_holds_beyond_its_inputs() -> None:
    with measure.Measured(hungry, cases.SIZES["tiny"], measure.Setting()) as measured:
        assert measured.peak_mib == pytest.approx(64, rel=0.1)
        assert measured.seconds() > 0


def test_the_step_is_measured_with_each_stage_of_rdd(tmp_path: Path) -> None:
    out = tmp_path / "step.json"
    step.main(["--repeats", "3", "--out", str(out), "--presets", "camvid-rdd"])
    rows = json.loads(out.read_text())["steps"]
    assert [row["variant"] for row in rows] == ["rdd tfe", "rdd tse"]
    for row in rows:
        low, high = row["interval_percent"]
        assert low <= row["percent"] <= high and row["uniform_ms"] > 0
        assert 0 < row["counting_percent"] < 100


def test_comparing_gradients_is_measured_at_the_presets_interval(tmp_path: Path) -> None:
    out = tmp_path / "gradients.json"
    found = gradients.main(["--repeats", "2", "--arms", "kd", "--out", str(out)])
    (row,) = json.loads(out.read_text())["probes"]
    assert found["probes"] == [row] and row["every"] > 0 and row["plain_ms"] > 0
    assert row["met"] == (row["percent"] <= gradients.BAR_PERCENT)


def test_reading_is_measured_from_files_and_from_decoded_copies(tmp_path: Path) -> None:
    out = tmp_path / "reading.json"
    found = reading.main(["--images", "1", "--rounds", "1", "--out", str(out)])
    assert json.loads(out.read_text())["loaders"] == found["loaders"]
    assert [row["name"] for row in found["loaders"]] == list(reading.BARS)
    assert all(row["ratio"] > 0 for row in found["loaders"])


def test_recorded_steps_are_measured_beside_live_ones_and_the_baselines(tmp_path: Path) -> None:
    out = tmp_path / "recorded.json"
    few = ["--cases", "camvid-rdd", "--steps", "2", "--trials-of", "camvid-rdd", "--trials", "2", "--iterations", "2"]
    found = recorded.main([*few, "--out", str(out)])
    written = json.loads(out.read_text())
    assert written["steps"] == found["steps"] and written["trials"] == found["trials"]
    (row,) = found["steps"]
    assert 0 < row["recorded_to_live"] < 1.5 and 0 < row["recorded_to_baseline"] < 3
    assert found["trials"]["trials"] == 2 and found["trials"]["recorded_s"] > 0


QUESTIONS = [
    "best", "tuning curves", "replay", "replay with a budget", "learning curves", "classes of a trial",
    "terms of a trial", "opening writers",
]  # fmt: skip


def test_questions_to_tables_are_measured_and_so_are_appends(tmp_path: Path) -> None:
    out = tmp_path / "tables.json"
    size = ["--trials", "40", "--reports", "10", "--concurrent", "3", "--repeats", "1"]
    tables.main([*size, "--only", *QUESTIONS, "--out", str(out)])
    written = json.loads(out.read_text())
    assert {name: size["rows"] for name, size in written["files"].items()} == {
        "trials": 40, "reports": 400, "class_iou": 400 * 19, "image_confusion": 40 * 2 * 4 * 19, "environment": 1,
    }  # fmt: skip
    assert [row["name"] for row in written["questions"]] == QUESTIONS
    for row in written["questions"]:
        assert 0 < row["inside_seconds"] < row["seconds"] and 10 < row["peak_mib"] < 2048
    assert written["appends"]["reports"] == 300 and len(written["appends"]["microseconds"]) == 10


def test_a_question_that_fails_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        tables.ask("best", tmp_path, repeats=1)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty trials of ten reports, of which some failed and some were stopped."""
    size = synthetic.Size(trials=40, reports=10, concurrent=7, failed=0.2, stopped=0.3)
    return synthetic.write(tmp_path_factory.mktemp("drawn") / "study", size)


def test_a_synthetic_study_reads_like_a_real_one(drawn: Path) -> None:
    names = [place.name for place in (drawn / "tables").iterdir()]
    assert sorted(SCHEMAS.keys() - set(names)) == [
        "gradients",
        "images",
        "mask_shares",
        "rescored",
        "rescored_confusion",
    ]
    for name in names:
        schema, stored = SCHEMAS[name], read(drawn / "tables", name)
        assert [field for field in stored.schema if not field.name.startswith("param/")] == list(schema)
        keys = stored.select(schema.metadata[b"key"].decode().split()).to_pylist()
        once = {tuple(key.values()) for key in keys}
        assert len(once) == len(keys) / {"class_iou": 19, "image_confusion": 4 * 19}.get(name, 1)
        with TableWriter(drawn / "tables", schema) as writer:
            assert all(writer.contains(key) for key in once)
    answer = best(drawn, top=3)
    assert [arm["arm"] for arm in answer["arms"]] == ["baseline", "cirkd", "kd", "rdd"]
    assert all(len(trial["class_iou_percent"]) == 19 for trial in answer["top"])


def test_the_tables_of_a_synthetic_study_agree(drawn: Path) -> None:
    trials = read(drawn / "tables", "trials").to_pylist()
    assert {row["state"] for row in trials} == {"COMPLETE", "PRUNED", "FAIL"}
    curves: dict[tuple[str, int], dict[int, float]] = {}
    for row in read(drawn / "tables", "reports").to_pylist():
        curves.setdefault((row["arm"], row["trial"]), {})[row["iteration"]] = row["miou_percent"]
    for row in trials:
        curve = curves[row["arm"], row["trial"]]
        assert len(curve) == (5 if row["state"] == "PRUNED" else 10)
        assert max(curve) == row["iterations"] and curve[row["iterations"]] == row["last_miou_percent"]
        assert max(curve.values()) == row["best_miou_percent"] == curve[row["best_iteration"]]


def test_a_synthetic_study_is_the_same_for_one_seed(drawn: Path, tmp_path: Path) -> None:
    size = synthetic.Size(trials=40, reports=10, concurrent=7, failed=0.2, stopped=0.3)
    again = synthetic.write(tmp_path / "again", size)
    for name in ("trials", "reports", "class_iou"):
        assert read(again / "tables", name).equals(read(drawn / "tables", name))


def test_the_driver_of_a_study_is_measured_to_its_end(tmp_path: Path) -> None:
    out = tmp_path / "driver.json"
    found = driver.main(["--trials", "20", "--concurrent", "4", "--evaluations", "4", "--out", str(out)])
    written = json.loads(out.read_text())
    assert written["tenths"] == found["tenths"] and found["met"].keys() == {"CPU for a report", "CPU for an end"}
    assert (
        sum(part["ends"] for part in written["tenths"]) == sum(part["suggestions"] for part in written["tenths"]) == 20
    )
    assert all(part["report_s"] > 0 and part["journal_mib"] > 0 for part in written["tenths"])


def test_verdicts_keep_their_promises_on_studies_whose_truth_is_known(tmp_path: Path) -> None:
    """Few studies of each kind: the bars are as wide as chance makes them, and wrong rules still miss them."""
    out = tmp_path / "verdicts.json"
    size = ["--studies", "60", "--draws", "800", "--methods", "1", "5", "--out", str(out)]
    rows = verdicts.main(size)["rows"]
    assert json.loads(out.read_text())["rows"] == rows and len(rows) == 4 * len(verdicts.CASES)
    assert [row for row in rows if not row["met"]] == []
    assert all(row["without_verdict"] > 0 for row in rows if row["noise"] == "bad seeds fail")


def test_frames_that_are_taken_for_independent_miss_the_bars() -> None:
    """What the groups of images are for: the same frames, one each."""
    noise = replace(verdicts.CASES["frames of 12 drives"], grouped=False)
    row = verdicts.measure(noise, methods=1, seeds=5, studies=60, draws=800)
    assert not verdicts.met("frames of 12 drives", 5, row) and row["covered"] < 0.85


def test_the_noise_of_seeds_is_pooled_by_the_rule_that_bears_a_noisier_baseline() -> None:
    found = pooling.main(["--studies", "5000", "--methods", "5", "--seeds", "3"])
    equal, noisy = found["equal", 5, 3], found["3x, the baseline", 5, 3]
    assert all(share <= 0.032 for share in equal.values())  # 0.025 and three standard errors
    assert noisy["layout"] > 0.035 and noisy["differences"] <= 0.035
    assert found["3x, a method", 5, 3]["differences"] <= 0.035
