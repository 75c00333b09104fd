"""The plugins that a file lists, read and imported, so that what else the file says can name their parts."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trainers.config import plain
from trainers.plugins.content import Plugin, read_plugin
from trainers.plugins.loading import load, load_values

PLUGINS = "plugins"
"""The key of a study's file, and of a trial's."""


def with_plugins(values: Mapping[str, Any], beside: Path) -> tuple[dict[str, Any], list[str]]:
    """Import the plugins of a study's or a trial's plain values.

    Args:
        values: in which plugins are a list of paths, as a person writes them, or a mapping, as kdstudy does.
        beside: the folder that paths are relative to, which is the file's.

    Returns:
        The values with each plugin by its name; and what is wrong with others, a line each, which are left out.
    """
    listed = values.get(PLUGINS, {})
    if isinstance(listed, Mapping):
        load_values(values)
        return dict(values), []
    if not isinstance(listed, list) or not all(isinstance(path, str) for path in listed):
        fault = f"{PLUGINS}: must be a list of paths, but got {listed!r}; for example [my_losses.py]"
        return {**values, PLUGINS: {}}, [fault]
    found, faults = open_plugins(beside / path for path in listed)
    return {**values, PLUGINS: plain(found)}, [f"{PLUGINS}: {fault}" for fault in faults]


def open_plugins(paths: Iterable[Path]) -> tuple[dict[str, Plugin], list[str]]:
    """Read and import plugins; and what is wrong with others, a line each."""
    found: dict[str, Plugin] = {}
    faults: list[str] = []
    for path in paths:
        try:
            name, plugin = read_plugin(path)
            if name in found:
                raise ValueError(
                    f"a plugin's name must stand for one, but {name} is {found[name].path} and {path}; rename one"
                )
            load({name: plugin})
            found[name] = plugin
        except ValueError as error:
            faults.append(str(error))
    return found, faults
