"""Faults at random, one after the other, until the time is over: the study comes to the tables of one left alone.

`make stress` runs it. STRESS_SEED and STRESS_MINUTES change what is done and for how long; STRESS_REPORT names the
page that tells of it, runs/stress.md by default.
"""

import os
import random
import signal
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from textwrap import indent

import pytest
import torch

from tests.e2e.disks import small_disk
from tests.e2e.drivers import ENVIRONMENT, eventually, kdstudy, of_this_study, wait_while_alive
from tests.e2e.fault_injection import FaultOrder, Target, take_the_dataset_away, write_dataset, write_whole, wrong_in
from tests.e2e.studies import TRIALS, assert_consistent, assert_same_study, journal, trial_rows, weights
from tests.e2e.test_store import stored_weights
from tests.stores import s3_bucket

pytestmark = [pytest.mark.ray, pytest.mark.stress, pytest.mark.timeout(0)]
SEED = int(os.environ.get("STRESS_SEED", "0"))
MINUTES = float(os.environ.get("STRESS_MINUTES", "20"))
REPORT = Path(os.environ.get("STRESS_REPORT", "runs/stress.md"))
LINES = (0, 1, 2, 3, 5, 8, 13, 21, 34)
"""Of the ledger's journal, that a driver writes before a fault comes; the whole study has about 300."""
PAGE = """\
# Stress run

{began:%Y-%m-%d %H:%M} UTC, seed {seed}, {minutes:.0f} minutes, {cores} cores, load {least:.0f} to {most:.0f}.

{count} faults. All tables and weights of {studies} studies that came to an end were held against those of one that was
left alone. {verdict}

| fault | times |
|---|---|
{counts}

In their order:

{faults}
"""
NONE = "Differences: 0. Tracebacks: 0."


@dataclass
class StressRun:
    """What was done, and what came of it."""

    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    faults: list[tuple[int, str, int, int]] = field(default_factory=list)
    """The study, the fault, the lines of the journal before it, and the exit code of the driver."""
    studies: int = 0
    wrong: str = ""
    loads: list[float] = field(default_factory=lambda: [os.getloadavg()[0]])

    def write(self) -> None:
        """Write the report."""
        counts = Counter(name.replace("_", " ") for _, name, _, _ in self.faults)
        faults = (
            f"* {study}: {name} after {lines} lines, exit code {code}" for study, name, lines, code in self.faults
        )
        page = PAGE.format(
            began=self.began,
            seed=SEED,
            minutes=(datetime.now(UTC) - self.began).total_seconds() / 60,
            cores=len(os.sched_getaffinity(0)),
            least=min(self.loads),
            most=max(self.loads),
            count=len(self.faults),
            studies=self.studies,
            verdict=f"It ended with:\n\n{indent(self.wrong, '    ')}" if self.wrong else NONE,
            counts="\n".join(f"| {name} | {count} |" for name, count in sorted(counts.items())),
            faults="\n".join(faults),
        )
        REPORT.parent.mkdir(parents=True, exist_ok=True)
        REPORT.write_text(page)


def disturb(target: Target, run: StressRun, order: FaultOrder, draws: random.Random, until: float) -> None:
    """Start the study again and again, each time with a fault, until a driver comes to its end."""
    code = -1
    while code != 0:
        fault = order.draw(target) if time.monotonic() < until else None
        lines = journal(target.folder).count(b"\n") + draws.choice(LINES)
        due = time.monotonic() + draws.choice((0.0, 0.2, 3.0))
        target.said.clear()
        target.start()
        run.loads.append(os.getloadavg()[0])

        def ready(lines: int = lines, due: float = due) -> bool:
            return journal(target.folder).count(b"\n") >= lines and time.monotonic() > due

        if fault is not None and wait_while_alive(target.started, ready):
            fault(target, draws)
        else:
            fault = None
        code = ended(target)
        if fault is not None:
            run.faults.append((run.studies + 1, fault.__name__, lines, code))
        assert fault is not None or code == 0, target.said[-1]
        assert code in (0, 1, -signal.SIGKILL) or (code == 2 and fault is take_the_dataset_away), f"exit code {code}"


def ended(target: Target) -> int:
    """Wait for the driver's end; its exit code. No driver since the last fault has said what none may say."""
    code = target.ended()
    wrong = [said for said in target.said if wrong_in(said)]
    assert not wrong, wrong[0]
    if code == 1:
        assert "go on with: kdstudy resume" in target.said[-1] or "stopped" in target.said[-1], target.said[-1]
    if code != -signal.SIGKILL:  # what a killed one leaves ends with the next that starts a cluster
        eventually(lambda: not of_this_study(target.started.pid), what="its cluster outlived the driver")
    if code == 0:
        eventually(lambda: not any(map(of_this_study, target.drivers)), what="a killed driver's cluster is left")
    return code


def assert_same(target: Target, undisturbed: Path) -> None:
    assert_consistent(target.folder)
    assert_same_study(target.folder, undisturbed)
    for row in trial_rows(target.folder):
        trial = f"{row['arm']}-{row['trial']:05}"
        stored = stored_weights(target.bucket, "tiny", trial) if target.bucket else None
        found = stored or weights(target.folder, trial)
        expected = weights(undisturbed, trial)
        assert found.keys() == expected.keys(), trial
        assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items()), trial


def test_random_faults_change_no_table_and_no_weight(tmp_path: Path) -> None:
    data, draws = tmp_path / "data", random.Random(SEED)
    order = FaultOrder(draws)
    write_dataset(data)
    whole = write_whole(tmp_path, data)
    done = kdstudy("run", whole, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(trial_rows(tmp_path / "run")) == TRIALS
    run, until = StressRun(), time.monotonic() + 60 * MINUTES
    try:
        while time.monotonic() < until:
            place = tmp_path / f"run-{run.studies}"
            with small_disk(place) as disk, s3_bucket() if draws.random() < 0.5 else nullcontext() as bucket:
                environment = {**ENVIRONMENT, **(bucket.environment if bucket else {})}
                target = Target(
                    folder=place / "run", file=whole, data=data, environment=environment, disk=disk, bucket=bucket
                )
                disturb(target, run, order, draws, until)
                assert_same(target, tmp_path / "run")
            run.studies += 1
            run.write()
    except BaseException as error:
        run.wrong = f"{type(error).__name__}: {error}"
        raise
    finally:
        run.write()
