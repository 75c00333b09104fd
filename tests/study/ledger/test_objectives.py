"""Searches of several objectives: what a trial is worth, what a restart changes (nothing), what bounds do."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState

from study.configuration.config import StudyConfig
from study.configuration.objectives.students import Size, TimedStudent
from study.ledger.journal import JOURNAL, repair_journal
from study.ledger.ledger import ArmLedger, open_arms, open_storage, standing, study_directions
from study.ledger.objectives import STUDENTS
from study.ledger.trial_run import Suggestion
from trainers.config import plain

Reader = Callable[..., StudyConfig]
TRIALS = 12
CHANNELS = "student/head_channels"
SPACE = "student/head_channels: {type: categorical, choices: [8, 16, 24], default: 16}\n"


@pytest.fixture
def searched(config: Reader, tmp_path: Path) -> Reader:
    """Reads a study of one arm that searches its student and the optimizer."""
    space = tmp_path / "student.yaml"
    space.write_text(SPACE)

    def read(sampler: str = "tpe", objectives: Sequence[str] = ("miou", "latency_ms"), **changes: Any) -> StudyConfig:
        search = {"sampler": sampler, "objectives": [*objectives], "population": 4, **changes.pop("search", {})}
        arms = {"baseline": {"trials": TRIALS, "space": ["optimizer", str(space)]}}
        return config(**{"arms": arms, "search": search, "pruning": {"kind": "none"}, "startup_trials": 3, **changes})

    return read


class Clock:
    """Times students by their channels, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, students: Mapping[str, TimedStudent], size: Size, classes: int) -> dict[str, tuple[float, str]]:
        self.asked += [one.network.head_channels for one in students.values()]
        return {key: (one.network.head_channels / 4, f"{size[0]}x{size[1]}") for key, one in students.items()}


def opened(config: StudyConfig, folder: Path, clock: Clock | None = None) -> ArmLedger:
    return open_arms(config, folder, with_teacher=False, measure=clock or Clock())["baseline"]


def miou(asked: Suggestion) -> float:
    """A wide student is better, and a learning rate of 0.05 is."""
    return float(40 + asked.values[CHANNELS] - 100 * abs(asked.values["train/optimizer/lr"] - 0.05))


def row_of(ledger: ArmLedger, asked: Suggestion, **others: Any) -> dict[str, Any]:
    student = ledger.valuation.student(asked.values)
    return {"state": "COMPLETE", **(plain(student) if student else {}), **others}


def finish(ledger: ArmLedger, asked: Suggestion) -> None:
    for iteration in (2, 12):
        ledger.report(asked.number, iteration, miou(asked))
    ledger.tell(asked.number, TrialState.COMPLETE, miou(asked), row_of(ledger, asked))


def run(config: StudyConfig, folder: Path, *, restart_every: int) -> list[Mapping[str, Any]]:
    """The settings of all trials of a study that is run to its end."""
    folder.mkdir()
    clock, found = Clock(), []
    ledger = opened(config, folder, clock)
    while (asked := ledger.ask()) is not None:
        if restart_every and asked.number % restart_every == 1:  # the driver dies over it, and the next one adopts it
            ledger = opened(config, folder, clock)
            again = ledger.ask()
            assert again is not None and (again.number, again.values) == (asked.number, asked.values)
            asked = again
        found.append(asked.values)
        finish(ledger, asked)
    assert ledger.finished and sorted(clock.asked) == [8, 16, 24]  # each student once, however often it was opened
    return found


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_a_study_that_is_restarted_tries_what_it_would_have_tried(
    searched: Reader, tmp_path: Path, sampler: str
) -> None:
    config = searched(sampler)
    straight = run(config, tmp_path / "straight", restart_every=0)
    restarted = run(config, tmp_path / "restarted", restart_every=3)
    assert straight == restarted and len(straight) == TRIALS
    assert {values[CHANNELS] for values in straight} == {8, 16, 24}


