"""`kdstudy verdict`: which method is really better, and how sure that is."""

import argparse
import json
from dataclasses import asdict

from analysis.studies.study import open_study
from analysis.verdict.verdict import verdict
from analysis.verdict.view import print_verdict
from study.commands.options import add_folder, add_json


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_folder(parser)
    add_json(parser)


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    found = verdict(open_study(options.folder))
    if options.json:
        print(json.dumps(asdict(found)))
    else:
        print_verdict(found)
    return 0
