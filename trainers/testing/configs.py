"""What every `Config` promises."""

import dataclasses
import json
from types import ModuleType
from typing import Any, ClassVar

import pytest
from pydantic import TypeAdapter

from trainers.registry import module_of


def round_trip(config: Any) -> None:
    """Assert that JSON can hold a Config, and that no field of it can be set."""
    adapter: TypeAdapter[Any] = TypeAdapter(type(config))
    assert adapter.validate_python(json.loads(adapter.dump_json(config))) == config
    for field in dataclasses.fields(config):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(config, field.name, None)


class ConfigContract:
    """What a configuration promises: it is a value that YAML can hold."""

    config: ClassVar[Any]
    """The Config under test; what its implementation promises holds for this one."""

    @property
    def module(self) -> ModuleType:
        """The module that the Config, and its implementation, stand in."""
        return module_of(self.config)

    def test_config_round_trips_and_is_frozen(self) -> None:
        round_trip(type(self.config)())
        round_trip(self.config)
