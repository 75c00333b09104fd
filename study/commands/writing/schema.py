"""`kdstudy schema`: the keys of a study's YAML as a JSON Schema, for editors."""

import argparse
import json
from pathlib import Path

from study.configuration.schema import study_schema


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    parser.add_argument("--out", type=Path, metavar="FILE", help="file to write; standard output by default")


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    text = json.dumps(study_schema(), indent=2)
    if options.out is None:
        print(text)
        return 0
    options.out.write_text(text + "\n")
    print(f"written to {options.out}; at the top of a study's file: # yaml-language-server: $schema={options.out}")
    return 0
