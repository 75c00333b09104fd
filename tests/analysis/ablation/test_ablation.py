"""The papers' ablation tables out of trials written by hand."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from analysis.ablation.ablation import AblationTable, Cell, ablations, as_values
from analysis.ablation.published import ABLATIONS
from analysis.ablation.view import print_ablations
from analysis.report.ablated import ablated
from analysis.report.source import Source
from analysis.studies.study import Study, open_study
from study.__main__ import main
from study.tables import REPORTS, TableWriter, trials_schema
from tests.analysis.test_queries import CONFIG, NOON, trial

KD = {"kd": {"temperature": 1.0, "weights": {"pixel": 1.0}}}
AT = {"at": {"weights": {"attention": 1e4}}}
UNIFORM = {"weighting": "uniform", "aux_weight": 0.4}
RDD = {"weighting": "rdd", "tfe_fraction": 0.1, "threshold": 0.7, "combine": "xor", "aux_weight": 0.4}
T_3_SEEDS = 4.302652729911275
"""0.975 quantile of Student's t with two degrees of freedom."""

Trials = list[dict[str, Any]]


def of(
    arm: str, scores: list[float], *, task: dict[str, Any] = UNIFORM, methods: dict[str, Any] | None = None,
    seeds: range | None = None, lr: float = 0.05, state: str = "COMPLETE", seconds: float = 100.0,
) -> Trials:  # fmt: skip
    """Trials of one setting, one for each score, with the seeds 1, 2, ..."""
    trials = []
    for number, (score, seed) in enumerate(zip(scores, seeds or range(1, 99), strict=False)):
        config = {
            "data": {"name": "camvid"}, "train": {"optimizer": {"lr": lr}}, "task": task, "methods": methods or {},
            "teacher": {"sha256": "0"} if methods or task["weighting"] == "rdd" else None,
            "data_seed": seed, "init_seed": seed,
        }  # fmt: skip
        row = trial(arm, number, score, state=state)
        trials.append({**row, "config": json.dumps(config), "seconds": seconds + number})
    return trials


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., Study]:
    """A study's folder with these trials; each step of an arm takes as many milliseconds as its name is long."""

    def write(*groups: Trials) -> Study:
        rows = [row for group in groups for row in group]
        with TableWriter(tmp_path / "tables", trials_schema({})) as writer:
            writer.append(rows)
        with TableWriter(tmp_path / "tables", REPORTS) as writer:
            for row in rows:
                key = {"arm": row["arm"], "trial": row["trial"], "attempt": 1, "time": NOON, "seconds": 1.0}
                step = float(len(row["arm"]))
                writer.append([{**key, "iteration": i, "step_ms": step + i - 1.5} for i in (1, 2)])
        (tmp_path / "study.json").write_text(json.dumps(CONFIG))
        return open_study(tmp_path)

    return write


def table(study: Study, name: str) -> AblationTable:
    return next(found for found in ablations(study) if found.published.name == name)


def cells(study: Study, name: str) -> dict[str, Cell]:
    return {cell.line.label: cell for cell in table(study, name).cells}


def test_a_cell_is_the_mean_over_seeds_with_its_interval(study: Callable[..., Study]) -> None:
    ours, theirs = [20.0, 22.0, 27.0], [19.0, 20.0, 24.0]
    found = cells(
        study(
            of("xor", ours, task=RDD, methods=KD),
            of("and", theirs, task={**RDD, "combine": "and"}, methods=KD),
        ),
        "rdd-6",
    )
    mean = found["xor"].mean
    error = math.sqrt(sum((x - 23) ** 2 for x in ours) / 2 / 3)
    assert mean is not None and (mean.estimate, mean.n) == (23.0, 3)
    assert (mean.low, mean.high) == pytest.approx((23 - T_3_SEEDS * error, 23 + T_3_SEEDS * error))
    gain = found["and"].gain
    assert gain is not None and gain.interval is not None and gain.paired
    # differences -1, -2, -3
    spread = T_3_SEEDS / math.sqrt(3)
    assert (gain.interval.estimate, gain.interval.n) == (-2.0, 3)
    assert (gain.interval.low, gain.interval.high) == pytest.approx((-2 - spread, -2 + spread))
    assert gain.published == pytest.approx(70.01 - 77.18)
    assert found["or"].mean is None and found["or"].gain is not None and found["or"].gain.interval is None


def test_one_seed_has_no_interval(study: Callable[..., Study]) -> None:
    found = cells(study(of("a", [20.0], task=RDD, methods=KD)), "rdd-5")["10 %"].mean
    assert found is not None and (found.estimate, found.low, found.high, found.n) == (20.0, None, None, 1)


