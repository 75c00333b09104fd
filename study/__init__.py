"""A study: search, run, resume; the only package that knows all the others."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from study.api import Study as Study
    from study.api import load as load
    from study.api import read as read
    from study.api import resume as resume
    from study.api import run as run

OFFERED = ("Study", "load", "read", "resume", "run")
"""Names of `study.api` that stand here too; what they need is imported when one is asked for."""


def __getattr__(name: str) -> Any:
    if name in OFFERED:
        return getattr(import_module("study.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted((*globals(), *OFFERED))
