"""From a preset or a YAML file to a StudyConfig: strict, with every fault at once, before any cluster starts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search_spaces.strict_yaml import read_yaml
from study.configuration.checks import Findings, examine
from study.configuration.config import SCHEDULE, SCHEDULE_PATHS, StudyConfig
from study.configuration.partial import read_partially
from study.configuration.plugins import with_plugins
from study.configuration.prices import with_matched
from study.configuration.searches import with_searches
from study.configuration.settings import settings_faults, with_readable_settings
from trainers.config import ConfigError, absolute
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
        ConfigError: with every fault of the file, its settings, spaces, networks and data.
    """
    config, found = load_examined(study, sets, arms)
    if config is None or found.faults:
        raise ConfigError(found.faults)
    return config


def load_examined(
    study: str, sets: Sequence[str] = (), arms: Sequence[str] = ()
) -> tuple[StudyConfig | None, Findings]:
    """As `load`, beside its faults and warnings; with faults, the study is what of it can be read, None for too little.

    The plugins that it lists are imported, and with them their code is run.

    Raises:
        ConfigError: there is no such study, or it is no YAML.
    """
    path = _path(study)
    values, repeated = _read(path)
    chosen, unknown = _with_arms(with_readable_settings(values, sets), arms)
    opened, unopened = with_plugins(chosen, Path.cwd() if study in presets() else path.parent)
    config, broken, unread = read_partially(_with_schedule(_listed_spaces(opened)))
    found = Findings([*repeated, *settings_faults(values, sets), *unknown, *unopened, *unread])
    if config is None:
        return None, found
    config = with_searches(absolute(config))
    found.add(examine(config, broken))
    return (config if found.faults else with_matched(config)), found


def _with_arms(values: dict[str, Any], names: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """`values` with only these arms, in the order of the file, and the names that are none."""
    arms = values.get("arms")
    if not names or not isinstance(arms, dict):
        return values, []
    law = "--arm must be an arm of the study, but got"
    unknown = [f"{law} {name!r}; {nearest(name, map(str, arms))}" for name in names if name not in arms]
    kept = {name: arm for name, arm in arms.items() if name in names}
    return {**values, "arms": kept or arms}, unknown


def _path(study: str) -> Path:
    if study in presets():
        return presets()[study]
    path = Path(study)
    if path.suffix in (".yaml", ".yml"):
        if path.is_file():
            return path
        raise ConfigError([f"a study must be a preset or a YAML file, but there is no file {study!r}"])
    raise ConfigError([f"a study must be a preset or a YAML file, but got {study!r}; {nearest(study, presets())}"])


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: where it cannot be read as one, with every key that stands twice.
    """
    values, repeated = _read(path)
    if repeated:
        raise ConfigError(repeated)
    return values


def _read(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The mapping in a YAML file, and its keys that stand twice, a line each."""
    try:
        values, repeated = read_yaml(path)
    except ValueError as error:
        raise ConfigError([str(error)]) from None
    if not isinstance(values, dict):
        raise ConfigError([f"{path} must hold a mapping, but holds {type(values).__name__}"])
    return values, repeated


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


def _with_schedule(values: dict[str, Any]) -> dict[str, Any]:
    """Let `compares: [schedule]` stand for the paths of a schedule."""
    named = values.get("compares")
    if not isinstance(named, list):
        return values
    paths = (SCHEDULE_PATHS if name == SCHEDULE else (name,) for name in named)
    return {**values, "compares": [path for group in paths for path in group]}


def _spaces(named: Any) -> Any:
    listed = [named] if isinstance(named, str) else named
    if not isinstance(listed, list):
        return listed
    return [str(Path(name).absolute()) if isinstance(name, str) and Path(name).suffix else name for name in listed]