def test_optuna_has_the_values_and_the_front(searched: Reader, tmp_path: Path) -> None:
    config = searched(objectives=["miou", "latency_ms", "parameters"])
    ledger = opened(config, tmp_path)
    while (asked := ledger.ask()) is not None:
        finish(ledger, asked)
    assert ledger.study.directions == [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE, StudyDirection.MINIMIZE]
    for trial in ledger.complete():
        channels = trial.params[CHANNELS]
        score, latency, parameters = trial.values
        assert latency == channels / 4 and parameters == ledger.valuation.student(trial.params).parameters  # type: ignore[union-attr]
        assert trial.intermediate_values == {2: score, 12: score} and trial.last_step == 12
    best = max(ledger.complete(), key=lambda trial: trial.values[0])
    assert best.number in {trial.number for trial in ledger.study.best_trials}
    assert standing(config, tmp_path)["baseline"].counts["COMPLETE"] == TRIALS


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
@pytest.mark.parametrize("objectives", [("miou",), ("miou", "latency_ms")], ids=["one", "two"])
def test_a_bound_moves_the_search(searched: Reader, tmp_path: Path, sampler: str, objectives: Sequence[str]) -> None:
    """Without it wide students win; with it they are tried only where the sampler does not choose yet."""
    counts, study = [], searched(sampler, objectives)
    study = replace(study, arms={"baseline": replace(study.arms["baseline"], trials=40)})
    for name, constraints in (("free", []), ("bound", ["latency_ms <= 2"])):
        (tmp_path / name).mkdir()
        given = replace(study, search=replace(study.search, constraints=tuple(constraints)))
        ledger = opened(given, tmp_path / name)
        while (asked := ledger.ask()) is not None:
            finish(ledger, asked)
        trials = ledger.complete()
        assert all(trial.constraints.keys() == set(constraints) for trial in trials)
        expected = [dict.fromkeys(constraints, trial.params[CHANNELS] / 4 - 2) for trial in trials]
        assert [trial.constraints for trial in trials] == expected
        counts.append(sum(trial.params[CHANNELS] == 8 for trial in trials[20:]))
    assert counts[1] > counts[0] and counts[1] > 10


def test_bounds_on_what_is_measured_in_a_trial_are_kept_at_its_end(searched: Reader, tmp_path: Path) -> None:
    config = searched(search={"constraints": ["miou >= 50", "peak_memory_mib <= 100", "latency_ms <= 5"]})
    ledger = opened(config, tmp_path)
    asked = ledger.ask()
    assert asked is not None
    running = ledger.study.get_trials()[0]
    assert running.constraints == {"latency_ms <= 5": -1.0}  # known before it is trained
    ledger.tell(asked.number, TrialState.COMPLETE, 56.0, row_of(ledger, asked, peak_memory_mib=130.0))
    assert ledger.complete()[0].constraints == {
        "latency_ms <= 5": -1.0, "miou >= 50": -6.0, "peak_memory_mib <= 100": 30.0
    }  # fmt: skip


def test_a_trial_that_the_budget_ended_has_no_values_and_does_not_mislead(searched: Reader, tmp_path: Path) -> None:
    """A budget that was raised goes on after such trials, which TPE cannot rank."""
    ledger = opened(searched(), tmp_path)
    while (asked := ledger.ask()) is not None:
        ledger.report(asked.number, 2, miou(asked))
        if asked.number % 3 == 2:
            ledger.tell(asked.number, TrialState.PRUNED, miou(asked), row_of(ledger, asked))
        else:
            finish(ledger, asked)
    ended = ledger.ended()
    assert [trial.values is None for trial in ended] == [number % 3 == 2 for number in range(TRIALS)]


def test_what_lacks_a_value_cannot_be_valued(searched: Reader, tmp_path: Path) -> None:
    ledger = opened(searched(objectives=["miou", "peak_memory_mib"]), tmp_path)
    assert ledger.valuation.lacking({"peak_memory_mib": None}) == (
        "peak_memory_mib must be finite to be searched, but got None"
    )
    assert ledger.valuation.lacking({"peak_memory_mib": 3.0}) is None


