"""A driver that was submitted to a cluster as a job: Ray runs it in a copy of the folder that it was sent from.

The copy lies on one node and goes with the job, so what a study leaves must not lie in it.
"""

import os
from pathlib import Path

from study import BESIDE, ROOT

PACKAGES = ("study", *BESIDE)
_MARK = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray sets this variable, which is really called so, in the process that a job starts."""


def submitted() -> bool:
    """Whether this driver was submitted as a job."""
    return _MARK in os.environ


def refuse_foreign_packages() -> None:
    """Raise ValueError where a submitted driver's workers would import others' packages of our names.

    The folder that a job was sent from stands first on the path of every process of it, on every node.
    """
    if not submitted() or Path.cwd().samefile(ROOT):
        return
    candidates = [Path.cwd() / name for package in PACKAGES for name in (f"{package}.py", f"{package}/__init__.py")]
    for found in filter(Path.exists, candidates):
        raise ValueError(
            f"a folder that is sent with a job must hold nothing that Python takes for {', '.join(PACKAGES)}, but "
            f"there is {found.relative_to(Path.cwd())}; rename it, or submit from another folder"
        )


def default_address() -> str:
    """The cluster to join where none is named: a submitted driver's own one, else one of this machine's."""
    return "auto" if submitted() else "local"


def refuse_copies(places: dict[str, Path | None]) -> None:
    """Raise ValueError where a submitted driver would write to the copy; None stands for a folder below runs/.

    Args:
        places: what is written where, by the name of its setting.
    """
    if not submitted():
        return
    for name, place in places.items():
        if place is None or Path.cwd() in (Path.cwd() / place).parents:
            raise ValueError(
                f"{name} must be an absolute path on storage that all nodes see, because a submitted job runs in a "
                f"copy of its folder that is lost with it, but got {place or 'the default below runs/'}; for example "
                f"/shared/{place.name if place else 'study'}"
            )
