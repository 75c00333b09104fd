"""What a plugin is: a file or a folder, its name, a hash of its content, and a copy of it.

A file is one module, a folder a package. The copy is named by its content, in a folder that can stand on Python's path:
`PLACE/kdstudy_plugins/my_losses_0123456789ab.py`. So a plugin has one module name wherever it is imported, and two
contents of one name are two modules.
"""

import hashlib
import keyword
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

PACKAGE = "kdstudy_plugins"
"""The package that all plugins are modules of."""
COPIES = "plugins"
"""The folder, of a study or a trial, that holds the package of its copies."""
MAX_BYTES = 16 * 2**20
"""Of a plugin: it is code, and copied and hashed as a whole."""
DIGITS = 12
"""Of the hash, in the name of a copy."""


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A plugin; `sha256` of its content is its identity, `path` only where it lies."""

    path: str = field(metadata={"location": True})
    sha256: str


def read_plugin(path: Path) -> tuple[str, Plugin]:
    """The name and the content of what lies at a path.

    Raises:
        ValueError: there is nothing, or it is no module and no package.
    """
    if not path.exists():
        raise ValueError(f"a plugin must be a Python file or a folder, but there is no {path}; correct the path")
    if path.is_file() and path.suffix != ".py":
        raise ValueError(f"a plugin must be a Python file or a folder, but got {path}; name a .py file")
    name = path.resolve().stem if path.is_file() else path.resolve().name
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(
            f"a plugin is named by its file or folder, as Python names modules, but got {path}; rename it, as in "
            "my_losses.py"
        )
    return name, Plugin(path=str(path.absolute()), sha256=content_sha256(path))


def named_plugins(values: Any) -> dict[str, Plugin]:
    """The plugins of a study's or a trial's plain values, as kdstudy writes them; empty where they are anything else.

    Whoever reads all of the values tells what is wrong with them.
    """
    named = values.get("plugins") if isinstance(values, Mapping) else None
    found = [
        (name, Plugin(path=plugin["path"], sha256=plugin["sha256"]))
        for name, plugin in (named if isinstance(named, Mapping) else {}).items()
        if isinstance(plugin, Mapping) and all(isinstance(plugin.get(key), str) for key in ("path", "sha256"))
    ]
    return dict(found) if found and len(found) == len(named or ()) else {}


def content_sha256(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of all files in a folder.

    Raises:
        ValueError: it is more than code can be.
    """
    digest = hashlib.sha256()
    for name, file in _files(path).items():
        content = file.read_bytes()
        # the lengths keep two folders apart whose names and contents run into each other
        digest.update(f"{len(name)} {len(content)} {name}".encode())
        digest.update(content)
    return digest.hexdigest()


def _files(path: Path) -> Mapping[str, Path]:
    """The files of a plugin by their paths in it, sorted; "" for a plugin that is a file itself."""
    if path.is_file():
        return {"": path}
    inside = (file for file in path.rglob("*") if file.is_file())
    kept = {file.relative_to(path).as_posix(): file for file in inside if not _is_by_product(file.relative_to(path))}
    size = sum(file.stat().st_size for file in kept.values())
    if size > MAX_BYTES:
        raise ValueError(
            f"a plugin's folder must hold code, at most {MAX_BYTES >> 20} MiB, but {path} holds {size >> 20} MiB; keep "
            "data outside of it"
        )
    return dict(sorted(kept.items()))


def _is_by_product(path: Path) -> bool:
    """Hidden, or what Python has compiled."""
    return path.suffix == ".pyc" or any(part == "__pycache__" or part.startswith(".") for part in path.parts)


def module_name(name: str, plugin: Plugin) -> str:
    """By which a plugin is imported."""
    return f"{PACKAGE}.{name}_{plugin.sha256[:DIGITS]}"


def copied(name: str, plugin: Plugin, place: Path) -> Plugin:
    """The plugin as a copy below `place`, which can then stand on Python's path.

    Raises:
        ValueError: it is no longer what it was.
    """
    source = Path(plugin.path)
    target = place / PACKAGE / f"{name}_{plugin.sha256[:DIGITS]}{source.suffix if source.is_file() else ''}"
    if source.absolute() != target.absolute() and not target.exists():
        writing = target.with_name(f"{target.name}.writing")
        shutil.rmtree(writing, ignore_errors=True)
        for inside, file in _files(source).items():
            copy = writing / inside if inside else writing
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        writing.replace(target)
    found = replace(plugin, path=str(target.absolute()))
    refuse_changed(name, found)
    return found


def written_name(module: str) -> str:
    """The last part of a module's name as its author has written it: without the hash of a copy."""
    return re.sub(rf"^{PACKAGE}\.(\w+)_[0-9a-f]{{{DIGITS}}}$", r"\1", module).rpartition(".")[2]


def refuse_changed(name: str, plugin: Plugin) -> None:
    """Hold the content of a plugin against its hash.

    Raises:
        ValueError: it is another, or gone.
    """
    path = Path(plugin.path)
    if not path.exists():
        raise ValueError(
            f"plugins.{name} must lie where it was kept, but there is no {path}; restore it, or name its file where a "
            "command takes --plugin"
        )
    found = content_sha256(path)
    if found != plugin.sha256:
        raise ValueError(
            f"plugins.{name} must stay what it was as the study began (sha256 {plugin.sha256[:DIGITS]}), but {path} is "
            f"{found[:DIGITS]} now; put it back, or start another study"
        )
