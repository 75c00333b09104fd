"""Bounds: read from text, written as text, and held against rows of the trials table."""

from math import nan
from typing import Any

import pytest

from study.measures import Constraint


@pytest.mark.parametrize(
    ("text", "read", "written"),
    [
        ("latency_ms <= 5", Constraint("latency_ms", True, 5.0), "latency_ms <= 5"),
        (" miou>=60.25 ", Constraint("miou", False, 60.25), "miou >= 60.25"),
        ("parameters <= 12345678", Constraint("parameters", True, 12345678.0), "parameters <= 12345678"),
        (
            "multiply_accumulates <= 1e9",
            Constraint("multiply_accumulates", True, 1e9),
            "multiply_accumulates <= 1000000000",
        ),
        ("latency_ms <= 0.1234567891", Constraint("latency_ms", True, 0.1234567891), "latency_ms <= 0.1234567891"),
    ],
)
def test_it_is_read_and_written(text: str, read: Constraint, written: str) -> None:
    assert Constraint.read(text) == read and str(read) == written and Constraint.read(written) == read


@pytest.mark.parametrize(
    "text", ["", "latency_ms", "latency <= 5", "latency_ms < 5", "latency_ms <= x", "miou >= inf", 5]
)
def test_what_is_none_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match=r"must be one of miou, .*, then <= or >=, then a number"):
        Constraint.read(text)


@pytest.mark.parametrize(
    ("text", "row", "kept"),
    [
        ("latency_ms <= 5", {"latency_ms": 5.0}, True),
        ("latency_ms <= 5", {"latency_ms": 5.1}, False),
        ("latency_ms <= 5", {"latency_ms": None}, False),
        ("latency_ms <= 5", {}, False),
        ("latency_ms <= 5", {"latency_ms": nan}, False),
        ("miou >= 50", {"last_miou_percent": 50.0, "best_miou_percent": 40.0}, True),
        ("miou >= 50", {"last_miou_percent": 40.0, "best_miou_percent": 50.0}, False),
    ],
)
def test_a_row_keeps_it_or_not(text: str, row: dict[str, Any], kept: bool) -> None:
    assert Constraint.read(text).keeps(row, "last") == kept
