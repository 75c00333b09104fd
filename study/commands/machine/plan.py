"""`kdstudy plan`: what a study will take on this machine, from a few real steps of each arm.

No trial is trained but for `--noise`.
"""

import argparse
import json
from pathlib import Path

from study.commands.checked import checked_study
from study.commands.machine.plan_view import print_plan
from study.commands.machine.planning import NoiseSource, planned
from study.commands.options import FAILED, WRONG_INPUT, add_arms, add_json, add_study


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_study(parser)
    add_arms(parser)
    add_json(parser)
    parser.add_argument("--seeds", type=int, metavar="N", help="plan replicates of each arm's best with so many seeds")
    noise = parser.add_mutually_exclusive_group()
    noise.add_argument("--noise", type=int, metavar="K", help="train K short replicates of each arm for their noise")
    noise.add_argument("--noise-from", type=Path, metavar="DIR", help="the noise of a study that has several seeds")
    noise.add_argument(
        "--noise-points",
        type=float,
        metavar="SD",
        help="standard deviation of one setting's mIoU over seeds",
    )


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    config, _ = checked_study(options.study, options.sets, options.arms)
    noise = NoiseSource(replicates=options.noise, study=options.noise_from, points=options.noise_points)
    found = planned(config, seeds=options.seeds, noise=noise)
    if options.json:
        print(json.dumps(found.values()))
    else:
        print_plan(found)
    if found.plan.refused:
        return WRONG_INPUT
    lacks_noise = options.noise and found.seeds.methods and found.seeds.noise is None
    return FAILED if found.plan.faults or lacks_noise else 0
