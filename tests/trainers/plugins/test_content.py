"""What a plugin is named and hashed by, and how it is copied."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.own_parts import write
from trainers.plugins import content
from trainers.plugins.content import content_sha256, copied, module_name, read_plugin, refuse_changed, written_name


def test_a_file_and_a_folder_are_named_after_themselves(tmp_path: Path) -> None:
    assert read_plugin(write(tmp_path / "my_loss.py"))[0] == "my_loss"
    write(tmp_path / "my_lab" / "one.py")
    name, plugin = read_plugin(tmp_path / "my_lab")
    assert (name, plugin.path) == ("my_lab", str(tmp_path / "my_lab"))
    assert written_name(module_name(name, plugin)) == "my_lab"
    assert written_name("trainers.methods.kd") == "kd"


@pytest.mark.parametrize(
    ("path", "law"),
    [
        ("nowhere.py", "there is no"),
        ("notes.txt", "name a .py file"),
        ("my-loss.py", "rename it"),
        ("class.py", "rename it"),
    ],
)
def test_what_is_none_is_refused(tmp_path: Path, path: str, law: str) -> None:
    if path != "nowhere.py":
        write(tmp_path / path)
    with pytest.raises(ValueError, match=law):
        read_plugin(tmp_path / path)


def test_the_hash_is_that_of_all_content_and_of_nothing_else(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    write(lab / "one.py", "a = 1\n")
    before = content_sha256(lab)
    write(lab / "__pycache__" / "one.cpython-311.pyc", "compiled")
    write(lab / ".git" / "HEAD", "main")
    assert content_sha256(lab) == before
    hashes = {before}
    for path, text in (("one.py", "a = 2\n"), ("inner/two.py", ""), ("inner/table.json", "{}")):
        write(lab / path, text)
        hashes.add(content_sha256(lab))
    (lab / "one.py").rename(lab / "three.py")
    hashes.add(content_sha256(lab))
    assert len(hashes) == 5


def test_a_copy_holds_the_same_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    for name, plugin in (read_plugin(write(tmp_path / "one.py")), _folder(tmp_path / "lab")):
        kept = copied(name, plugin, tmp_path / "study")
        assert Path(kept.path).parent == tmp_path / "study" / content.PACKAGE
        assert content_sha256(Path(kept.path)) == kept.sha256 == plugin.sha256
        assert copied(name, plugin, tmp_path / "study") == copied(name, kept, tmp_path / "study") == kept
        changed = Path(kept.path) if name == "one" else Path(kept.path) / "inner" / "two.py"
        changed.write_text("changed = True\n")
        with pytest.raises(ValueError, match=rf"plugins\.{name} must stay what it was .*{kept.sha256[:12]}.* put it"):
            copied(name, plugin, tmp_path / "study")
        with pytest.raises(ValueError, match=rf"plugins\.{name} must lie where .* --plugin"):
            refuse_changed(name, replace(kept, path=str(tmp_path / "gone.py")))


def _folder(lab: Path) -> tuple[str, content.Plugin]:
    write(lab / "one.py")
    write(lab / "inner" / "two.py", "")
    return read_plugin(lab)


def test_a_file_that_changes_before_it_is_copied_is_refused(tmp_path: Path) -> None:
    name, plugin = read_plugin(write(tmp_path / "one.py"))
    write(tmp_path / "one.py", "")
    with pytest.raises(ValueError, match="must stay what it was"):
        copied(name, plugin, tmp_path / "study")


def test_a_folder_of_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "MAX_BYTES", 2**20)
    write(tmp_path / "lab" / "images.bin", "x" * (2**20 + 1))
    with pytest.raises(ValueError, match=r"at most 1 MiB, but .*lab holds 1 MiB; keep data outside"):
        read_plugin(tmp_path / "lab")
