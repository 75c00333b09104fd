"""An examination from start to end: every check, whatever another one finds, and a record of it that can be shared."""

import getpass
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from trainers.doctor import cases, machine
from trainers.doctor.checks import Check, Examination, UnwellError, checks

HERE = Path(__file__).parents[2]
OURS = Path(__file__).parents[1]
"""The package whose lines a fault is told by; below HERE a virtual environment may lie too."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a check ended.

    Attributes:
        name: of the check.
        well: whether nothing is wrong.
        text: a line, without the user's name and folders.
        figures: by name, with their units.
        seconds: that it took.
    """

    name: str
    well: bool
    text: str
    figures: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


def of_this_machine(*, quick: bool = False) -> Examination:
    """The first GPU, or the CPU where there is none.

    Args:
        quick: tiny networks throughout.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    device = torch.device("cuda", 0) if gpus else torch.device("cpu")
    steps = cases.SMALL if gpus and not quick else cases.TINY
    times = cases.TINY if quick else cases.PAPERS if gpus else cases.SMALL
    return Examination(device=device, steps=steps, times=times, gpus=gpus)


def examine(of: Examination, say: Callable[[Outcome], None]) -> list[Outcome]:
    """Run all checks; `say` is called with each outcome as it comes."""
    return run_all(checks(of), say)


def run_all(all_checks: Iterable[tuple[str, Check]], say: Callable[[Outcome], None]) -> list[Outcome]:
    """Run these checks by name; a fault in one is its outcome, and the next is run."""
    outcomes = []
    for name, check in all_checks:
        outcomes.append(_outcome(name, check))
        say(outcomes[-1])
    return outcomes


def record(outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """All that is worth knowing of a machine, to be written as JSON: versions, devices and outcomes."""
    return {
        "versions": machine.versions(),
        "devices": machine.devices(),
        "checks": [asdict(outcome) for outcome in outcomes],
    }


def _outcome(name: str, check: Check) -> Outcome:
    began = time.monotonic()
    try:
        text, figures = check()
    except UnwellError as error:
        return Outcome(name=name, well=False, text=private(str(error)), seconds=time.monotonic() - began)
    except Exception as error:  # noqa: BLE001  # whatever a driver or a library raises is what is looked for
        return Outcome(name=name, well=False, text=private(_fault(error)), seconds=time.monotonic() - began)
    return Outcome(name=name, well=True, text=text, figures=dict(figures), seconds=time.monotonic() - began)


def _fault(error: Exception) -> str:
    """Kind and message of an error, and the line of this program that it comes from."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(OURS)]
    where = f" at {Path(frames[-1].filename).relative_to(HERE)}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


def private(text: str) -> str:
    """A text without the user's name, and without the folders that may hold it."""
    for place, name in ((Path.cwd(), "."), (HERE, "."), (Path.home(), "~")):
        if place != Path(place.anchor):
            text = text.replace(str(place), name)
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user that has no name
        return text
    return text.replace(f"/{user}/", "/USER/")
