"""`kdstudy doctor`: whether trials train on this machine as they should, in a file to send with a report of a fault."""

import argparse
import json
from pathlib import Path

from study.commands.options import FAILED, add_json
from trainers.doctor.examination import Outcome, examine, of_this_machine, record

FILE = Path("kdstudy-doctor.json")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_json(parser)
    parser.add_argument("--quick", action="store_true", help="tiny networks throughout: steps are right, times are not")
    parser.add_argument("--out", type=Path, default=FILE, metavar="FILE", help=f"what is written; {FILE} by default")


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    outcomes = examine(of_this_machine(quick=options.quick), _silent if options.json else _say)
    found = json.dumps(record(outcomes), indent=1)
    options.out.write_text(found)
    failed = [outcome.name for outcome in outcomes if not outcome.well]
    if options.json:
        print(found)
    else:
        told = f"faults: {len(failed)} of {len(outcomes)} checks" if failed else f"well: all {len(outcomes)} checks"
        print(f"{told}; {options.out} has versions, devices and figures")
    return FAILED if failed else 0


def _say(outcome: Outcome) -> None:
    print(f"{'well ' if outcome.well else 'FAULT'}  {outcome.name}: {outcome.text}", flush=True)


def _silent(_: Outcome) -> None:
    pass
