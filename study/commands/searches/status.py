"""`kdstudy status`: the trials of a study by arm and state, running or not."""

import argparse
import json

from study.commands.options import add_folder, add_json
from study.folder import read_outline
from study.ledger.ledger import status
from study.ledger.presence import refuse_missing


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_folder(parser)
    add_json(parser)


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    outline = read_outline(options.folder)
    refuse_missing(outline, options.folder)
    found = status(outline, options.folder)
    if options.json:
        print(json.dumps(found))
        return 0
    for arm, counts in found.items():
        print(f"{arm}: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
    return 0
