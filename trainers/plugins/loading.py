"""Imports plugins, and lets the registry find their parts: the only place that runs a user's files.

A plugin is imported from a copy whose content has been held against its hash. The folder of the copy stands on Python's
path, so that processes which inherit the path, such as those that load images, find its classes by their names.
"""

import atexit
import importlib
import pkgutil
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from trainers.plugins.content import COPIES, PACKAGE, Plugin, copied, module_name, named_plugins, refuse_changed
from trainers.registry import KINDS, Part, config_class, forget, import_foreign, register

_loaded: dict[str, tuple[Plugin, frozenset[str]]] = {}
"""What is loaded in this process, by name, with the packages that it has parts of."""


def load(plugins: Mapping[str, Plugin]) -> None:
    """Import plugins and register their parts; those that are loaded already are passed over.

    Raises:
        ValueError: a plugin has changed, cannot be imported, has no part, or one whose name is taken.
    """
    for name, plugin in plugins.items():
        if name not in _loaded or _loaded[name][0].sha256 != plugin.sha256:
            _load(name, plugin)


def load_values(values: Any, near: Path | None = None) -> None:
    """Load the plugins of a trial's plain values.

    Args:
        values: the trial's.
        near: the folder of its checkpoint, for a study that was moved: the copies lie in a folder above it then.

    Raises:
        ValueError: as `load`.
    """
    named = named_plugins(values)
    load({name: replace(plugin, path=_place(Path(plugin.path), near)) for name, plugin in named.items()})


def _place(path: Path, near: Path | None) -> str:
    """Where a copy lies: at its path, else in a folder above `near`."""
    above = () if near is None or path.exists() else near.absolute().parents
    found = (copy for folder in above if (copy := folder / COPIES / PACKAGE / path.name).exists())
    return str(next(found, path))


def _load(name: str, plugin: Plugin) -> None:
    if not name.isidentifier():
        raise ValueError(f"plugins: a name must be one that Python allows, but got {name!r}; rename it")
    path = Path(plugin.path)
    refuse_changed(name, plugin)
    if path.parent.name != PACKAGE:
        plugin = copied(name, plugin, _own_place())
        path = Path(plugin.path)
    place = str(path.parents[1])
    if place not in sys.path:
        sys.path.append(place)
        importlib.invalidate_caches()
    owner = f"plugin {name}"
    forget(owner)
    _loaded.pop(name, None)
    try:
        kinds = _register(name, owner, _imported(name, plugin, owner))
    except ValueError:
        forget(owner)
        raise
    _loaded[name] = plugin, kinds


def _register(name: str, owner: str, module: ModuleType) -> frozenset[str]:
    """Let the registry find the parts of a plugin; the packages that it has parts of."""
    kinds = set()
    for part, inside in _modules(name, module):
        for package in _packages(inside):
            register(package, part, Part(inside.__name__, owner))
            kinds.add(package)
    if not kinds:
        own = {each for each, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__}
        lone = sorted(own & {"Config", *KINDS.values()})
        has = f"{' and '.join(lone)} alone" if lone else "none of them"
        raise ValueError(
            f"a plugin must have a Config beside a {', '.join(sorted(KINDS.values()))}, but {owner} has {has}; "
            "docs/own-methods.md shows one"
        )
    return frozenset(kinds)


def _imported(name: str, plugin: Plugin, owner: str) -> ModuleType:
    """The module of a copy that stands on Python's path."""
    known = module_name(name, plugin)
    if known in sys.modules:
        return sys.modules[known]
    try:
        module = import_foreign(known, owner)
    except ValueError as error:
        # of a copy, whose name its author has not given
        copy = Path(plugin.path)
        said = str(error).replace(str(copy), copy.name).replace(f"{known.rpartition('.')[2]}.py", f"{name}.py")
        raise ValueError(said) from error
    inside = getattr(module, "__path__", None)
    # the path may have led to another place first
    refuse_changed(name, replace(plugin, path=str(next(iter(inside)) if inside else module.__file__)))
    return module


@cache
def _own_place() -> Path:
    """A folder of this process for copies of plugins that no study keeps."""
    place = tempfile.mkdtemp(prefix="kdp")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return Path(place)


def _modules(name: str, module: ModuleType) -> Iterator[tuple[str, ModuleType]]:
    """What may hold parts, by their names: a file's module, or the modules in a folder but for its tests."""
    if not hasattr(module, "__path__"):
        yield name, module
        return
    for info in pkgutil.iter_modules(module.__path__):
        if info.name.startswith(("_", "test_", "conftest")):
            continue
        yield info.name, import_foreign(f"{module.__name__}.{info.name}", f"plugin {name}")


def _packages(module: ModuleType) -> Iterator[str]:
    """The packages here that a module has a part of."""
    for package, kind in KINDS.items():
        found = getattr(module, kind, None)
        own = isinstance(found, type) and found.__module__ == module.__name__
        if own and config_class(package, module) is not None:
            yield package


def of_parts(*configs: Any) -> set[str]:
    """The plugins whose classes are in these configurations, at any depth."""
    found: set[str] = set()
    for config in configs:
        if is_dataclass(config):
            found |= _of_class(type(config)) | of_parts(*(getattr(config, f.name) for f in fields(config)))
        elif isinstance(config, Mapping):
            found |= of_parts(*config.values())
        elif isinstance(config, list | tuple):
            found |= of_parts(*config)
    return found


def _of_class(kind: type) -> set[str]:
    module = ".".join(kind.__module__.split(".")[:2])
    return {name for name, (plugin, _) in _loaded.items() if module_name(name, plugin) == module}


def of_packages(packages: Iterable[str]) -> set[str]:
    """The plugins that have a part of one of these packages."""
    return {name for name, (_, kinds) in _loaded.items() if not kinds.isdisjoint(packages)}
