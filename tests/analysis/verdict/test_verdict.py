"""A verdict says no more than its evidence: one seed, several, failures, chance, and what is missing."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from analysis.statistics import difference_over_images, holm, selection_optimism
from analysis.studies.study import open_study
from analysis.verdict.ranking import standings
from analysis.verdict.verdict import Verdict, verdict
from analysis.verdict.view import print_verdict
from study.__main__ import main
from study.tables import TableWriter
from tests.analysis.small import Trial, replicated, write_study

SEARCH = [
    *(Trial(arm="baseline", number=n, gain=n, parameters={"train/optimizer/lr": 0.1 * n}) for n in range(6)),
    *(Trial(arm="kd", number=n, gain=8.0 - n, config={"n": n}, parameters={"task/threshold": 0.5}) for n in range(3)),
    Trial(arm="kd", number=3, state="PRUNED"),
    Trial(arm="never", state="FAIL"),
]
# every setting of an arm has a configuration of its own
SEARCH = [Trial(**{**vars(trial), "config": {"n": trial.number}}) for trial in SEARCH]


def judged(folder: Path, trials: list[Trial] = SEARCH, **config: Any) -> Verdict:
    found = verdict(open_study(write_study(folder, trials, **config)))
    assert json.loads(json.dumps(asdict(found), allow_nan=False))["answer"] == list(found.answer)
    return found


def with_replicates(folder: Path, **arms: list[float]) -> Verdict:
    """The search, and replicates of these gains."""
    trials = [trial for arm, gains in arms.items() for trial in replicated(arm.replace("_", "-"), gains)]
    sources = {"baseline": {"arm": "baseline", "trial": 5}, "kd-0": {"arm": "kd", "trial": 0}}
    sources["kd-1"] = {"arm": "kd", "trial": 1}
    write_study(folder / "replicate", trials, replicates=sources)
    return judged(folder)


def test_one_seed_calls_nothing_better(tmp_path: Path) -> None:
    found = judged(tmp_path)
    assert found.answer[0].startswith("no method can be called better: each setting was run with one seed")
    arms = {arm.arm: arm for arm in found.arms}
    kd = arms["kd"].best
    assert kd is not None and kd.difference is not None
    assert kd.difference == difference_over_images(SEARCH[6].counts(), SEARCH[5].counts())
    assert kd.difference.low > 0 and kd.p_value is not None and kd.p_value < 0.05
    assert not kd.is_better  # one seed each
    assert (kd.name, kd.parameters) == ("kd-0", {"task/threshold": 0.5})
    assert f"kd-0 against baseline-5: {kd.difference.estimate:+.2f} points" in found.answer[1]
    assert "(12 images, 1 seed each)" in found.answer[1] and "task/threshold=0.5" in found.answer[1]
    assert found.lead is None


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    told = "\n".join(judged(tmp_path).missing)
    assert f"kdstudy replicate {tmp_path} --top 3 --seeds 5" in told
    assert "images that the search has not seen" in told
    assert "kd: only 3 of 4 trials used the whole budget of 40 iterations; 1 stopped early, 0 failed" in told
    assert "never: only 0 of 1 trial used the whole budget of 40 iterations; 0 stopped early, 1 failed" in told
    assert "baseline: only" not in told
    assert "kd did not search train/optimizer/lr, which baseline did" in told
    assert "arms had from 1 to 6 trials" in told


def test_the_choice_of_each_arm_is_resampled(tmp_path: Path) -> None:
    found = {arm.arm: arm.optimism for arm in judged(tmp_path).arms}
    ranked = sorted(SEARCH[:6], key=lambda trial: -trial.score("last"))
    expected = selection_optimism(np.stack([trial.counts() for trial in ranked]))
    assert found["baseline"] == expected
    assert found["never"] is None
    assert found["kd"] is not None and found["kd"].n == 3


def test_new_seeds_may_call_a_setting_better(tmp_path: Path) -> None:
    found = with_replicates(tmp_path, baseline=[0, 0.2, -0.2, 0.1], kd_0=[5, 5.3, 4.8, 5.1], kd_1=[0, -0.3, 0.3, 0.1])
    assert found.answer[0] == "better than baseline, of 2 settings compared with it: kd-0"
    kd = next(arm for arm in found.arms if arm.arm == "kd")
    better, same = kd.replicates
    assert better.is_better and not same.is_better
    assert better.difference is not None and same.difference is not None
    raw = [better.difference.p_value, same.difference.p_value]
    assert [better.p_value, same.p_value] == holm(raw)
    assert better.parameters == {"task/threshold": 0.5}  # what it had in the search
    assert found.answer[1].endswith("; task/threshold=0.5")
    assert "4 seeds each; p 0.0" in found.answer[1] and "adjusted for 2 comparisons" in found.answer[1]
    assert "the smallest difference that this could have shown is" in found.answer[2]
    assert found.lead is not None and (found.lead.first, found.lead.second) == ("kd-0", "kd-1")
    assert found.answer[3].startswith("kd-0 is better than kd-1 by")
    assert not any("kdstudy replicate" in line for line in found.missing)


def test_seeds_that_disagree_call_nothing_better(tmp_path: Path) -> None:
    found = with_replicates(tmp_path, baseline=[0, 3, -3, 1, 0], kd_0=[4, -3, 3, -1, 2])
    assert found.answer[0] == "no method is shown to be better than baseline: 1 setting compared with it"


def test_images_that_the_search_has_not_seen_are_told_apart(tmp_path: Path) -> None:
    place = tmp_path / "search"
    write_study(place / "replicate", [*replicated("baseline", [0, 0.1, 0]), *replicated("kd-0", [5, 5, 5.2])],
                evaluate_on="test", replicates={"kd-0": {"arm": "kd", "trial": 0}})  # fmt: skip
    found = judged(place)
    assert "on test (12 images, 3 seeds each" in found.answer[1]
    assert not any("has not seen" in line for line in found.missing)


def test_rescored_trials_are_told(tmp_path: Path) -> None:
    names = {"arm": pa.string(), "trial": pa.int64(), "split": pa.string(), "images": pa.int64()}
    schema = pa.schema({**names, "miou_percent": pa.float64()}, {"table": "rescored", "key": "arm trial split"})
    with TableWriter(tmp_path / "tables", schema) as writer:
        for arm, split, score in (("baseline", "test", 40.0), ("kd", "test", 42.345), ("kd", "val", 1.0)):
            writer.append([{"arm": arm, "trial": 0, "split": split, "images": 7, "miou_percent": score}])
    found = judged(tmp_path)
    assert "mIoU % on test (7 images), which the search has not seen: kd-0 42.34, baseline-0 40.00" in found.answer
    assert not any("has not seen" in line for line in found.missing)


def test_replicates_of_one_seed_do_not_count_yet(tmp_path: Path) -> None:
    found = with_replicates(tmp_path, baseline=[0], kd_0=[9])
    assert found.answer[0].startswith("no method can be called better")
    assert "against baseline-5" in found.answer[1]  # of the search
    assert any("kdstudy replicate" in line for line in found.missing)


def test_replicates_without_a_baseline_are_said_to_lack_it(tmp_path: Path) -> None:
    found = with_replicates(tmp_path, kd_0=[5, 5, 5])
    assert found.answer[0].startswith("no method can be called better")
    assert "in the replicates, a finished baseline" in found.missing


def test_replicates_that_have_not_ended_are_none(tmp_path: Path) -> None:
    (tmp_path / "replicate").mkdir()
    (tmp_path / "replicate" / "study.json").write_text('{"name": "again", "data": {"name": "streets"}}')
    assert all(arm.replicates == () for arm in judged(tmp_path).arms)


def test_arms_that_were_run_with_several_seeds_are_judged_themselves(tmp_path: Path) -> None:
    found = judged(tmp_path, [*replicated("baseline", [0, 0.1, 0]), *replicated("rdd", [5, 5.1, 5])])
    assert found.answer[0] == "better than baseline, of 1 setting compared with it: rdd"
    assert all(arm.optimism is None and arm.searched == () for arm in found.arms)


def test_the_best_of_many_settings_has_more_to_show(tmp_path: Path) -> None:
    """As when an arm runs a grid with several seeds each."""
    grid = [
        Trial(arm="kd", number=3 * value + n, gain=gain, seeds=(n, n), config={"value": value})
        for value, gain in enumerate([4.0, 0.0, 1.0, 0.5])
        for n in range(3)
    ]
    plain = [Trial(arm="baseline", number=n, gain=g, seeds=(n, n)) for n, g in enumerate([0, 0.5, -0.5])]
    found = judged(tmp_path, [*plain, *grid])
    kd = next(arm.best for arm in found.arms if arm.arm == "kd")
    assert kd is not None and kd.difference is not None
    assert (kd.name, kd.chosen_from, kd.difference.seeds) == ("kd-0", 4, 3)
    assert kd.p_value == min(1, 4 * kd.difference.p_value)
    assert "adjusted for 1 comparison and the choice among 4 settings)" in found.answer[1]


def test_equal_methods_are_rarely_called_better() -> None:
    """Three arms like the baseline, 5 seeds each: one of them is called better in about 1 of 40 studies at most."""
    rng = np.random.default_rng(0)
    called = 0
    for study in range(120):
        of_seed = rng.normal(0, 0.01, (4, 5, 1, 1))
        shares = 0.5 + of_seed + rng.normal(0, 0.02, (4, 5, 30, 1))
        hits = np.rint(5000 * shares).astype(np.int64)
        counts = np.stack([hits, np.zeros_like(hits), 5000 - hits], axis=-1)
        found = [difference_over_images(arm, counts[0], draws=300, seed=study) for arm in counts[1:]]
        adjusted = holm([one.p_value for one in found])
        called += any(p <= 0.05 and one.estimate > 0 for p, one in zip(adjusted, found, strict=True))
    assert called <= 6


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        ({"a": {}, "baseline": {"methods": {"kd": {}}}}, "baseline"),
        ({"a": {"methods": {"kd": {}}}, "b": {"task": {"weighting": "ohem"}}, "c": {"task": {}}}, "c"),
        ({"a": {"methods": {"kd": {}}}}, None),
    ],
)
def test_the_baseline_is_named_so_or_is_plain(tmp_path: Path, arms: dict[str, Any], expected: str | None) -> None:
    assert judged(tmp_path, [Trial(arm="a")], arms=arms).baseline == expected


def test_without_a_baseline_nothing_is_compared(tmp_path: Path) -> None:
    found = judged(tmp_path, [Trial(arm="kd"), Trial(arm="at")])
    assert found.baseline is None
    assert found.answer[0].startswith("there is no baseline to be better than")
    assert "in the search, a finished baseline" in found.missing


@pytest.mark.parametrize("state", ["PRUNED", "FAIL"])
def test_a_study_in_which_nothing_finished(tmp_path: Path, state: str) -> None:
    found = judged(tmp_path, [Trial(arm="baseline", state=state), Trial(arm="kd", state=state)])
    assert found.answer == ("nothing can be said yet: no finished setting can be compared with a finished baseline",)
    assert all(arm.best is None for arm in found.arms)


def test_a_study_whose_teacher_alone_has_ended(tmp_path: Path) -> None:
    found = judged(tmp_path, [Trial(arm="teacher")], arms={"baseline": {}})
    assert (found.arms, found.answer[0][:21]) == ((), "nothing can be said y")


def test_a_study_of_one_trial(tmp_path: Path) -> None:
    found = judged(tmp_path, [Trial(arm="baseline")])
    assert found.answer[0].startswith("nothing can be said yet")
    assert found.arms[0].best is not None and found.arms[0].best.miou_percent.n == 1


def test_a_best_trial_without_counts_has_a_score_and_no_difference(tmp_path: Path) -> None:
    trials = [Trial(arm="baseline"), Trial(arm="kd", counted=False), Trial(arm="at")]
    study = open_study(write_study(tmp_path, trials))
    found = standings(study)
    assert found.by_arm["kd"].difference is None and found.by_arm["at"].difference is not None
    assert found.by_arm["kd"].miou_percent.estimate == pytest.approx(trials[1].score("last"))
    assert "in the search, the baseline's seeds or the counts of its images: kd" in verdict(study).missing


def test_the_best_evaluation_and_drives_are_said_to_flatter(tmp_path: Path) -> None:
    found = judged(tmp_path, objective="best", data={"name": "camvid"})
    assert found.evaluation == "best"
    told = "\n".join(found.missing)
    assert "maximised the best evaluation" in told and "frames of a few drives" in told


def test_a_verdict_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = with_replicates(tmp_path, baseline=[0, 0.2, -0.2, 0.1], kd_0=[5, 5.3, 4.8, 5.1])
    console = Console(width=160, record=True, quiet=False)
    print_verdict(found, console)
    lines = [line.split() for line in console.export_text().splitlines()]
    assert ["never", "none", "0", "of", "1"] in lines
    assert any(line[:1] == ["kd-0"] and line[-2:] == ["new", "seeds"] for line in lines)
    assert any(line[:1] == ["baseline-5"] and line[-3:] == ["6", "of", "6"] for line in lines)
    capsys.readouterr()
    assert main(["verdict", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["answer"][0] == found.answer[0]
    assert main(["verdict", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("better than baseline")
    assert main(["verdict", str(tmp_path / "none")]) == 2
