"""Fingerprints: every file that decides an image counts, contents decide, and a machine reads a file once."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.trainers import small
from tests.trainers.trees import TREES, Tree
from trainers.context import LocalContext
from trainers.data import fingerprint as fingerprints
from trainers.data import streets
from trainers.data.fingerprint import difference, digest, fingerprint, read_note, refuse_changed, write_note
from trainers.worker import attempt

SPLITS = ("train", "val")


@pytest.fixture(autouse=True)
def _own_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints.tempfile, "tempdir", str(tmp_path / "machine"))
    (tmp_path / "machine").mkdir()


@pytest.fixture(params=sorted(TREES))
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    make: Callable[[Path], Tree] = TREES[request.param]
    return make(tmp_path / "data")


def config(tree: Tree) -> Any:
    return tree.module.Config(root=str(tree.root))


def touch_a_byte(path: Path) -> None:
    """Change a byte and nothing that a listing of the folder shows."""
    state, content = path.stat(), path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def test_every_file_that_decides_an_image_counts(tree: Tree) -> None:
    before = fingerprint(config(tree), SPLITS)
    used = {path for split in SPLITS for path in tree.data(split).files}
    assert len(before) == len(used) and {tree.image, tree.label} <= used
    for path in used:
        content = path.read_bytes()
        touch_a_byte(path)
        try:
            found = fingerprint(config(tree), SPLITS)
        except ValueError:  # a list that names another file now
            assert path.suffix == ".txt"
        else:
            assert str(difference(before, found)).endswith("has changed") and digest(found) != digest(before)
        path.write_bytes(content)
    assert fingerprint(config(tree), SPLITS) == before


def test_a_copy_elsewhere_with_other_times_is_the_same(tree: Tree, tmp_path: Path) -> None:
    before = fingerprint(config(tree), SPLITS)
    shutil.copytree(tree.root, tmp_path / "other" / tree.root.name, copy_function=shutil.copyfile)
    copied = tree.module.Config(root=str(tmp_path / "other" / tree.root.name))
    assert fingerprint(copied, SPLITS) == before


def test_files_that_are_gone_or_new_are_named() -> None:
    assert difference({"a": "1", "b": "2"}, {"b": "2"}) == "a is gone"
    assert difference({"a": "1"}, {"a": "2", "c": "3"}) == "a has changed, and 1 more files differ"
    assert difference({"a": "1"}, {"a": "1"}) is None


def test_a_drawn_dataset_has_none(tmp_path: Path) -> None:
    assert fingerprint(streets.Config(), SPLITS) == {}
    refuse_changed(streets.Config(), tmp_path / "dataset.json")


def test_a_file_is_read_again_only_where_something_tells_of_a_change(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns()
    monkeypatch.setattr(fingerprints.time, "time_ns", lambda: now + 10 * fingerprints.SETTLED_NS)
    before = fingerprint(config(tree), SPLITS)
    read: list[Any] = []
    whole = fingerprints.hashlib.file_digest
    monkeypatch.setattr(fingerprints.hashlib, "file_digest", lambda f, kind: read.append(f.name) or whole(f, kind))
    assert fingerprint(config(tree), SPLITS) == before and not read
    touch_a_byte(tree.image)  # the time of its last change of state cannot be put back
    assert fingerprint(config(tree), SPLITS) != before and read == [str(tree.image)]


def test_checksums_that_others_may_write_are_not_trusted(tree: Tree, tmp_path: Path) -> None:
    fingerprint(config(tree), SPLITS)
    (own,) = (tmp_path / "machine").iterdir()
    own.chmod(0o777)
    assert fingerprints._own_folder() is None
    assert fingerprint(config(tree), SPLITS)


def test_every_machine_looks_once_for_each_note(tree: Tree, tmp_path: Path) -> None:
    note = tmp_path / "dataset.json"
    found = fingerprint(config(tree), SPLITS)
    write_note(note, SPLITS, found)
    assert read_note(note) == found
    refuse_changed(config(tree), note)
    touch_a_byte(tree.label)
    refuse_changed(config(tree), note)
    write_note(note, SPLITS, found)  # as the next start does
    with pytest.raises(ValueError, match=rf"began with, but on .*{tree.label.name} has changed; copy it there again"):
        refuse_changed(config(tree), note)


def test_a_trial_on_a_machine_with_another_copy_fails_by_the_name_of_the_file(tmp_path: Path) -> None:
    tree = TREES["camvid"](tmp_path / "data")
    note = tmp_path / "dataset.json"
    write_note(note, SPLITS, fingerprint(config(tree), SPLITS))
    touch_a_byte(tree.image)
    values = {**small.values(), "data": {"name": "camvid", "root": str(tree.root)}}
    outcome = attempt(values, LocalContext(tmp_path / "trial"), 0, dataset=note)
    assert tree.image.name in str(outcome["error"]) and not (tmp_path / "trial").exists()


def test_a_note_that_cannot_be_read_is_no_fingerprint(tmp_path: Path) -> None:
    assert read_note(tmp_path / "none") == {}
    (tmp_path / "note").write_text("{")
    assert read_note(tmp_path / "note") == {}
