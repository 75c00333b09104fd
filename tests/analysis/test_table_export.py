"""Exported tables say what the stored ones say, in every format, and what DuckDB reads of them."""

import errno
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from analysis import table_export
from analysis.queries import best
from study.__main__ import main
from study.tables import ENVIRONMENT, REPORTS, TableWriter, read
from tests.analysis.test_queries import CONFIG, trial, write_study
from tests.pages import blocks

(QUERY,) = (block for block in blocks("sql") if "AS best_trial" in block)
(READING,) = (block for block in blocks("python") if "runs/quickstart/tables" in block)
NOON = datetime(2025, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
READERS: dict[str, Callable[[Path], pa.Table]] = {"parquet": pq.read_table, "arrow": pyarrow.feather.read_table}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    rows = [trial("kd", number, 30.0 + number) for number in range(3)]
    rows += [trial("kd", 3, 90.0, state="PRUNED"), trial("baseline", 0, 31.0), trial("focal", 0, None, state="FAIL")]
    folder = write_study(tmp_path / "runs" / "quickstart", [*rows, trial("teacher", 0, 60.0)])
    report = {"arm": "kd", "trial": 0, "attempt": 1, "time": NOON, "seconds": 1.5}
    with TableWriter(folder / "tables", REPORTS) as writer:
        writer.append([{**report, "iteration": 1, "metrics": {"train/term/kd/pixel": 0.25, "x": float("inf")}}])
        writer.append([{**report, "iteration": 2, "loss": float("nan")}])
    started = {"session": "s", "started": NOON, "cpus": 2, "memory_mib": 1.0, "packages": {"torch": "2"}}
    with TableWriter(folder / "tables", ENVIRONMENT) as writer:
        texts = dict.fromkeys(("host", "command", "python", "platform"), "x")
        writer.append([{**started, **texts, "devices": ['a "quoted", one', "b"]}])
    return folder


def exported(*arguments: Any) -> int:
    return main(["export-table", *map(str, arguments)])


@pytest.mark.parametrize("form", READERS)
def test_arrow_and_parquet_hold_what_is_stored(study: Path, form: str) -> None:
    assert exported(study, "--format", form) == 0
    files = sorted((study / "exports" / "tables").iterdir())
    assert [file.name for file in files] == [f"{name}.{form}" for name in ("environment", "reports", "trials")]
    for file in files:
        stored = read(study / "tables", file.stem)
        assert READERS[form](file).schema.equals(stored.schema)
        assert str(READERS[form](file).to_pylist()) == str(stored.to_pylist())  # NaN is not equal to itself


def test_csv_has_maps_and_lists_as_json(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "csv"
    assert exported(study, "--format", "csv", "--out", out, "--table", "reports", "--table", "environment") == 0
    first, second = pyarrow.csv.read_csv(out / "reports.csv").to_pylist()
    assert json.loads(first["metrics"]) == {"train/term/kd/pixel": 0.25, "x": "inf"}
    assert (first["time"], first["loss"], second["metrics"]) == (NOON, None, "")
    (machine,) = pyarrow.csv.read_csv(out / "environment.csv").to_pylist()
    assert json.loads(machine["devices"]) == ['a "quoted", one', "b"]
    assert json.loads(machine["packages"]) == {"torch": "2"}
    assert sorted(file.name for file in out.iterdir()) == ["environment.csv", "reports.csv"]


def test_nothing_is_overwritten(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert exported(study, "--format", "csv", "--out", out, "--table", "trials") == 0
    before = (out / "trials.csv").read_text()
    assert exported(study, "--format", "csv", "--out", out) == 2
    assert "must not hold the files already, but has" in capsys.readouterr().err
    assert [file.name for file in out.iterdir()] == ["trials.csv"] and (out / "trials.csv").read_text() == before
    assert exported(study, "--format", "csv", "--out", out / "trials.csv") == 2
    assert "must be a folder" in capsys.readouterr().err


def test_a_write_that_fails_leaves_no_file(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full_disk(table: pa.Table, path: Path) -> None:
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setitem(table_export.FORMATS, "csv", full_disk)
    assert exported(study, "--format", "csv", "--out", tmp_path / "out") == 1
    assert "No space left on device; free some space" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_an_unknown_table_is_named_with_those_that_exist(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exported(study, "--format", "csv", "--table", "trial") == 2
    said = capsys.readouterr().err
    assert "must be all or a table" in said and "but got trial; there: environment, reports, trials" in said


def test_an_empty_study_is_said_to_have_no_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "study.json").write_text(json.dumps(CONFIG))
    assert exported(tmp_path, "--format", "csv") == 2
    assert f"a study must have tables to export, but {tmp_path} has none yet" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::study.tables.TableWarning")
def test_a_table_that_cannot_be_read_is_named(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in (study / "tables" / "reports").iterdir():
        file.write_bytes(b"PAR1")
    assert exported(study, "--format", "csv") == 2
    assert "must have a readable file, but: table 'reports'" in capsys.readouterr().err


def test_the_pages_python_reads_a_table(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(READING, found)
    assert found["trials"].equals(read(study / "tables", "trials"))


def test_the_pages_query_gives_what_best_gives(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = duckdb.sql(QUERY).fetchall()
    assert rows == [("kd", 2, 32.0, 1, 0.0), ("baseline", 0, 31.0, 0, 0.0), ("focal", None, None, 0, 0.0)]
    found = {arm["arm"]: arm["best"][0] for arm in best(study)["arms"] if arm["best"]}
    assert {row[0]: row[1:3] for row in rows[:2]} == {
        arm: (trial["trial"], trial["last_miou_percent"]) for arm, trial in found.items()
    }
