"""Names of the files of recordings."""

from pathlib import Path

import pytest

from trainers.teachers.recordings.files import WHOLE, Chunk, path_of


@pytest.mark.parametrize("tap", ["logits", "layer1.0", "a+b", "x/y", "é %"])
def test_any_name_of_a_tap_is_read_back_from_a_files_name(tap: str, tmp_path: Path) -> None:
    """A network of one's own may name its taps by its modules."""
    path = path_of(tmp_path, 3, 9, {tap, "aux"}, WHOLE)
    path.touch()
    chunk = Chunk.of(path)
    assert chunk is not None
    assert (chunk.start, chunk.stop, set(chunk.taps)) == (3, 9, {tap, "aux"})
