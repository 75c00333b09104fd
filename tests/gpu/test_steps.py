"""The real training step on fake CUDA tensors: every tensor stays on one device, and the CPU waits for nothing."""

import json
import subprocess
import sys
from typing import Any

import pytest
import torch

from tests.conftest import ROOT
from tests.gpu import cases, fake_runtime

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available() and fake_runtime.lacking() is not None, reason=str(fake_runtime.lacking())
)

SMALL = ("--teacher", "resnet18", "--crop", "96", "128", "--batch", "2")
ONE_RANK = ("baseline", "class weights", "rdd linear", "skd hinge", "dsd", "cirkd", "idd")
FOUR_RANKS = ("kd", "skd", "cirkd published")


def steps(names: tuple[str, ...], *options: str) -> list[dict[str, Any]]:
    """One line a case, of a process of its own."""
    command = [sys.executable, "-m", "tests.gpu", "--only", ",".join(names), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["case"] for line in lines] == list(names)
    return lines


def check(names: tuple[str, ...], *options: str) -> None:
    """Every tensor lies on the GPU, no step of training waits for it, and no weight of the teacher is cast in it."""
    found = {line["case"]: line["error"] or (line["syncs"], line["frozen_casts"]) for line in steps(names, *options)}
    assert found == {name: ({}, 0) for name in names}


def test_a_step_runs_on_the_gpu_and_waits_for_nothing() -> None:
    check(ONE_RANK, *SMALL)


def test_so_does_a_step_of_four_ranks() -> None:
    check(FOUR_RANKS, "--ranks", "4", *SMALL)


def test_a_step_that_waits_and_casts_is_found() -> None:
    (found,) = steps(("kd",), "--broken", *SMALL)
    assert sum(found["syncs"].values()) == 1 and found["frozen_casts"] > 0, found


def test_so_does_a_step_that_compares_gradients() -> None:
    check(("rdd xor", "skd hinge", "cirkd"), "--train", json.dumps({"probe_every": 1}), *SMALL)


@pytest.mark.stress
@pytest.mark.parametrize("ranks", ["1", "4"])
@pytest.mark.parametrize("precision", ["float16", "bfloat16", "float32"])
def test_so_does_every_case_at_the_papers_sizes(ranks: str, precision: str) -> None:
    check(tuple(cases.CASES), "--ranks", ranks, "--precision", precision)
