"""The page and the tables beside it, from searches of every kind that may lie on a disk."""

import csv
import html
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from analysis.report import report
from analysis.report.files import formatted, latex, markdown, write_tables
from analysis.report.section import Table
from analysis.studies.study import open_study
from analysis.verdict.verdict import verdict
from study.__main__ import main
from tests.analysis import small
from tests.analysis.searches import Trial, search, write_search

SCRIPT = re.compile(r'<script type="application/json">(.*?)</script>', re.DOTALL)


def figures(page: Path) -> list[dict[str, Any]]:
    """What the page draws, as plotly will read it."""
    return [json.loads(text) for text in SCRIPT.findall(page.read_text())]


def rows(page: Path, name: str) -> list[dict[str, str]]:
    with (page.with_name(f"{page.stem}-tables") / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


def texts(page: Path) -> str:
    """The page without scripts and styles."""
    return re.sub(r"<(script|style).*?</\1>", "", page.read_text(), flags=re.DOTALL)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on the whole search."""
    return report([write_search(tmp_path_factory.mktemp("searched"), search())])


def test_the_page_has_every_section_and_draws_what_there_is(searched: Path) -> None:
    assert searched.name == "report.html"
    titles = re.findall(r"<h2>(.*?)</h2>", searched.read_text())
    assert titles == [
        "At a glance", "Verdict", "Summary", "Best configurations", "Tuning", "Optimisation history",
        "Parallel coordinates", "Slices", "Threshold t and TFE fraction", "Importance", "Early stopping",
        "Learning curves", "Classes", "Terms of the loss", "Cost", "Failures",
        "Environment", "Run the best again",
    ]  # fmt: skip
    left_out = texts(searched).partition("Left out, because there is nothing to show:")[2]
    assert "<strong>Ablations</strong> (The trials fill no two lines" in left_out
    assert "<strong>Recorded teacher</strong> (No step read" in left_out
    # history, 3 parallel, 4 slices, contour, rungs, curves, 2 of classes, 3 of terms, cost, and 2 importances:
    # in one arm no parameter stands out of chance; no counts of images, so no differences
    assert len(figures(searched)) == 19
    assert "No GPU-seconds were used." in texts(searched)


def test_each_arm_has_its_numbers(searched: Path) -> None:
    found = {row["arm"]: row for row in rows(searched, "arms")}
    kd = {name: found["kd"][name] for name in ("trials", "COMPLETE", "PRUNED", "FAIL", "best trial")}
    assert kd == {"trials": "16", "COMPLETE": "12", "PRUNED": "3", "FAIL": "1", "best trial": "kd-14"}
    assert float(found["kd"]["mIoU %, last evaluation"]) == 55.0
    # 12 whole trials of 80 s, 3 stopped ones of 20 s
    assert float(found["kd"]["trial-seconds"]) == 12 * 80 + 3 * 20


def test_rungs_say_how_many_came_there_and_what_they_had(searched: Path) -> None:
    kd = next(row for row in rows(searched, "rungs") if row["arm"] == "kd")
    assert (kd["iteration"], kd["trials that reached it"], kd["stopped there"]) == ("10", "15", "3")
    # at its first of four evaluations a trial has 7 tenths of its quality, which is 41 to 55
    assert float(kd["highest mIoU % there"]) == pytest.approx(0.7 * 55)
    assert float(kd["median mIoU % there"]) == pytest.approx(0.7 * 48)


def test_classes_are_those_of_the_last_evaluation_of_the_best_trial(searched: Path) -> None:
    found = {row["network"]: row for row in rows(searched, "classes")}
    kd = found["kd 14"]
    assert [float(kd[name]) for name in ("mIoU %", "road %", "sign %")] == [55.0, 60.0, 50.0]
    assert list(kd)[:3] == ["network", "mIoU %", "cost, whole trials"]
    assert float(found["teacher"]["road %"]) == 75.0
    assert "rgb(128, 64, 128)" in json.dumps(figures(searched))


def test_the_verdict_stands_first_with_every_n_and_the_replicates(tmp_path: Path) -> None:
    tried = [
        small.Trial(arm=arm, number=n, gain=gain + n, config={"lr": n})
        for arm, gain in (("baseline", 0.0), ("kd", 2.0))
        for n in (0, 1)
    ]
    small.write_study(tmp_path, tried)
    again = [*small.replicated("baseline", [0.0, 0.1, -0.1]), *small.replicated("kd-1", [3.0, 3.1, 2.9])]
    sources = {"baseline": {"arm": "baseline", "trial": 1}, "kd-1": {"arm": "kd", "trial": 1}}
    small.write_study(tmp_path / "replicate", again, replicates=sources)
    page = report([tmp_path])
    found = verdict(open_study(tmp_path))
    lead = html.escape(found.answer[0][1:])
    assert lead in texts(page).partition("<h2>Summary</h2>")[0]
    told = {(row["setting"], row["runs"]): row for row in rows(page, "verdict")}
    searched, repeated = told["kd-1", "1"], told["kd-1", "3"]
    kd = next(arm for arm in found.arms if arm.arm == "kd")
    assert kd.best and kd.best.difference and kd.optimism
    assert (searched["images"], searched["seeds"], searched["chosen among"]) == ("12", "1", "2")
    assert float(searched["minus baseline, points"]) == kd.best.difference.estimate
    assert float(searched["flattered by, points"]) == kd.optimism.estimate
    assert (repeated["seeds"], searched["p, adjusted"]) == ("3", "")
    assert float(repeated["minus baseline, points"]) == pytest.approx(3.0, abs=0.5)


def test_failures_are_counted_by_their_error(tmp_path: Path) -> None:
    errors = ["no memory: 3 GiB", "no memory: 4 GiB", "loss is not finite"]
    failed = [Trial(arm="kd", number=n, state="FAIL", iterations=0, error=error) for n, error in enumerate(errors)]
    page = report([write_search(tmp_path, failed)])
    assert [(row["trials"], row["error"]) for row in rows(page, "failures")] == [("2", errors[0]), ("1", errors[2])]


def test_what_a_recorded_teacher_spared_is_said(tmp_path: Path, searched: Path) -> None:
    first = ((0, 10, 100.0), (0, 10, 110.0), (0, 10, 90.0), (0, 10, 100.0))
    later = ((4, 6, 70.0), (10, 0, 50.0), (10, 0, 60.0), (10, 0, 40.0))
    kd = [Trial(arm="kd", number=n, teacher_steps=steps) for n, steps in enumerate((first, later))]
    alone = Trial(arm="rdd", number=0, teacher_steps=later[1:])
    page = report([write_search(tmp_path, [*kd, alone, Trial(arm="baseline", number=0)])])
    of_kd, of_rdd = rows(page, "recorded-teacher")
    assert [of_kd[name] for name in ("arm", "recorded steps", "live steps")] == ["kd", "34", "46"]
    assert float(of_kd["recorded %"]) == 42.5
    assert (float(of_kd["live step, ms"]), float(of_kd["recorded step, ms"])) == (100.0, 50.0)
    assert float(of_kd["seconds saved, estimated"]) == pytest.approx(34 * 50 / 1000)
    # no report of it ran the teacher at all its steps, so nobody knows what a live one takes
    assert (of_rdd["recorded steps"], of_rdd["live step, ms"], of_rdd["seconds saved, estimated"]) == ("30", "", "")
    assert "No step read the teacher&#39;s outputs from a recording" in texts(searched)


def test_the_best_is_run_again_by_one_command(searched: Path) -> None:
    assert f"kdstudy train {searched.parent} --trial rdd-14" in texts(searched)


def test_trials_that_have_not_ended_are_told_and_drawn(tmp_path: Path) -> None:
    running = Trial(arm="kd", number=20, quality=44.0, iterations=20, ended=False)
    page = report([write_search(tmp_path, [*search(), running])])
    assert "1 trials have reported but have not ended" in texts(page)
    assert any(trace.get("name") == "kd 20" for figure in figures(page) for trace in figure["data"])


ONE = [Trial(arm="kd", number=0, parameters={"train/optimizer/lr": 0.1})]
FAILED = [
    Trial(arm=arm, number=n, state="FAIL", iterations=0, error="boom") for arm in ("baseline", "kd") for n in (0, 1)
]
CONSTANT = [Trial(arm="kd", number=n, quality=40.0 + n, parameters={"train/optimizer/lr": 0.1}) for n in range(15)]
STOPPED = [Trial(arm="kd", number=n, state="PRUNED", iterations=10) for n in range(3)]
TEACHER = [Trial(arm="teacher", number=0)]


@pytest.mark.parametrize(
    ("trials", "said"),
    [
        (
            ONE,
            ["parallel coordinates need two trials", "was 0.1 in all 1 trials", "needs 12 trials with an evaluation"],
        ),
        (
            FAILED,
            [
                "No trial has used its whole budget",
                "no history to draw",
                "no learning curves",
                "4 FAIL (with an error)",
                "Trials that failed: 4",
            ],
        ),
        (
            CONSTANT,
            ["lr was 0.1 in all 15 trials", "needs a parameter that varies", "stopped early, so there are no rungs"],
        ),
        (STOPPED, ["No trial has used its whole budget", "no finished trial", "No trial failed"]),
        (
            TEACHER,
            ["no verdict", "No trial of an arm has ended", "no history to draw", "need a finished trial of a baseline"],
        ),
    ],
    ids=["one trial", "all failed", "constant parameter", "all stopped", "only the teacher"],
)
def test_what_cannot_be_drawn_is_said(trials: Sequence[Trial], said: list[str], tmp_path: Path) -> None:
    page = report([write_search(tmp_path, trials)])
    found = texts(page).lower().replace("&#39;", "'")
    for sentence in said:
        assert sentence.lower() in found
    for figure in figures(page):
        assert any(_holds_something(trace) for trace in figure["data"]), figure["layout"]


def _holds_something(trace: dict[str, Any]) -> bool:
    values = [trace.get(axis) for axis in ("x", "y", "z")]
    return any(isinstance(value, dict) or (isinstance(value, list) and value != [None]) for value in values)


@pytest.mark.parametrize("table", ["reports", "class_iou", "environment"])
def test_a_study_without_one_of_its_tables_still_has_a_report(table: str, tmp_path: Path) -> None:
    folder = write_search(tmp_path, search())
    shutil.rmtree(folder / "tables" / table)
    page = report([folder])
    assert rows(page, "arms")[1]["best trial"] == "kd-14"
    for figure in figures(page):
        assert any(_holds_something(trace) for trace in figure["data"])


def test_a_study_without_the_colours_of_its_classes_has_the_palettes(tmp_path: Path) -> None:
    folder = write_search(tmp_path, search())
    (folder / "classes.json").unlink()
    drawn = json.dumps(figures(report([folder])))
    assert "rgb(128, 64, 128)" not in drawn and "color:#0072B2" in drawn


def test_errors_and_names_are_text_and_never_markup(tmp_path: Path) -> None:
    attack = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
    failed = Trial(arm="kd", number=9, state="FAIL", iterations=0, error=attack)
    named = [replace(trial, parameters={**trial.parameters, "task/combine": attack}) for trial in search()[-6:-2]]
    page = report([write_search(tmp_path, [*search()[:15], *named, failed], name=attack)])
    text = page.read_text()
    assert attack not in text and "<img src=x" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert figures(page), "no text may end the script element it stands in"


def test_a_report_is_replaced_whole_with_its_tables(tmp_path: Path) -> None:
    folder = write_search(tmp_path / "study", search())
    page = tmp_path / "pages" / "a.html"
    report([folder], page)
    (page.parent / "a-tables" / "older.csv").write_text("numbers of an earlier report")
    before = page.stat().st_ino
    report([folder], page)
    assert page.stat().st_ino != before
    assert not (page.parent / "a-tables" / "older.csv").exists()
    assert not list(page.parent.rglob("*.writing"))


def test_studies_stand_together_and_one_by_one(tmp_path: Path) -> None:
    folders = [write_search(tmp_path / name, search(), name=name) for name in ("first", "second")]
    page = report(folders, tmp_path / "both.html")
    assert [row["study"] for row in rows(page, "arms")] == ["first"] * 3 + ["second"] * 3
    assert rows(page, "2-second-arms")[0]["arm"] == "baseline"
    identities = re.findall(r' id="(.*?)"', page.read_text())
    assert len(identities) == len(set(identities))


def test_datasets_are_not_mixed_and_an_empty_study_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = write_search(tmp_path / "one", search())
    other = write_search(tmp_path / "other", search(), data={"name": "camvid"})
    assert main(["report", str(one), str(other), "--out", str(tmp_path / "r.html")]) == 2
    assert "must be of one dataset" in capsys.readouterr().err
    empty = write_search(tmp_path / "empty", [])
    assert main(["report", str(empty)]) == 2
    assert "no trial has ended" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.html"))


def test_a_cell_is_rounded_as_its_column_is_read() -> None:
    assert formatted("mIoU %", 20.4449) == "20.44"
    assert formatted("trial-seconds", 61.95) == "62.0" and formatted("trial-seconds", 61950.0) == "61,950"
    assert formatted("task/threshold", 0.000123456) == "0.0001235"
    assert formatted("error", None) == formatted("mIoU %", float("nan")) == "\N{EN DASH}"


def test_tables_keep_every_digit_in_csv_and_escape_what_their_form_reads(tmp_path: Path) -> None:
    table = Table(name="t", caption="A & B", rows=pa.table({"a_b": ["x|y\nz", "50 %"], "n %": [1 / 3, 2.0]}))
    assert markdown(table).splitlines() == [
        "A & B",
        "",
        "| a_b | n % |",
        "| --- | ---: |",
        "| x\\|y z | 0.33 |",
        "| 50 % | 2.00 |",
    ]
    written = latex(table)
    assert r"\caption{A \& B}" in written and r"a\_b & n \% \\" in written and r"50 \% & 2.00 \\" in written
    write_tables([table], tmp_path)
    with (tmp_path / "t.csv").open() as file:
        assert float(next(csv.DictReader(file))["n %"]) == 1 / 3


def test_many_arms_are_drawn_without_what_only_few_have_space_for(tmp_path: Path, searched: Path) -> None:
    named = [f"arm{n}" for n in range(9)]
    trials = [
        Trial(arm=arm, number=n, quality=40.0 + n, state="PRUNED" if n == 1 else "COMPLETE",
              iterations=10 if n == 1 else 40, parameters={"train/optimizer/lr": 0.01 * (n + 1)})
        for arm in named for n in range(3)
    ]  # fmt: skip
    page = report([write_search(tmp_path, trials)])
    slices = [
        figure for figure in figures(page) if figure["layout"]["xaxis"].get("title", {}).get("text") == "optimizer/lr"
    ]
    assert slices and not any(figure["layout"]["showlegend"] for figure in slices)
    assert len(rows(page, "best")) == 2 * len(named)  # 24 in all, so two of each
    few = [f for f in figures(searched) if f["layout"]["xaxis"].get("title", {}).get("text") == "optimizer/lr"]
    assert all(figure["layout"]["showlegend"] for figure in few)


def test_cost_stands_beside_the_scores_of_every_table(tmp_path: Path) -> None:
    costs = {"baseline": (1.0, 0.5), "kd": (1.5, 2.5)}
    tried = [
        small.Trial(arm=arm, number=n, gain=float(n), config={"lr": n}, cost_trials=cost)
        for arm, found in costs.items()
        for n, cost in enumerate(found)
    ]
    failed = small.Trial(arm="kd", number=2, state="FAIL", cost_trials=9.0)
    small.write_study(tmp_path, [*tried, failed])
    small.write_rescored(tmp_path, [tried[-1]])
    again = [
        replace(trial, cost_trials=cost)
        for arm, found in (("baseline", (1.0, 1.0)), ("kd-1", (2.0, 4.0)))
        for trial, cost in zip(small.replicated(arm, [0.0, 0.1]), found, strict=True)
    ]
    sources = {"baseline": {"arm": "baseline", "trial": 1}, "kd-1": {"arm": "kd", "trial": 1}}
    small.write_study(tmp_path / "replicate", again, replicates=sources)
    page = report([tmp_path])
    cost, spent = "cost, whole trials", "spent, whole trials"
    told = {(row["setting"], row["runs"]): row[cost] for row in rows(page, "verdict")}
    assert (told["kd-1", "1"], told["kd-1", "2"]) == ("2.5", "3")  # of the search, and the mean of the replicates
    assert {row["arm"]: row[spent] for row in rows(page, "arms")} == {"baseline": "1.5", "kd": "4"}  # no failed one
    assert {row["trial"]: row[cost] for row in rows(page, "best")} == {
        "baseline-0": "1", "baseline-1": "0.5", "kd-0": "1.5", "kd-1": "2.5",
    }  # fmt: skip
    assert [row[cost] for row in rows(page, "rescored")] == ["2.5"]
    for name, first in (("verdict", "setting"), ("arms", "arm"), ("best", "trial"), ("rescored", "trial")):
        columns = list(rows(page, name)[0])
        assert columns[0] == first and columns[1].startswith("mIoU %")
