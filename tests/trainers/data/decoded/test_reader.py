"""Images decoded once: the same as without, from any number of processes, whatever happens to the copies."""

import errno
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest

from tests.trainers.data.test_fingerprint import touch_a_byte
from tests.trainers.trees import TREES, Tree
from trainers.data import SegmentationDataset, fingerprint, streets
from trainers.data.decoded import copies, file, images, key
from trainers.data.decoded.plan import DecodedPlan
from trainers.data.decoded.reader import Reader
from trainers.data.splits import judging_images, open_split, training_images

STREETS = streets.Config(size=(32, 48), train_images=6, val_images=3)


@pytest.fixture(autouse=True)
def _own_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint.tempfile, "tempdir", str(tmp_path / "machine"))
    (tmp_path / "machine").mkdir()


@pytest.fixture
def plan(tmp_path: Path) -> DecodedPlan:
    return DecodedPlan(folder=str(tmp_path / "decoded"))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return TREES["camvid"](tmp_path / "data")


class Counted(NamedTuple):
    """A reader's splits, its warnings, and which images were decoded."""

    reader: Reader
    said: list[str]
    decoded: list[int]


@pytest.fixture
def opened(plan: DecodedPlan, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Counted]:
    """Makes readers that count."""

    def make(plan: DecodedPlan | None = plan, **options: Any) -> Counted:
        said: list[str] = []
        decoded: list[int] = []

        def counting(data: Any, split: Any) -> SegmentationDataset:
            whole = open_split(data, split)
            load = whole.load
            whole.load = lambda index: decoded.append(index) or load(index)  # type: ignore[method-assign, func-returns-value]
            return whole

        monkeypatch.setattr("trainers.data.decoded.reader.open_split", counting)
        return Counted(Reader(plan, warn=said.append, **options), said, decoded)

    return make


def config(tree: Tree) -> Any:
    return tree.module.Config(root=str(tree.root))


def copies_in(plan: DecodedPlan) -> list[Path]:
    return sorted(note.parent for note in Path(plan.folder).glob("*/copy.json"))


def files_in(plan: DecodedPlan) -> list[str]:
    return sorted(path.name for copy in copies_in(plan) for path in copy.iterdir())


