"""`kdstudy tuning-curves`: the best found against cost, and at what budget the answer changes."""

import argparse
import json
from dataclasses import asdict

from analysis.studies.study import open_study
from analysis.tuning_curves.leaders import tuning_curves
from analysis.tuning_curves.view import print_tuning_curves
from study.commands.options import add_folder, add_json


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_folder(parser)
    add_json(parser)


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    found = tuning_curves(open_study(options.folder))
    if options.json:
        print(json.dumps(asdict(found)))
    else:
        print_tuning_curves(found)
    return 0
