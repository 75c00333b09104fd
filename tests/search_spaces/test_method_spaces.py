"""The spaces that search options of methods and weightings keep what every space promises."""

import pytest

from search_spaces.space import FOLDER
from study.testing import SpaceContract


class TestSpaceOfMethods(SpaceContract):
    @pytest.fixture(params=sorted(file.stem for file in FOLDER.glob("*.yaml")))
    def name(self, request: pytest.FixtureRequest) -> str:
        found: str = request.param
        return found


class TestSpaceOfRDD(SpaceContract):
    space = "rdd"
    weighting = "rdd"
