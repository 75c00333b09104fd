"""The ledger: what a dead driver leaves behind is found again, and nothing depends on how often it was opened."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from study.configuration.config import ExecutionConfig, StudyConfig
from study.ledger.journal import JOURNAL
from study.ledger.ledger import ArmLedger, open_arms, status
from study.ledger.trial_run import Suggestion, TrialRun
from tests.study.conftest import TINY
from trainers.checkpoints.folder import FolderCheckpoints
from trainers.config import ConfigError, TrialConfig, parse

Reader = Callable[..., StudyConfig]
END = 12
Run = dict[str, Any]


@pytest.fixture(params=["journal", "sqlite"])
def stored(request: pytest.FixtureRequest, config: Reader, tmp_path: Path) -> Reader:
    """Reads the tiny study with its ledger in a journal or in a database."""
    storage = "journal" if request.param == "journal" else f"sqlite:///{tmp_path}/ledger.sqlite"
    return lambda **changes: config(storage=storage, **changes)


def opened(config: StudyConfig, folder: Path, arm: str = "rdd") -> ArmLedger:
    return open_arms(config, folder, with_teacher=False)[arm]


def run_of(asked: Suggestion) -> TrialRun:
    """What such a trial runs, as far as the ledger does not look at it."""
    shared = {name: TINY[name] for name in ("data", "augment", "student", "train")}
    trial = parse(TrialConfig, {**shared, "task": {"weighting": "uniform"}})
    return TrialRun(
        **vars(asked), trial=trial, hash="", budget=END, prunable=True, execution=ExecutionConfig(), folder="/trial"
    )


def start(ledger: ArmLedger) -> Suggestion:
    """What the searcher does with a trial that it hands out."""
    asked = ledger.ask()
    assert asked is not None
    ledger.note(run_of(asked))
    return asked


def end(
    ledger: ArmLedger,
    asked: Suggestion,
    state: TrialState = TrialState.COMPLETE,
    value: float | None = None,
    fault: str | None = None,
) -> None:
    ledger.tell(asked.number, state, value, {"state": state.name}, fault=fault)


def score(asked: Suggestion, iteration: int = END) -> float:
    """A trial's mIoU: a function of its values alone, as training is."""
    spread = sum(hash_free(value) for value in asked.values.values())
    return 10 + spread % 7 + iteration / END


def hash_free(value: Any) -> float:
    return float(sum(map(ord, value))) if isinstance(value, str) else float(value)


def test_defaults_and_what_is_enqueued_come_first(stored: Reader, tmp_path: Path) -> None:
    config = stored(arms__rdd__enqueue=[{"methods/kd/temperature": 4.0, "task/tfe_fraction": 1.0}])
    ledger = opened(config, tmp_path)
    assert start(ledger).values == config.space("rdd").defaults()
    second = start(ledger).values
    assert (second["methods/kd/temperature"], second["task/tfe_fraction"]) == (4.0, 1.0)
    # conditional parameters have no place in a trial that never leaves the TFE stage
    assert second.keys() == {"task/tfe_fraction", "methods/kd/temperature", "methods/kd/weights/pixel"}
    # opened again, nothing is enqueued twice
    assert opened(config, tmp_path).count(TrialState.WAITING) == 0


def test_the_budget_counts_what_did_not_fail(stored: Reader, tmp_path: Path) -> None:
    ledger = opened(stored(execution={"max_failed": 3}), tmp_path)
    running, failed, pruned, complete = (start(ledger) for _ in range(4))
    assert ledger.ask() is None
    end(ledger, failed, TrialState.FAIL)
    replacement = start(ledger)
    assert replacement.number == 4
    ledger.report(pruned.number, 6, 11.0)
    end(ledger, pruned, TrialState.PRUNED, 11.0)
    end(ledger, complete, value=20.0)
    end(ledger, running, value=21.0)
    before = ledger.finished
    end(ledger, replacement, value=22.0)
    assert (before, ledger.finished) == (False, True)
    assert {t.number: (t.state, t.value) for t in ledger.ended()} == {
        0: (TrialState.COMPLETE, 21.0),
        1: (TrialState.FAIL, None),
        2: (TrialState.PRUNED, 11.0),  # Optuna takes the last report of a pruned trial
        3: (TrialState.COMPLETE, 20.0),
        4: (TrialState.COMPLETE, 22.0),
    }
    assert ledger.study.trials[2].intermediate_values == {6: 11.0}


