"""`kdstudy replay`: what other early stopping, another budget or fewer seeds would have made of a study."""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, replace

from analysis.replay.replay import replay
from analysis.replay.schedule import KINDS, Schedule
from analysis.replay.seeds import replay_seeds
from analysis.replay.view import print_replay, print_seeds
from analysis.studies.study import Study, open_study
from study.commands.options import add_folder, add_json


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_folder(parser)
    parser.add_argument("--pruning", choices=KINDS, help="kind of early stopping; all kinds where nothing is asked")
    parser.add_argument(
        "--reduction-factor", type=int, choices=(2, 3, 4, 5), metavar="N", help="one in so many goes on from a rung"
    )
    parser.add_argument("--grace", type=_at_least(1), metavar="ITERATIONS", help="the first rung")
    parser.add_argument(
        "--keep-every", type=_at_least(0), metavar="K", help="let every K-th trial run through; 0 for none"
    )
    parser.add_argument("--budget", type=_positive, metavar="WHOLE_TRIALS", help="that each arm may spend")
    parser.add_argument("--trials", type=_at_least(1), metavar="N", help="that each arm may have")
    parser.add_argument(
        "--seeds", type=int, metavar="N", help="the verdict on the replicates as if they had so many seeds"
    )
    add_json(parser)


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} on, but got {text!r}")
        return int(text)

    return number


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, but got {text!r}")
    return value


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    study = open_study(options.folder)
    schedules = _asked(study, options)
    if options.seeds is not None:
        return _seeds(study, options, schedules)
    found = replay(study, schedules, budget=options.budget, trials=options.trials)
    if options.json:
        print(json.dumps(asdict(found)))
    else:
        print_replay(found)
    return 0


def _seeds(study: Study, options: argparse.Namespace, schedules: tuple[Schedule, ...]) -> int:
    if schedules or options.budget or options.trials:
        raise ValueError(
            "--seeds is about replicates, which are not stopped early, but got options of a search beside it; give "
            "it alone"
        )
    found = replay_seeds(study, options.seeds)
    if options.json:
        print(json.dumps(asdict(found)))
    else:
        print_seeds(found)
    return 0


def _asked(study: Study, options: argparse.Namespace) -> tuple[Schedule, ...]:
    """The schedule that differs from the study's own in what was asked; none where nothing was."""
    named = {"kind": options.pruning, "reduction_factor": options.reduction_factor, "grace": options.grace}
    changes = {name: value for name, value in named.items() if value is not None}
    if options.keep_every is not None:
        changes["keep_every"] = options.keep_every or None
    return (replace(Schedule.of(study.config), **changes),) if changes else ()
