"""`kdstudy resume`: go on with a study, or extend it."""

import argparse

from study.commands.options import add_arms, add_cluster, add_folder, add_time_limit, add_verbose
from study.commands.searches.driving import drive
from study.configuration.changes import Changes


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_folder(parser)
    add_cluster(parser)
    add_time_limit(parser)
    add_verbose(parser)
    parser.add_argument("--trials", type=int, metavar="N", help="raise the budget of every arm to so many trials")
    parser.add_argument("--retry-failed", action="store_true", help="run failed trials again, with the same values")
    add_arms(parser, "whose trials; may be given repeatedly")
    parser.add_argument(
        "--accept-data", action="store_true", help="go on although the dataset has changed; trials will not compare"
    )
    what = "execution.*, searches, budget.*, arms.*.trials, arms.*.budget, teacher.record"
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", dest="sets", help=what)


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    changes = Changes(
        sets=tuple(options.sets),
        trials=options.trials,
        retry_failed=options.retry_failed,
        arms=tuple(options.arms),
        accept_data=options.accept_data,
    )
    return drive(options.folder, options.address, changes, time_limit_s=options.time_limit, verbose=options.verbose)