def test_only_finished_trials_of_equal_settings_make_a_cell(study: Callable[..., Study]) -> None:
    found = cells(
        study(
            of("one", [20.0, 21.0], task=RDD, methods=KD),
            of("other-lr", [90.0, 91.0], task=RDD, methods=KD, lr=0.1),
            of("stopped", [95.0], task=RDD, methods=KD, seeds=range(8, 9), state="PRUNED"),
            of("again", [20.0], task=RDD, methods=KD),  # one seed twice is one seed
            of("tfe", [15.0], task={**RDD, "tfe_fraction": 1.0}, methods=KD),
        ),
        "rdd-5",
    )
    assert {(run.name.arm, run.name.number) for run in found["10 %"].runs} <= {("one", 0), ("one", 1), ("again", 0)}
    assert found["10 %"].mean is not None and (found["10 %"].mean.estimate, found["10 %"].mean.n) == (20.5, 2)
    assert found["100 % (TFE only)"].mean is not None


def test_the_settings_that_fill_the_most_lines_are_taken_and_the_others_counted(study: Callable[..., Study]) -> None:
    low, high = {**RDD, "threshold": 0.65}, {**RDD, "threshold": 0.8}
    found = table(
        study(
            of("many", [10.0, 11.0, 12.0], task=low, methods=KD, lr=0.1),
            of("low", [20.0], task=low, methods=KD),
            of("high", [21.0], task=high, methods=KD),
        ),
        "rdd-7",
    )
    assert [cell.runs[0].name.arm if cell.runs else None for cell in found.cells] == [None, "low", None, None, "high"]
    assert found.other_settings == 1


def test_trials_from_before_a_field_are_of_the_same_setting_as_later_ones(study: Callable[..., Study]) -> None:
    later = of("again", [22.0], task=RDD, methods=KD, seeds=range(7, 8))
    later[0]["config"] = json.dumps({**json.loads(later[0]["config"]), "evaluate_on": "val", "holdout": 0.0})
    found = cells(study(of("kd", [20.0, 21.0], task=RDD, methods=KD), later), "rdd-8")["KD + RDD"]
    assert sorted(str(run.name) for run in found.runs) == ["again-0", "kd-0", "kd-1"]


def test_the_papers_own_options_come_before_more_seeds(study: Callable[..., Study]) -> None:
    found = cells(
        study(
            of("kd", [20.0], methods=KD),
            of("strict", [30.0, 31.0, 32.0], task={**RDD, "threshold": 0.6}, methods=KD),
            of("paper", [21.0], task=RDD, methods=KD),
        ),
        "rdd-8",
    )
    assert [run.name.arm for run in found["KD + RDD"].runs] == ["paper"]


def test_a_method_is_compared_with_itself_beside_kd_or_alone(study: Callable[..., Study]) -> None:
    soft = {"at": {"weights": {"attention": 1.0}}}
    found = cells(
        study(
            of("at-soft", [50.0, 51.0, 52.0], methods=KD | soft),
            of("at", [20.0, 21.0], methods=KD | AT),
            of("rdd-at", [22.0, 24.0], task=RDD, methods=KD | AT),
            of("kd", [19.0], methods=KD),
        ),
        "rdd-8",
    )
    assert [run.name.arm for run in found["AT"].runs] == ["at", "at"]
    gain = found["AT + RDD"].gain
    assert gain is not None and gain.interval is not None and gain.interval.estimate == 2.5
    assert [run.name.arm for run in found["KD"].runs] == ["kd"], "KD is not AT beside KD"


def test_seeds_that_do_not_meet_are_compared_without_an_interval(study: Callable[..., Study]) -> None:
    found = cells(
        study(
            of("kd", [20.0, 22.0], methods=KD),
            of("rdd", [25.0, 27.0], task=RDD, methods=KD, seeds=range(11, 20)),
        ),
        "rdd-8",
    )
    gain = found["KD + RDD"].gain
    assert gain is not None and gain.interval is not None and not gain.paired
    assert (gain.interval.estimate, gain.interval.low, gain.interval.high) == (5.0, None, None)


def test_training_times_are_compared_as_ratios(study: Callable[..., Study]) -> None:
    found = cells(
        study(of("plain", [1.0, 1.0, 1.0]), of("rdd-plain", [1.0, 1.0, 1.0], task=RDD, seconds=110.0)), "rdd-9"
    )
    base, with_rdd = found["baseline"], found["baseline + RDD"]
    assert base.mean is not None and base.mean.estimate == 101.0
    assert (base.step_ms, with_rdd.step_ms) == (5.0, 9.0)
    ratios = [110 / 100, 111 / 101, 112 / 102]
    gain = with_rdd.gain
    assert gain is not None and gain.interval is not None and gain.interval.low is not None
    assert gain.interval.estimate == pytest.approx(math.prod(ratios) ** (1 / 3))
    assert gain.interval.low < gain.interval.estimate
    assert gain.published == pytest.approx(260 / 245)


