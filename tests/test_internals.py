"""The private parts of Optuna and of Ray are reached from one file each, so that an upgrade is one file's work."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_safety import ROOT, SOURCES

LIBRARIES = ("optuna", "ray")
ATTRIBUTES = {"_trial_id", "_study_id", "_storage", "system_attrs", "set_trial_system_attr", "error_file"}
"""Of Optuna's trials, studies and storages, and of Tune's trials."""
ALLOWED = {Path("study/ledger/optuna_internals.py"), Path("study/execution/ray_train.py")}


def private_parts(source: str) -> Iterator[str]:
    """What a module uses of them, with its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and _is_private(f"{node.module}"):
            yield f"line {node.lineno}: {node.module}"
        if isinstance(node, ast.Import):
            yield from (f"line {node.lineno}: {alias.name}" for alias in node.names if _is_private(alias.name))
        if isinstance(node, ast.Attribute) and node.attr in ATTRIBUTES:
            yield f"line {node.lineno}: {node.attr}"


def _is_private(module: str) -> bool:
    package, *parts = module.split(".")
    return package in LIBRARIES and any(part.startswith("_") for part in parts)


def test_private_parts_stay_in_their_files() -> None:
    using = {path.relative_to(ROOT): list(private_parts(path.read_text())) for path in SOURCES}
    assert {path for path, found in using.items() if found} == ALLOWED, using


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("from optuna.storages.journal._storage import JournalOperation", 1),
        ("from ray.train.v2._internal.execution import controller", 1),
        ("import ray._raylet as raylet", 1),
        ("storage.get_trial(trial._trial_id)", 1),
        ("study._storage.set_trial_system_attr(1, 'a', 2)", 2),
        ("from optuna.trial import FrozenTrial\nimport ray\nfrom study import _private", 0),
    ],
)
def test_it_is_seen_where_it_is(source: str, count: int) -> None:
    assert len(list(private_parts(source))) == count
