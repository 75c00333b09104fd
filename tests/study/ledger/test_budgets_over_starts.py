"""Budgets by cost in the ledger: what they end, what retries may still use of them, and that they do not shrink."""

from pathlib import Path

import pytest
from optuna.trial import TrialState

from study.configuration.config import StudyConfig
from study.configuration.prices import ArmPrices
from study.ledger.journal import JOURNAL
from study.ledger.ledger import ArmLedger, open_arms
from study.ledger.trial_run import Suggestion
from tests.study.ledger.test_ledger import END, Reader, end, start
from trainers.config import ConfigError

ARM = "baseline"
EVERY = 2


def opened(config: StudyConfig, folder: Path) -> ArmLedger:
    """The ledger of the plain arm, at a price of 1 for an iteration."""
    price = ArmPrices(unit="operations", scale=1.0, shaping=(), iteration={"[]": 1.0}, plain=1.0, plain_iterations=END)
    return open_arms(config, folder, with_teacher=False, price=lambda: dict.fromkeys(config.arms, price))[ARM]


@pytest.fixture
def study(config: Reader) -> Reader:
    """Reads a study of one arm that may spend so many iterations."""
    alone = {ARM: {"trials": 10, "space": "optimizer"}}
    return lambda iterations, **changes: config(arms=alone, budget={"iterations": iterations}, **changes)


def train(ledger: ArmLedger, asked: Suggestion, scores: dict[int, float] | None = None) -> tuple[int, str | None]:
    """Report a trial's evaluations up to its end; gives where it was stopped, and why."""
    reason = None
    for iteration in range(EVERY, END + 1, EVERY):
        ledger.report(asked.number, iteration, (scores or {}).get(iteration, 20.0))
        reason = ledger.stop_reason(asked.number) if iteration < END else None
        if reason is not None:
            break
    state = TrialState.PRUNED if reason else TrialState.COMPLETE
    ledger.tell(asked.number, state, 20.0, {"state": state.name, "stopped_by": reason})
    return iteration, reason


@pytest.mark.parametrize("lost", [None, b'"stopped_by":"budget"', b'"completed_rung_0"'])
def test_a_trial_that_the_budget_ended_was_not_judged_where_it_ended(
    study: Reader, tmp_path: Path, lost: bytes | None
) -> None:
    """Also where the journal has lost the reason, or what it scored at the rung before."""
    pruning = {"reduction_factor": 2, "grace_iterations": 2}
    ledger = opened(study(4, pruning=pruning), tmp_path)
    assert train(ledger, start(ledger), {2: 10.0, 4: 90.0}) == (4, "budget")
    journal = tmp_path / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if lost is None or lost not in line]
    assert len(lines) - len(kept) == (lost is not None)
    journal.write_bytes(b"".join(kept))
    ledger = opened(study(99, pruning=pruning), tmp_path)
    assert train(ledger, start(ledger), {2: 9.0}) == (2, "pruning")
    assert train(ledger, start(ledger), {2: 11.0, 4: 80.0}) == (END, None), "nobody else was judged at 4"


def test_a_trial_goes_on_whose_budget_is_raised_before_it_ends(study: Reader, tmp_path: Path) -> None:
    ledger = opened(study(2), tmp_path)
    asked = start(ledger)
    ledger.report(asked.number, 2, 20.0)
    assert (ledger.stop_reason(asked.number), ledger.stopped_by(asked.number)) == ("budget", "budget")
    ledger = opened(study(12), tmp_path)  # the driver died before the trial's end
    assert start(ledger).number == asked.number
    assert (ledger.stop_reason(asked.number), ledger.stopped_by(asked.number)) == (None, None)


def test_who_measures_nothing_writes_no_price_that_is_to_be_measured(study: Reader, tmp_path: Path) -> None:
    """A start for the teacher alone leaves the prices to the one that runs trials."""
    config = study(18, price="measured")
    assert open_arms(config, tmp_path, with_teacher=False)[ARM].spending.prices is None
    assert opened(config, tmp_path).spending.prices is not None


def test_retries_fill_a_budget_by_cost_and_no_more(study: Reader, tmp_path: Path) -> None:
    config = study(18, execution={"max_failed": 5}, pruning={"kind": "none"})
    ledger = opened(config, tmp_path)
    for _ in range(5):
        end(ledger, start(ledger), TrialState.FAIL)
    assert ledger.given_up and ledger.ask() is None and not ledger.finished
    assert ledger.retry_failed() == 5
    ledger = opened(config, tmp_path)
    first = start(ledger)
    assert (first.retry_of, train(ledger, first)) == (0, (END, None))
    second = start(ledger)
    assert (second.retry_of, train(ledger, second)) == (1, (6, "budget"))
    assert ledger.finished and ledger.ask() is None and ledger.spent == 18
    assert ledger.retry_failed() == 0
    raised = opened(study(20, execution={"max_failed": 5}, pruning={"kind": "none"}), tmp_path)
    assert start(raised).retry_of == 2, "what waited goes on"


def test_a_full_budget_by_cost_takes_no_retry(study: Reader, tmp_path: Path) -> None:
    ledger = opened(study(12), tmp_path)
    end(ledger, start(ledger), TrialState.FAIL)
    train(ledger, start(ledger))
    assert ledger.finished and ledger.retry_failed() == 0 and ledger.count(TrialState.WAITING) == 0


@pytest.mark.parametrize(("iterations", "refused"), [(30, False), (24, False), (23, False), (22, True), (6, True)])
def test_a_budget_below_what_was_spent_is_refused(
    study: Reader, tmp_path: Path, iterations: int, refused: bool
) -> None:
    """One of 23 iterations ends at 24 as well, because a trial is stopped at an evaluation."""
    ledger = opened(study(24, pruning={"kind": "none"}), tmp_path)
    assert [train(ledger, start(ledger)) for _ in range(2)] == [(END, None)] * 2 and ledger.finished
    lowered = study(iterations, pruning={"kind": "none"})
    if not refused:
        assert opened(lowered, tmp_path).finished == (iterations <= 24)
        return
    law = rf"^arms\.baseline\.budget: must be at least the 2\.0 whole trials .* comes to {round(iterations / 12, 3)};"
    with pytest.raises(ConfigError, match=law):
        opened(lowered, tmp_path)