def test_an_arm_whose_trials_all_fail_is_given_up(stored: Reader, tmp_path: Path) -> None:
    ledger = opened(stored(execution={"max_failed": 2}), tmp_path)
    for _ in range(2):
        end(ledger, start(ledger), TrialState.FAIL)
    assert ledger.given_up and ledger.exhausted and not ledger.finished
    assert ledger.ask() is None


BUG = "TypeError at my_losses.py, line 7"


@pytest.mark.parametrize(
    ("faults", "given_up"),
    [
        ((BUG,), None),
        ((BUG, BUG), f"because all of its 2 trials that ended failed alike: {BUG}"),
        ((BUG, "TypeError at my_losses.py, line 9"), None),
        ((BUG, None), None),
        ((None, None, None), None),
        ((None, None, None, BUG), "after 4 failed trials (execution.max_failed)"),
    ],
)
def test_an_arm_whose_trials_all_fail_alike_is_given_up_early(
    config: Reader, tmp_path: Path, faults: tuple[str | None, ...], given_up: str | None
) -> None:
    ledger = opened(config(execution={"max_failed": 4}), tmp_path)
    for fault in faults:
        end(ledger, start(ledger), TrialState.FAIL, fault=fault)
    assert ledger.given_up == given_up and (ledger.ask() is None) == (given_up is not None)
    # what failed may have been mended
    assert opened(config(execution={"max_failed": 4}), tmp_path).retry_failed() > 0


def test_an_arm_of_which_a_trial_ended_well_has_its_failures(config: Reader, tmp_path: Path) -> None:
    ledger = opened(config(execution={"max_failed": 3}), tmp_path)
    end(ledger, start(ledger), value=20.0)
    for _ in range(2):
        end(ledger, start(ledger), TrialState.FAIL, fault=BUG)
    assert ledger.given_up is None
    end(ledger, start(ledger), TrialState.FAIL, fault=BUG)
    assert ledger.given_up == "after 3 failed trials (execution.max_failed)"


