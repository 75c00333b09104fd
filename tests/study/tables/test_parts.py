"""Parts: what `where` and `columns` leave out is not read, and what is read is what was written."""

import warnings
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from study import tables
from study.tables import CLASS_IOU, REPORTS, TableWarning, TableWriter, read
from study.tables import parts as table_parts
from study.tables.files import open_part
from tests.study.tables.test_writer import NOON, abandon, report

SECOND = pc.field("trial") == 1


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two parts of two row groups each, and a live file: trials 0 to 4, four reports each."""
    monkeypatch.setattr(table_parts, "ROW_GROUP_ROWS", 4)
    writer = TableWriter(tmp_path, REPORTS)
    for trial in range(5):
        writer.append([report(iteration, trial, metrics={"train/loss": 1.0 * trial}) for iteration in range(4)])
        if trial in (1, 3):
            writer._seal()
    abandon(writer)
    return tmp_path


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)


def chunk_end(path: Path, group: int, column: str) -> int:
    """The place of the last byte of a column in a row group."""
    metadata = pq.read_metadata(path)
    chunk = metadata.row_group(group).column(metadata.schema.names.index(column))
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    return int(start + chunk.total_compressed_size) - 1


@pytest.mark.parametrize(
    "where",
    [
        SECOND,
        (pc.field("trial") == 3) & (pc.field("iteration") == 2),
        pc.field("trial").isin([0, 4]),
        (pc.field("arm") == "kd") & (pc.field("miou_percent") > 2),
        pc.field("arm") == "none",
    ],
)
def test_where_gives_the_rows_that_a_filter_of_the_whole_table_gives(folder: Path, where: pc.Expression) -> None:
    assert read(folder, "reports", where=where).equals(read(folder, "reports").filter(where))
    few = read(folder, "reports", ["metrics", "iteration"], where)
    assert few.equals(read(folder, "reports").filter(where).select(["metrics", "iteration"]))


def test_a_row_group_without_such_rows_is_not_read(folder: Path) -> None:
    part = folder / "reports" / "part-000001-000001.parquet"
    flip(part, chunk_end(part, 0, "trial"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(folder, "reports", ["iteration"], SECOND)["iteration"].to_pylist() == [0, 1, 2, 3]
    with pytest.warns(TableWarning, match=part.name):
        assert read(folder, "reports", ["iteration"], pc.field("trial") < 2).num_rows == 0


def test_a_flipped_byte_never_changes_what_where_finds(folder: Path) -> None:
    part = folder / "reports" / "part-000001-000001.parquet"
    whole = part.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    ranges = range(footer - 8, len(whole), 3)  # the checksum, and the footer with the ranges of the row groups
    for place in [*range(0, footer, 97), *ranges]:
        part.write_bytes(whole)
        flip(part, place)
        with warnings.catch_warnings(record=True, action="always", category=TableWarning) as caught:
            found = read(folder, "reports", ["trial", "iteration"], SECOND).to_pylist()
        assert found == ([] if caught else [{"trial": 1, "iteration": iteration} for iteration in range(4)])


def test_the_ranges_of_an_older_part_are_not_trusted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = folder / "reports" / "part-000001-000001.parquet"
    rows = pq.read_table(part)
    pq.write_table(rows, part, row_group_size=4)
    whole = part.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    low, high = (number.to_bytes(8, "little") for number in (1, 9))
    part.write_bytes(whole[:footer] + whole[footer:].replace(low, high))  # trial 1 is said to lie from 9 to 9
    assert read(folder, "reports", ["iteration"], SECOND)["iteration"].to_pylist() == [0, 1, 2, 3]


def test_a_column_that_older_files_lack_may_be_asked_for(tmp_path: Path) -> None:
    without = pa.schema([field for field in REPORTS if field.name != "learning_rate"], REPORTS.metadata)
    with TableWriter(tmp_path, without) as writer:
        writer.append([report(0)])
    rate = pc.field("learning_rate")
    assert read(tmp_path, "reports", ["learning_rate"])["learning_rate"].to_pylist() == [None]
    assert read(tmp_path, "reports", where=rate > 0.1).num_rows == 0
    writer = TableWriter(tmp_path, REPORTS)
    writer.append([report(1, learning_rate=0.5)])
    for _ in range(2):
        assert read(tmp_path, "reports", ["iteration"], rate > 0.1)["iteration"].to_pylist() == [1]
        assert read(tmp_path, "reports", ["iteration"], rate.is_null())["iteration"].to_pylist() == [0]
        writer._seal()
    abandon(writer)


@pytest.mark.parametrize("where", [pc.field("miou") > 1, pc.field("trial") == "first"])
def test_a_condition_that_does_not_fit_is_refused(folder: Path, where: pc.Expression) -> None:
    with pytest.raises(ValueError, match=r"where must fit the columns of table 'reports', but: .*it has arm, trial"):
        read(folder, "reports", where=where)


def test_texts_come_as_a_dictionary_where_asked_for(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path, CLASS_IOU)
    for iteration, name in enumerate(("sky", "road", "sky")):
        writer.append([{"arm": f"kd{iteration}", "trial": 0, "iteration": iteration, "class": name}])
        writer._seal()
    plain = read(tmp_path, "class_iou", ["arm", "class"])
    encoded = read(tmp_path, "class_iou", ["arm", "class"], dictionary=["class"])
    assert encoded.schema.types == [pa.string(), pa.dictionary(pa.int32(), pa.string())]
    assert encoded.to_pylist() == plain.to_pylist()
    groups = encoded.group_by("class").aggregate([([], "count_all")])
    assert dict(zip(groups["class"].to_pylist(), groups["count_all"].to_pylist(), strict=True)) == {"sky": 2, "road": 1}
    with pytest.raises(ValueError, match="'class_iou', but got klass"):
        read(tmp_path, "class_iou", dictionary=["klass"])
    abandon(writer)


def test_rows_are_counted_without_columns(folder: Path) -> None:
    assert read(folder, "reports", []).num_rows == 20
    assert read(folder, "reports", [], SECOND).num_rows == 4


def test_what_a_damaged_part_should_have_replaced_is_kept(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path, REPORTS)
    writer.append([report(0)])
    live = writer._live.path.read_bytes()
    writer.close()
    (tmp_path / "reports" / "live-000001.arrows").write_bytes(live)
    (part,) = (tmp_path / "reports").glob("*.parquet")
    flip(part, chunk_end(part, 0, "seconds"))  # no column of the key
    with pytest.warns(TableWarning, match=part.name):
        TableWriter(tmp_path, REPORTS).close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TableWarning)
        assert read(tmp_path, "reports", ["iteration", "seconds"]).to_pylist() == [{"iteration": 0, "seconds": 1.0}]


def test_a_part_found_damaged_when_it_is_to_be_merged_is_kept_aside(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path, REPORTS)
    for iteration in range(2):
        writer.append([report(iteration)])
        writer._seal()
    abandon(writer)
    part = tmp_path / "reports" / "part-000002-000002.parquet"
    flip(part, chunk_end(part, 0, "seconds"))  # no column of the key
    damaged = part.read_bytes()
    with pytest.warns(TableWarning, match=f"{part.name}.damaged"):
        writer = TableWriter(tmp_path, REPORTS)
    assert part.with_name(f"{part.name}.damaged").read_bytes() == damaged and len(writer.damage) == 1
    assert list(writer.last_parts(("kd", 0))) == [0]
    writer.append([report(1)])
    writer.close()
    assert read(tmp_path, "reports", ["iteration"])["iteration"].to_pylist() == [0, 1]


def test_a_part_of_an_older_kdstudy_is_looked_through_by_its_pages(folder: Path) -> None:
    path = folder / "reports" / "part-000001-000001.parquet"
    content = path.read_bytes()
    at = content.rindex(b"kdP1")
    path.write_bytes(content[:at] + content[at + 8 :])
    open_part(path).verify()
    flip(path, chunk_end(path, 0, "seconds"))
    with pytest.raises(OSError, match="CRC"):
        open_part(path).verify()


def test_a_sealed_table_has_the_row_groups_of_its_appends(folder: Path) -> None:
    metadata = pq.read_metadata(folder / "reports" / "part-000001-000001.parquet")
    trial: Any = metadata.schema.names.index("trial")
    ranges = [metadata.row_group(group).column(trial).statistics for group in range(metadata.num_row_groups)]
    assert [(held.min, held.max) for held in ranges] == [(0, 0), (1, 1)]
    assert tables.SCHEMAS["reports"] is REPORTS and NOON.tzinfo
