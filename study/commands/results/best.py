"""`kdstudy best`: the best configurations of one or several studies, or those that no other is better than."""

import argparse
import json

from analysis.leaderboard import print_leaderboard
from analysis.pareto.fronts import pareto, plain
from analysis.pareto.view import print_fronts
from analysis.queries import best
from analysis.studies.study import open_study
from study.commands.options import add_folders, add_json
from study.measures import COSTS


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_folders(parser)
    parser.add_argument("--top", type=int, default=1, metavar="N", help="configurations of all arms, and of each")
    parser.add_argument(
        "--pareto", action="store_true", help="instead, the trials that no other beats in mIoU and what they take"
    )
    parser.add_argument(
        "--against", action="append", default=[], choices=COSTS, help="a cost of --pareto; several make one front"
    )
    add_json(parser)


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    if options.pareto:
        return _pareto(options)
    if options.against:
        raise ValueError("--against names a cost of a Pareto front, but --pareto was not given; add it")
    answer = best(*options.folders, top=options.top)
    if options.json:
        print(json.dumps(answer))
    else:
        print_leaderboard(answer)
    return 0


def _pareto(options: argparse.Namespace) -> int:
    found = [pareto(open_study(folder), options.against) for folder in options.folders]
    if options.json:
        print(json.dumps([plain(one) for one in found]))
        return 0
    for one in found:
        print_fronts(one)
    return 0
