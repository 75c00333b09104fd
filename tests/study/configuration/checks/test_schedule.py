"""A schedule held against itself, its images and its optimizer."""

from typing import Any

import pytest

from study.configuration.checks import schedule
from study.configuration.checks.findings import Finding
from study.configuration.config import ExecutionConfig
from trainers.config import OptimizerConfig, TrainConfig

NONE: list[str] = []


def train(**changes: Any) -> TrainConfig:
    return TrainConfig(**{"iterations": 12, "batch": 4, "evaluate_every": 4, **changes})


def texts(found: Any, *, faults: bool) -> list[str]:
    findings: list[Finding] = list(found)
    return [finding.text for finding in findings if finding.is_fault == faults]


@pytest.mark.parametrize(
    ("every", "fault", "warned"),
    [
        (4, "", ""),
        (12, "", ""),
        (13, "must be at most train.iterations, but got evaluate_every=13 and iterations=12; lower it", ""),
        (5, "", "the last evaluation follows 2 iterations after the one before"),
        (1, "", ""),
    ],
)
def test_evaluations_lie_within_the_iterations_and_evenly(every: int, fault: str, warned: str) -> None:
    found = list(schedule.check_evaluations(train(evaluate_every=every)))
    assert (len(found), *(finding.is_fault for finding in found)) == ((1, bool(fault)) if fault or warned else (0,))
    assert not found or (fault or warned) in found[0].text


@pytest.mark.parametrize(
    ("batch", "workers", "gpus", "frozen", "expected"),
    [
        (4, 1, 0, False, ""),
        (2, 1, 0, False, ""),
        (1, 1, 0, False, "batch normalisation needs two images per worker"),
        (1, 1, 0, True, ""),
        (4, 4, 0, False, "batch normalisation needs two images per worker"),
        (4, 4, 1, False, ""),
        (10, 4, 0, False, "train.batch must be a multiple of train.workers"),
    ],
)
def test_a_batch_is_shared_and_large_enough(batch: int, workers: int, gpus: int, frozen: bool, expected: str) -> None:
    config = train(batch=batch, workers=workers, freeze_batch_norm=frozen)
    found = texts(schedule.check_batch(config, ExecutionConfig(gpus_per_worker=gpus)), faults=True)
    assert len(found) == bool(expected) and all(text.startswith(expected) for text in found)


def test_gradients_are_compared_in_plain_steps_and_within_the_iterations() -> None:
    assert not texts(schedule.check_probes(train(compile=True)), faults=True)
    (fault,) = texts(schedule.check_probes(train(probe_every=5, compile=True)), faults=True)
    assert "got probe_every=5 and compile=true; leave one of them out" in fault
    found = {every: texts(schedule.check_probes(train(probe_every=every)), faults=False) for every in (12, 13)}
    assert [len(texts) for texts in found.values()] == [0, 1]
    assert "got probe_every=13 and iterations=12, so no step is probed" in found[13][0]


@pytest.mark.parametrize(("images", "count"), [(3, 1), (4, 0), (5, 0)])
def test_a_batch_holds_no_image_twice(images: int, count: int) -> None:
    found = texts(schedule.check_images(train(), images), faults=True)
    assert len(found) == count and all(f"batch=4 and {images} images" in text for text in found)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"lr": 0.02}, NONE),
        ({"lr": 1.0}, NONE),
        (
            {"lr": 50},
            ["lr should lie between 1e-05 and 1 with sgd, but got 50, with which nearly all networks diverge"],
        ),
        ({"lr": 1e-9}, ["but got 1e-09, with which nearly all networks stay as they began; raise it"]),
        ({"name": "adamw", "lr": 1e-4}, NONE),
        ({"name": "adamw", "lr": 0.5}, ["lr should lie between 1e-07 and 0.1 with adamw"]),
        ({"momentum": 1.0}, ["momentum should be at most 0.999, but got 1"]),
        ({"lr": 0.5, "weight_decay": 4}, ["lr times weight_decay must be below 1"]),
    ],
)
def test_numbers_with_which_nothing_is_trained_are_warned_of(changes: dict[str, Any], expected: list[str]) -> None:
    found = list(schedule.check_optimizer(OptimizerConfig(**changes)))
    assert not any(finding.is_fault for finding in found)
    assert len(found) == len(expected)
    assert all(part in finding.text for part, finding in zip(expected, found, strict=True))
