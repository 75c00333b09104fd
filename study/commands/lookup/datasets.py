"""Datasets as the command line gives them: by name, or by a YAML file that describes one's own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.configuration.loading import presets, read_mapping
from trainers.config import absolute, parse
from trainers.registry import implementation

FILES = (".yaml", ".yml")


def dataset_config(name: str, root: str, settings: Mapping[str, Any] | None = None) -> Any:
    """The Config of a dataset.

    Args:
        name: of the dataset; or a YAML file, or a preset, that holds `data`; or a file that holds its keys alone.
        root: where it lies, if it lies anywhere; "" leaves what the file says.
        settings: further ones, by name.

    Raises:
        ValueError: unknown dataset, or settings that are none of its own.
    """
    described = {**_described(name), **(settings or {}), **({"root": root} if root else {})}
    kind = implementation("trainers.data", str(described.get("name", name))).Config
    return absolute(parse(kind, described))


def _described(name: str) -> dict[str, Any]:
    """What a file says of a dataset; nothing where `name` is no file's."""
    path = presets().get(name, Path(name))
    if path.suffix not in FILES:
        return {}
    if not path.is_file():
        raise ValueError(f"a dataset must be a name or a YAML file that describes it, but there is no file {name!r}")
    values = read_mapping(path)
    data = values.get("data", values)
    if not isinstance(data, dict) or "name" not in data:
        raise ValueError(f"{path} must hold data: {{name: ...}}, but does not; see docs/own-data.md")
    return data
