"""The losses of a short training against those of `curve.json`."""

import json
from pathlib import Path

import pytest

from tests.golden import ITERATIONS
from tests.golden.training import curve


def test_a_training_has_the_committed_loss_curve(tmp_path: Path) -> None:
    stored = json.loads((Path(__file__).parent / "curve.json").read_text())
    found = curve(tmp_path)
    assert found.keys() == stored.keys()
    for name, values in stored.items():
        assert len(values) == ITERATIONS and all(values), "zeros would agree with a term that is not computed"
        assert found[name] == pytest.approx(values, rel=1e-6), name