def test_a_lost_beginning_is_put_back_with_its_directions(searched: Reader, tmp_path: Path) -> None:
    config = searched()
    ledger = opened(config, tmp_path)
    asked = ledger.ask()
    assert asked is not None
    finish(ledger, asked)
    journal = tmp_path / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    created = next(n for n, line in enumerate(lines) if json.loads(line).get("study_name") == "tiny/baseline")
    lines[created] = b"\x00\n"
    journal.write_bytes(b"".join(lines))
    repair_journal(tmp_path, study_directions(config))
    again = optuna.load_study(study_name="tiny/baseline", storage=open_storage(config, tmp_path))
    assert again.directions == ledger.study.directions
    assert again.get_trials()[0].values == ledger.complete()[0].values


def test_a_study_of_one_objective_has_its_students_too(searched: Reader, tmp_path: Path) -> None:
    ledger = opened(searched(objectives=["miou"]), tmp_path)
    asked = ledger.ask()
    assert asked is not None and ledger.study.direction == StudyDirection.MAXIMIZE
    found = ledger.valuation.student(asked.values)
    assert found is not None and found.latency_ms == 4.0 and found.latency_conditions == "48x64"


def test_who_starts_no_trial_measures_nothing(searched: Reader, tmp_path: Path) -> None:
    """As a resume that looks at the ledger before there is a cluster: a student is timed where trials run."""
    config, clock = searched(), Clock()
    looked = open_arms(config, tmp_path, with_teacher=True)
    assert STUDENTS not in looked["baseline"].study.user_attrs
    ledger = opened(config, tmp_path, clock)
    assert sorted(clock.asked) == [8, 16, 24]
    asked = ledger.ask()
    assert asked is not None and ledger.valuation.student(asked.values).latency_ms is not None  # type: ignore[union-attr]


def test_students_that_are_not_listed_are_counted_and_not_written(searched: Reader, tmp_path: Path) -> None:
    """Each would rewrite all of them; a restart counts them again."""
    (tmp_path / "student.yaml").write_text(f"{CHANNELS}: {{type: int, low: 8, high: 80, default: 16}}\n")
    config = searched(objectives=["miou", "parameters"], search={"constraints": ["parameters <= 1e5"]})
    ledger = opened(config, tmp_path)
    listed = ledger.study.user_attrs[STUDENTS]
    drawn = set()
    for _ in range(5):
        asked = ledger.ask()
        assert asked is not None
        found = ledger.valuation.student(asked.values)
        assert found is not None and ledger.study.user_attrs[STUDENTS] == listed
        drawn.add(found.parameters)
        finish(ledger, asked)
    left = ledger.ask()
    assert len(drawn) > 3 and left is not None
    before = ledger.study.get_trials()[left.number].constraints
    again = opened(config, tmp_path)
    adopted = again.ask()
    assert adopted is not None and adopted.number == left.number
    assert again.valuation.student(adopted.values) == ledger.valuation.student(left.values)
    assert again.study.get_trials()[left.number].constraints == before and len(before) == 1
    assert again.study.user_attrs[STUDENTS] == listed


def test_a_trial_keeps_the_bounds_where_all_are_known_and_none_is_broken(searched: Reader, tmp_path: Path) -> None:
    ledger = opened(searched(search={"constraints": ["miou >= 50", "latency_ms <= 4"]}), tmp_path)
    kept = {}
    for score in (56.0, 44.0, None):
        asked = ledger.ask()
        assert asked is not None
        state = TrialState.FAIL if score is None else TrialState.COMPLETE
        ledger.tell(asked.number, state, score, row_of(ledger, asked))
        kept[score] = (ledger.valuation.keeps_bounds(ledger.study.get_trials()[asked.number]), asked.values[CHANNELS])
    assert kept[56.0] == (True, 16)  # the defaults
    assert not kept[44.0][0] and not kept[None][0]


def test_a_study_that_began_without_them_stays_without(searched: Reader, tmp_path: Path) -> None:
    config, clock = searched(objectives=["miou"]), Clock()
    begun = open_arms(config, tmp_path, with_teacher=False)["baseline"]
    asked = begun.ask()
    assert asked is not None and begun.valuation.student(asked.values) is None
    finish(begun, asked)
    ledger = opened(config, tmp_path, clock)
    assert ledger.valuation.student(asked.values) is None and clock.asked == []
