"""Our losses and metrics against the numbers of `losses.json`, which naive loops computed."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.golden import ITERATIONS, naive
from trainers.distributed.means import Mean
from trainers.evaluation import metrics

STORED: dict[str, Any] = json.loads((Path(__file__).parent / "losses.json").read_text())
CLASSES = len(STORED["metrics"]["confusion"])


def given(name: Any) -> Any:
    if isinstance(name, list):
        return [given(part) for part in name]
    integers = name in ("labels", "predictions")
    return torch.tensor(STORED["inputs"][name], dtype=torch.int64 if integers else torch.float64)


def named(case: dict[str, Any]) -> str:
    options = ",".join(f"{key}={value}" for key, value in case["options"].items())
    return f"{case.get('function') or case['weighting']}({options})"


def value(case: dict[str, Any]) -> Mean:
    if "function" in case:
        module, _, function = case["function"].partition(":")
        mean: Mean = getattr(importlib.import_module(f"trainers.{module}"), function)(
            *(given(name) for name in case["inputs"]), **case["options"]
        )
        return mean
    module = importlib.import_module(f"trainers.difficulty.{case['weighting']}")
    config = module.Config(**case["options"])
    weighting = module.Weighting(config, num_classes=CLASSES, iterations=ITERATIONS)
    teacher = {"logits": given("teacher_logits"), "aux": given("teacher_aux")}
    terms: dict[str, Mean] = weighting.terms(
        {"logits": given("student_logits")}, teacher, given("labels"), iteration=case["iteration"]
    )
    return terms["main"]


@pytest.mark.parametrize("case", STORED["cases"], ids=named)
def test_a_loss_is_what_the_formula_says(case: dict[str, Any]) -> None:
    found = value(case)
    assert found.total.item() == pytest.approx(case["total"], rel=1e-9)
    assert float(found.count) == pytest.approx(case["count"], rel=1e-9)
    assert case["total"] != 0  # else it would show nothing


def test_metrics_are_what_counting_gives() -> None:
    stored = STORED["metrics"]
    confusion: Tensor = metrics.confusion_matrix(given("predictions"), given("labels"), num_classes=CLASSES)
    assert confusion.tolist() == stored["confusion"]
    assert metrics.iou_per_class(confusion).tolist() == pytest.approx(stored["iou"], rel=1e-12)
    assert metrics.mean_iou(confusion).item() == pytest.approx(stored["mean_iou"], rel=1e-12)
    assert metrics.pixel_accuracy(confusion).item() == pytest.approx(stored["pixel_accuracy"], rel=1e-12)


def test_every_ignored_pixel_is_in_the_cases() -> None:
    """Labels hold what makes published losses differ: pixels of no class, beside all classes."""
    assert set(given("labels").flatten().tolist()) == {*range(CLASSES), naive.IGNORE}
