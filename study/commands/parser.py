"""The parser of the command line.

Exit codes: 0 done, 1 the run failed or was stopped, 2 the input is wrong. With --json, standard output holds one JSON
document and nothing else; what is meant for the eye goes to standard error.
"""

import argparse
from collections.abc import Sequence
from importlib.metadata import version

from study.commands import commands


def whole_parser() -> argparse.ArgumentParser:
    """The parser of all commands with all their options; imports every command."""
    return command_parser((), every=True)


def command_parser(arguments: Sequence[str], *, every: bool = False) -> argparse.ArgumentParser:
    """The parser of all commands, with the options of the one that is called: only its module is imported."""
    parser = argparse.ArgumentParser(prog="kdstudy", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--version", action="version", version=f"kdstudy {version('kdstudy')}")
    known = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name, command in commands().items():
        sub = known.add_parser(name, help=command.text, description=command.text)
        if every or name in arguments[:1]:
            command.load().add_options(sub)
    return parser