def idd(distance: float, position: float) -> dict[str, Any]:
    return {"idd": {"weights": {"distance": distance, "position": position}}}


def test_idd_is_told_apart_by_the_weights_of_its_terms(study: Callable[..., Study]) -> None:
    skd = {"skd": {"weights": {"pixel": 10.0, "pairwise": 1.0, "holistic": 0.1}}}
    cwd = {"cwd": {"weights": {"logits": 3.0, "features": 50.0}}}
    softer = {"skd": {"weights": {"pixel": 1.0, "pairwise": 1.0, "holistic": 0.1}}}
    found = cells(
        study(
            of("baseline", [10.0]),
            of("skd", [11.0], methods=softer),
            of("cw", [12.0], methods=skd | cwd),
            of("distance", [13.0], methods=skd | cwd | idd(0.1, 0)),
            of("position", [14.0], methods=skd | cwd | idd(0, 0.1)),
            of("all", [15.0], methods=skd | cwd | idd(0.1, 0.1)),
        ),
        "idd-1",
    )
    assert [cell.runs[0].name.arm for cell in found.values()] == [
        "baseline",
        "skd",
        "cw",
        "distance",
        "position",
        "all",
    ]
    gains = {label: cell.gain for label, cell in found.items() if cell.gain}
    assert gains["SKD + CW"].interval is None and gains["SKD + CW"].why == "other options of skd"
    assert gains["all"].interval is not None and gains["all"].interval.estimate == 3.0


def test_the_report_has_the_tables_of_which_two_lines_are_filled(study: Callable[..., Study]) -> None:
    alone = study(of("xor", [20.0, 22.0], task=RDD, methods=KD))
    assert ablated(Source(alone)).tables == ()
    dear = [
        {**row, "cost_trials": cost}
        for row, cost in zip(
            of("and", [19.0, 20.0], task={**RDD, "combine": "and"}, methods=KD), (1.5, 2.5), strict=True
        )
    ]
    both = study(dear)
    (shown,) = ablated(Source(open_study(both.folder))).tables
    assert shown.name == "ablation-rdd-6" and "published on Cityscapes val" in shown.caption
    by_setting = {row["setting"]: row for row in shown.rows.to_pylist()}
    line = by_setting["and"]
    assert (line["mIoU %, last evaluation"], line["seeds"], line["published"]) == (19.5, 2, 70.01)
    assert line["cost, whole trials"] == 2.0
    assert by_setting["xor"]["cost, whole trials"] is None
    assert (line["points"], line["pairs"]) == (-1.5, 2) and line["points, from"] < -1.5 < line["points, to"]
    assert "or" not in by_setting and "no evidence for or" in shown.caption


def test_every_line_of_every_table_is_there_and_named_once() -> None:
    lines = {ablation.name: len(ablation.lines) for ablation in ABLATIONS}
    assert lines == {"rdd-5": 5, "rdd-6": 3, "rdd-7": 5, "rdd-8": 8, "rdd-9": 8, "idd-1": 6}
    for ablation in ABLATIONS:
        labels = [line.label for line in ablation.lines]
        assert len(set(labels)) == len(labels)
        assert {line.versus for line in ablation.lines} - {None} <= set(labels)


def test_the_tables_are_shown_with_their_seeds_and_without_empty_ones(study: Callable[..., Study]) -> None:
    made = study(of("xor", [20.0, 21.0], task=RDD, methods=KD), of("kd", [19.0], methods=KD))
    console = Console(width=140, record=True)
    print_ablations(made, ablations(made), console)
    text = console.export_text()
    assert "RDD, table 6" in text and "ours on camvid" in text
    row = next(line.split() for line in text.splitlines() if line.startswith(" xor"))
    assert row[:5] == ["xor", "20.50", "[14.15,", "26.85]", "2"]
    assert "no evidence for: and, or" in text and not any(line.startswith(" and") for line in text.splitlines())
    assert "19.00, one seed" in text and "+1.00, one pair" in text
    assert "no evidence for: RDD, table 9" in text


def test_the_command_gives_one_json_document(
    study: Callable[..., Study], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = study(of("xor", [20.0], task=RDD, methods=KD))
    assert main(["ablate", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads(json.dumps(as_values(made, ablations(made))))
    (line,) = (line for line in told["tables"][1]["lines"] if line["line"] == "xor")
    assert line["trials"] == ["xor-0"] and line["ours"]["n"] == 1
    assert main(["ablate", str(tmp_path)]) == 0
