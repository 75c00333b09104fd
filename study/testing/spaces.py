"""What every search space promises."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from search_spaces.parameters import Categorical, Parameter
from search_spaces.space import Space
from study.configuration.plugins import open_plugins
from trainers.config import leaf, parse, plain, replaced
from trainers.registry import config_class, implementation

METHODS, TASK = "methods/", "task/"


class SpaceContract:
    """A space: what it searches of methods exists there, with the same default.

    Attributes:
        space: a name, or the path of a file.
        weighting: that its paths below `task/` are options of, None where it has none.
        plugins: files and folders whose parts it searches options of.
    """

    space: ClassVar[str | Path]
    weighting: ClassVar[str | None] = None
    plugins: ClassVar[Sequence[str | Path]] = ()

    @pytest.fixture(autouse=True)
    def _plugins_are_loaded(self) -> None:
        assert open_plugins(map(Path, self.plugins))[1] == []

    @pytest.fixture
    def name(self) -> str:
        """The space under test."""
        return str(self.space)

    def options(self, name: str) -> Iterator[tuple[Any, str, Parameter]]:
        """The Config, the path in it and the parameter, of every option of a method or the weighting."""
        for path, parameter in Space.load(name).parameters.items():
            if path.startswith(METHODS):
                method, _, option = path.removeprefix(METHODS).partition("/")
                yield config_class("trainers.methods", implementation("trainers.methods", method)), option, parameter
            elif path.startswith(TASK) and self.weighting:
                task = implementation("trainers.difficulty", self.weighting)
                yield config_class("trainers.difficulty", task), path.removeprefix(TASK), parameter

    def test_defaults_are_those_of_what_is_searched(self, name: str) -> None:
        for config, option, parameter in self.options(name):
            assert leaf(plain(config()), option) == parameter.default, option

    def test_every_value_may_stand_there(self, name: str) -> None:
        for config, option, parameter in self.options(name):
            for value in parameter.values():
                assert leaf(plain(parse(config, replaced(plain(config()), option, value))), option) == value, option

    def test_weights_range_over_a_decade_to_each_side(self, name: str) -> None:
        for _, option, parameter in self.options(name):
            if option.startswith("weights/"):
                assert not isinstance(parameter, Categorical)
                low, high = parameter.values()
                assert (low, high) == pytest.approx((parameter.default / 10, parameter.default * 10)), option
