"""What a study says that its arms differ in though scores are held against each other: `compares` and `matched`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def unequal_terms(config: Mapping[str, Any]) -> tuple[str, ...]:
    """A sentence for each path of a trial that a study compares, with what each arm has there, and for matched arms.

    Args:
        config: `study.json`, as plain values.
    """
    matched = (
        f"{name} trains {arm['fixed']['train/iterations']} iterations, at the cost of a trial of {arm['matched']}"
        for name, arm in config.get("arms", {}).items()
        if arm.get("matched")
    )
    compared = (
        f"the arms are not on equal terms: the study compares {path} ({', '.join(_of_arms(config, path))})"
        for path in _own_paths(config)
    )
    return (*compared, *matched)


def _own_paths(config: Mapping[str, Any]) -> list[str]:
    """The compared paths that an arm fixes or searches."""
    named: Sequence[str] = config.get("compares", ())
    own = {path for arm in config.get("arms", {}).values() for path in (*arm.get("fixed", {}), *_searched(config, arm))}
    return sorted(path for path in own if any(f"{path}/".startswith(f"{name}/") for name in named))


def _searched(config: Mapping[str, Any], arm: Mapping[str, Any]) -> Iterator[str]:
    for name in arm.get("space", ()):
        yield from config.get("spaces", {}).get(name, {})


def _of_arms(config: Mapping[str, Any], path: str) -> Iterator[str]:
    for name, arm in config["arms"].items():
        shared = _at(config, path)
        value = "searched" if path in _searched(config, arm) else arm.get("fixed", {}).get(path, shared)
        yield f"{name} {value}"


def _at(config: Mapping[str, Any], path: str) -> Any:
    """What the study has for all arms; its seed is that of the data."""
    here: Any = {**config, "data_seed": config.get("seed")}
    for part in path.split("/"):
        here = here.get(part) if isinstance(here, Mapping) else None
    return here
