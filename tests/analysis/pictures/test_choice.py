"""Which images a report draws: where the best gains and loses most, and others at random."""

from pathlib import Path
from random import Random

import pytest

from analysis.pictures.choice import IN_ALL, RANDOM, SEED, choose
from analysis.statistics import miou_percent
from analysis.studies.study import Study, open_study
from tests.analysis.small import Trial, write_study

NAMES = [f"val/{n:03}" for n in range(12)]


def study_of(folder: Path, *trials: Trial) -> Study:
    return open_study(write_study(folder, trials))


def test_the_largest_gain_and_loss_are_those_of_the_images_own_scores(tmp_path: Path) -> None:
    pair = Trial(arm="baseline", noise=6.0), Trial(arm="kd", gain=0.5, noise=6.0)
    found = choose(study_of(tmp_path, *pair))
    own, best = (miou_percent(trial.counts()) for trial in pair)
    gains = [float(b - a) for a, b in zip(own, best, strict=True)]
    why = {one.name: one.why for one in found.images}
    assert "largest gain of kd-0 over baseline-0" in why[NAMES[gains.index(max(gains))]]
    assert "largest loss of kd-0 against baseline-0" in why[NAMES[gains.index(min(gains))]]
    assert max(gains) > 0 > min(gains)
    assert len(found.images) == IN_ALL


def test_the_others_are_the_same_in_every_study_of_the_dataset(tmp_path: Path) -> None:
    drawn = []
    for n, arms in enumerate((("baseline", "kd"), ("baseline", "rdd", "at"), ("kd",))):
        trials = [Trial(arm=arm, noise=3.0 + n) for arm in arms]
        images = choose(study_of(tmp_path / str(n), *trials)).images
        drawn.append({one.name for one in images if RANDOM in one.why})
    first = Random(SEED).sample(NAMES, len(NAMES))
    assert all(set(first[:2]) <= names for names in drawn)


def test_a_method_that_gains_nowhere_has_no_largest_gain(tmp_path: Path) -> None:
    found = choose(study_of(tmp_path, Trial(arm="baseline", noise=0.0), Trial(arm="kd", gain=-5.0, noise=0.0)))
    assert (str(found.best.name), found.baseline and str(found.baseline.name)) == ("kd-0", "baseline-0")
    assert not any("largest gain" in one.why for one in found.images)
    assert sum("largest loss" in one.why for one in found.images) == 1


def test_best_is_over_all_arms_but_the_baseline_and_judged_by_the_studys_evaluation(tmp_path: Path) -> None:
    trials = Trial(arm="baseline", gain=9.0), Trial(arm="kd", gain=1.0), Trial(arm="rdd", gain=2.0, number=3)
    found = choose(open_study(write_study(tmp_path, trials, objective="best")))
    assert (str(found.best.name), found.best.iteration) == ("rdd-3", 10)
    assert found.baseline and found.baseline.iteration == 10


def test_an_arm_alone_has_images_at_random_and_nothing_beside_it(tmp_path: Path) -> None:
    found = choose(study_of(tmp_path, Trial(arm="baseline")))
    assert found.baseline is None and str(found.best.name) == "baseline-0"
    assert [one.why for one in found.images] == [RANDOM] * IN_ALL


def test_a_small_split_is_drawn_whole(tmp_path: Path) -> None:
    found = choose(study_of(tmp_path, Trial(arm="kd", images=2)))
    assert {one.name for one in found.images} == {"val/000", "val/001"}


def test_the_trial_that_rdd_weighs_is_found_by_its_configuration(tmp_path: Path) -> None:
    weighted = {"task": {"weighting": "rdd"}}
    trials = (
        Trial(arm="a", gain=1.0, config=weighted),
        Trial(arm="b", gain=3.0, config=weighted),
        Trial(arm="kd", gain=9.0),
    )
    found = choose(study_of(tmp_path, *trials))
    assert found.rdd is not None and str(found.rdd.name) == "b-0"
    assert choose(study_of(tmp_path / "none", Trial(arm="kd"))).rdd is None


def test_without_a_finished_trial_or_named_images_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no trial has used its whole budget"):
        choose(study_of(tmp_path / "stopped", Trial(arm="kd", state="PRUNED")))
    with pytest.raises(ValueError, match="do not say on which images"):
        choose(study_of(tmp_path / "older", Trial(arm="kd", counted=False)))
