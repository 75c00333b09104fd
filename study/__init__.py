"""A study: search, run, resume; the only package that knows all the others.

Python looks in the working directory before it looks where packages are installed, so a user's own folder `trainers`
would stand in the place of ours. Importing this package makes ours win, wherever they lie beside it.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from study.api import NoiseSource as NoiseSource
    from study.api import Study as Study
    from study.api import load as load
    from study.api import plan as plan
    from study.api import read as read
    from study.api import resume as resume
    from study.api import run as run

OFFERED = ("NoiseSource", "Study", "load", "plan", "read", "resume", "run")
"""Names of `study.api` that stand here too; what they need is imported when one is asked for."""

ROOT = Path(__file__).parents[1]
"""The folder that this package lies in, and the others with it."""
BESIDE = ("analysis", "search_spaces", "trainers")


class OwnPackages:
    """Finds the packages beside this one before any of the same names elsewhere."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As Python asks of what it finds modules with."""
        return PathFinder.find_spec(name, [str(ROOT)]) if name in BESIDE else None


def _refuse_others() -> None:
    """Raise ImportError where a package of one of our names was imported before this one."""
    for name in BESIDE:
        found = getattr(sys.modules.get(name), "__file__", None)
        ours = ROOT / name / "__init__.py"
        if found and ours.exists() and not ours.samefile(found):
            raise ImportError(
                f"{name} must be kdstudy's, but {found} was imported under this name; rename that, or import study "
                "before it"
            )


def __getattr__(name: str) -> Any:
    if name in OFFERED:
        return getattr(import_module("study.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted((*globals(), *OFFERED))


_refuse_others()
sys.meta_path.insert(0, OwnPackages())
