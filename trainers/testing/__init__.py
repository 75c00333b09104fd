"""What every implementation behind a seam promises, as pytest classes to inherit: for ours, and for anyone's own.

A test of a method, say, is `class TestMine(MethodContract): config = mine.Config(...)`, and its own formulas beside
that. Needs pytest (`pip install 'kdstudy[testing]'`); nothing but tests imports this package.
"""

import pytest

_CONTRACTS = ("configs", "taps", "networks", "methods", "weightings", "datasets")
pytest.register_assert_rewrite(*(f"{__name__}.{name}" for name in _CONTRACTS))

from trainers.testing.configs import ConfigContract  # noqa: E402  # after pytest knows whose asserts it explains
from trainers.testing.datasets import DatasetContract  # noqa: E402
from trainers.testing.methods import LabelledMethodContract, MethodContract  # noqa: E402
from trainers.testing.networks import ModelContract  # noqa: E402
from trainers.testing.weightings import WeightingContract  # noqa: E402

__all__ = [
    "ConfigContract",
    "DatasetContract",
    "LabelledMethodContract",
    "MethodContract",
    "ModelContract",
    "WeightingContract",
]
