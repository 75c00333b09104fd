"""`kdstudy presets`: the studies that come with kdstudy, and their files."""

import argparse

from study.configuration.loading import presets
from trainers.registry import nearest


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="print this one's file; without it, list all")


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    found = presets()
    if options.name is None:
        width = max(map(len, found))
        for name, path in found.items():
            print(f"{name:{width}}  {_summary(path.read_text())}")
        return 0
    if options.name not in found:
        raise ValueError(f"NAME must be a preset, but got {options.name!r}; {nearest(options.name, found)}")
    print(found[options.name].read_text(), end="")
    return 0


def _summary(text: str) -> str:
    """The first sentence of the comment at a file's beginning."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").rstrip())
    text = " ".join(line for line in lines if not line.startswith("yaml-language-server"))
    return text.partition(". ")[0].removesuffix(".")
