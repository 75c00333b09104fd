"""The noise that another study's seeds have shown."""

from pathlib import Path

import pytest

from analysis.studies.study import open_study
from analysis.verdict.noise import noise_of_study
from study.tables import LOOKS
from tests.analysis.small import replicated, write_study


def test_it_is_that_of_the_replicates_and_no_look(tmp_path: Path) -> None:
    gains = {"baseline": [0.0, 0.3, -0.2, 0.1], "kd": [1.0, 0.9, 1.3, 0.8]}
    trials = [trial for arm, found in gains.items() for trial in replicated(arm, found)]
    folder = write_study(tmp_path / "replicate", trials)
    found = noise_of_study(open_study(folder))
    assert found.seed_points > 0
    assert not (folder / LOOKS).exists()


def test_a_study_of_single_seeds_has_none(tmp_path: Path) -> None:
    trials = [*replicated("baseline", [0.0]), *replicated("kd", [1.0])]
    folder = write_study(tmp_path / "search", trials)
    with pytest.raises(ValueError, match=r"needs two settings that ran with the same two seeds.*kdstudy replicate"):
        noise_of_study(open_study(folder))
