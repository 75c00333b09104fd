"""Options and arguments that several commands share, and the exit codes of all."""

import argparse
import re
from pathlib import Path

from study.configuration.plugins import open_plugins
from study.execution.submission import default_address
from trainers.config import ConfigError

FAILED, WRONG_INPUT = 1, 2


def add_study(parser: argparse.ArgumentParser) -> None:
    """STUDY and --set."""
    parser.add_argument("study", metavar="STUDY", help="a preset's name or a YAML file")
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", dest="sets", help="for example data.root=/data"
    )


def add_arms(parser: argparse.ArgumentParser, text: str = "only this arm; may be given repeatedly") -> None:
    """--arm, for several."""
    parser.add_argument("--arm", action="append", default=[], metavar="ARM", dest="arms", help=text)


def add_out(parser: argparse.ArgumentParser) -> None:
    """--out, a folder."""
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to write; below runs/ by default")


def add_folder(parser: argparse.ArgumentParser) -> None:
    """DIR, a study's folder."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="a study's folder")


def add_folders(parser: argparse.ArgumentParser) -> None:
    """DIR..., folders of several studies."""
    parser.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="folders of studies on one dataset")


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """--address, of a Ray cluster."""
    default = default_address()
    parser.add_argument("--address", default=default, help=f"Ray cluster: auto, local or host:port; here {default}")


def add_time_limit(parser: argparse.ArgumentParser) -> None:
    """--time-limit."""
    parser.add_argument(
        "--time-limit",
        type=duration,
        metavar="TIME",
        help="stop cleanly after this wall-clock time, ready for resume: 90s, 30m, 2h, 1h30m",
    )


def add_verbose(parser: argparse.ArgumentParser) -> None:
    """--verbose."""
    parser.add_argument(
        "--verbose", action="store_true", help="show what trials print; their log.txt has it in any case"
    )


def duration(text: str) -> float:
    """Seconds of a duration such as `1h30m`.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    found = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    units = (86400, 3600, 60, 1)
    seconds = sum(int(n or 0) * unit for n, unit in zip(found.groups(), units, strict=True)) if found else 0
    if not seconds:
        raise argparse.ArgumentTypeError(f"must be a time above 0 such as 90s, 30m, 2h or 1h30m, but got {text!r}")
    return seconds


def add_plugins(parser: argparse.ArgumentParser) -> None:
    """--plugin, for several."""
    parser.add_argument(
        "--plugin",
        type=Path,
        action="append",
        default=[],
        metavar="PATH",
        dest="plugins",
        help="a file or folder of your own whose parts are meant; may be given repeatedly",
    )


def load_plugins(options: argparse.Namespace) -> None:
    """Import what --plugin names.

    Raises:
        ConfigError: with every fault.
    """
    _, faults = open_plugins(options.plugins)
    if faults:
        raise ConfigError([f"--plugin: {fault}" for fault in faults])


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
