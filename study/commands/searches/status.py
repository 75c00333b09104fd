"""`kdstudy status`: the trials of a study by arm and state, running or not."""

import argparse
import json
from pathlib import Path
from typing import Any

from study.commands.options import add_folder, add_json
from study.configuration.outline import StudyOutline
from study.configuration.tuning import EQUAL
from study.folder import read_outline
from study.ledger.ledger import ArmStanding, standing
from study.ledger.lock import driver_of
from study.ledger.presence import refuse_missing
from study.ledger.spending import Spent

FAILED_LINES = 5
"""Failed trials of an arm, the last ones, that have a line of their own."""
INTERRUPTED = "INTERRUPTED"
"""A trial that was running when its driver ended, and goes on with the next one."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_folder(parser)
    add_json(parser)


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    config = read_outline(options.folder)
    refuse_missing(config, options.folder)
    driver = driver_of(options.folder)
    found = standing_now(config, options.folder, driven=driver is not None)
    if options.json:
        print(json.dumps({arm: _plain(one) for arm, one in found.items()}))
        return 0
    if config.tuning_rules < EQUAL:
        print("begun before arms were tuned at equal cost: each has its own first rung, and is served by its trials")
    for arm, (counts, spent, failed) in found.items():
        print(f"{arm}: " + ", ".join([*_counted(counts, capped=spent is None or spent.budget is None), *_told(spent)]))
        for trial in failed[-FAILED_LINES:]:
            see = f"; see {options.folder / trial.explained_in}" if trial.explained_in else ""
            print(f"  {arm} {trial.number}: FAIL, {trial.error or 'no reason is known'}{see}")
        if len(failed) > FAILED_LINES:
            print(f"  and {len(failed) - FAILED_LINES} before these")
    if driver is not None:
        print(f"driven by process {driver.pid} on {driver.host}")
    elif any(counts[INTERRUPTED] or counts["WAITING"] for counts, _, _ in found.values()):
        print(f"no driver runs; go on with: kdstudy resume {options.folder}")
    return 0


def standing_now(config: StudyOutline, folder: Path, *, driven: bool) -> dict[str, ArmStanding]:
    """How far each arm has come, where what no driver drives does not run but is INTERRUPTED."""
    return {
        arm: one._replace(counts=_as_driven(one.counts, driven=driven)) for arm, one in standing(config, folder).items()
    }


def _as_driven(counts: dict[str, int], *, driven: bool) -> dict[str, int]:
    """Trials by state, where those that the ledger has as running only run while there is a driver."""
    running = counts["RUNNING"]
    return {**counts, "RUNNING": running if driven else 0, INTERRUPTED: 0 if driven else running}


def _counted(counts: dict[str, int], *, capped: bool) -> list[str]:
    """Trials by state; their number is no budget where the arm has another."""
    return [f"{count} {state}" for state, count in counts.items() if capped or state != "budget"]


def _told(spent: Spent | None) -> list[str]:
    if spent is None:
        return []
    budget = "" if spent.budget is None else f" of {spent.budget:.2f}"
    return [f"spent {spent.whole_trials:.2f}{budget} whole trials of the plain student"]


def _plain(arm: ArmStanding) -> dict[str, Any]:
    """What --json has of an arm."""
    return {**arm.counts, **_priced(arm.spent), "failed": [trial._asdict() for trial in arm.failed]}


def _priced(spent: Spent | None) -> dict[str, Any]:
    """What --json has of the cost; nothing for a study without prices."""
    if spent is None:
        return {}
    return {"spent_trials": spent.whole_trials, "spent": spent.cost, "unit": spent.unit, "budget_trials": spent.budget}
