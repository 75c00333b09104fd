"""The spaces that search options of methods and weightings keep what every space promises."""

from pathlib import Path

import pytest

from search_spaces.space import FOLDER
from study.configuration.plugins import open_plugins
from study.testing import SpaceContract
from tests.own_parts import PLUGIN, write


class TestSpaceOfMethods(SpaceContract):
    @pytest.fixture(params=sorted(file.stem for file in FOLDER.glob("*.yaml")))
    def name(self, request: pytest.FixtureRequest) -> str:
        found: str = request.param
        return found


class TestSpaceOfAPlugin(SpaceContract):
    """As an outsider has it: a file of paths into a part that lies beside it."""

    weighting = "mylab"

    @pytest.fixture
    def name(self, tmp_path: Path) -> str:
        space = "methods/mylab/weights/probabilities: {type: float, low: 0.1, high: 10, default: 1, log: true}\n"
        space += "task/limit: {type: float, low: 1, high: 5, default: 3}\n"
        return str(write(tmp_path / "space.yaml", space))

    @pytest.fixture(autouse=True)
    def _plugins_are_loaded(self, tmp_path: Path) -> None:
        open_plugins([write(tmp_path / "mylab.py", PLUGIN)])

    def test_it_has_options_of_both(self, name: str) -> None:
        assert [option for _, option, _ in self.options(name)] == ["weights/probabilities", "limit"]


class TestSpaceOfRDD(SpaceContract):
    space = "rdd"
    weighting = "rdd"
