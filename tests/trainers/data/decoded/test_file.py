"""The file of one decoded image: what was written comes back, or is refused."""

import errno
from pathlib import Path

import numpy as np
import pytest

from trainers.data import Array
from trainers.data.decoded.file import HEADER, DamagedImageError, file_bytes, read, write


def pair(height: int = 5, width: int = 7) -> tuple[Array, Array]:
    rng = np.random.default_rng(height)
    return rng.integers(0, 256, (height, width, 3), np.uint8), rng.integers(0, 256, (height, width), np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (64, 33)])
def test_what_was_written_comes_back(tmp_path: Path, size: tuple[int, int]) -> None:
    image, label = pair(*size)
    write(tmp_path / "0", image, label)
    found = read(tmp_path / "0", verify=True)
    np.testing.assert_array_equal(found[0], image)
    np.testing.assert_array_equal(found[1], label)
    assert not found[0].flags.writeable and not found[1].flags.writeable
    assert (tmp_path / "0").stat().st_size == file_bytes(label)
    assert list(tmp_path.iterdir()) == [tmp_path / "0"]


def test_arrays_that_are_views_are_written_as_they_look(tmp_path: Path) -> None:
    image, label = pair(8, 9)
    write(tmp_path / "0", image[::2, ::-1], label[::2, ::-1])
    found = read(tmp_path / "0", verify=True)
    np.testing.assert_array_equal(found[0], image[::2, ::-1])
    np.testing.assert_array_equal(found[1], label[::2, ::-1])


@pytest.mark.parametrize("position", [0, 8, 12, 16, HEADER.size, HEADER.size + 3 * 35 - 1, HEADER.size + 3 * 35, -1])
@pytest.mark.parametrize("bit", [0, 7])
def test_a_flipped_bit_is_found_wherever_it_is(tmp_path: Path, position: int, bit: int) -> None:
    write(tmp_path / "0", *pair())
    content = bytearray((tmp_path / "0").read_bytes())
    content[position] ^= 1 << bit
    (tmp_path / "0").write_bytes(content)
    with pytest.raises(DamagedImageError, match=f"{tmp_path}/0 must "):
        read(tmp_path / "0", verify=True)


@pytest.mark.parametrize("size", [0, 10, HEADER.size, -1, 1])
def test_a_file_of_another_size_is_refused_without_reading_it_all(tmp_path: Path, size: int) -> None:
    write(tmp_path / "0", *pair())
    content = (tmp_path / "0").read_bytes()
    (tmp_path / "0").write_bytes(content + b"\0" if size == 1 else content[:size])
    with pytest.raises(DamagedImageError, match=f"{tmp_path}/0 must hold a decoded image"):
        read(tmp_path / "0", verify=False)


def test_nothing_is_left_of_a_file_that_the_disk_did_not_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "0", *pair())
    assert not list(tmp_path.iterdir())
