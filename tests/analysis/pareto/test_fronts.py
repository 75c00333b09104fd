"""The fronts of studies: as answers, as text and figures, and as sentences where there is nothing to choose between."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pyarrow as pa
import pytest
from rich.console import Console

import study as api
from analysis.figures.drawing import NoFigure
from analysis.figures.fronts import pareto_front
from analysis.leaderboard import print_leaderboard
from analysis.pareto.fronts import pareto, plain
from analysis.pareto.view import print_fronts
from analysis.pictures.choice import choose
from analysis.queries import best
from analysis.replay.replay import replay
from analysis.report.outcome import again, configurations
from analysis.report.searching import fronts as section
from analysis.report.source import Source
from analysis.report.trained import loss_terms
from analysis.studies.runs import best_runs, named_runs
from analysis.studies.study import open_study
from analysis.tuning_curves.curves import curve_of
from study.__main__ import main
from study.measures import COSTS
from study.tables import TableWriter, trials_schema

NOON = datetime(2024, 5, 17, 12, tzinfo=UTC)
TWO = {"objectives": ["miou", "latency_ms"]}
LAST = "last_miou_percent"
NOTHING = "by latency_ms there is nothing to choose between"


def trial(number: int, miou: float | None, latency: float | None = None, **others: Any) -> dict[str, Any]:
    return {
        "arm": "wide", "trial": number, "state": "COMPLETE", "attempts": 1, "iterations": 4, "budget": 4,
        "seconds": 1.0, "gpu_seconds": 0.0, "config": "{}", "config_hash": f"{number}", "started": NOON, "ended": NOON,
        LAST: miou, "best_miou_percent": miou, "best_iteration": 4, "cost_trials": 1.0, "peak_memory_mib": 100.0,
        "latency_ms": latency, "latency_conditions": latency and "48x64, float32, cpu, 1 CPU thread",
        "parameters": 1000, "multiply_accumulates": 2000, **others,
    }  # fmt: skip


def written(folder: Path, trials: Sequence[dict[str, Any]], schema: pa.Schema | None = None, **config: Any) -> Path:
    folder.mkdir(exist_ok=True)
    arms = {"wide": {"space": ["mine"]}, "narrow": {"space": ["mine"]}}
    (folder / "study.json").write_text(
        json.dumps({"name": "small", "data": {"name": "streets"}, "arms": arms, **config})
    )
    with TableWriter(folder / "tables", schema or trials_schema({})) as writer:
        writer.append(list(trials))
    return folder


SEARCH = [
    trial(0, 50.0, 4.0),
    trial(1, 52.0, 6.0, arm="narrow"),
    trial(2, 49.0, 5.0),  # beaten by 0
    trial(3, 55.0, 9.0),
    trial(4, 55.0, 9.0, arm="narrow"),  # the same as 3
    trial(5, 60.0, 3.0, state="PRUNED"),
    trial(6, None, 1.0, state="FAIL", error="broken"),
    trial(7, 58.0, None),
]


def lines(folder: Path) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    print_fronts(pareto(open_study(folder)), console)
    return console.export_text()


def test_a_study_of_two_objectives_has_one_front(tmp_path: Path) -> None:
    found = pareto(open_study(written(tmp_path, SEARCH, search=TWO)))
    assert (found.finished, found.outside) == (6, 0)
    (one,) = found.fronts
    assert one.costs == ("latency_ms",) and one.candidates.num_rows == 5 and one.trivial is None
    assert one.trials["trial"].to_pylist() == [4, 3, 1, 0]
    answer = plain(found)
    json.dumps(answer)
    assert answer["fronts"][0]["objectives"] == ["miou", "latency_ms"]
    assert answer["latency_conditions"] == ["48x64, float32, cpu, 1 CPU thread"]
    assert [row["latency_ms"] for row in answer["fronts"][0]["trials"]] == [9.0, 9.0, 6.0, 4.0]
    said = lines(tmp_path)
    assert "mIoU against latency_ms: the front has 4 of 5 finished trials" in said
    assert "small: latency: one image of 48x64, float32, cpu, 1 CPU thread" in said


def test_any_other_study_has_one_for_each_cost_and_what_is_asked_for(tmp_path: Path) -> None:
    found = pareto(open_study(written(tmp_path, SEARCH)))
    assert [one.costs for one in found.fronts] == [(name,) for name in COSTS]
    same = "by parameters there is nothing to choose between: it is the same in all 6 finished trials"
    assert found.fronts[0].trivial == same
    (asked,) = pareto(open_study(tmp_path), ["latency_ms", "parameters"]).fronts
    assert asked.costs == ("latency_ms", "parameters") and asked.trials["trial"].to_pylist() == [4, 3, 1, 0]
    with pytest.raises(ValueError, match=r"--against must be one of parameters.* but got miou"):
        pareto(open_study(tmp_path), ["miou"])


@pytest.mark.parametrize(
    ("trials", "search", "sentence"),
    [
        ([trial(0, None, 1.0, state="FAIL", error="x")], TWO, "no trial has used its whole budget yet"),
        (
            [trial(0, 50.0, 4.0)],
            TWO,
            f"{NOTHING}: wide 0 is the only finished trial",
        ),
        (
            [trial(0, 50.0, 4.0), trial(1, 51.0, 5.0), trial(2, 52.0)],
            {**TWO, "constraints": ["latency_ms <= 4"]},
            f"{NOTHING}: wide 0 is the only one of 3 finished trials that keeps the bounds and has a value",
        ),
        (
            [trial(0, 50.0), trial(1, 51.0)],
            TWO,
            "no finished trial has a value of latency_ms, which are recorded since the study began or not at all; "
            "a new study has them, latency only where all students can be listed",
        ),
        (
            [trial(0, 50.0, 2.0), trial(1, 51.0, 2.0)],
            TWO,
            f"{NOTHING}: it is the same in all 2 finished trials",
        ),
        (
            [trial(0, 50.0, 4.0), trial(1, 51.0, 5.0)],
            {**TWO, "constraints": ["latency_ms <= 3"]},
            "2 trials finished, none of which keeps the bounds of the search",
        ),
    ],
    ids=["all failed", "one", "one of several", "not recorded", "equal", "none feasible"],
)
def test_where_there_is_nothing_to_choose_between_a_sentence_says_why(
    tmp_path: Path, trials: list[dict[str, Any]], search: dict[str, Any], sentence: str
) -> None:
    folder = written(tmp_path, trials, search=search)
    (one,) = pareto(open_study(folder)).fronts
    assert one.trivial is not None and one.trivial.startswith(sentence)
    assert sentence in lines(folder)
    drawn = pareto_front(one, "latency_ms", LAST, {})
    assert isinstance(drawn, NoFigure) and sentence in drawn.reason
    found = section(Source(open_study(folder)))
    assert not found.has_evidence and sentence[1:] in found.text[0]


def test_a_study_without_an_ended_trial_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "study.json").write_text(json.dumps({"name": "small", "data": {"name": "streets"}, "arms": {}}))
    assert main(["best", str(tmp_path), "--pareto"]) == 2
    assert "no trial has ended yet" in capsys.readouterr().err


def test_tables_of_an_older_kdstudy_have_the_peak_memory_alone(tmp_path: Path) -> None:
    new = {"parameters", "multiply_accumulates", "latency_ms", "latency_conditions"}
    schema = trials_schema({})
    older = pa.schema([field for field in schema if field.name not in new], schema.metadata)
    trials = [trial(0, 50.0, peak_memory_mib=90.0), trial(1, 52.0), trial(2, 51.0, peak_memory_mib=110.0)]
    folder = written(tmp_path, [{k: v for k, v in row.items() if k not in new} for row in trials], older)
    *of_student, memory = pareto(open_study(folder)).fronts
    assert all(one.trivial and one.trivial.startswith("no finished trial has a value of") for one in of_student)
    assert memory.trivial is None and memory.trials["trial"].to_pylist() == [1, 0]
    assert "the front has 2 of 3 finished trials" in lines(folder)


def test_the_figure_draws_the_front_of_its_two_axes(tmp_path: Path) -> None:
    found = pareto(open_study(written(tmp_path, SEARCH, search=TWO)))
    drawn = pareto_front(found.fronts[0], "latency_ms", LAST, {"wide": "#111111"})
    assert isinstance(drawn, go.Figure)
    line, *marks = drawn.data
    assert (list(line.x), list(line.y)) == ([4.0, 6.0, 9.0, 9.0, 9.0], [50.0, 52.0, 55.0, 55.0, 55.0])
    assert line.line.shape == "hv" and sum(len(one.x) for one in marks) == 5
    assert drawn.layout.xaxis.title.text == "latency of the student, one image (ms)"
    assert drawn.layout.yaxis.title.text == "mIoU (%)"
    found_section = section(Source(open_study(tmp_path)))
    assert found_section.has_evidence and "The line is the front" in found_section.notes[0]
    (table,) = found_section.tables
    assert table.rows["trial"].to_pylist() == [4, 3, 1, 0]


def test_the_command_and_the_api_say_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written(tmp_path, SEARCH, search=TWO)
    assert main(["best", str(folder), "--pareto", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [api.read(folder).pareto()]
    assert main(["best", str(folder), "--pareto", "--against", "parameters"]) == 0
    assert "by parameters there is nothing to choose between" in capsys.readouterr().out
    assert main(["best", str(folder), "--against", "parameters"]) == 2
    assert "--pareto was not given; add it" in capsys.readouterr().err


def test_what_breaks_a_bound_is_never_the_best(tmp_path: Path) -> None:
    bounds = {"sampler": "random", "constraints": ["latency_ms <= 6"]}
    folder = written(tmp_path, SEARCH, search=bounds)
    study = open_study(folder)
    assert pareto(study).outside == 3  # two are slower, and of one nobody knows
    assert "bounds of the search: latency_ms <= 6; 3 finished trials outside" in lines(folder)
    assert [trial["trial"] for trial in best(folder)["top"]] == [1]
    chosen = best_runs(study, "wide")
    assert chosen is not None and chosen.runs[0].row["trial"] == 0
    path = curve_of(study.trials, "wide", LAST, study.config).path
    assert path is not None and path.trial == (0,)
    narrow = written(tmp_path / "narrow", SEARCH, search={"constraints": ["latency_ms <= 5"]})
    tight = open_study(narrow)
    missing = curve_of(tight.trials, "narrow", LAST, tight.config).missing
    assert missing == ("narrow: no finished trial keeps the bounds of the search",)


def test_where_no_trial_keeps_the_bounds_nobody_says_that_none_has_finished(tmp_path: Path) -> None:
    outside = "no finished trial keeps the bounds of the search"
    folder = written(tmp_path, SEARCH, search={"constraints": ["latency_ms <= 1"]})
    study = open_study(folder)
    assert [arm["missing"] for arm in best(folder)["arms"]] == [outside, outside]
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    print_leaderboard(best(folder), console)
    rows = [line.split()[:5] for line in console.export_text().splitlines()[1:3]]
    assert rows == [[arm, "none", "keeps", "the", "bounds"] for arm in ("narrow", "wide*")]
    with pytest.raises(ValueError, match=outside):
        choose(study)
    with pytest.raises(ValueError, match=rf"to be compared, but {outside}; wait for one, or name a trial"):
        named_runs(str(folder))
    source = Source(study)
    sentence = f"{outside.capitalize()}."
    assert configurations(source).text == again(source).text == (sentence,)
    ((drawn,),) = loss_terms(source).drawings
    assert isinstance(drawn, NoFigure) and drawn.reason.startswith(outside.capitalize())


@pytest.mark.parametrize("search", [TWO, {"constraints": ["latency_ms <= 6"]}])
def test_a_replay_of_such_a_search_is_refused(tmp_path: Path, search: dict[str, Any]) -> None:
    study = open_study(written(tmp_path, SEARCH, search=search))
    with pytest.raises(ValueError, match=r"small searched latency_ms.* too; see its fronts: kdstudy best .* --pareto"):
        replay(study)
