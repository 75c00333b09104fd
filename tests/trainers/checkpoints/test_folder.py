"""A checkpoint on disk: every kind of damage is seen and named, and a full disk leaves what was there."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trainers import small
from trainers.checkpoints import manifest
from trainers.checkpoints.folder import WRITING, FolderCheckpoints
from trainers.checkpoints.manifest import MANIFEST, READERS, FullDiskError, UnwritableError, fault, write
from trainers.context import LocalContext
from trainers.loop import train

FILES = {name: f"what {name} holds".encode() for name in READERS}


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def one_byte_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flipped(path: Path, position: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def flipped_at_the_start(path: Path) -> None:
    flipped(path, 0)


DAMAGES = [emptied, halved, one_byte_short, flipped, flipped_at_the_start, Path.unlink]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With two whole checkpoints, of iterations 4 and 6."""
    for iteration in (4, 6):
        write(tmp_path / f"checkpoint_{iteration:09d}", FILES)
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real checkpoint of a trial."""
    context = LocalContext(tmp_path_factory.mktemp("trial"))
    train(small.trial({"train/iterations": 1}), context)
    return context.checkpoints()[-1]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named(folder: Path, name: str, damage: Callable[[Path], None]) -> None:
    path = folder / "checkpoint_000000006" / name
    assert fault(path.parent) is None
    damage(path)
    said = fault(path.parent)
    assert said is not None and said.startswith(f"{path} ")


def test_a_manifest_that_was_cut_or_changed_anywhere_is_seen(tmp_path: Path) -> None:
    write(tmp_path / "checkpoint", FILES)
    manifest = tmp_path / "checkpoint" / MANIFEST
    whole = manifest.read_bytes()
    for position in range(len(whole)):
        manifest.write_bytes(whole[:position])
        assert fault(manifest.parent), f"cut to {position} bytes"
        manifest.write_bytes(whole)
        flipped(manifest, position)
        assert fault(manifest.parent), f"bit flipped in byte {position}"
    manifest.write_bytes(whole)
    assert fault(manifest.parent) is None


def test_a_checkpoint_of_before_the_manifest_must_be_readable(trained: Path, tmp_path: Path) -> None:
    for name in READERS:
        old = tmp_path / name.partition(".")[0]
        shutil.copytree(trained, old)
        (old / MANIFEST).unlink()
        assert fault(old) is None
        for damage in (Path.unlink, halved, emptied):
            if (old / name).exists():
                damage(old / name)
            else:
                (old / name).touch()
            said = fault(old)
            assert said is not None and said.startswith(f"{old / name} cannot be read: ")


@pytest.mark.parametrize("name", [*READERS, MANIFEST])
def test_a_full_disk_leaves_what_was_there_and_says_what_is_free(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before = names(folder)
    full_at(monkeypatch, name)
    with pytest.raises(ValueError) as raised:
        write(folder / WRITING, FILES)
    said = str(raised.value)
    assert f"{folder / WRITING / name} could not be written: No space left on device;" in said
    free = shutil.disk_usage(folder).free
    assert float(said.partition("device; ")[2].partition(" MB")[0].replace(",", "")) == pytest.approx(
        free / 1e6, rel=0.2
    )
    assert names(folder) == before
    with FolderCheckpoints(folder).latest() as (latest, said_then):
        assert latest == folder / "checkpoint_000000006" and said_then is None


def full_at(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Writing the file `name` of a checkpoint finds no space: the kernel's own answer, from its full device."""
    mkdir = Path.mkdir

    def with_full_device(path: Path, *arguments: object, **options: object) -> None:
        mkdir(path, *arguments, **options)  # type: ignore[arg-type]
        if path.name == WRITING:
            (path / name).symlink_to("/dev/full")

    monkeypatch.setattr(manifest.Path, "mkdir", with_full_device)


def test_what_else_goes_wrong_is_a_fault_of_the_machine_and_not_called_a_full_disk(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(
        UnwritableError, match=r"must be written to .*file, but .* could not be: Not a directory"
    ) as told:
        write(folder / "file" / WRITING, FILES)
    assert not isinstance(told.value, FullDiskError)
