"""Tables: what was appended is read, once, after any kill and during any seal."""

import os
import random
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from study.tables import CLASS_IOU, REPORTS, TableWarning, TableWriter, read, trials_schema
from study.tables import files as table_files
from study.tables import reading as table_reading
from study.tables import writer as table_writer
from study.tables.live import header
from tests.conftest import ROOT

NOON = datetime(2024, 5, 17, 12, 0, 0, 250_000, tzinfo=UTC)


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs, no handler of the code under test catches it."""


def report(iteration: int, trial: int = 0, **values: Any) -> dict[str, Any]:
    row = {"arm": "kd", "trial": trial, "iteration": iteration, "attempt": 1, "time": NOON}
    return {**row, "seconds": 1.0, "miou_percent": float(iteration), **values}


def classes(iteration: int, count: int = 11) -> list[dict[str, Any]]:
    key = {"arm": "kd", "trial": 0, "iteration": iteration}
    return [{**key, "class": f"c{c}", "iou_percent": c if c else None} for c in range(count)]


def iterations(folder: Path) -> list[int]:
    stored: list[int] = read(folder, "reports", ["iteration"])["iteration"].to_pylist()
    return stored


def names(folder: Path, table: str = "reports") -> list[str]:
    return sorted(path.name for path in (folder / table).iterdir())


def abandon(writer: TableWriter) -> None:
    """What a dead process leaves: the file as it is, its handle closed by the system."""
    writer._stream.close()


def dead_writer(folder: Path, *batches: list[dict[str, Any]]) -> Path:
    """A table with one live file, of these batches, that nobody sealed; the live file."""
    writer = TableWriter(folder, REPORTS)
    for batch in batches:
        writer.append(batch)
    abandon(writer)
    return writer._live.path


def test_every_column_of_a_report_comes_back(tmp_path: Path) -> None:
    metrics = {"train/term/kd/pixel": 0.25, "val/loss": float("inf")}
    row = report(7, loss=float("nan"), learning_rate=0.05, step_ms=12.5, metrics=metrics)
    with TableWriter(tmp_path, REPORTS) as writer:
        writer.append([row])
        running = read(tmp_path, "reports").to_pylist()[0]
    sealed = read(tmp_path, "reports").to_pylist()[0]
    for stored in (running, sealed):
        assert stored.pop("loss") != stored.get("loss")  # NaN
        assert dict(stored.pop("metrics")) == metrics
        assert stored == {
            "pixel_accuracy_percent": None,
            **{key: value for key, value in row.items() if key not in ("loss", "metrics")},
        }


def test_parameter_columns_keep_their_types(tmp_path: Path) -> None:
    kinds = {"lr": pa.float64(), "taps": pa.int64(), "combine": pa.string(), "on": pa.bool_()}
    trial = {
        "arm": "rdd",
        "state": "COMPLETE",
        "attempts": 1,
        "iterations": 10,
        "budget": 10,
        "seconds": 1.5,
        "gpu_seconds": 0,
        "config": "{}",
        "config_hash": "0",
        "started": NOON,
        "ended": NOON,
    }
    given = {"param/lr": 0.1, "param/taps": 3, "param/combine": "xor", "param/on": True}
    with TableWriter(tmp_path, trials_schema(kinds)) as writer:
        writer.append([{**trial, "trial": 0, **given}, {**trial, "trial": 1}])
    stored = read(tmp_path, "trials", list(given))
    assert stored.schema.types == list(kinds.values())
    assert stored.to_pylist() == [given, dict.fromkeys(given)]


def test_parameters_added_later_are_null_in_earlier_rows(tmp_path: Path) -> None:
    base = trials_schema({}).names
    values: dict[str, Any] = dict.fromkeys(base, 1) | {"started": NOON, "ended": NOON}
    texts = ["arm", "state", "config", "config_hash", "error", "host", "stopped_by", "error_file", "latency_conditions"]
    values |= dict.fromkeys(texts, "x")
    with TableWriter(tmp_path, trials_schema({})) as writer:
        writer.append([values])
    with TableWriter(tmp_path, trials_schema({"lr": pa.float64()})) as writer:
        writer.append([{**values, "trial": 2, "param/lr": 0.5}])
        assert read(tmp_path, "trials", ["param/lr"])["param/lr"].to_pylist() == [None, 0.5]
    assert read(tmp_path, "trials")["param/lr"].to_pylist() == [None, 0.5]
    with pytest.raises(ValueError, match=r"keeps its type.*param/lr.*start a new study"):
        TableWriter(tmp_path, trials_schema({"lr": pa.string()}))


@pytest.mark.parametrize(
    ("change", "law"),
    [
        ({"mIoU": 1.0}, "must have the columns of 'reports', but got mIoU"),
        ({"trial": "first"}, "reports.trial must be int64"),
        ({"iteration": 1 << 70}, "reports.iteration must be int64"),
        ({"iteration": "last"}, "reports.iteration must be int64"),
        ({"trial": None}, "reports.trial must have a value"),
    ],
)
def test_a_wrong_row_is_refused_and_leaves_no_trace(tmp_path: Path, change: dict[str, Any], law: str) -> None:
    with TableWriter(tmp_path, REPORTS) as writer:
        writer.append([report(0)])
        with pytest.raises(ValueError, match=law):
            writer.append([report(1) | change])
        writer.append([report(1)])
    assert iterations(tmp_path) == [0, 1]


def test_a_key_is_written_once(tmp_path: Path) -> None:
    with TableWriter(tmp_path, CLASS_IOU) as writer:
        writer.append(classes(0))
        writer.append(classes(0) + classes(1))
        assert writer.contains(("kd", 0, 1)) and not writer.contains(("kd", 0, 2))
    with TableWriter(tmp_path, CLASS_IOU) as writer:
        writer.append(classes(1))
        writer.append(classes(2))
    stored = read(tmp_path, "class_iou")
    assert stored["iteration"].to_pylist() == [i for i in range(3) for _ in range(11)]
    assert stored["iou_percent"].to_pylist()[:3] == [None, 1.0, 2.0]


def test_of_an_append_only_the_new_keys_are_written(tmp_path: Path) -> None:
    with TableWriter(tmp_path, REPORTS) as writer:
        writer.append([report(0, metrics={"a": 0.0})])
        writer.append([report(iteration, metrics={"a": 1.0, "b": float(iteration)}) for iteration in range(3)])
    assert read(tmp_path, "reports", ["iteration", "metrics"]).to_pylist() == [
        {"iteration": 0, "metrics": [("a", 0.0)]},
        {"iteration": 1, "metrics": [("a", 1.0), ("b", 1.0)]},
        {"iteration": 2, "metrics": [("a", 1.0), ("b", 2.0)]},
    ]


def test_columns_come_in_the_order_asked_for(tmp_path: Path) -> None:
    with TableWriter(tmp_path, REPORTS) as writer:
        writer.append([report(3)])
        asked = ["miou_percent", "trial"]
        assert read(tmp_path, "reports", asked).column_names == asked
    with pytest.raises(ValueError, match="'reports', but got miou;"):
        read(tmp_path, "reports", ["miou"])


def test_a_missing_table_names_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there: none"):
        read(tmp_path / "no_study", "reports")
    TableWriter(tmp_path, REPORTS).close()
    with pytest.raises(FileNotFoundError, match=r"no table 'trials'.*there: reports"):
        read(tmp_path, "trials")


def test_a_table_without_rows_is_empty_not_missing(tmp_path: Path) -> None:
    with TableWriter(tmp_path, REPORTS):
        assert read(tmp_path, "reports").num_rows == 0
    assert read(tmp_path, "reports").schema.names == REPORTS.names
    for _ in range(3):
        TableWriter(tmp_path, REPORTS).close()
    assert len(names(tmp_path)) == 1


def test_a_table_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    newer = REPORTS.with_metadata({**REPORTS.metadata, b"schema_version": b"2"})
    with TableWriter(tmp_path, newer) as writer:
        writer.append([report(0)])
        with pytest.raises(ValueError, match=r"at most 1, but .*live-000001.arrows has 2.*upgrade"):
            read(tmp_path, "reports")
        abandon(writer)
    with pytest.raises(ValueError, match="upgrade"):
        TableWriter(tmp_path, REPORTS)
    assert names(tmp_path) == ["live-000001.arrows"]


def test_a_live_tail_torn_at_any_byte_costs_only_its_batch(tmp_path: Path) -> None:
    path = dead_writer(tmp_path, [report(0)], [report(1)])
    content = path.read_bytes()
    batch = (len(content) - len(header(REPORTS))) // 2
    last = len(content) - batch
    for torn in range(1, batch):
        path.write_bytes(content[: last + torn])
        with pytest.warns(TableWarning, match=rf"live-000001\.arrows.* over {torn} bytes"):
            assert iterations(tmp_path) == [0]
    path.write_bytes(content[:last] + bytes(64))  # a file system may leave zeros at a power cut
    with pytest.warns(TableWarning, match=r"live-000001\.arrows"):
        assert iterations(tmp_path) == [0]
    with pytest.warns(TableWarning, match=r"live-000001\.arrows"):
        writer = TableWriter(tmp_path, REPORTS)
    writer.append([report(0)])
    writer.append([report(1)])
    writer.close()
    assert iterations(tmp_path) == [0, 1]
    assert names(tmp_path) == ["live-000001.arrows.damaged", "part-000001-000002.parquet"]


def flips(content: bytes, seed: int, count: int) -> Iterator[bytes]:
    """The content with one byte changed, at places and to values that the seed draws."""
    drawn = random.Random(seed)
    for place in drawn.sample(range(len(content)), min(count, len(content))):
        yield content[:place] + bytes([content[place] ^ drawn.randrange(1, 256)]) + content[place + 1 :]


def cuts(content: bytes, seed: int, count: int) -> Iterator[bytes]:
    """The content without its end, without a stretch in its middle, and with one of zeros."""
    drawn = random.Random(seed)
    for _ in range(count):
        first, last = sorted(drawn.sample(range(len(content)), 2))
        yield content[:first]
        yield content[:first] + content[last:]
        yield content[:first] + bytes(last - first) + content[last:]


def whole_reports(count: int) -> list[dict[str, Any]]:
    """Reports that fill every column."""
    values = {"loss": 0.5, "learning_rate": 0.1, "step_ms": 2.5, "pixel_accuracy_percent": 7.0}
    return [report(i, metrics={"train/term/kd": i / 3}, **values) for i in range(count)]


def rows_of(folder: Path, table: str = "reports") -> list[dict[str, Any]]:
    stored: list[dict[str, Any]] = read(folder, table).to_pylist()
    return [{**row, "metrics": dict(row["metrics"])} for row in stored]


@pytest.mark.parametrize("seed", [0, 1])
def test_no_damage_of_a_live_file_changes_a_row_or_costs_one_silently(tmp_path: Path, seed: int) -> None:
    expected = whole_reports(4)
    path = dead_writer(tmp_path, *([row] for row in expected))
    content = path.read_bytes()
    batch = (len(content) - len(header(REPORTS))) // len(expected)
    ends = [len(content) - batch * left for left in range(len(expected))]
    for damaged in (*flips(content, seed, 80), *cuts(content, seed, 20)):
        path.write_bytes(damaged)
        with warnings.catch_warnings(record=True, action="always", category=TableWarning) as caught:
            try:
                stored = rows_of(tmp_path)
            except FileNotFoundError:  # nothing at all can be read
                stored = []
        assert [row for row in expected if row in stored] == stored
        # a stream that is cut between two batches is whole
        assert caught or stored == expected or len(damaged) in ends
        if len(damaged) == len(content) and sum(a != b for a, b in zip(damaged, content, strict=True)) == 1:
            assert len(stored) >= len(expected) - 1


def test_each_copy_of_a_header_serves_alone(tmp_path: Path) -> None:
    path = dead_writer(tmp_path, [report(0)])
    content, size = path.read_bytes(), len(header(REPORTS))
    assert pa.ipc.open_stream(content).read_all().num_rows == 1, "any reader of Arrow can read it"
    for place in range(0, size, 29):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        with pytest.warns(TableWarning, match=path.name):
            assert iterations(tmp_path) == [0]
    path.write_bytes(bytes(size) + content[size:])
    with pytest.warns(TableWarning, match="neither of the two headers"), pytest.raises(FileNotFoundError):
        read(tmp_path, "reports")


def test_the_mark_of_a_seal_in_a_text_is_text(tmp_path: Path) -> None:
    names_ = [f"kd{mark}{'x' * length}" for length in range(9) for mark in ("kdSealA1", "kdSealA1" * 5)]
    dead_writer(tmp_path, *([report(0) | {"arm": name}] for name in names_))
    with warnings.catch_warnings(action="error"):
        assert read(tmp_path, "reports", ["arm"])["arm"].to_pylist() == names_


def test_a_live_file_of_an_older_kdstudy_is_read_up_to_its_damage(tmp_path: Path) -> None:
    path = dead_writer(tmp_path, [report(0)], [report(1)])
    batches = read(tmp_path, "reports").to_batches()
    old = b"".join(part.serialize().to_pybytes() for part in (REPORTS, *batches))
    path.write_bytes(old)
    assert iterations(tmp_path) == [0, 1]
    path.write_bytes(old[:-1])
    with pytest.warns(TableWarning, match=path.name):
        writer = TableWriter(tmp_path, REPORTS)
    assert writer.damage and path.with_name(f"{path.name}.damaged").read_bytes() == old[:-1]
    writer.append([report(1)])
    writer.close()
    assert iterations(tmp_path) == [0, 1]


def test_damage_met_while_a_live_file_is_sealed_is_kept_aside_too(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path, REPORTS)
    for iteration in range(3):
        writer.append([report(iteration)])
    path = writer._live.path
    content = path.read_bytes()
    place = len(content) - 40
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.warns(TableWarning, match=r"live-000001\.arrows\.damaged"):
        writer._seal()
    assert len(writer.damage) == 1
    writer.close()
    assert iterations(tmp_path) == [0, 1] and "live-000001.arrows.damaged" in names(tmp_path)


def test_a_damaged_part_is_named_passed_over_and_kept(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path, REPORTS)
    for iteration in range(3):
        writer.append([report(iteration)])
        writer._seal()
    damaged = tmp_path / "reports" / "part-000002-000002.parquet"
    whole = damaged.read_bytes()
    for content in (b"", whole[: len(whole) // 2], whole[:-1]):
        damaged.write_bytes(content)
        with pytest.warns(TableWarning, match=r"part-000002-000002\.parquet"):
            assert iterations(tmp_path) == [0, 2]
    with pytest.warns(TableWarning, match=r"kept as part-000002-000002\.parquet\.damaged"):
        writer.close()
    assert names(tmp_path) == ["part-000001-000004.parquet", "part-000002-000002.parquet.damaged"]
    assert iterations(tmp_path) == [0, 2]
    with TableWriter(tmp_path, REPORTS) as following:
        assert not following.damage
        following.append([report(1)])
    assert sorted(iterations(tmp_path)) == [0, 1, 2]


def test_a_number_that_was_kept_aside_is_not_given_again(tmp_path: Path) -> None:
    dead_writer(tmp_path).write_bytes(b"")
    for _ in range(2):
        with warnings.catch_warnings(action="ignore", category=TableWarning):
            abandon(writer := TableWriter(tmp_path, REPORTS))
        writer._live.path.write_bytes(b"")
    assert names(tmp_path) == [*(f"live-{n:06}.arrows.damaged" for n in (1, 2)), "live-000003.arrows"]


@pytest.mark.parametrize("seed", [0, 1])
def test_no_damage_of_a_part_changes_a_row_or_costs_one_silently(tmp_path: Path, seed: int) -> None:
    expected = whole_reports(4)
    with TableWriter(tmp_path, REPORTS) as writer:
        writer.append(expected)
    (path,) = (tmp_path / "reports").iterdir()
    content = path.read_bytes()
    for damaged in (*flips(content, seed, 80), *cuts(content, seed, 15)):
        path.write_bytes(damaged)
        with warnings.catch_warnings(record=True, action="always", category=TableWarning) as caught:
            try:
                stored = rows_of(tmp_path)
            except FileNotFoundError:
                stored = []
        assert stored == ([] if caught else expected)
        if caught:  # whoever writes sees what a reader sees, and looks through all of it
            with pytest.raises(table_files.DAMAGE):
                table_files.open_part(path).verify()


def test_a_flipped_byte_never_changes_a_value(tmp_path: Path) -> None:
    with TableWriter(tmp_path, REPORTS) as writer:
        for iteration in range(3):
            writer.append([report(iteration)])
            writer._seal()
        flipped = tmp_path / "reports" / "part-000002-000002.parquet"
        whole = flipped.read_bytes()
        for place in range(0, len(whole), 5):  # closer than the 8 bytes of a value
            flipped.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
            with warnings.catch_warnings(record=True, action="always", category=TableWarning) as caught:
                stored = iterations(tmp_path)
            assert stored == ([0, 2] if caught else [0, 1, 2])
        flipped.write_bytes(whole)


def test_a_damaged_part_does_not_hide_what_it_was_to_replace(tmp_path: Path) -> None:
    path = dead_writer(tmp_path, [report(0)])
    content = path.read_bytes()
    TableWriter(tmp_path, REPORTS).close()
    path.write_bytes(content)
    (part,) = (tmp_path / "reports").glob("*.parquet")
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.warns(TableWarning, match=part.name):
        assert iterations(tmp_path) == [0]


def test_a_table_with_nothing_readable_says_so(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "part-000001-000001.parquet").write_bytes(b"PAR1")
    with (
        pytest.warns(TableWarning),
        pytest.raises(FileNotFoundError, match="no readable file"),
    ):
        read(tmp_path, "reports")


def die_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """The step-th (from 0) rename or removal of a file does not happen, nor anything after it."""
    steps = iter(range(step + 1))

    def guarded(act: Any) -> Any:
        def once(path: Path, *args: Any) -> Any:
            if next(steps, step) == step:
                raise Killed
            return act(path, *args)

        return once

    monkeypatch.setattr(Path, "replace", guarded(Path.replace))
    monkeypatch.setattr(Path, "unlink", guarded(Path.unlink))


def test_a_kill_at_any_step_of_sealing_and_merging_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_writer, "LIVE_BYTES", 4096)  # a few appends
    expected = list(range(40))
    for step in range(200):
        folder = tmp_path / str(step)
        recorded: list[int] = []
        with pytest.MonkeyPatch.context() as patch:
            die_at(patch, step)
            try:
                with TableWriter(folder, REPORTS) as writer:
                    for iteration in expected:
                        writer.append([report(iteration)])
                        recorded.append(iteration)
                finished = True
            except Killed:
                finished = False
        if table_files.list_files(folder / "reports"):
            stored = iterations(folder)
            assert stored[: len(recorded)] == recorded and len(set(stored)) == len(stored)
        with TableWriter(folder, REPORTS) as writer:
            for iteration in expected:
                writer.append([report(iteration)])
        assert iterations(folder) == expected
        assert len(names(folder)) == 1
        if finished:
            break
    assert finished and step > 20


def test_a_full_disk_costs_the_append_and_not_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk:
        def __init__(self, stream: Any) -> None:
            self.stream, self.truncate, self.close = stream, stream.truncate, stream.close

        def write(self, message: pa.Buffer) -> int:
            written: int = self.stream.write(message[:100])
            return written

    with TableWriter(tmp_path, REPORTS) as writer:
        writer.append([report(0)])
        with monkeypatch.context() as patch:
            patch.setattr(writer, "_stream", FullDisk(writer._stream))
            with pytest.raises(OSError, match="No space left on device"):
                writer.append([report(1)])
        writer.append([report(1)])
        writer.append([report(2)])
    assert iterations(tmp_path) == [0, 1, 2]


def test_a_seal_between_listing_and_opening_has_only_the_new_part_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = TableWriter(tmp_path, REPORTS)
    writer.append([report(0)])
    writer._seal()
    writer.append([report(1)])
    scan, open_part = table_files.scan, table_files.open_part
    opened: list[str] = []

    def scan_too_late(*args: Any) -> table_files.Scan[Any]:
        monkeypatch.setattr(table_reading, "scan", scan)
        writer._seal()
        return scan(*args)

    def note_and_open(path: Path) -> table_files.Part:
        opened.append(path.name)
        return open_part(path)

    monkeypatch.setattr(table_reading, "scan", scan_too_late)
    monkeypatch.setattr(table_reading, "open_part", note_and_open)
    assert iterations(tmp_path) == [0, 1]
    assert opened == ["part-000001-000001.parquet", "part-000002-000002.parquet"]
    abandon(writer)


def test_a_seal_that_fails_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(_: Any) -> None:
        raise OSError("no space left")

    with TableWriter(tmp_path, REPORTS) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(table_writer, "LIVE_BYTES", 0)
            patch.setattr(table_writer, "merge", full_disk)
            with pytest.raises(OSError, match="no space left"):
                writer.append([report(0)])
        writer.append([report(0)])
        writer.append([report(1)])
        assert iterations(tmp_path) == [0, 1]
    assert iterations(tmp_path) == [0, 1]
    assert names(tmp_path) == ["part-000001-000002.parquet"]


def test_a_listing_that_saw_neither_the_live_file_nor_its_part_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_writer(tmp_path, [report(0)])
    list_files = table_files.list_files
    blind = iter([True])
    monkeypatch.setattr(table_reading, "list_files", lambda place: [] if next(blind, False) else list_files(place))
    assert iterations(tmp_path) == [0]


def test_parts_stay_bounded_in_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_writer, "LIVE_BYTES", 4096)
    monkeypatch.setattr(table_files, "PART_ROWS", 10)
    with TableWriter(tmp_path, REPORTS) as writer:
        for iteration in range(35):
            writer.append([report(iteration)])
    sizes = [pq.read_metadata(path).num_rows for path in (tmp_path / "reports").iterdir()]
    assert max(sizes) <= 10 and sum(sizes) == 35 and len(sizes) <= 6
    assert iterations(tmp_path) == list(range(35))


def test_five_thousand_appends_are_a_few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_writer, "LIVE_BYTES", 1 << 20)
    with TableWriter(tmp_path, REPORTS) as writer:
        for iteration in range(5000):
            writer.append([report(iteration)])
        assert 2 <= len(names(tmp_path)) <= 10
    assert len(names(tmp_path)) == 1
    assert iterations(tmp_path) == list(range(5000))


CHILD = """
import itertools, sys
from pathlib import Path
from study import tables
from study.tables import writer
from tests.study.tables.test_writer import classes, report

