from pathlib import Path

import numpy as np
import pytest

from analysis.studies.image_counts import TrialName, image_counts
from analysis.studies.study import open_study
from tests.analysis.small import CLASSES, Trial, write_study


def test_counts_are_those_of_every_image_and_class(tmp_path: Path) -> None:
    trials = [Trial(arm="kd", number=3), Trial(arm="kd", number=12), Trial(arm="kd-3", number=1), Trial(arm="kd-1")]
    study = open_study(write_study(tmp_path, trials))
    asked = [trials[1], trials[2], trials[0]]
    for evaluation in ("last", "best"):
        found = image_counts(study, [TrialName(t.arm, t.number) for t in asked], evaluation)  # type: ignore[arg-type]
        assert [str(name) for name in found.trials] == ["kd-12", "kd-3-1", "kd-3"]
        assert (found.classes, found.missing) == (CLASSES, ())
        assert found.images == tuple(f"val/{image:03}" for image in range(12))
        assert np.array_equal(found.counts, [trial.counts(evaluation) for trial in asked])
        assert np.array_equal(found.only(found.trials[:0:-1]).counts, [t.counts(evaluation) for t in asked[:0:-1]])


def test_trials_without_counts_are_named(tmp_path: Path) -> None:
    study = open_study(write_study(tmp_path, [Trial(arm="kd"), Trial(arm="kd", number=1, counted=False)]))
    names = [TrialName("kd", 1), TrialName("kd", 0), TrialName("kd", 7)]
    found = image_counts(study, names)
    assert (found.trials, found.missing) == ((names[1],), (names[0], names[2]))
    assert image_counts(study, names[:1]).counts.shape == (0, 0, 0, 3)


def test_a_study_whose_counts_were_lost_has_none(tmp_path: Path) -> None:
    study = open_study(write_study(tmp_path, [Trial(arm="kd")]))
    for part in (tmp_path / "tables" / "image_confusion").iterdir():
        part.unlink()
    assert image_counts(study, [TrialName("kd", 0)]).missing == (TrialName("kd", 0),)
    assert image_counts(study, []).trials == ()


def test_trials_of_different_images_are_refused(tmp_path: Path) -> None:
    study = open_study(write_study(tmp_path, [Trial(arm="kd"), Trial(arm="at", images=10)]))
    with pytest.raises(ValueError, match=r"at-0 in .* has 10 of 12 and lacks 'val/010'"):
        image_counts(study, [TrialName("kd", 0), TrialName("at", 0)])
