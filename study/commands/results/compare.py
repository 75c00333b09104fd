"""`kdstudy compare`: is A better than B?."""

import argparse
import json
from dataclasses import asdict

from analysis.comparison.comparison import compare
from analysis.comparison.view import print_comparison, sentence
from study.commands.options import add_json


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    for side in ("a", "b"):
        parser.add_argument(side, metavar=side.upper(), help="DIR (its best trial), DIR:ARM or DIR:ARM-N")
    parser.add_argument(
        "--evaluation", choices=("last", "best"), help="of each run; by default what the search maximised"
    )
    add_json(parser)


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    compared = compare(options.a, options.b, options.evaluation)
    if options.json:
        print(json.dumps({"answer": sentence(compared), **asdict(compared)}))
    else:
        print_comparison(compared)
    return 0