writer.LIVE_BYTES = 64 << 10
folder = Path(sys.argv[1])
reports = tables.TableWriter(folder, tables.REPORTS)
ious = tables.TableWriter(folder, tables.CLASS_IOU)
for iteration in itertools.count():
    reports.append([report(iteration)])
    ious.append(classes(iteration))
    print(iteration, flush=True)
"""


@pytest.fixture
def child(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that appends until it is killed, and prints each iteration both tables have."""
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    place = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=place) as child:
        yield child
        child.kill()


def acknowledged(child: subprocess.Popen[str], count: int) -> int:
    """Waits for `count` more iterations; the last one."""
    assert child.stdout
    lines = [child.stdout.readline() for _ in range(count)]
    return int(lines[-1])


def test_a_table_is_read_while_another_process_writes(tmp_path: Path, child: subprocess.Popen[str]) -> None:
    for _ in range(30):
        least = acknowledged(child, 7)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TableWarning)  # a batch may be half written
            stored = iterations(tmp_path)
            rows = read(tmp_path, "class_iou", ["iteration"])["iteration"].to_pylist()
        assert stored == list(range(len(stored))) and len(stored) > least
        assert rows == [i for i in range(len(rows) // 11) for _ in range(11)]


@pytest.mark.parametrize("appends", [1, 40, 333])
def test_sigkill_loses_nothing_acknowledged(tmp_path: Path, child: subprocess.Popen[str], appends: int) -> None:
    acknowledged(child, appends)
    child.send_signal(signal.SIGKILL)
    assert child.stdout
    rest = child.stdout.read().splitlines()
    child.wait()
    last = int(rest[-1]) if rest and rest[-1] else appends - 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TableWarning)  # the kill may have torn a batch
        stored = iterations(tmp_path)
        assert stored[: last + 1] == list(range(last + 1)) and len(stored) <= last + 2
        with TableWriter(tmp_path, REPORTS) as reports, TableWriter(tmp_path, CLASS_IOU) as ious:
            for iteration in range(last + 10):
                reports.append([report(iteration)])
                ious.append(classes(iteration))
    assert iterations(tmp_path) == list(range(last + 10))
    rows = read(tmp_path, "class_iou", ["iteration", "class"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [(i, f"c{c}") for i in range(last + 10) for c in range(11)]
