"""Datasets by name, as the command line gives them."""

from collections.abc import Mapping
from typing import Any

from trainers.config import parse
from trainers.registry import config_class, implementation


def dataset_config(name: str, root: str, settings: Mapping[str, Any] | None = None) -> Any:
    """The Config of the dataset `name` that lies at `root`, if it lies anywhere.

    Raises:
        ValueError: unknown dataset, or settings that are none of its own.
    """
    kind = config_class("trainers.data", implementation("trainers.data", name))
    return parse(kind, {**(settings or {}), **({"root": root} if root else {})})
