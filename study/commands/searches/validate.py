"""`kdstudy validate`: every fault of a study at once; nothing is started."""

import argparse

from study.commands.options import add_arms, add_study
from study.configuration.loading import load
from trainers.data.groups import image_groups
from trainers.data.splits import judging_images


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_study(parser)
    add_arms(parser)


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    config = load(options.study, options.sets, options.arms)
    print(f"{config.name}: well")
    for name, arm in config.arms.items():
        if arm.replicated:
            print(f"  {name}: {arm.trials} replicates, seeds {config.seed} to {config.seed + arm.trials - 1}")
        else:
            print(f"  {name}: {arm.trials} trials, none stopped before iteration {config.grace(name)}")
    groups = image_groups(judging_images(config.data, config.evaluate_on, holdout=config.holdout), config.groups)
    print(f"  judged on {config.evaluate_on}: {len(groups)} images, groups of them: {len(set(groups.values()))}")
    return 0
