"""What a driver does for a report must not grow with the study: counted in calls and bytes, not in seconds."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import JournalStorage

from tests.benchmarks.driver import Driver, simulate, study


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """For every time that all trials of an arm were looked at, how many these were."""
    found: list[int] = []
    scan = JournalStorage.get_all_trials

    def counted(storage: JournalStorage, *arguments: Any, **named: Any) -> Any:
        trials = scan(storage, *arguments, **named)
        found.append(len(trials))
        return trials

    monkeypatch.setattr(JournalStorage, "get_all_trials", counted)
    return found


def test_only_what_begins_ends_or_comes_to_a_rung_looks_at_all_trials(tmp_path: Path, scans: list[int]) -> None:
    driver = Driver(study(24, 8), tmp_path, concurrent=8)
    while driver._suggest():
        pass
    assert driver.part.suggestions == 8
    scans.clear()
    for _ in range(50):  # Tune asks at every event
        assert not driver._suggest()
    assert not scans
    before_the_first_rung = driver.config.grace("focal") // 10 - 1
    for _ in range(8 * before_the_first_rung):
        driver._report(next(iter(driver.running)))
        driver._suggest()
    assert driver.part.reports and not scans
    # with the whole budget handed out, only what ended since is counted anew
    while not driver.finished and driver.part.suggestions < 24:
        driver.step()
    ends = driver.part.ends
    scans.clear()
    while driver.part.ends == ends:
        driver.step()
    driver._suggest()
    scans.clear()
    for _ in range(50):
        assert not driver._suggest()
    assert not scans


def test_a_trial_costs_the_same_bytes_first_and_last(tmp_path: Path) -> None:
    parts = simulate(tmp_path, trials=60, concurrent=6, evaluations=4)
    assert sum(part.ends for part in parts) == 60
    sizes = [0.0, *(part.journal_mib for part in parts)]
    grown = [after - before for before, after in pairwise(sizes)]
    # the first tenth has the configuration as well, and the last one starts no more trials
    middle = grown[1:-2]
    per_event = [size / (part.reports + 10 * part.ends) for size, part in zip(middle, parts[1:-2], strict=True)]
    assert max(per_event) < 1.5 * min(per_event)
    assert parts[-1].tables_mib < 1
