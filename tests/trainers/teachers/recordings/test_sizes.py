from pathlib import Path

import pytest

from tests.trainers import small
from tests.trainers.teachers.recordings.recorded import ALL_TAPS, chunks, plan, run
from trainers.models import icnet
from trainers.teachers.recordings.chunks import ChunkReader
from trainers.teachers.recordings.files import Chunk
from trainers.teachers.recordings.sizes import bytes_per_iteration
from trainers.teachers.teacher import read_card


@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16"])
def test_sizes_are_those_of_the_files(tmp_path: Path, precision: str) -> None:
    file = small.teacher_file(tmp_path / "teacher.safetensors")
    changes = {
        "methods": {"kd": {}}, "teacher/path": str(file), "train/precision": precision, "train/iterations": 1,
    }  # fmt: skip
    run(changes, tmp_path / "trial", plan(tmp_path / "recordings"))
    expected = bytes_per_iteration(small.trial(changes), read_card(file).model, 11)
    chunk = Chunk.of(chunks(tmp_path / "recordings")[0])
    assert chunk is not None
    layouts = ChunkReader(chunk).header.layouts
    assert {name: layout.bytes for name, layout in layouts.items()} == expected and expected.keys() == ALL_TAPS.keys()


def test_sizes_follow_batch_and_crop_and_take_no_memory() -> None:
    small_one, large = (
        bytes_per_iteration(small.trial({"train/batch": batch, "augment/crop": crop}), icnet.Config(), 19)
        for batch, crop in ((1, (256, 256)), (4, (1024, 2048)))
    )
    assert large == {name: 4 * 32 * size for name, size in small_one.items()}
    assert small_one["logits"] == 19 * 64 * 64 * 4
