"""`kdstudy best`: the best configurations of one or several studies."""

import argparse
import json

from analysis.leaderboard import print_leaderboard
from analysis.queries import best
from study.commands.options import add_folders, add_json


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_folders(parser)
    parser.add_argument("--top", type=int, default=1, metavar="N", help="configurations of all arms, and of each")
    add_json(parser)


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    answer = best(*options.folders, top=options.top)
    if options.json:
        print(json.dumps(answer))
    else:
        print_leaderboard(answer)
    return 0
