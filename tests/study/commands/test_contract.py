"""Every command keeps what a command promises."""

from types import ModuleType
from typing import cast

import pytest

from study.commands import COMMANDS
from study.testing import CommandContract


class TestCommand(CommandContract):
    @pytest.fixture(params=COMMANDS)
    def module(self, request: pytest.FixtureRequest) -> ModuleType:
        return cast(ModuleType, COMMANDS[request.param].load())
