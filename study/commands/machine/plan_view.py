"""A plan as text."""

import sys
from collections.abc import Iterator

from rich.console import Console

from analysis.printing import numbers, say, wide
from study.commands.machine.planning import SeedsPlan, StudyPlan
from study.configuration.config import TEACHER
from study.configuration.recordings.text import bytes_text
from study.execution.display.view import duration_text
from study.execution.planning.plan import Plan, Spend


def print_plan(found: StudyPlan, console: Console | None = None) -> None:
    """Print it; what fails or does not fit goes to standard error."""
    console, plan = console or wide(), found.plan
    say(console, f"{plan.study} on {plan.machine}, {plan.at_a_time} trials at a time")
    console.print()
    if plan.arms:
        _print_arms(plan, console)
        for line in _totals(plan):
            say(console, line)
    for line in _seeds(found.seeds):
        say(console, line)
    for name, why in plan.faults.items():
        print(f"kdstudy: {name}: cannot be trained, and is in none of these figures: {why}", file=sys.stderr)
    for line in plan.refused:
        print(f"kdstudy: {line}", file=sys.stderr)


def _print_arms(plan: Plan, console: Console) -> None:
    table = numbers("", "ms/iteration", "evaluation s", "peak MiB", "checkpoint", "trials", "iterations", "whole trial")
    for name, arm in plan.arms.items():
        table.add_row(
            name,
            f"{arm.iteration_ms:.0f}",
            f"{arm.evaluation_s:.1f}",
            f"{arm.peak_mib:.0f}",
            bytes_text(arm.checkpoint_bytes),
            str(arm.trials),
            f"{arm.iterations:.0f}",
            duration_text(arm.whole_trial_s),
        )
    console.print(table)


def _totals(plan: Plan) -> Iterator[str]:
    if plan.teacher is not None:
        arm = plan.arms.get(TEACHER)
        yield f"teacher: {plan.teacher}{f', {duration_text(arm.whole_trial_s)}' if arm else ''}"
    if plan.recordings_bytes:
        yield (
            f"recordings of the teacher's outputs: {bytes_text(plan.recordings_bytes)}; it computes at "
            f"{100 * plan.live_share:.0f} % of the steps of trials that read them"
        )
    yield f"disk: {bytes_text(plan.disk_bytes)} of checkpoints and recordings"
    at_most = "" if plan.foreseen else ", at most: what early stopping spares is not in it"
    yield f"the study: {_spend(plan.search)}{at_most}"
    if plan.replicates is not None:
        yield f"replicates of every arm's best with {plan.seeds} seeds: {_spend(plan.replicates)}"


def _spend(spend: Spend) -> str:
    gpus = f", {spend.gpu_hours:.2f} GPU-hours" if spend.gpu_hours else ""
    return f"{duration_text(spend.wall_s)}, {spend.core_hours:.2f} core-hours{gpus}"


def _seeds(found: SeedsPlan) -> Iterator[str]:
    if found.noise is None or not found.methods:
        yield f"seeds: {found.source}"
    else:
        yield f"noise of a difference over seeds: {found.noise.seed_points:.2f} points, {found.source}{_images(found)}"
        for points, seeds in found.needed.items():
            many = "no number of seeds" if seeds is None else f"{seeds} seeds"
            yield f"a difference of {points:g} points is shown in 80 % of studies by {many}"
        if found.shown is not None:
            yield f"the planned seeds show {found.shown:.2f} points"


def _images(found: SeedsPlan) -> str:
    assert found.noise is not None
    if not found.noise.image_points:
        return "; what is shown holds on these images"
    return f"; {found.noise.image_points:.2f} more from which images there are, which seeds do not lessen"
