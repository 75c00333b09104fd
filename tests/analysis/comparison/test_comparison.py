"""`kdstudy compare` on small studies: who is meant, who is paired with whom, what is refused, what is said."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from analysis.comparison.comparison import Comparison, compare
from analysis.comparison.view import print_comparison, sentence
from analysis.statistics import difference_over_images
from analysis.studies.runs import named_runs
from study.__main__ import main
from tests.analysis.small import Trial, replicated, write_study

SEARCH = [
    Trial(arm="baseline", number=0, gain=1.0),
    Trial(arm="baseline", number=1, gain=2.0, parameters={"train/optimizer/lr": 0.1}, config={"train": {"lr": 0.1}}),
    Trial(arm="kd", number=0, gain=6.0),
    Trial(arm="kd", number=1, gain=9.0, state="PRUNED"),
    Trial(arm="kd", number=2, state="FAIL"),
    Trial(arm="never", number=0, state="PRUNED"),
    Trial(arm="teacher", number=0, gain=20.0),
]


@pytest.fixture
def search(tmp_path: Path) -> str:
    """One run of each setting."""
    return str(write_study(tmp_path / "search", SEARCH))


@pytest.fixture
def repeated(tmp_path: Path) -> str:
    """Arms that were run with several seeds, one of them with a seed less and one more."""
    trials = [
        *replicated("baseline", [0.0, 0.4, -0.3, 0.2, 0.1]),
        *replicated("rdd-8", [3.0, 3.5, 2.5, 3.1, 3.3]),
        *replicated("kd-0", [0.6, -0.5, 0.1, 0.5], first_seed=1002),
    ]
    return str(write_study(tmp_path / "replicate", trials))


def test_a_study_stands_for_its_best_finished_trial(search: str) -> None:
    found = {name: named_runs(search + name) for name in ("", ":kd", ":baseline", ":teacher", ":kd-1")}
    assert {name: runs.name for name, runs in found.items()} == {
        "": "kd-0", ":kd": "kd-0", ":baseline": "baseline-1", ":teacher": "teacher-0", ":kd-1": "kd-1",
    }  # fmt: skip
    assert [found[name].chosen_from for name in found] == [3, 1, 2, 1, 1]


def test_an_arm_stands_for_all_its_seeds(repeated: str) -> None:
    arm, one = named_runs(repeated + ":rdd-8"), named_runs(repeated + ":rdd-8-3")
    assert ([run.seeds[1] for run in arm.runs], arm.name) == ([1001, 1002, 1003, 1004, 1005], "rdd-8")
    assert ([run.seeds[1] for run in one.runs], one.name) == ([1004], "rdd-8-3")
    assert named_runs(repeated).name == "rdd-8"


def test_a_setting_counts_by_the_mean_of_its_seeds(tmp_path: Path) -> None:
    lucky = {"config": {"lr": 1}, "arm": "kd"}
    trials = [
        Trial(number=0, gain=9.0, noise=0, seeds=(1, 1), **lucky),  # type: ignore[arg-type]
        Trial(number=1, gain=0.0, noise=0, seeds=(1, 2), **lucky),  # type: ignore[arg-type]
        *(Trial(arm="kd", number=n, gain=6.0, noise=0, seeds=(1, n), config={"lr": 2}) for n in (3, 4)),
    ]
    found = named_runs(str(write_study(tmp_path, trials)))
    assert [str(run.name) for run in found.runs] == ["kd-3", "kd-4"]
    assert (found.name, found.chosen_from) == ("kd-3", 2)


def test_rows_that_do_not_tell_their_seeds_do_not_repeat_each_other(tmp_path: Path) -> None:
    trials = [Trial(arm="kd", number=n, gain=n, noise=0, seeds=None) for n in (0, 1)]
    assert len(named_runs(str(write_study(tmp_path, trials))).runs) == 1


def test_two_trials_are_compared_on_their_images(search: str) -> None:
    found = compare(f"{search}:kd", f"{search}:baseline")
    assert found.difference == difference_over_images(SEARCH[2].counts(), SEARCH[1].counts())
    assert (found.a.trials, found.b.trials, found.evaluation) == (("kd-0",), ("baseline-1",), "last")
    assert found.a.miou_percent.estimate == pytest.approx(SEARCH[2].score("last"))
    assert found.over_seeds.low is None
    assert found.settings == {"task/of": ("kd", "baseline"), "train/lr": (None, 0.1)}
    assert any("one seed each" in note for note in found.notes)
    assert any("flatters: baseline-1 among 2 settings" in note for note in found.notes)
    assert any("differ in more than how the student is taught: train/lr" in note for note in found.notes)


def test_seeds_are_compared_in_pairs(repeated: str) -> None:
    found = compare(f"{repeated}:rdd-8", f"{repeated}:baseline")
    of = {arm: replicated(arm, [0] * 5) for arm in ("rdd-8", "baseline")}
    assert found.a.trials == tuple(f"rdd-8-{t.number}" for t in of["rdd-8"])
    assert found.difference.seeds == found.over_seeds.n == 5
    assert found.over_seeds.estimate == pytest.approx(found.difference.estimate)
    assert not any("one seed" in note for note in found.notes)
    assert sentence(found).startswith(f"rdd-8 is better than baseline by {found.difference.estimate:.2f} points [")
    assert sentence(found).endswith("on val (12 images, 5 seeds each)")
    assert "rdd-8 is better than baseline" in sentence(compare(f"{repeated}:baseline", f"{repeated}:rdd-8"))


def test_seeds_without_a_partner_are_named_and_left_out(repeated: str) -> None:
    found = compare(f"{repeated}:kd-0", f"{repeated}:baseline")
    # kd-0's trials begin a seed later
    assert found.a.trials == ("kd-0-0", "kd-0-1", "kd-0-2", "kd-0-3")
    assert found.b.trials == ("baseline-1", "baseline-2", "baseline-3", "baseline-4")
    assert found.a.seeds == found.b.seeds
    assert f"baseline-0 of {repeated} has no partner of the same seeds and is left out" in found.notes
    assert "this evidence cannot tell kd-0 from baseline" in sentence(found)
    assert "the smallest that it could have shown is" in sentence(found)


def test_failed_seeds_leave_no_verdict(tmp_path: Path) -> None:
    failed = [replace(t, state="FAIL") if t.number in (1, 3) else t for t in replicated("kd", [5, 5.1, 5, 5.2, 5.1])]
    place = str(write_study(tmp_path, [*replicated("baseline", [0, 0.1, 0, 0.2, 0.1]), *failed]))
    found = compare(f"{place}:kd", f"{place}:baseline")
    assert (found.a.failed, found.a.ended, found.b.failed, found.difference.seeds) == (2, 5, 0, 3)
    assert sentence(found).startswith("no verdict: 2 of 5 seeds failed (kd); over the seeds that finished")


def test_one_seed_says_what_it_cannot_tell(search: str) -> None:
    told = sentence(compare(f"{search}:kd", f"{search}:baseline"))
    assert told.startswith("the network of kd-0 is better than baseline-1 by")
    assert told.endswith("on val (12 images, 1 seed each); one seed each cannot tell whether its settings are better")


def test_a_pair_without_counts_is_left_out(tmp_path: Path) -> None:
    lost = Trial(arm="kd", number=1, seeds=(1002, 1002), counted=False)
    trials = [
        *replicated("baseline", [0.0, 0.0, 0.1]),
        *(t if t.number != 1 else lost for t in replicated("kd", [3] * 3)),
    ]
    place = str(write_study(tmp_path, trials))
    found = compare(f"{place}:kd", f"{place}:baseline")
    assert (found.a.trials, found.b.trials) == (("kd-0", "kd-2"), ("baseline-0", "baseline-2"))
    assert any("kd-1" in note and "its pair is left out" in note for note in found.notes)
    with pytest.raises(ValueError, match=r"must have rows in the table image_confusion .* kd-1 of"):
        compare(f"{place}:kd-1", f"{place}:baseline-1")


def test_what_ended_early_is_said_to(search: str) -> None:
    found = compare(f"{search}:kd-1", f"{search}:baseline-0")
    assert "kd-1 ended PRUNED at iteration 10 of 40" in found.notes


def test_the_evaluation_is_what_the_search_maximised_unless_told(tmp_path: Path, search: str) -> None:
    best = str(write_study(tmp_path / "best", SEARCH, objective="best"))
    assert compare(f"{best}:kd", f"{best}:baseline").evaluation == "best"
    assert compare(f"{best}:kd", f"{search}:baseline").evaluation == "last"
    told = compare(f"{search}:kd", f"{search}:baseline", "best")
    assert told.a.miou_percent.estimate == pytest.approx(SEARCH[2].score("best"))
    assert any("best evaluation" in note for note in told.notes)


def test_namesakes_of_two_studies_are_told_apart(tmp_path: Path, search: str) -> None:
    other = str(write_study(tmp_path / "other", [Trial(arm="kd", gain=1.0, seeds=(2, 2))]))
    found = compare(search, other)
    assert (found.a.name, found.b.name) == (f"{search}:kd-0", f"{other}:kd-0")
    assert "their data_seed differs, so they did not see the same batches" in found.notes


def test_a_configuration_from_before_the_splits_means_validation(tmp_path: Path) -> None:
    newer = {"evaluate_on": "val", "holdout": 0.0}
    place = str(write_study(tmp_path, [Trial(arm="kd", config=newer), Trial(arm="baseline")]))
    assert list(compare(f"{place}:kd", f"{place}:baseline").settings) == ["task/of"]


def test_images_that_resemble_each_other_are_a_limit(tmp_path: Path) -> None:
    trials = [Trial(arm="kd"), Trial(arm="baseline")]
    place = str(write_study(tmp_path, trials, data={"name": "camvid"}))
    found = compare(f"{place}:kd", f"{place}:baseline")
    assert any("frames of a few drives" in note for note in found.notes)
    assert (found.difference.low, found.difference.groups) == (None, 1)  # one seed, and of images one drive
    assert sentence(found).startswith("this evidence cannot tell kd-0 from baseline-0")
    assert sentence(found).endswith(
        "too few groups to speak of others: 1, 1 seed each), and what another seed would give is unknown"
    )
    assert not any(line.startswith("chance that A is better") for line in shown(found))


def refused(a: str, b: str) -> str:
    with pytest.raises(ValueError) as raised:
        compare(a, b)
    return str(raised.value)


def test_what_does_not_compare_is_refused(tmp_path: Path, search: str, repeated: str) -> None:
    camvid = str(write_study(tmp_path / "camvid", SEARCH, data={"name": "camvid"}))
    fewer = str(write_study(tmp_path / "fewer", [Trial(arm="kd", images=10)]))
    tested = str(write_study(tmp_path / "tested", SEARCH, evaluate_on="test"))
    assert "must be of one dataset" in refused(search, camvid)
    assert "was on val and" in refused(search, tested) and "on test; compare" in refused(search, tested)
    assert "the same images, but of" in refused(search, fewer) and "'val/010', the first of 2" in refused(search, fewer)
    assert "both are kd-0 of" in refused(f"{search}:kd", f"{search}:kd-0")
    assert "must share seeds" in refused(f"{repeated}:kd-0", f"{search}:kd-0")
    assert "its arms: baseline, kd, never, teacher" in refused(f"{search}:nothing", search)
    assert "must have ended trial kd-9" in refused(f"{search}:kd-9", search)
    assert "must have used its whole budget" in refused(f"{search}:never", search)
    assert "holds no study.json" in refused(f"{search}/none", search)


def test_other_labels_or_classes_are_refused(tmp_path: Path, search: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = Trial.counts
    monkeypatch.setattr(Trial, "counts", lambda self, evaluation="last": 2 * sizes(self, evaluation))
    larger = str(write_study(tmp_path / "larger", [Trial(arm="kd")]))
    assert "have 2000 and 4000 pixels of 'road'" in refused(search, larger)
    monkeypatch.setattr("tests.analysis.small.CLASSES", ("road", "sign", "bus"))
    assert "the same classes, but of" in refused(search, str(write_study(tmp_path / "bus", [Trial(arm="kd")])))


def shown(found: Comparison) -> list[str]:
    console = Console(width=160, record=True, quiet=False)
    print_comparison(found, console)
    return console.export_text().splitlines()


def test_the_comparison_is_shown_with_its_evidence(repeated: str) -> None:
    found = compare(f"{repeated}:rdd-8", f"{repeated}:baseline")
    lines = shown(found)
    assert lines[-1] == sentence(found)
    assert any(line.startswith("over seeds alone") and line.rstrip().endswith("5 pairs") for line in lines)
    assert any(line.startswith("chance that A is better") and "more than 99" in line for line in lines)
    # every fourth of 12 images has no sign
    assert next(line for line in lines if line.startswith("sign")).split()[-1] == "9"


def test_the_command_gives_one_json_document(search: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", f"{search}:kd", f"{search}:baseline", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["answer"].startswith("the network of kd-0 is better")
    assert answer["difference"]["images"] == 12
    assert np.isfinite(answer["difference"]["detectable"])
    assert main(["compare", f"{search}:kd", f"{search}:baseline"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("whether its settings are better")
    assert main(["compare", search, search]) == 2
