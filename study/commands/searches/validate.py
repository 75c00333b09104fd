"""`kdstudy validate`: every fault and every warning of a study at once; nothing is started.

Faults make the exit code 2, warnings alone do not."""

import argparse

from study.commands.checked import checked_study
from study.commands.options import add_arms, add_study


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
            print(f"  {name}: {arm.trials} replicates, seeds {config.seed} to {config.seed + arm.trials - 1}")
        else:
            print(f"  {name}: {arm.trials} trials, none stopped before iteration {config.grace(name)}")
    return 0
