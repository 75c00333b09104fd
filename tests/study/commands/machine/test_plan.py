"""`kdstudy plan`: what it is asked, what it says, and its exit codes; the measuring is the planning's own."""

import json
from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.studies.study import open_study
from analysis.verdict.noise import noise_of_study
from study.__main__ import main
from study.commands.machine import planning
from study.commands.machine.planning import NoiseSource, planned
from study.configuration.config import StudyConfig
from study.execution.planning.plan import ArmPlan, Plan, Spend
from study.execution.planning.replicates import ShortReplicates
from tests.analysis.small import replicated, write_study
from tests.analysis.statistics.test_families import study as made

ARM = ArmPlan(
    iteration_ms=81.4,
    evaluation_s=2.5,
    peak_mib=1017.0,
    checkpoint_bytes=3 * 2**20,
    whole_trial_s=65.0,
    trials=7,
    iterations=2000.0,
    busy_s=400.0,
    replicate_s=65.0,
)
PLAN = Plan(
    study="tiny",
    machine="2 CPUs",
    at_a_time=2,
    arms={"baseline": ARM},
    faults={},
    refused=(),
    teacher="comes with kdstudy",
    recordings_bytes=2**30,
    live_share=0.2,
    disk_bytes=2 * 2**30,
    search=Spend(wall_s=4000.0, core_hours=1.5, gpu_hours=0.0),
    seeds=None,
    replicates=None,
    foreseen=True,
)


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets the measuring find this plan."""

    def found(**changes: object) -> None:
        monkeypatch.setattr(planning, "plan_study", lambda config, *, seeds, say: replace(PLAN, seeds=seeds, **changes))

    found()
    return found


@pytest.mark.usefixtures("plan")
def test_the_table_has_every_figure_with_its_unit(
    study_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", str(study_file())]) == 0
    said = capsys.readouterr().out
    assert "tiny on 2 CPUs, 2 trials at a time" in said
    (row,) = (line.split() for line in said.splitlines() if line.startswith("baseline"))
    assert row == ["baseline", "81", "2.5", "1017", "3.0", "MiB", "7", "2000", "1:05"]
    assert "teacher: comes with kdstudy" in said
    assert "the study: 1 h 06 min, 1.50 core-hours\n" in said
    assert "it computes at 20 % of the steps" in said
    assert "the noise over seeds, which is not known; give --noise K, --noise-from DIR or --noise-points SD" in said


def test_replicates_gpus_and_what_is_not_foreseen_are_said(
    study_file: Callable[..., Path], capsys: pytest.CaptureFixture[str], plan: Callable[..., None]
) -> None:
    plan(replicates=Spend(wall_s=100.0, core_hours=0.1, gpu_hours=0.25), foreseen=False)
    assert main(["plan", str(study_file()), "--seeds", "5", "--noise-points", "1"]) == 0
    said = capsys.readouterr().out
    assert "at most: what early stopping spares is not in it" in said
    assert "replicates of every arm's best with 5 seeds: 1:40, 0.10 core-hours, 0.25 GPU-hours" in said
    assert f"noise of a difference over seeds: {sqrt(2):.2f} points, given: 1 points" in said
    assert "a difference of 2 points is shown in 80 % of studies by" in said
    assert "the planned seeds show" in said


def test_an_arm_that_fails_and_what_does_not_fit_are_exit_codes(
    study_file: Callable[..., Path], capsys: pytest.CaptureFixture[str], plan: Callable[..., None]
) -> None:
    plan(faults={"rdd": "KeyError: 'tap'"})
    assert main(["plan", str(study_file())]) == 1
    heard = capsys.readouterr()
    assert "rdd: cannot be trained, and is in none of these figures: KeyError: 'tap'" in heard.err
    assert "baseline" in heard.out
    plan(refused=("baseline: all trials must fit; execution.concurrent=2",))
    assert main(["plan", str(study_file()), "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert found["plan"]["refused"] == ["baseline: all trials must fit; execution.concurrent=2"]
    assert found["plan"]["arms"]["baseline"]["peak_mib"] == 1017.0


@pytest.mark.usefixtures("plan")
def test_json_is_one_document_also_where_images_are_given(
    study_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", str(study_file()), "--json", "--noise-points", "1"]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found["seeds"]["noise"]["groups"] is None
    assert found["seeds"]["needed"]["1.0"] > found["seeds"]["needed"]["2.0"] >= 2


@pytest.mark.usefixtures("plan")
@pytest.mark.parametrize(
    ("options", "law"),
    [
        (["--arm", "rd"], "arm"),
        (["--noise", "1"], "--noise must be at least 2 short replicates"),
        (["--noise-points", "0"], "--noise-points must be above 0, but got 0"),
        (["--noise-from", "nowhere"], "must be a study's folder"),
        (["--set", "data={name: camvid, root: /nowhere}"], "/nowhere"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_measured(
    options: list[str],
    law: str,
    study_file: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planning, "plan_study", lambda *_, **__: pytest.fail("it was measured"))
    assert main(["plan", str(study_file()), *options]) == 2
    assert law in capsys.readouterr().err


def test_no_seeds_are_refused(study_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(study_file()), "--seeds", "0"]) == 2
    assert "--seeds must be at least 1, but got 0" in capsys.readouterr().err


@pytest.mark.usefixtures("plan")
def test_noise_comes_from_one_place(config: Callable[..., StudyConfig], tmp_path: Path) -> None:
    gains = {"baseline": [0.0, 0.3, -0.2, 0.1], "kd": [1.0, 0.9, 1.3, 0.8]}
    folder = write_study(tmp_path / "noisy", [t for arm, found in gains.items() for t in replicated(arm, found)])
    found = planned(config(), noise=NoiseSource(study=folder)).seeds
    assert found.noise == noise_of_study(open_study(folder))
    assert str(folder) in found.source and found.methods == 1
    with pytest.raises(ValueError, match="noise must come from one source, but got study and points"):
        planned(config(), noise=NoiseSource(study=folder, points=1.0))


@pytest.mark.usefixtures("plan")
def test_short_replicates_are_judged_as_a_study_is(
    config: Callable[..., StudyConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = made([0, 1], seeds=4)
    one = np.array(["a"] * 40)
    found = ShortReplicates(("baseline", "rdd"), counts, one, 2)
    monkeypatch.setattr(planning, "short_replicates", lambda config, arms, seeds, say: found)
    both = planned(config(), noise=NoiseSource(replicates=4)).seeds
    alone = ShortReplicates(("baseline",), counts[:1], one, 2)
    monkeypatch.setattr(planning, "short_replicates", lambda config, arms, seeds, say: alone)
    first = planned(config(), noise=NoiseSource(replicates=4)).seeds
    assert both.noise and first.noise
    scores = 100 * counts[..., 0, 0].sum(2) / counts[..., 0, :].sum((2, 3))
    assert both.noise.seed_points == pytest.approx(float((scores[1] - scores[0]).std(ddof=1)))
    assert first.noise.seed_points == pytest.approx(sqrt(2) * float(scores[0].std(ddof=1)))


@pytest.mark.usefixtures("plan")
def test_one_arm_has_nothing_to_show(config: Callable[..., StudyConfig]) -> None:
    only = config(arms={"baseline": {"trials": 2, "space": "optimizer"}})
    found = planned(only, noise=NoiseSource(points=1.0)).seeds
    assert found.methods == 0 and found.needed == {}
    assert "no arm beside the plain student's" in found.source


KD = {"trials": 2, "space": ["optimizer", "kd"], "methods": {"kd": {}}}
PLAIN = {"trials": 2, "space": "optimizer"}


@pytest.mark.usefixtures("plan")
@pytest.mark.parametrize(
    ("arms", "methods"),
    [
        ({"baseline": PLAIN, "kd": KD}, 2),
        ({"baseline": PLAIN, "kd": {**KD, "trials": 3}, "again": KD}, 4),
        ({"kd": KD, "student": PLAIN}, 2),
        ({"baseline": PLAIN, "kd": {"trials": 2, "methods": {"kd": {}}}}, 1),
        ({"baseline": PLAIN}, 0),
        ({"kd": KD, "again": KD}, 0),
    ],
)
def test_the_best_of_every_search_is_held_against_the_plain_arm(
    arms: dict[str, Any], methods: int, config: Callable[..., StudyConfig]
) -> None:
    found = planned(config(arms=arms, searches=2), noise=NoiseSource(points=1.0)).seeds
    assert found.methods == methods
    assert bool(found.needed) == bool(methods)
    if methods > 1:
        one = planned(config(arms=arms), noise=NoiseSource(points=1.0)).seeds
        assert one.methods == methods / 2
        needed = found.needed[1.0], one.needed[1.0]
        assert needed[0] and needed[1] and needed[0] > needed[1]


def test_noise_without_an_arm_to_train_is_refused_before_anything_is_measured(
    study_file: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "plan_study", lambda *_, **__: pytest.fail("it was measured"))
    assert main(["plan", str(study_file(arms={"baseline": KD, "kd": KD})), "--noise", "2"]) == 2
    assert "--noise must have an arm to train, but every arm distils" in capsys.readouterr().err


@pytest.mark.usefixtures("plan")
def test_where_nothing_is_compared_no_replicate_is_trained(
    config: Callable[..., StudyConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "short_replicates", lambda *_: pytest.fail("it was trained"))
    found = planned(config(arms={"baseline": PLAIN}), noise=NoiseSource(replicates=3)).seeds
    assert found.noise is None and "nothing to show" in found.source


def test_only_arms_that_can_be_planned_are_trained_for_their_noise(
    config: Callable[..., StudyConfig], plan: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[list[str]] = []

    def short(study: StudyConfig, arms: list[str], seeds: int, say: object) -> ShortReplicates:
        trained.append(arms)
        return ShortReplicates(tuple(arms), made([0], seeds=4), np.array(["a"] * 40), 2)

    monkeypatch.setattr(planning, "short_replicates", short)
    study = config(arms={"baseline": PLAIN, "wide": {**PLAIN, "task": {"weighting": "ohem"}}, "kd": KD})
    plan(faults={"wide": "KeyError: 'tap'"})
    assert planned(study, noise=NoiseSource(replicates=4)).seeds.noise
    assert trained == [["baseline"]]
    plan(arms={"kd": ARM}, faults={"wide": "KeyError: 'tap'"}, refused=("baseline: does not fit",))
    found = planned(study, noise=NoiseSource(replicates=4)).seeds
    assert found.noise is None and "none can be trained here" in found.source
    assert len(trained) == 1


@pytest.mark.usefixtures("plan")
def test_a_replicate_that_fails_leaves_the_plan(
    study_file: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> ShortReplicates:
        raise ValueError("baseline: a short replicate must train, but it diverged")

    monkeypatch.setattr(planning, "short_replicates", failing)
    assert main(["plan", str(study_file()), "--noise", "3"]) == 1
    said = capsys.readouterr().out
    assert "the study: 1 h 06 min" in said
    assert "seeds: not known: baseline: a short replicate must train, but it diverged" in said


def test_where_no_arm_can_be_planned_there_are_no_totals(
    study_file: Callable[..., Path], capsys: pytest.CaptureFixture[str], plan: Callable[..., None]
) -> None:
    plan(arms={}, refused=("baseline: does not fit; it is in none of these figures",))
    assert main(["plan", str(study_file())]) == 2
    heard = capsys.readouterr()
    assert "the study:" not in heard.out and "disk:" not in heard.out and "core-hours" not in heard.out
    assert "it is in none of these figures" in heard.err