def test_orphans_go_on_under_their_own_number_and_values(
    stored: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.ledger.ledger.LOST_DRIVERS", 3)
    config = stored()
    dead = opened(config, tmp_path)
    first, second = start(dead), start(dead)
    for attempt in (2, 3):
        ledger = opened(config, tmp_path)
        assert len(ledger.orphans) == 2 and not ledger.exhausted
        adopted = [start(ledger), start(ledger)]
        assert [(a.number, a.values, a.attempt) for a in adopted] == [
            (0, first.values, attempt),
            (1, second.values, attempt),
        ]
    last = opened(config, tmp_path)
    assert start(last).number == 2  # both were started three times: they failed, and are replaced
    assert [(t.number, t.state) for t in last.ended()] == [(0, TrialState.FAIL), (1, TrialState.FAIL)]
    assert "driver died 3 times in a row" in last.ended()[0].user_attrs["error"]


def test_a_trial_that_died_before_its_values_were_drawn_draws_them(config: Reader, tmp_path: Path) -> None:
    study = config()
    dead = opened(study, tmp_path)
    dead.study.enqueue_trial(study.space("rdd").defaults())
    dead.study.ask()
    adopted = start(opened(study, tmp_path))
    assert (adopted.number, adopted.attempt) == (0, 1)
    assert adopted.values == study.space("rdd").defaults()


@pytest.mark.parametrize("reopen", [False, True], ids=["one driver", "a driver for each trial"])
def test_the_seed_alone_decides_the_trials(config: Reader, tmp_path: Path, reopen: bool) -> None:
    study = config(arms__rdd__trials=9, startup_trials=4)

    def values(folder: Path, reopen: bool) -> list[dict[str, Any]]:
        folder.mkdir()
        found = []
        ledger = opened(study, folder)
        for _ in range(9):
            ledger = opened(study, folder) if reopen else ledger
            asked = start(ledger)
            end(ledger, asked, value=score(asked))
            found.append(asked.values)
        return found

    expected = values(tmp_path / "once", False)
    assert values(tmp_path / "again", reopen) == expected
    assert len({json.dumps(v) for v in expected}) == 9


def test_another_seed_and_another_arm_draw_other_trials(config: Reader, tmp_path: Path) -> None:
    def second(seed: int, arm: str) -> dict[str, Any]:
        folder = tmp_path / f"{seed}-{arm}"
        folder.mkdir()
        arms = {name: {"trials": 2, "space": "optimizer"} for name in ("one", "other")}
        ledger = opened(config(seed=seed, arms=arms, startup_trials=1), folder, arm)
        start(ledger)
        return start(ledger).values

    drawn = [second(1, "one"), second(1, "other"), second(2, "one")]
    assert len({json.dumps(values) for values in drawn}) == 3


def evaluations(config: StudyConfig) -> Iterator[int]:
    yield from range(config.train.evaluate_every, END + 1, config.train.evaluate_every)


def decisions(config: StudyConfig, folder: Path, *, reopen: bool) -> dict[int, int]:
    """Iteration at which each trial was stopped, or the end; with a new driver before every report or with one."""
    folder.mkdir()
    ledger = opened(config, folder, "baseline")
    found = {}
    for _ in range(config.arms["baseline"].trials):
        asked = start(ledger)
        found[asked.number] = END
        for iteration in evaluations(config):
            if reopen:
                ledger = opened(config, folder, "baseline")
                assert start(ledger).number == asked.number
            ledger.report(asked.number, iteration, asked.number * 7 % 10 + iteration / 100)
            if iteration < END and ledger.should_prune(asked.number):
                found[asked.number] = iteration
                break
        stopped = found[asked.number] < END
        end(ledger, asked, TrialState.PRUNED if stopped else TrialState.COMPLETE, 1.0)
    return found


@pytest.mark.parametrize("kind", ["halving", "hyperband", "median"])
def test_rungs_survive_a_new_driver_before_every_report(config: Reader, tmp_path: Path, kind: str) -> None:
    alone = {"baseline": {"trials": 9, "space": "optimizer"}}
    study = config(arms=alone, pruning={"kind": kind, "reduction_factor": 2})
    expected = decisions(study, tmp_path / "one", reopen=False)
    assert decisions(study, tmp_path / "many", reopen=True) == expected
    different = 2 if kind == "halving" else 1
    assert len(set(expected.values())) > different, "some trials are stopped, at different rungs, and some are not"


def test_nothing_is_stopped_before_the_grace_or_with_pruning_off(config: Reader, tmp_path: Path) -> None:
    late = config(arms__baseline__trials=6, pruning={"reduction_factor": 2, "grace_iterations": 6})
    stopped = set(decisions(late, tmp_path / "late", reopen=False).values()) - {END}
    assert stopped and min(stopped) >= 6
    off = config(arms__baseline__trials=6, pruning={"reduction_factor": 0})
    assert set(decisions(off, tmp_path / "off", reopen=False).values()) == {END}


def test_an_evaluation_that_is_told_again_stays_as_it_was(config: Reader, tmp_path: Path) -> None:
    ledger = opened(config(), tmp_path)
    asked = start(ledger)
    ledger.report(asked.number, 2, 5.0)
    ledger.report(asked.number, 2, 6.0)
    assert ledger.study.trials[0].intermediate_values == {2: 5.0}


def test_the_teacher_is_an_arm_of_one_trial_without_values(config: Reader, tmp_path: Path) -> None:
    teacher = open_arms(config(), tmp_path, with_teacher=True)["teacher"]
    asked = start(teacher)
    assert (asked.values, teacher.budget, teacher.distributions) == ({}, 1, {})
    teacher.report(asked.number, 2, 1.0)
    assert not teacher.should_prune(asked.number)
    end(teacher, asked, TrialState.FAIL)
    assert teacher.given_up


def test_status_counts_every_state_beside_the_budget(stored: Reader, tmp_path: Path) -> None:
    config = stored()
    arms = open_arms(config, tmp_path, with_teacher=True)
    end(arms["teacher"], start(arms["teacher"]), value=30.0)
    for state in (TrialState.COMPLETE, TrialState.FAIL):
        end(arms["rdd"], start(arms["rdd"]), state, 20.0)
    start(arms["rdd"])
    none = {"COMPLETE": 0, "PRUNED": 0, "FAIL": 0, "RUNNING": 0, "WAITING": 0}
    assert status(config, tmp_path) == {
        "teacher": {"budget": 1, **none, "COMPLETE": 1},
        "baseline": {"budget": 2, **none},
        "rdd": {"budget": 4, **none, "COMPLETE": 1, "FAIL": 1, "RUNNING": 1},
    }


def test_any_reader_of_optuna_can_open_the_journal(config: Reader, tmp_path: Path) -> None:
    ledger = opened(config(), tmp_path)
    asked = start(ledger)
    end(ledger, asked, value=20.0)
    storage = JournalStorage(JournalFileBackend(str(tmp_path / JOURNAL)))
    assert set(optuna.get_all_study_names(storage)) == {"tiny/baseline", "tiny/rdd"}
    study = optuna.load_study(study_name="tiny/rdd", storage=storage)
    assert (study.best_value, study.best_params) == (20.0, asked.values)


def test_a_raised_budget_goes_on_as_if_it_had_always_been_so(config: Reader, tmp_path: Path) -> None:
    """What is drawn after the extension is what a study of that budget would have drawn."""

    def run(folder: Path, *budgets: int) -> list[dict[str, Any]]:
        folder.mkdir()
        for budget in budgets:
            ledger = opened(config(arms__rdd__trials=budget, startup_trials=3), folder)
            assert not ledger.finished
            while asked := ledger.ask():
                end(ledger, asked, value=score(asked))
            assert ledger.finished
        return [trial.params for trial in ledger.complete()]

    assert run(tmp_path / "extended", 2, 6) == run(tmp_path / "at once", 6)


def test_failed_trials_run_again_once_to_fill_the_budget(stored: Reader, tmp_path: Path) -> None:
    config = stored(arms__rdd__trials=2, execution={"max_failed": 2})
    ledger = opened(config, tmp_path)
    lost = [start(ledger) for _ in range(2)]
    for asked in lost:
        end(ledger, asked, TrialState.FAIL)
    assert ledger.given_up and ledger.ask() is None
    assert ledger.retry_failed() == 2
    assert (ledger.retry_failed(), ledger.given_up, ledger.finished) == (0, None, False)
    # what waits to be repeated survives the driver, and so does what runs
    first = start(opened(config, tmp_path))
    ledger = opened(config, tmp_path)
    again = [start(ledger), start(ledger)]
    assert (again[0].number, again[0].attempt) == (first.number, 2)
    assert [(a.retry_of, a.values) for a in again] == [(0, lost[0].values), (1, lost[1].values)]
    end(ledger, again[0], value=20.0)
    end(ledger, again[1], TrialState.FAIL)
    assert not ledger.finished
    # the failed rows stay; what failed again may be asked for again
    assert ledger.count(TrialState.FAIL) == 3 and ledger.retry_failed() == 1
    end(ledger, start(ledger), value=20.0)
    assert ledger.finished and ledger.ask() is None


@pytest.mark.parametrize(("done", "left"), [(0, 3), (2, 1), (3, 0)])
def test_retries_fill_the_budget_and_no_more(stored: Reader, tmp_path: Path, done: int, left: int) -> None:
    """Of ten failures, as after a teacher's file was deleted."""
    config = stored(arms__rdd__trials=3, execution={"max_failed": 10})
    ledger = opened(config, tmp_path)
    for number in range(10 + done):
        end(ledger, start(ledger), *((TrialState.COMPLETE, 20.0) if number < done else (TrialState.FAIL,)))
        if ledger.finished:
            break
    assert ledger.retry_failed() == (left if not ledger.finished else 0)
    while asked := ledger.ask():
        end(ledger, asked, value=20.0)
    assert ledger.finished and ledger.count(TrialState.COMPLETE) == 3


def test_more_retries_than_the_budget_has_room_for_are_left_waiting(stored: Reader, tmp_path: Path) -> None:
    """An older kdstudy let every failed trial wait to be run again."""
    ledger = opened(stored(arms__rdd__trials=1), tmp_path)
    asked = start(ledger)
    end(ledger, asked, TrialState.FAIL)
    for _ in range(3):
        ledger.study.enqueue_trial(dict(asked.values), user_attrs={"retry_of": 0})
    ledger = opened(stored(arms__rdd__trials=1), tmp_path)
    end(ledger, start(ledger), value=20.0)
    assert ledger.ask() is None and ledger.finished


def test_a_budget_below_what_was_done_is_refused(stored: Reader, tmp_path: Path) -> None:
    ledger = opened(stored(), tmp_path)
    for _ in range(3):
        end(ledger, start(ledger), value=20.0)
    with pytest.raises(
        ConfigError, match=r"arms\.rdd\.trials: must be at least the 3 trials .* but got 2; raise it to that"
    ):
        opened(stored(arms__rdd__trials=2), tmp_path)


def test_a_teacher_that_was_trained_otherwise_is_refused_also_once_it_is_there(stored: Reader, tmp_path: Path) -> None:
    teacher = open_arms(stored(), tmp_path, with_teacher=True)["teacher"]
    end(teacher, start(teacher), value=30.0)
    with pytest.raises(ConfigError, match=r"teacher\.train\.iterations: must stay 12"):
        opened(stored(teacher__train__iterations=10), tmp_path)


def test_only_starts_that_came_to_no_evaluation_count_against_a_trial(
    config: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.ledger.ledger.LOST_DRIVERS", 2)
    study = config()
    for attempt in range(1, 8):
        ledger = opened(study, tmp_path)
        asked = start(ledger)
        assert (asked.number, asked.attempt) == (0, attempt)
        if attempt < 5:
            ledger.report(0, 2 * attempt, 10.0)
        elif attempt == 5:
            ledger.leave()  # the driver was stopped on purpose
    assert start(opened(study, tmp_path)).number == 1, "killed twice in a row without an evaluation"


def test_a_checkpoint_between_evaluations_counts_as_coming_further(
    config: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.ledger.ledger.LOST_DRIVERS", 2)
    study, checkpoints = config(), FolderCheckpoints(tmp_path / "trial")

    def begun() -> Suggestion:
        ledger = opened(study, tmp_path)
        asked = ledger.ask()
        assert asked is not None
        ledger.note(replace(run_of(asked), folder=checkpoints.place))
        return asked

    for iteration in range(1, 6):
        asked = begun()
        assert (asked.number, asked.attempt) == (0, iteration)
        checkpoints.write_interim({}, iteration=iteration)
    assert [begun().number for _ in range(2)] == [0, 1]


REPEATED = {"trials": 3, "methods": {"kd": {}}}


def replicates(ledger: ArmLedger, state: TrialState) -> list[int]:
    return [trial.params["replicate"] for trial in ledger.study.get_trials(states=(state,))]


def test_an_arm_without_a_space_repeats_one_setting(stored: Reader, tmp_path: Path) -> None:
    ledger = opened(stored(arms__again=REPEATED, startup_trials=1), tmp_path, "again")
    asked = [start(ledger) for _ in range(3)]
    assert [a.values for a in asked] == [{"replicate": 0}, {"replicate": 1}, {"replicate": 2}]
    assert ledger.ask() is None
    for a in asked:
        end(ledger, a, value=20.0)
    # a raised budget adds the ones that are missing, however often the ledger is opened
    for number in range(3, 9):
        ledger = opened(stored(arms__again={**REPEATED, "trials": 9}, startup_trials=1), tmp_path, "again")
        added = start(ledger)
        assert (added.number, added.values) == (number, {"replicate": number})
        end(ledger, added, value=20.0)
    assert ledger.finished and ledger.ask() is None


def test_a_failed_replicate_is_tried_again_and_never_replaced_by_another(stored: Reader, tmp_path: Path) -> None:
    config = stored(arms__again=REPEATED, execution={"max_failed": 3})
    ledger = opened(config, tmp_path, "again")
    first, second = start(ledger), start(ledger)
    end(ledger, second, TrialState.FAIL)
    end(ledger, first, value=20.0)
    for _ in range(2):
        again = start(ledger)
        assert again.values == {"replicate": 1}
        end(ledger, again, TrialState.FAIL)
    assert ledger.given_up and ledger.ask() is None
    # asked for explicitly, it is run once more, and its failures no longer count
    assert (ledger.retry_failed(), ledger.given_up) == (1, None)
    repeated = start(opened(config, tmp_path, "again"))
    assert (repeated.values, repeated.retry_of) == ({"replicate": 1}, 3)
    ledger = opened(config, tmp_path, "again")
    end(ledger, start(ledger), value=20.0)
    assert ledger.retry_failed() == 0, "every replicate that failed has ended well since"
    end(ledger, start(ledger), value=20.0)
    assert ledger.finished and ledger.ask() is None
    assert replicates(ledger, TrialState.COMPLETE) == [0, 1, 2]


def test_a_replicate_that_a_dead_driver_left_or_had_only_enqueued_is_not_drawn_anew(
    config: Reader, tmp_path: Path
) -> None:
    study = config(arms__again=REPEATED)
    dead = opened(study, tmp_path, "again")
    start(dead)
    dead.study.enqueue_trial({"replicate": 1})
    ledger = opened(study, tmp_path, "again")
    adopted = start(ledger)
    assert (adopted.number, adopted.attempt, adopted.values) == (0, 2, {"replicate": 0})
    assert [start(ledger).values["replicate"] for _ in range(2)] == [1, 2]
    assert ledger.ask() is None


def test_replicates_are_never_stopped_early(config: Reader, tmp_path: Path) -> None:
    study = config(arms__baseline={"trials": 9}, pruning={"reduction_factor": 2})
    assert set(decisions(study, tmp_path / "replicates", reopen=False).values()) == {END}


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"train__batch": 8, "seed": 2}, ["seed", "train.batch"]),
        ({"arms__rdd__methods": {"kd": {"temperature": 2.0}}}, ["arms.rdd.methods.kd.temperature"]),
        ({"arms__rdd__methods": {"kd": {}, "at": {}}}, ["arms.rdd.methods.at"]),
        ({"evaluate_on": "holdout", "holdout": 0.3}, ["evaluate_on", "holdout"]),
        ({"execution": {"gpus_per_worker": 1}}, ["execution.gpus_per_worker"]),
        ({"arms__rdd__trials": 9, "execution": {"engine": "inline"}, "data__val_images": 8}, []),
    ],
)
def test_trials_that_would_not_compare_are_refused_by_field(
    stored: Reader, tmp_path: Path, changes: dict[str, Any], fields: list[str]
) -> None:
    """Whoever edited the file: the ledger knows what its trials were."""
    start(opened(stored(), tmp_path))
    if not fields:
        assert opened(stored(**changes), tmp_path).orphans
        return
    with pytest.raises(ConfigError) as caught:
        opened(stored(**changes), tmp_path)
    assert [fault.partition(": ")[0] for fault in caught.value.faults] == fields
    assert all("put it back, or start another study" in fault for fault in caught.value.faults)


@pytest.mark.parametrize("url", ["sqlite:////no/such/folder/x.sqlite", "nosuch://u:secret@host/name"])
def test_a_database_that_cannot_be_opened_is_refused_in_a_line(
    url: str, config: Callable[..., StudyConfig], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="storage must be a database that can be opened, but ") as caught:
        open_arms(replace(config(), storage=url), tmp_path, with_teacher=False)
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)
