"""`make bench` runs, and measures what it says: on inputs too small for its figures to mean anything."""

import json
import math
from pathlib import Path

import pytest
import torch

from tests.benchmarks import cases, driver, losses, measure, rivals, step

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
    assert {"uniform", "rdd/tfe", "rdd/tse", "kd/pixel", "skd/pairwise", "skd/opponent"} <= measured
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


def test_the_driver_of_a_study_is_measured_to_its_end(tmp_path: Path) -> None:
    out = tmp_path / "driver.json"
    found = driver.main(["--trials", "20", "--concurrent", "4", "--evaluations", "4", "--out", str(out)])
    written = json.loads(out.read_text())
    assert written["tenths"] == found["tenths"] and found["met"].keys() == {"CPU for a report", "CPU for an end"}
    assert (
        sum(part["ends"] for part in written["tenths"]) == sum(part["suggestions"] for part in written["tenths"]) == 20
    )
    assert all(part["report_s"] > 0 and part["journal_mib"] > 0 for part in written["tenths"])
