"""A verdict says no more than its evidence: one seed, several, failures, chance, and what is missing."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from analysis.comparison.wording import counted
from analysis.statistics import judge, selection_optimism
from analysis.studies.study import open_study
from analysis.verdict.ranking import standings
from analysis.verdict.verdict import Verdict, verdict
from analysis.verdict.view import print_verdict
from study.__main__ import main
from study.tables import TableWriter
from tests.analysis.small import Trial, replicated, write_groups, write_rescored, write_study

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


def with_replicates(folder: Path, *, planned: int | None = None, **arms: list[float]) -> Verdict:
    """The search, and replicates of these gains."""
    trials = [trial for arm, gains in arms.items() for trial in replicated(arm.replace("_", "-"), gains)]
    sources = {"baseline": {"arm": "baseline", "trial": 5}, "kd-0": {"arm": "kd", "trial": 0}}
    sources["kd-1"] = {"arm": "kd", "trial": 1}
    write_study(folder / "replicate", trials, replicates=sources, planned_seeds=planned)
    return judged(folder)


def test_one_seed_calls_nothing_better_and_has_no_interval(tmp_path: Path) -> None:
    found = judged(tmp_path)
    assert found.answer[0].startswith("no method can be called better: each setting was run with one seed")
    arms = {arm.arm: arm for arm in found.arms}
    kd = arms["kd"].best
    assert kd is not None and kd.difference is not None
    assert kd.difference.estimate == pytest.approx(SEARCH[6].score("last") - SEARCH[5].score("last"))
    assert (kd.difference.low, kd.difference.high, kd.p_value, kd.outcome) == (None, None, None, "one seed")
    assert not kd.is_better
    assert (kd.name, kd.parameters) == ("kd-0", {"task/threshold": 0.5})
    line = next(line for line in found.answer if line.startswith("kd-0 against baseline-5"))
    assert line == (
        f"kd-0 against baseline-5: {kd.difference.estimate:+.2f} points on val (12 images, 1 seed each; seed noise "
        "unknown); task/threshold=0.5"
    )
    assert (found.look, found.seed_points, found.not_worse) == (None, None, ())
    assert not (tmp_path / "looks.json").exists()


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    told = "\n".join(judged(tmp_path).missing)
    assert f"kdstudy replicate {tmp_path} --seeds 5" in told
    assert f"kdstudy replicate {tmp_path} --split test judges on others" in told
    assert "images that the search has not seen" in told
    assert "never: 1 of 1 trial failed" in told
    assert "groups of images: which belong together is not known, so each counts as one" in told
    assert "search variance is not in the intervals: each arm was searched once" in told


def test_the_choice_of_each_arm_is_resampled(tmp_path: Path) -> None:
    found = {arm.arm: arm.optimism for arm in judged(tmp_path).arms}
    ranked = sorted(SEARCH[:6], key=lambda trial: -trial.score("last"))
    expected = selection_optimism(np.stack([trial.counts() for trial in ranked]))
    assert found["baseline"] == expected
    assert found["never"] is None
    assert found["kd"] is not None and found["kd"].n == 3


def test_new_seeds_may_call_a_setting_better(tmp_path: Path) -> None:
    gains = {"baseline": [0, 0.2, -0.2, 0.1], "kd-0": [5, 5.3, 4.8, 5.1], "kd-1": [0, -0.3, 0.3, 0.1]}
    found = with_replicates(tmp_path, **{name.replace("-", "_"): values for name, values in gains.items()})
    kd = next(arm for arm in found.arms if arm.arm == "kd")
    better, same = kd.replicates
    counts = np.stack([[trial.counts() for trial in replicated(name, values)] for name, values in gains.items()])
    family = judge(counts, level=0.04)  # the look that was planned
    assert (better.difference, same.difference) == family.differences
    assert better.is_better and same.outcome == "no different"
    assert same.difference is not None
    assert better.parameters == {"task/threshold": 0.5}  # what it had in the search
    line = next(line for line in found.answer if line.startswith("kd-0 against baseline"))
    assert (
        "(12 images, 4 seeds each; p below 0.001, adjusted for 2 comparisons): "
        "higher, not at equal tuning; they differ by at most" in line
    )
    line = next(line for line in found.answer if line.startswith("kd-1 against baseline"))
    assert "no different by more than 1 point (by at most" in line
    assert f"; the smallest difference that this could have shown is {same.difference.detectable:.2f}" in line
    assert "these intervals hold together in 96 % of studies" in found.answer
    assert found.shares["kd-0"] > 0.99 and found.not_worse == ("kd-0",)
    assert not any("kdstudy replicate" in line and "--seeds" in line for line in found.missing)
    # the trial of the search has one seed, but what a seed changes is known
    assert found.seed_points == family.seed_points


def test_a_method_that_was_tuned_as_the_baseline_was_is_called_better(tmp_path: Path) -> None:
    search = [
        Trial(arm=arm, number=n, gain=gain - n, config={"n": n}, parameters={"train/optimizer/lr": 0.1 * n})
        for arm, gain in (("baseline", 5.0), ("kd", 8.0))
        for n in range(5)
    ]
    gains = {"baseline": [0, 0.2, -0.2, 0.1], "kd-0": [5, 5.3, 4.8, 5.1]}
    again = [trial for name, values in gains.items() for trial in replicated(name, values)]
    write_study(tmp_path / "replicate", again, replicates={"kd-0": {"arm": "kd", "trial": 0}})
    found = judged(tmp_path, search, tuning_rules=2)
    assert found.caveats == ()
    assert found.answer[0] == "better than baseline, of 1 setting compared with it: kd-0"
    assert "adjusted for 1 comparison): better; they differ by at most" in found.answer[1]


def test_a_better_method_that_was_tuned_otherwise_is_said_to_be(tmp_path: Path) -> None:
    rate = {"train/optimizer/lr": {"type": "float", "low": 0.01, "high": 1.0, "default": 0.1}}
    threshold = {"task/threshold": {"type": "float", "low": 0.1, "high": 0.9, "default": 0.5}}
    arms = {"baseline": {"space": ["optimizer"]}, "kd": {"space": ["rdd"], "methods": {"kd": {}}}}
    gains = {"baseline": [0, 0.2, -0.2, 0.1], "kd-0": [5, 5.3, 4.8, 5.1]}
    again = [trial for name, values in gains.items() for trial in replicated(name, values)]
    write_study(tmp_path / "replicate", again, replicates={"kd-0": {"arm": "kd", "trial": 0}})
    found = judged(tmp_path, arms=arms, spaces={"optimizer": rate, "rdd": threshold})
    assert found.answer[0] == "not at equal tuning, but higher than baseline, of 1 setting compared with it: kd-0"
    assert "kd did not search train/optimizer/lr, which baseline did" in found.caveats
    assert found.answer[1] == f"not at equal tuning: {'; '.join(found.caveats)}"
    assert "higher, not at equal tuning; they differ by at most" in found.answer[2]
    assert not any("better" in line.replace("no test", "") for line in found.answer[:1])
    assert any(line.startswith("kd ") and "4 trials" in line for line in found.tuning)


def test_seeds_that_disagree_call_nothing_better(tmp_path: Path) -> None:
    found = with_replicates(tmp_path, baseline=[0, 3, -3, 1, 0], kd_0=[4, -3, 3, -1, 2])
    assert found.answer[0] == "no method is shown to be better than baseline: 1 setting compared with it"


def test_small_differences_are_no_different_by_more_than_the_margin(tmp_path: Path) -> None:
    trials = [*replicated("baseline", [0, 0.1, 0, 0.2]), *replicated("kd", [0.1, 0.0, 0.1, 0.2])]
    few = [replace(trial, noise=0.1) for trial in trials]
    found = judged(tmp_path / "one", few)
    kd = next(arm.best for arm in found.arms if arm.arm == "kd")
    assert kd is not None and kd.difference is not None and kd.outcome == "no different"
    assert f": no different by more than 1 point (by at most {kd.difference.within:.2f} points); the" in found.answer[1]
    strict = judged(tmp_path / "other", few, equivalence_points=0.01)
    assert any("not shown to be better or worse; they differ by at most" in line for line in strict.answer)


def test_better_by_little_is_said_to_be_little(tmp_path: Path) -> None:
    trials = [*replicated("baseline", [0.0] * 4), *replicated("kd", [0.5] * 4)]
    found = judged(tmp_path, [replace(trial, noise=0.05) for trial in trials])
    kd = next(arm.best for arm in found.arms if arm.arm == "kd")
    assert kd is not None and kd.difference is not None and kd.is_better
    assert f": better, by at most {kd.difference.within:.2f} points" in found.answer[1]


def failing(arm: str, gains: list[float], failed: set[int]) -> list[Trial]:
    return [replace(t, state="FAIL") if n in failed else t for n, t in enumerate(replicated(arm, gains))]


def test_failed_seeds_leave_no_verdict(tmp_path: Path) -> None:
    """The three seeds of kd that did not diverge look better; rdd has all, and is judged."""
    trials = [
        *replicated("baseline", [0, 0.1, 0, 0.2, 0.1]),
        *failing("kd", [5, 5.1, 5, 5.2, 5.1], {1, 3}),
        *replicated("rdd", [5, 5.1, 5, 5.2, 5.1]),
    ]
    found = judged(tmp_path, trials)
    arms = {arm.arm: arm.best for arm in found.arms}
    kd, rdd = arms["kd"], arms["rdd"]
    assert kd is not None and rdd is not None and kd.difference is not None and rdd.difference is not None
    assert (kd.outcome, kd.difference.low, kd.p_value, kd.failed, kd.ended) == ("no verdict", None, None, 2, 5)
    assert rdd.is_better and rdd.difference.seeds == 5
    line = next(line for line in found.answer if line.startswith("kd against"))
    assert "no verdict: 2 of 5 seeds failed (kd)" in line and "over the 3 pairs that finished" in line
    assert found.answer[0] == "better than baseline, of 2 settings compared with it: rdd"
    # the mean beside the difference is over the same seeds
    finished = [trial.score("last") for trial in trials[5:10] if trial.state == "COMPLETE"]
    base = [trial.score("last") for trial in (trials[0], trials[2], trials[4])]
    assert kd.miou_percent is not None and kd.miou_percent.estimate == pytest.approx(np.mean(finished))
    assert kd.difference.estimate == pytest.approx(np.mean(finished) - np.mean(base))
    console = Console(width=160, record=True, quiet=False)
    print_verdict(found, console)
    assert any(line.split()[:1] == ["kd"] and "3, 2 of 5 failed" in line for line in console.export_text().splitlines())


def test_failures_alone_are_the_answer(tmp_path: Path) -> None:
    of_kd = [*replicated("baseline", [0, 0.1, 0, 0.2, 0.1]), *failing("kd", [5, 5.1, 5, 5.2, 5.1], {0, 1})]
    assert judged(tmp_path / "kd", of_kd).answer[0] == "no verdict: 2 of 5 seeds failed (kd)"
    of_base = [*failing("baseline", [0, 0.1, 0, 0.2, 0.1], {4}), *replicated("kd", [5, 5.1, 5, 5.2, 5.1])]
    assert judged(tmp_path / "base", of_base).answer[0] == "no verdict: 1 of 5 seeds failed (baseline)"
    for failed in ({0, 1, 2}, {0}):  # all of it, or one after which the arm was given up
        trials = [trial for trial in failing("kd", [5, 5, 5], failed) if trial.state == "FAIL"]
        found = judged(
            tmp_path / f"all-{len(failed)}", [*replicated("baseline", [0, 0.1, 0]), *trials], planned_seeds=3
        )
        said = f"no verdict: {len(failed)} of {counted(len(failed), 'seed')} failed (kd)"
        assert found.answer[:2] == (said, f"kd against baseline: {said}")


def test_a_seed_that_failed_and_was_run_again_has_not_failed(tmp_path: Path) -> None:
    again = replace(replicated("kd", [5, 5.1, 5])[1], number=3)
    found = judged(tmp_path, [*replicated("baseline", [0, 0.1, 0]), *failing("kd", [5, 5.1, 5], {1}), again])
    assert found.answer[0] == "better than baseline, of 1 setting compared with it: kd"


def test_before_the_planned_seeds_the_answer_is_interim(tmp_path: Path) -> None:
    found = with_replicates(tmp_path, planned=5, baseline=[0, 0.2, -0.2, 0.1], kd_0=[5, 5.3, 4.8, 5.1])
    assert found.answer[0] == (
        "interim: 4 of 5 planned seeds have ended of every setting, and before all have, no method is called better "
        "than baseline"
    )
    kd = next(arm for arm in found.arms if arm.arm == "kd")
    assert kd.replicates[0].outcome == "interim" and not kd.replicates[0].is_better
    assert "interim; so far they differ by at most" in "\n".join(found.answer)


def test_an_arm_that_has_only_begun_takes_no_seeds_from_the_others(tmp_path: Path) -> None:
    found = with_replicates(tmp_path, planned=5, baseline=[0] * 5, kd_0=[5, 5.3, 4.8, 5.1, 5], kd_1=[3])
    begun, ended = sorted(next(arm for arm in found.arms if arm.arm == "kd").replicates, key=lambda one: one.ended)
    assert ended.difference is not None and ended.difference.seeds == 5
    assert (begun.outcome, begun.difference) == ("waiting", None)
    assert found.answer[0].startswith("interim: 5 of 5 planned seeds")


def test_images_that_the_search_has_not_seen_are_told_apart(tmp_path: Path) -> None:
    place = tmp_path / "search"
    write_study(place / "replicate", [*replicated("baseline", [0, 0.1, 0]), *replicated("kd-0", [5, 5, 5.2])],
                evaluate_on="test", replicates={"kd-0": {"arm": "kd", "trial": 0}})  # fmt: skip
    found = judged(place)
    assert any("on test (12 images, 3 seeds each" in line for line in found.answer)
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


def test_rescored_replicates_are_paired_and_have_intervals(tmp_path: Path) -> None:
    trials = [*replicated("baseline", [0, 0.2, -0.2, 0.1]), *replicated("kd-0", [5, 5.3, 4.8, 5.1])]
    write_study(tmp_path / "replicate", trials, replicates={"kd-0": {"arm": "kd", "trial": 0}})
    write_rescored(tmp_path / "replicate", trials)
    found = judged(tmp_path)
    of_val, of_test = (line for line in found.answer if line.startswith("kd-0 against baseline"))
    assert " on val (12 images, 4 seeds each" in of_val
    assert of_test == of_val.replace("on val", "on test")  # the counts are the same


def test_groups_of_images_are_resampled(tmp_path: Path) -> None:
    trials = [*replicated("baseline", [0, 0.1, 0]), *replicated("kd", [5, 5, 5.2])]
    trials = [replace(trial, images=24) for trial in trials]
    write_study(tmp_path, trials)
    write_groups(tmp_path, [f"drive {n // 2}" for n in range(24)])
    found = verdict(open_study(tmp_path))
    counts = np.stack([[trial.counts() for trial in trials[:3]], [trial.counts() for trial in trials[3:]]])
    kd = next(arm.best for arm in found.arms if arm.arm == "kd")
    assert kd is not None and kd.difference == judge(counts, np.arange(24) // 2, level=0.04).differences[0]
    assert "on val (24 images in 12 groups, 3 seeds each" in found.answer[1]
    assert not any("groups of images" in line for line in found.missing)


def test_frames_of_one_drive_speak_of_themselves_alone(tmp_path: Path) -> None:
    trials = [*replicated("baseline", [0, 0.1, 0]), *replicated("kd", [5, 5, 5.2])]
    found = judged(tmp_path, trials, data={"name": "camvid"})
    assert found.answer[0] == "better than baseline on these images, of 1 setting compared with it: kd"
    assert "on these 12 images of val (too few groups to speak of others: 1, 3 seeds each" in found.answer[1]
    assert any(line.startswith("groups of images: camvid's are frames of a few drives") for line in found.missing)


def test_replicates_of_one_seed_do_not_count_yet(tmp_path: Path) -> None:
    found = with_replicates(tmp_path, baseline=[0], kd_0=[9])
    assert found.answer[0].startswith("no method can be called better")
    assert any("against baseline-5" in line for line in found.answer)  # of the search
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
    assert found.caveats == ()


def test_the_best_of_many_settings_has_more_to_show(tmp_path: Path) -> None:
    """As when an arm runs a grid with several seeds each: all its settings are in the family."""
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
    counts = np.stack([[t.counts() for t in plain], *([t.counts() for t in grid[n : n + 3]] for n in (0, 3, 6, 9))])
    assert kd.difference == judge(counts, level=0.04).differences[0]
    assert "adjusted for 4 comparisons)" in found.answer[1]


def test_trials_that_were_stopped_early_make_the_optimism_a_bound(tmp_path: Path) -> None:
    line = next(line for line in judged(tmp_path).answer if line.startswith("being chosen as the best"))
    found = {arm.arm: arm.optimism for arm in judged(tmp_path).arms}
    assert found["kd"] is not None and found["baseline"] is not None
    assert f"baseline {found['baseline'].estimate:.2f} (of 6)" in line
    assert f"kd at least {found['kd'].estimate:.2f} (of 3)" in line


def test_replicates_of_the_baselines_searches_are_no_methods(tmp_path: Path) -> None:
    gains = {"baseline": [5.0, 5.1, 5.2], "baseline-search2-1": [6.0, 6.1, 6.2], "kd-0": [8.0, 8.2, 8.1]}
    sources = {
        "baseline": {"arm": "baseline", "trial": 5, "search_of": None},
        "baseline-search2-1": {"arm": "baseline-search2", "trial": 1, "search_of": "baseline"},
        "kd-0": {"arm": "kd", "trial": 0, "search_of": None},
    }
    trials = [trial for arm, values in gains.items() for trial in replicated(arm, values)]
    found = standings(open_study(write_study(tmp_path, trials, replicates=sources)))
    assert found.own_arms == ("baseline", "baseline-search2-1")
    assert [standing.name for standing in found.compared] == ["kd-0"]


def test_several_searches_of_an_arm_are_one_arm(tmp_path: Path) -> None:
    """The second search of the baseline is no method, and how far the searches lie apart is known."""
    arms = {"baseline": {}, "kd": {"methods": {"kd": {}}}}
    searches = {f"{arm}-search2": {**found, "search_of": arm} for arm, found in arms.items()}
    trials = [
        Trial(arm=arm, number=n, gain=gain + n, config={"n": n}, parameters={"train/optimizer/lr": 0.1 * n})
        for arm, gain in (("baseline", 0), ("baseline-search2", 3), ("kd", 2), ("kd-search2", 1))
        for n in range(3)
    ]
    found = judged(tmp_path, trials, arms={**arms, **searches}, searches=2)
    assert [line.split()[0] for line in found.answer if " against baseline-search2-2" in line] == [
        "kd-2",
        "kd-search2-2",
    ]
    best = {arm.arm: arm.best.miou_percent.estimate for arm in found.arms if arm.best and arm.best.miou_percent}
    spread = np.std([best["kd"], best["kd-search2"]], ddof=1)
    assert any(f"kd {spread:.2f} (2 searches)" in line for line in found.missing if "search variance" in line)


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
    assert "in the search, two of the baseline's seeds or the counts of its images: kd" in verdict(study).missing


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
    assert any(line[:1] == ["kd-0"] and line[4:7] == ["seed", "noise", f"{found.seed_points:.2f}"] for line in lines)
    capsys.readouterr()
    assert main(["verdict", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["answer"][0] == found.answer[0]
    assert main(["verdict", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("not at equal tuning, but higher than baseline")
    assert main(["verdict", str(tmp_path / "none")]) == 2