def assert_same(found: SegmentationDataset, live: SegmentationDataset) -> None:
    assert len(found) == len(live) and found.class_names == live.class_names
    for index in range(len(live)):
        assert found.image_name(index) == live.image_name(index)
        for one, other in zip(found.load(index), live.load(index), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", [*sorted(TREES), "streets"])
def test_every_dataset_is_decoded_once_and_stays_what_it_is(
    name: str, tmp_path: Path, opened: Callable[..., Counted]
) -> None:
    data = STREETS if name == "streets" else config(TREES[name](tmp_path / "data"))
    first = opened()
    for split in ("train", "val"):
        assert_same(first.reader(data, split), open_split(data, split))
    second = opened()
    for split in ("train", "val"):
        assert_same(second.reader(data, split), open_split(data, split))
    assert not second.decoded and not first.said and not second.said


def test_images_of_mixed_sizes_each_keep_theirs(tmp_path: Path, opened: Callable[..., Counted]) -> None:
    tree = TREES["ade20k"](tmp_path / "data")
    for path, shape in ((tree.image, (31, 9, 3)), (tree.label, (31, 9))):
        cv2.imwrite(str(path), np.full(shape, 7, np.uint8))
    for _ in range(2):
        found = opened().reader(config(tree), "train")
        assert_same(found, tree.data())
    assert {found.load(index)[1].shape for index in range(2)} == {(31, 9), (18, 24)}


def test_a_holdout_reads_the_copy_of_the_whole_split(plan: DecodedPlan, opened: Callable[..., Counted]) -> None:
    data = streets.Config(size=(32, 48), train_images=20)
    reader = opened().reader
    assert_same(training_images(data, holdout=0.4, opener=reader), training_images(data, holdout=0.4))
    held = judging_images(data, "holdout", holdout=0.4, opener=reader)
    assert_same(held, judging_images(data, "holdout", holdout=0.4))
    counted = opened()
    assert_same(counted.reader(data, "train"), open_split(data, "train"))
    assert not counted.decoded and len(copies_in(plan)) == 1


def test_changed_content_is_another_copy_in_the_place_of_the_first(
    tree: Tree, plan: DecodedPlan, opened: Callable[..., Counted]
) -> None:
    assert_same(opened().reader(config(tree), "train"), tree.data())
    assert_same(opened().reader(config(tree), "val"), tree.data("val"))
    (train, val) = copies_in(plan)
    stored = cv2.imread(str(tree.image))
    cv2.imwrite(str(tree.image), 255 - stored)
    assert_same(opened().reader(config(tree), "train"), tree.data())
    assert train not in copies_in(plan) and val in copies_in(plan) and len(copies_in(plan)) == 2


def test_content_that_changes_under_the_same_time_and_size_is_seen(
    tree: Tree, plan: DecodedPlan, opened: Callable[..., Counted]
) -> None:
    before = key.key(config(tree), "train", tree.data())
    touch_a_byte(tree.label)
    assert key.key(config(tree), "train", tree.data()) != before
    touch_a_byte(tree.label)
    later = time.time_ns() + 5 * 10**9
    os.utime(tree.label, ns=(later, later))  # another time alone is no change
    assert key.key(config(tree), "train", tree.data()) == before


def test_a_copy_is_found_by_content_and_options_wherever_the_files_lie(
    tree: Tree, tmp_path: Path, plan: DecodedPlan, opened: Callable[..., Counted]
) -> None:
    assert_same(opened().reader(config(tree), "train"), tree.data())
    shutil.copytree(tree.root, tmp_path / "moved")
    elsewhere = tree.module.Config(root=str(tmp_path / "moved"))
    counted = opened()
    found = counted.reader(elsewhere, "train")
    found.load(0)
    assert not counted.decoded and len(copies_in(plan)) == 1
    resized = tree.module.Config(root=str(tree.root), size=(16, 20))
    assert opened().reader(resized, "train").load(0)[1].shape == (16, 20)
    assert len(copies_in(plan)) == 2


@pytest.mark.parametrize("what", ["_code", "environment"])
def test_another_version_of_what_decodes_is_another_copy(
    what: str, tree: Tree, plan: DecodedPlan, opened: Callable[..., Counted], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened().reader(config(tree), "train").load(0)
    changed: Any = {"_code": lambda _: "other", "environment": lambda: {"opencv": "0"}}[what]
    monkeypatch.setattr(key, what, changed)
    counted = opened()
    counted.reader(config(tree), "train").load(0)
    assert 0 in counted.decoded


def test_a_flipped_bit_is_warned_of_once_and_mended(
    tree: Tree, plan: DecodedPlan, opened: Callable[..., Counted]
) -> None:
    assert_same(opened().reader(config(tree), "train"), tree.data())
    (copy,) = copies_in(plan)
    for path in copy.glob("0*"):
        touch_a_byte(path)
    counted = opened()
    found = counted.reader(config(tree), "train")
    assert_same(found, tree.data())
    assert_same(found, tree.data())
    assert counted.decoded == [0, 1] and len(counted.said) == 1
    assert "0000000 must be as it was written, but its checksum is another; it is decoded again" in counted.said[0]
    again = opened()
    assert_same(again.reader(config(tree), "train"), tree.data())
    assert not again.said and not again.decoded


def test_a_full_disk_is_warned_of_once_and_memory_stands_in(
    opened: Callable[..., Counted], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = opened()
    found = counted.reader(STREETS, "train")
    found.load(0)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(file, "write", full)
    counted.decoded.clear()
    for _ in range(3):
        assert_same(found, open_split(STREETS, "train"))
    # the image whose writing failed is not yet in memory
    assert sorted(counted.decoded) == [1, 1, 2, 3, 4, 5]
    assert len(counted.said) == 1 and "No space left on device" in counted.said[0]


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES, errno.ENOLCK])
def test_a_place_that_takes_no_files_is_warned_of_once(
    error: int, opened: Callable[..., Counted], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(copies.fcntl, "flock", refuse)
    counted = opened()
    for split in ("train", "val"):
        found = counted.reader(STREETS, split)
        counted.decoded.clear()
        for _ in range(2):
            assert_same(found, open_split(STREETS, split))
        assert sorted(counted.decoded) == list(range(len(found)))
    assert (
        len(counted.said) == 1 and os.strerror(error) in counted.said[0] and "choose another folder" in counted.said[0]
    )


def test_a_file_in_the_place_of_the_folder_is_no_place(tmp_path: Path, opened: Callable[..., Counted]) -> None:
    (tmp_path / "file").touch()
    counted = opened(DecodedPlan(folder=str(tmp_path / "file" / "below")))
    assert_same(counted.reader(STREETS, "train"), open_split(STREETS, "train"))
    assert len(counted.said) == 1 and "Not a directory" in counted.said[0]


TRAIN_BYTES, VAL_BYTES = (count * (64 + 4 * 32 * 48) for count in (6, 3))


@pytest.mark.parametrize(
    ("allowed", "kept"),
    [
        (VAL_BYTES - 1, []),
        (VAL_BYTES, ["val"]),
        (TRAIN_BYTES, ["train"]),
        (TRAIN_BYTES + VAL_BYTES - 1, ["train"]),
        (TRAIN_BYTES + VAL_BYTES, ["train", "val"]),
    ],
)
def test_a_copy_fits_in_the_quota_or_is_not_begun(
    allowed: int, kept: list[str], tmp_path: Path, opened: Callable[..., Counted]
) -> None:
    plan = DecodedPlan(folder=str(tmp_path / "decoded"), max_gib=allowed / 2**30)
    counted = opened(plan)
    for split in ("train", "val"):
        assert_same(counted.reader(STREETS, split), open_split(STREETS, split))
    assert [copy.name.split("-")[1] for copy in copies_in(plan)] == kept
    assert len(counted.said) == (len(kept) < 2)
    assert sum(path.stat().st_size for copy in copies_in(plan) for path in copy.glob("0*")) <= allowed
    for text in counted.said:
        assert "decoded images of streets's" in text and "together must fit in" in text and "raise max_gib" in text


@pytest.mark.parametrize(("free", "fits"), [(10 * TRAIN_BYTES, True), (10 * TRAIN_BYTES - 10, False)])
def test_the_default_quota_is_a_tenth_of_the_free_disk(
    free: int, fits: bool, plan: DecodedPlan, opened: Callable[..., Counted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(free, 0, free))  # type: ignore[attr-defined]
    opened().reader(STREETS, "train")
    assert bool(copies_in(plan)) == fits


def test_what_does_not_fit_on_the_disk_is_not_begun_whatever_the_quota(
    tmp_path: Path, opened: Callable[..., Counted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 0, 100))  # type: ignore[attr-defined]
    plan = DecodedPlan(folder=str(tmp_path / "decoded"), max_gib=10)
    counted = opened(plan)
    counted.reader(STREETS, "train")
    assert not copies_in(plan) and len(counted.said) == 1


class UnknownDataset(streets.Dataset):
    """In no files, and not said to be drawn: it may be another one tomorrow."""

    drawn = False


def test_images_that_nothing_identifies_are_not_copied(
    plan: DecodedPlan, opened: Callable[..., Counted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streets, "Dataset", UnknownDataset)
    counted = opened()
    assert_same(counted.reader(STREETS, "train"), open_split(STREETS, "train"))
    assert not copies_in(plan) and not counted.said


def test_without_a_plan_a_process_remembers_what_fits(opened: Callable[..., Counted]) -> None:
    counted = opened(None)
    found = counted.reader(STREETS, "train")
    for _ in range(3):
        assert_same(found, open_split(STREETS, "train"))
    assert counted.decoded == list(range(6))
    counted = opened(None, cache_mib=0)
    found = counted.reader(STREETS, "train")
    for _ in range(2):
        assert_same(found, open_split(STREETS, "train"))
    assert counted.decoded == 2 * list(range(6))


def test_the_memory_is_that_of_all_splits() -> None:
    memory = images.Memory(4 * 32 * 48 * 4)
    parts = [images.CachedImages(open_split(STREETS, split), memory) for split in ("train", "val")]
    for part in parts:
        for index in range(len(part)):
            part.load(index)
    assert [len(part._kept) for part in parts] == [4, 0] and memory.free == 0


def in_processes(work: Callable[..., None], arguments: Iterable[tuple[Any, ...]]) -> list[int | None]:
    """Runs it with each of the arguments at once; exit codes."""
    forking = multiprocessing.get_context("fork")
    processes = [forking.Process(target=work, args=given) for given in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def read_all(plan: DecodedPlan, seed: int) -> None:
    """In an order of its own, twice, held against what is drawn."""
    found = Reader(plan, warn=pytest.fail)(STREETS, "train")
    live = open_split(STREETS, "train")
    for index in np.random.default_rng(seed).permutation(2 * len(live)) % len(live):
        for one, other in zip(found.load(int(index)), live.load(int(index)), strict=True):
            np.testing.assert_array_equal(one, other)


def test_processes_at_once_fill_one_copy(plan: DecodedPlan, opened: Callable[..., Counted]) -> None:
    assert in_processes(read_all, [(plan, seed) for seed in range(4)]) == [0] * 4
    assert files_in(plan) == [*(f"{index:07d}" for index in range(6)), "copy.json"]
    counted = opened()
    assert_same(counted.reader(STREETS, "train"), open_split(STREETS, "train"))
    assert not counted.decoded


def begin_one(plan: DecodedPlan, images: int) -> None:
    """Opens a split that is another one for every number of images."""
    Reader(plan, warn=lambda _: None)(streets.Config(size=(32, 48), train_images=images), "train")


def test_processes_at_once_do_not_fill_the_quota_twice(tmp_path: Path) -> None:
    plan = DecodedPlan(folder=str(tmp_path / "decoded"), max_gib=2.5 * TRAIN_BYTES / 2**30)
    assert in_processes(begin_one, [(plan, images) for images in (6, 6, 7, 8, 9)]) == [0] * 5
    begun = len(copies_in(plan))
    assert copies.taken_bytes(plan.folder) <= 2.5 * TRAIN_BYTES and begun in (1, 2)


def killed_while_writing(plan: DecodedPlan) -> None:
    """Dies of SIGKILL with the second image half written."""
    found = Reader(plan)(STREETS, "train")
    found.load(0)
    Path.replace = lambda self, target: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment, method-assign, return-value]
    found.load(1)


def test_a_writer_that_is_killed_leaves_a_copy_that_others_go_on_with(
    plan: DecodedPlan, opened: Callable[..., Counted]
) -> None:
    assert in_processes(killed_while_writing, [(plan,)]) == [-signal.SIGKILL]
    (left,) = (name for name in files_in(plan) if name.endswith(file.WRITING))
    counted = opened()
    assert_same(counted.reader(STREETS, "train"), open_split(STREETS, "train"))
    assert not counted.said and len(files_in(plan)) == 6 + 2
    (copy,) = copies_in(plan)
    os.utime(copy / left, (0, 0))
    opened().reader(STREETS, "train")
    assert left not in files_in(plan)
