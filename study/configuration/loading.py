"""From a preset or a YAML file to a StudyConfig: strict, with every fault at once, before any cluster starts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from study.configuration.checks import faults
from study.configuration.config import StudyConfig
from study.configuration.prices import with_matched
from study.configuration.searches import with_searches
from trainers.config import ConfigError, absolute, parse, replaced
from trainers.registry import nearest

PRESETS = Path(__file__).parents[1] / "presets"


def presets() -> dict[str, Path]:
    """Files of the presets by name."""
    return {path.stem: path for path in sorted(PRESETS.glob("*.yaml"))}


def load(study: str, sets: Sequence[str] = (), arms: Sequence[str] = ()) -> StudyConfig:
    """Read a preset's name or a YAML file, with `path=value` settings on top.

    Args:
        study: a preset's name or a YAML file.
        sets: the settings.
        arms: keep only these; none for all.

    Raises:
        ConfigError: with every fault of the file, its spaces, networks and data.
    """
    values = _with_arms(with_settings(read_yaml(_path(study)), sets), arms)
    config = with_searches(absolute(parse(StudyConfig, _listed_spaces(values))))
    # a fault of what all arms share is found with each of them
    found = list(dict.fromkeys(faults(config)))
    if found:
        raise ConfigError(found)
    return with_matched(config)


def with_settings(values: dict[str, Any], sets: Sequence[str]) -> dict[str, Any]:
    """Nested `values` with `path=value` settings on top; paths have dots, values are YAML."""
    for setting in sets:
        path, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError([f"--set must be path=value, but got {setting!r}; for example --set seed=1"])
        values = replaced(values, path, _yaml_value(setting, text), separator=".")
    return values


def _with_arms(values: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """`values` with only these arms, in the order of the file."""
    arms = values.get("arms")
    if not names or not isinstance(arms, dict):
        return values
    law = "--arm must be an arm of the study, but got"
    unknown = [f"{law} {name!r}; {nearest(name, arms)}" for name in names if name not in arms]
    if unknown:
        raise ConfigError(unknown)
    return {**values, "arms": {name: arm for name, arm in arms.items() if name in names}}


def _yaml_value(setting: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError([f"--set must be path=value with a YAML value, but got {setting!r}; quote it"]) from None


def _path(study: str) -> Path:
    if study in presets():
        return presets()[study]
    path = Path(study)
    if path.suffix in (".yaml", ".yml"):
        if path.is_file():
            return path
        raise ConfigError([f"a study must be a preset or a YAML file, but there is no file {study!r}"])
    raise ConfigError([f"a study must be a preset or a YAML file, but got {study!r}; {nearest(study, presets())}"])


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: where it cannot be read as one.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError([f"{path} must be readable YAML, but: {error}"]) from None
    if not isinstance(values, dict):
        raise ConfigError([f"{path} must hold a mapping, but holds {type(values).__name__}"])
    return values


def _listed_spaces(values: dict[str, Any]) -> dict[str, Any]:
    """Let `space: rdd` stand for `space: [rdd]`, and name files of spaces by their absolute paths."""
    arms = values.get("arms")
    if not isinstance(arms, dict):
        return values
    read = {
        name: {**arm, "space": _spaces(arm["space"])} if isinstance(arm, dict) and "space" in arm else arm
        for name, arm in arms.items()
    }
    return {**values, "arms": read}


def _spaces(named: Any) -> Any:
    listed = [named] if isinstance(named, str) else named
    if not isinstance(listed, list):
        return listed
    return [str(Path(name).absolute()) if isinstance(name, str) and Path(name).suffix else name for name in listed]
