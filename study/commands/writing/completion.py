"""`kdstudy completion`: a shell's completion of commands, options and presets."""

import argparse

import shtab

from study.commands.parser import whole_parser


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    parser.add_argument("shell", choices=shtab.SUPPORTED_SHELLS, help="whose completion to print")


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    print(shtab.complete(whole_parser(), options.shell))
    return 0
