"""`kdstudy validate`: every fault and every warning of a study at once; nothing is started.

Faults make the exit code 2, warnings alone do not."""

import argparse
from pathlib import Path

from study.commands.checked import checked_study
from study.commands.options import add_arms, add_study
from study.configuration.config import StudyConfig
from study.configuration.recordings.plan import plan_recordings
from study.configuration.tuning import NO_CAP
from trainers.data.groups import image_groups
from trainers.data.splits import judging_images


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_study(parser)
    add_arms(parser)


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    config, found = checked_study(options.study, options.sets, options.arms)
    print(f"{config.name}: {'no faults, but warnings' if found.warnings else 'well'}")
    for name, arm in config.arms.items():
        if arm.replicated:
            told = f"{arm.trials} replicates, seeds {config.seed} to {config.seed + arm.trials - 1}"
        else:
            told = f"{_budget(config, name)}, none stopped before iteration {config.grace(name)}"
        print(f"  {name}: {told}{_matched(config, name)}")
    groups = image_groups(judging_images(config.data, config.evaluate_on, holdout=config.holdout), config.groups)
    for line in plan_recordings(config, Path("runs") / config.name).lines:
        print(f"  {line}")
    print(f"  judged on {config.evaluate_on}: {len(groups)} images, groups of them: {len(set(groups.values()))}")
    return 0


def _budget(config: StudyConfig, arm: str) -> str:
    budget, trials = config.budget_of(arm), config.arms[arm].trials
    if budget is None:
        return f"{trials} trials"
    ((unit, amount),) = budget.given.items()
    cap = "" if trials == NO_CAP else f", at most {trials} trials"
    return f"{amount:g} {unit.replace('_', ' ')}{cap}"


def _matched(config: StudyConfig, arm: str) -> str:
    other = config.arms[arm].matched
    return "" if other is None else f"; {config.iterations_of(arm)} iterations, at the cost of a trial of {other}"
