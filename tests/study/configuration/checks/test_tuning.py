"""What a search of several objectives, or within bounds, needs of the rest of a study."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.configuration.checks import Findings
from study.configuration.loading import load_examined

TWO = ["miou", "latency_ms"]
MEMORY = ["miou", "peak_memory_mib"]
KD: dict[str, Any] = {"methods": {"kd": {}}}
RECORDED = (
    "teacher.record: must be off where peak memory is searched, because a trial that reads recorded outputs holds no "
    "teacher, so that its memory is a matter of its turn; set teacher.record: off"
)
WIDTHS = "student/head_channels: {type: categorical, choices: [8, 16], default: 16}"
Examine = Callable[..., Findings]


@pytest.fixture
def examined(study_file: Callable[..., Path], tmp_path: Path) -> Examine:
    """What is found in a study of one arm, whose space of the student is `space`."""

    def of(
        search: dict[str, Any], pruning: str = "none", space: str = WIDTHS, record: str = "auto", **arm: Any
    ) -> Findings:
        (tmp_path / "student.yaml").write_text(space + "\n")
        arms = {"baseline": {"trials": 2, "space": ["optimizer", str(tmp_path / "student.yaml")], **arm}}
        study = study_file(arms=arms, search=search, pruning={"kind": pruning}, teacher__record=record)
        return load_examined(str(study))[1]

    return of


@pytest.mark.parametrize(
    ("given", "faults"),
    [
        ({"search": {"objectives": TWO}}, []),
        ({"search": {"objectives": TWO, "sampler": "nsga2", "constraints": ["latency_ms<=5"]}}, []),
        (
            {"search": {"objectives": TWO}, "pruning": "halving"},
            [
                "pruning: must be off where several objectives are searched, but got halving with miou, latency_ms: "
                "early stopping compares one value; set pruning: {kind: none}"
            ],
        ),
        (
            {"search": {"constraints": ["miou >= 30", "latency_ms <= 5"]}, "pruning": "median"},
            [
                "pruning: must be off where bounds are searched, but got median with miou >= 30, latency_ms <= 5: "
                "early stopping compares mIoU alone, with trials outside them too; set pruning: {kind: none}"
            ],
        ),
        ({"search": {"objectives": MEMORY}}, []),  # no arm distils
        ({"search": {"objectives": MEMORY}, "record": "off", **KD}, []),
        ({"search": {"objectives": TWO}, **KD}, []),
        ({"search": {"objectives": MEMORY}, **KD}, [RECORDED]),
        ({"search": {"constraints": ["peak_memory_mib <= 900"]}, **KD}, [RECORDED]),
        (
            {"search": {"objectives": ["latency_ms", "miou", "miou"]}},
            [
                "search.objectives: must begin with miou, by which arms compare, and name each once, but got "
                "latency_ms, miou, miou; write [miou, latency_ms]"
            ],
        ),
        (
            {"search": {"constraints": ["parameters <= 1e6"], "sampler": "random"}},
            [
                "search.constraints: are honoured by samplers that learn from results, tpe, gp, nsga2, but got random; "
                "choose one of these, or leave them out"
            ],
        ),
        (
            {"search": {"constraints": ["latency_ms <= 5"]}, "space": WIDTHS.replace("[8, 16]", str([*range(8, 80)]))},
            [
                "arms.baseline.space: latency is measured before the first trial, so all students must be known then, "
                "but student/head_channels make 72 students; leave 64"
            ],
        ),
        (
            {"search": {"constraints": ["latency <= 5"]}},
            [
                "search.constraints.0: must be one of miou, parameters, multiply_accumulates, latency_ms, "
                "peak_memory_mib, then <= or >=, then a number, as in 'latency_ms <= 5', but got 'latency <= 5'"
            ],
        ),
    ],
)
def test_faults(examined: Examine, given: dict[str, Any], faults: list[str]) -> None:
    assert examined(**given).faults == faults


def test_objectives_that_no_arm_can_change_are_warned_of(examined: Examine) -> None:
    warned = examined(
        {"objectives": TWO}, space="train/optimizer/momentum: {type: float, low: 0.8, high: 0.9, default: 0.9}"
    )
    same = "latency_ms is the same in all trials of an arm, because no arm searches the student"
    assert any(same in warning for warning in warned.warnings)


def test_threads_change_a_latency_and_no_count(examined: Examine) -> None:
    threads = "train/threads: {type: categorical, choices: [1, 2], default: 1}"
    found = {name: examined({"objectives": ["miou", name]}, space=threads) for name in ("latency_ms", "parameters")}
    warned = {name: [line for line in one.warnings if "is the same in all" in line] for name, one in found.items()}
    assert warned["latency_ms"] == [] and warned["parameters"][0].startswith(
        "search.objectives: parameters is the same"
    )
