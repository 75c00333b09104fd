"""Mask shares of a trial over time, and the table of `kdstudy difficulty`."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pytest
from rich.console import Console

from analysis.difficulty.mask_shares import SCHEMA, mask_shares, print_shares, shares_table, write
from analysis.studies.study import Study
from study.tables import MASK_SHARES, TableWriter


def row(arm: str, trial: int, iteration: int, mask: str, name: str, kept: float, valid: int) -> dict[str, Any]:
    return {
        "arm": arm, "trial": trial, "iteration": iteration, "mask": mask, "class": name,
        "kept_pixels": kept, "valid_pixels": valid, "share_percent": 100 * kept / valid,
    }  # fmt: skip


@pytest.fixture
def study(tmp_path: Path) -> Study:
    with TableWriter(tmp_path / "tables", MASK_SHARES) as writer:
        writer.append([row("rdd", 1, 4, "tse", "sky", 1, 4), row("rdd", 1, 4, "tse", "car", 3, 4)])
        writer.append([row("rdd", 1, 2, "tfe", "sky", 3.5, 4)])
        writer.append([row("rdd", 0, 2, "tse", "sky", 4, 4)])
    return Study(tmp_path, json.loads('{"name": "small"}'))


def test_the_shares_of_one_trial_in_the_order_of_iterations(study: Study) -> None:
    table = mask_shares(study, "rdd", 1)
    assert table.column_names == ["iteration", "mask", "class", "valid_pixels", "kept_pixels", "share_percent"]
    shown = zip(*(table[name].to_pylist() for name in ("iteration", "mask", "class", "share_percent")), strict=True)
    assert list(shown) == [(2, "tfe", "sky", 87.5), (4, "tse", "sky", 25.0), (4, "tse", "car", 75.0)]


def test_a_trial_or_a_study_without_shares_is_refused(study: Study, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"by rdd or ohem, but of kd 1 there are none in .*; name such a trial"):
        mask_shares(study, "kd", 1)
    with pytest.raises(ValueError, match=r"a study of an older kdstudy has none"):
        mask_shares(Study(tmp_path / "older", {}), "rdd", 1)


ROWS = [
    {"mask": mask, "threshold": t, "class": name, "kept_pixels": kept, "valid_pixels": valid, "share_percent": kept}
    for mask, t, name, kept, valid in (
        ("tfe", None, "sky", 50.0, 100), ("tfe", None, "car", 150.0, 300),
        ("xor", 0.6, "sky", 99.0, 100), ("xor", 0.6, "car", 99.0, 300),
        ("xor", 0.7, "sky", 10.0, 100), ("xor", 0.7, "car", 90.0, 300),
    )
]  # fmt: skip


def printed(rows: list[dict[str, Any]], threshold: float) -> list[list[str]]:
    written = io.StringIO()
    print_shares(shares_table(rows), threshold, Console(width=80, file=written))
    return [line.split() for line in written.getvalue().splitlines()]


def test_one_threshold_is_printed_with_the_sum_of_all_classes() -> None:
    assert printed(ROWS, 0.7) == [
        ["class", "pixels", "tfe", "xor"],
        ["sky", "100", "50.0", "10.0"],
        ["car", "300", "50.0", "30.0"],
        ["all", "classes", "400", "50.0", "25.0"],
    ]


def test_images_without_a_label_have_no_shares() -> None:
    assert " ".join(*printed([], 0.7)) == "no pixel of these images is labelled, so no mask keeps a share"


def test_the_table_is_written_for_people_and_programs(tmp_path: Path) -> None:
    table = shares_table(ROWS)
    assert table.schema == SCHEMA
    comma, arrow = write(table, tmp_path / "out")
    assert pyarrow.feather.read_table(arrow).equals(table)
    read: pa.Table = pyarrow.csv.read_csv(comma)
    assert read["threshold"].to_pylist() == [row["threshold"] for row in ROWS]
    assert read.column_names == SCHEMA.names
