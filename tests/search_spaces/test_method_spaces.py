"""The spaces that search a method's options: each path is one, its default the method's, its ends allowed."""

from typing import Any

import pytest

from search_spaces.parameters import Categorical, Parameter
from search_spaces.space import FOLDER, Space
from trainers.config import leaf, parse, plain, replaced
from trainers.registry import implementations

PREFIX = "methods/"
SEARCHED = [
    pytest.param(path.removeprefix(PREFIX), parameter, id=f"{file.stem}:{path}")
    for file in sorted(FOLDER.glob("*.yaml"))
    for path, parameter in Space.load(file.stem).parameters.items()
    if path.startswith(PREFIX)
]


@pytest.mark.parametrize(("path", "parameter"), SEARCHED)
def test_every_searched_option_is_the_methods(path: str, parameter: Parameter) -> None:
    name, _, option = path.partition("/")
    config: Any = implementations("trainers.methods")[name].Config
    standard = plain(config())
    assert leaf(standard, option) == parameter.default
    for value in parameter.values():
        assert leaf(plain(parse(config, replaced(standard, option, value))), option) == value


@pytest.mark.parametrize(("path", "parameter"), SEARCHED)
def test_weights_range_over_a_decade_to_each_side(path: str, parameter: Parameter) -> None:
    if "/weights/" not in path:
        return
    assert not isinstance(parameter, Categorical)
    low, high = parameter.values()
    assert (low, high) == pytest.approx((parameter.default / 10, parameter.default * 10))
