"""Trials whose steps are watched: every weighting and every method in the options that take other paths."""

from collections.abc import Mapping
from typing import Any

UNIFORM: Mapping[str, Any] = {"weighting": "uniform"}
FOREVER_TFE: Mapping[str, Any] = {"weighting": "rdd", "tfe_fraction": 1.0}
TSE: Mapping[str, Any] = {"weighting": "rdd", "tfe_fraction": 0.0}

WEIGHTED = "class weights"
"""Stands for one weight per class, whose number is an option."""

HINGE: Mapping[str, Any] = {"loss": "hinge", "optimizer": "sgd"}
KD: Mapping[str, Any] = {"kd": {"temperature": 2.0}}
PUBLISHED_CIRKD: Mapping[str, Any] = {"fill": "published", "contrast_unfilled": True, "span_ranks": True, "pool": 2}
PUBLISHED_RDD: Mapping[str, Any] = {"confidence": "target", "min_kept": 100000, "denominator": "kept"}

CASES: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "baseline": (UNIFORM, {}),
    "class weights": (UNIFORM | {"class_weights": WEIGHTED}, KD),
    "ohem": ({"weighting": "ohem"}, KD),
    "ohem min_kept": ({"weighting": "ohem", "min_kept": 100000, "class_weights": WEIGHTED}, KD),
    "focal": ({"weighting": "focal"}, KD),
    "rdd tfe": (FOREVER_TFE, KD),
    "rdd tfe published": (FOREVER_TFE | {"divergence": "aux_to_primary", "tfe_map": "batch_mean"}, KD),
    "rdd xor": (TSE, KD),
    "rdd or": (TSE | {"combine": "or"}, KD),
    "rdd and": (TSE | {"combine": "and"}, KD),
    "rdd ohem": (TSE | {"combine": "ohem"}, KD),
    "rdd published": (TSE | PUBLISHED_RDD | {"class_weights": WEIGHTED}, KD),
    "rdd linear": (TSE | {"transition": "linear"}, KD),
    "kd": (UNIFORM, KD),
    "at": (UNIFORM, {"at": {}}),
    "at norm": (UNIFORM, {"at": {"form": "norm"}}),
    "fitnet": (UNIFORM, {"fitnet": {}}),
    "skd": (UNIFORM, {"skd": {}}),
    "skd hinge": (UNIFORM, {"skd": {"pool": 0.5, "detach_norm": True, "discriminator": HINGE}}),
    "ifvd": (UNIFORM, {"ifvd": {}}),
    "cwd": (UNIFORM, {"cwd": {}}),
    "dsd": (UNIFORM, {"dsd": {}}),
    "cirkd": (UNIFORM, {"cirkd": {}}),
    "cirkd published": (UNIFORM, {"cirkd": PUBLISHED_CIRKD}),
    "idd": (UNIFORM, {"idd": {}}),
    "idd formula": (UNIFORM, {"idd": {"axis": "formula"}}),
    "rdd at": (TSE, {"kd": {}, "at": {}}),
    "rdd dsd": (TSE, {"dsd": {}}),
    "rdd cirkd": (TSE, {"kd": {}, "cirkd": {}}),
    "skd cwd idd": (UNIFORM, {"skd": {}, "cwd": {}, "idd": {}}),
}
"""The values of `task` and `methods` by name."""


def task_of(name: str, classes: int) -> dict[str, Any]:
    task = dict(CASES[name][0])
    if task.get("class_weights") == WEIGHTED:
        task["class_weights"] = [1 + i / 100 for i in range(classes)]
    return task


def methods_of(name: str) -> dict[str, Any]:
    return {method: dict(options) for method, options in CASES[name][1].items()}
