"""What students take: which there are, counted as `kdstudy profile` counts, each timed once."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from search_spaces.space import Space
from study.configuration.config import StudyConfig
from study.configuration.objectives.students import (
    ArmStudents,
    Size,
    TimedStudent,
    measure_arms,
    time_students,
    untimed_because,
)
from trainers.config import plain
from trainers.models import profile

Reader = Callable[..., StudyConfig]
CHANNELS, THREADS = "student/head_channels", "train/threads"


def space_of(tmp_path: Path, *lines: str) -> str:
    path = tmp_path / "student.yaml"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture
def searched(config: Reader, tmp_path: Path) -> StudyConfig:
    """Two arms; only one of them searches the student, and one of its choices is the other's."""
    space = space_of(
        tmp_path,
        f"{CHANNELS}: {{type: int, low: 8, high: 16, step: 8, default: 16}}",
        f"{THREADS}: {{type: categorical, choices: [1, 2], default: 1}}",
    )
    arms = {
        "baseline": {"trials": 2, "space": ["optimizer", space]},
        "fixed": {"trials": 2, "fixed": {CHANNELS: 8}},
    }
    return config(arms=arms)


class Clock:
    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def __call__(self, students: Mapping[str, TimedStudent], size: Size, classes: int) -> dict[str, tuple[float, str]]:
        self.asked += [(one.network.head_channels, one.threads) for one in students.values()]
        return {key: (float(one.network.head_channels), "here") for key, one in students.items()}


def test_each_distinct_student_is_timed_once(searched: StudyConfig) -> None:
    clock = Clock()
    found = measure_arms(searched, {}, clock)
    assert sorted(clock.asked) == [(8, 1), (8, 2), (16, 1), (16, 2)]
    assert found["baseline"].shaping == (CHANNELS, THREADS) and found["fixed"].shaping == ()
    for channels in (8, 16):
        student = found["baseline"].of({CHANNELS: channels, THREADS: 2, "train/optimizer/lr": 0.1})
        assert student is not None and student.latency_ms == channels
    assert found["fixed"].of({"replicate": 1}) == found["baseline"].of({CHANNELS: 8, THREADS: 1})
    # an arm that is added later asks for nothing that the ledger has
    assert measure_arms(searched, {"baseline": found["baseline"]}, clock) == {"fixed": found["fixed"]}
    assert len(clock.asked) == 4
    assert measure_arms(searched, found, clock) == {}


def test_counts_are_those_of_the_profile(searched: StudyConfig) -> None:
    student = measure_arms(searched, {}, Clock())["fixed"].of({})
    assert student is not None
    trial, classes = searched.trial("fixed", {}, None), len(searched.class_names)
    assert student.parameters == profile.parameters(trial.student, num_classes=classes)
    counted = profile.macs(trial.student, size=(48, 64), num_classes=classes)
    assert student.multiply_accumulates == counted.exact
    wide = measure_arms(searched, {}, Clock())["baseline"].of({CHANNELS: 16, THREADS: 1})
    assert wide is not None and wide.parameters > student.parameters


def test_they_are_read_back_as_they_were(searched: StudyConfig) -> None:
    found = measure_arms(searched, {}, Clock())["baseline"]
    assert ArmStudents.read(plain(found)) == found


def test_a_student_that_was_not_known_is_counted_when_it_is_drawn(searched: StudyConfig) -> None:
    none = ArmStudents(shaping=(CHANNELS,), size=(48, 64))
    drawn = none.with_student(searched, "baseline", {CHANNELS: 8})
    student = drawn.of({CHANNELS: 8})
    assert student is not None and student.parameters > 0 and student.latency_ms is None
    assert drawn.with_student(searched, "baseline", {CHANNELS: 8}) is drawn


def test_a_forward_is_really_timed(searched: StudyConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.configuration.objectives.students.SECONDS", 0.1)
    network = searched.trial("fixed", {}, None).student
    ((latency, conditions),) = time_students({"one": TimedStudent(network=network, threads=1)}, (48, 64), 11).values()
    assert latency > 0 and conditions == "48x64, float32, cpu, 1 CPU thread"


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["train/optimizer/lr: {type: float, low: 0.1, high: 0.2, default: 0.1}"], None),
        ([f"{CHANNELS}: {{type: int, low: 8, high: 64, step: 8, default: 16}}"], None),
        ([f"{CHANNELS}: {{type: int, low: 8, high: 256, default: 16}}"], f"{CHANNELS} make 249 students; leave 64"),
        (
            ["student/width: {type: float, low: 0.25, high: 1, default: 1}"],
            "student/width may be any real number of a range; make it categorical, with a few choices",
        ),
        (
            [
                "task/combine: {type: categorical, choices: [xor, or], default: xor}",
                f"{CHANNELS}: {{type: int, low: 8, high: 16, default: 16, when: {{task/combine: [xor]}}}}",
            ],
            f"{CHANNELS} exists only at values of what makes no student; leave its `when` out",
        ),
    ],
)
def test_only_students_that_can_be_listed_are_timed(tmp_path: Path, lines: list[str], why: str | None) -> None:
    assert untimed_because(Space.load(space_of(tmp_path, *lines))) == why
