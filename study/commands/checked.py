"""A study that a command is given, checked: what is hardly meant is said, what is wrong is refused."""

import sys
from collections.abc import Iterable, Sequence

from study.configuration.checks import Findings
from study.configuration.config import StudyConfig
from study.configuration.loading import load_examined
from study.configuration.settings import check_reach
from trainers.config import ConfigError


def checked_study(study: str, sets: Sequence[str] = (), arms: Sequence[str] = ()) -> tuple[StudyConfig, Findings]:
    """Read a study whose arms search, and say its warnings on standard error.

    Raises:
        ConfigError: with every fault; a setting that reaches no arm, because each fixes or searches it, is one.
    """
    config, found = load_examined(study, sets, arms)
    if config is not None:
        found.add(check_reach(config, sets))
    return _sound(config, found), found


def typed_study(study: str, sets: Sequence[str]) -> StudyConfig:
    """The same of a study of which one trial is trained, at what was typed.

    Raises:
        ConfigError: with every fault.
    """
    return _sound(*load_examined(study, sets))


def _sound(config: StudyConfig | None, found: Findings) -> StudyConfig:
    say_warnings(found.warnings)
    if config is None or found.faults:
        raise ConfigError(found.faults)
    return config


def say_warnings(lines: Iterable[str]) -> None:
    """On standard error, a line each."""
    for line in lines:
        print(f"kdstudy: warning: {line}", file=sys.stderr)
