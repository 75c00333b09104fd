"""`kdstudy run`: start a study."""

import argparse
from pathlib import Path

from study.commands.checked import checked_study
from study.commands.options import add_arms, add_cluster, add_out, add_study, add_time_limit, add_verbose
from study.commands.searches.driving import drive, refuse_lost_places
from study.execution import session
from study.folder import create_study, starting


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_study(parser)
    add_arms(parser)
    add_out(parser)
    add_cluster(parser)
    add_time_limit(parser)
    add_verbose(parser)


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    session.refuse_client(options.address)
    config, _ = checked_study(options.study, options.sets, options.arms)
    refuse_lost_places(options.out, config)
    folder = (options.out or Path("runs") / config.name).absolute()
    create_study(config, folder)
    with starting(folder):
        return drive(folder, options.address, time_limit_s=options.time_limit, verbose=options.verbose)
