"""Plugins are imported from copies, found by the registry, and refused where they cannot be meant."""

import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.own_parts import METHOD, PLUGIN, unload, write
from tests.trainers.small import values
from trainers.config import ConfigError, TrialConfig, parse
from trainers.plugins.content import copied, read_plugin
from trainers.plugins.loading import load, load_values, of_packages, of_parts
from trainers.registry import find, implementation, known, module_of


@pytest.fixture(autouse=True)
def _nothing_else_is_loaded() -> Iterator[None]:
    unload()
    yield
    unload()


def open_(path: Path) -> str:
    name, plugin = read_plugin(path)
    load({name: plugin})
    return name


def test_a_file_is_one_part_named_after_it(tmp_path: Path) -> None:
    name = open_(write(tmp_path / "soft.py"))
    assert name in known("trainers.methods") and name not in known("trainers.difficulty")
    trial = parse(TrialConfig, values({"methods": {"soft": {"weights": {"pixel": 3}}, "at": {}}, "teacher/path": "t"}))
    assert [*trial.methods] == ["at", "soft"] and trial.methods["soft"].weights.pixel == 3
    assert module_of(trial.methods["soft"]).Method.__module__.startswith("kdstudy_plugins.soft_")
    assert of_parts(trial) == of_parts(trial.methods) == of_packages(["trainers.methods"]) == {"soft"}
    assert not of_parts(trial.task, trial.data) and not of_packages(["trainers.models"])
    with pytest.raises(ConfigError, match=r"methods\.soft\.weight: no such key; did you mean 'weights'"):
        parse(TrialConfig, values({"methods": {"soft": {"weight": 1}}}))


def test_a_file_may_have_parts_of_several_kinds(tmp_path: Path) -> None:
    open_(write(tmp_path / "mylab.py", PLUGIN))
    chosen = {"methods": {"mylab": {}}, "task": {"weighting": "mylab", "limit": 2}, "data": {"name": "mylab"}}
    trial = parse(TrialConfig, values({**chosen, "teacher/path": "t"}))
    kinds = [type(part).__name__ for part in (trial.methods["mylab"], trial.task, trial.data)]
    assert kinds == ["MethodConfig", "WeightingConfig", "DatasetConfig"] and trial.task.limit == 2
    assert find("trainers.models", "mylab") is None


def test_a_folder_is_a_package_whose_modules_are_parts(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    write(lab / "__init__.py", '"""Our lab."""\n')
    write(lab / "_shared.py", "FACTOR = 2.0\n")
    write(lab / "test_soft.py", "raise AssertionError('its tests are not imported')\n")
    write(lab / "soft.py", f"from ._shared import FACTOR\n{METHOD}")
    write(lab / "hard.py")
    assert open_(lab) == "lab"
    assert {"soft", "hard"} <= {*known("trainers.methods")} and "lab" not in known("trainers.methods")
    assert implementation("trainers.methods", "soft").FACTOR == 2.0
    assert of_parts(implementation("trainers.methods", "hard").Config()) == {"lab"}


@pytest.mark.parametrize(
    ("name", "text", "law"),
    [
        ("kd", METHOD, "'kd' is in kdstudy and in plugin kd; rename it"),
        ("empty", "", "plugin empty has none of them"),
        ("borrowed", "from trainers.methods.kd import Config, Method\n", "plugin borrowed has none of them"),
        ("lacking", "import no_such_module\n", r"plugin lacking must be importable, .*no_such_module.*line 1\); mend"),
        ("broken", "def f(:\n", "plugin broken must be importable, but SyntaxError"),
        ("raising", "x = 1\nraise KeyError('x')\n", r"plugin raising must be importable, but KeyError.*line 2\)"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, name: str, text: str, law: str) -> None:
    before = known("trainers.methods")
    with pytest.raises(ValueError, match=law):
        open_(write(tmp_path / f"{name}.py", text))
    assert known("trainers.methods") == before


def test_two_plugins_with_one_name_are_refused_with_both_owners(tmp_path: Path) -> None:
    open_(write(tmp_path / "soft.py"))
    write(tmp_path / "lab" / "soft.py")
    with pytest.raises(ValueError, match="'soft' is in plugin soft and in plugin lab"):
        open_(tmp_path / "lab")


def test_another_content_of_a_plugin_is_another_module(tmp_path: Path) -> None:
    open_(write(tmp_path / "soft.py", METHOD + "VERSION = 1\n"))
    first = implementation("trainers.methods", "soft")
    open_(write(tmp_path / "soft.py", METHOD + "VERSION = 2\n"))
    second = implementation("trainers.methods", "soft")
    assert (first.VERSION, second.VERSION) == (1, 2) and of_parts(second.Config()) == {"soft"}


def test_a_copy_that_has_changed_is_not_run(tmp_path: Path) -> None:
    name, plugin = read_plugin(write(tmp_path / "soft.py"))
    kept = copied(name, plugin, tmp_path / "study")
    Path(kept.path).write_text("raise AssertionError('it was run')\n")
    with pytest.raises(ValueError, match=r"plugins\.soft must stay what it was"):
        load_values({"plugins": {name: {"path": kept.path, "sha256": kept.sha256}}})


def test_what_python_finds_in_another_place_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, plugin = read_plugin(write(tmp_path / "soft.py", f"{METHOD}# imported by no other test\n"))
    copied(name, plugin, tmp_path / "study")
    (copy,) = (tmp_path / "study").glob("*/*")
    other = write(tmp_path / "first" / "kdstudy_plugins" / copy.name, f"{METHOD}# another\n")
    monkeypatch.syspath_prepend(str(other.parents[1]))
    with pytest.raises(ValueError, match=rf"plugins\.soft must stay what it was .* but {other} is"):
        load({name: plugin})
    assert "soft" not in known("trainers.methods")


@pytest.mark.parametrize("name", ["../soft", "soft.hard", ""])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    _, plugin = read_plugin(write(tmp_path / "soft.py"))
    with pytest.raises(ValueError, match="must be one that Python allows"):
        load({name: plugin})


def test_a_moved_study_has_its_plugins_above_the_checkpoint(tmp_path: Path) -> None:
    name, plugin = read_plugin(write(tmp_path / "soft.py"))
    copied(name, plugin, tmp_path / "study" / "plugins")
    gone = tmp_path / "gone" / "plugins" / "kdstudy_plugins" / f"soft_{plugin.sha256[:12]}.py"
    named = {"plugins": {name: {"path": str(gone), "sha256": plugin.sha256}}}
    with pytest.raises(ValueError, match="must lie where it was kept"):
        load_values(named)
    load_values(named, near=tmp_path / "study" / "trials" / "kd-00000" / "checkpoint_000004")
    assert "soft" in known("trainers.methods")


def test_a_process_that_inherits_the_path_alone_finds_its_classes(tmp_path: Path) -> None:
    """As one that loads images, where processes are not forked."""
    open_(write(tmp_path / "mylab.py", PLUGIN))
    module = implementation("trainers.data", "mylab")
    path = write(tmp_path / "dataset.pickle", "")
    path.write_bytes(pickle.dumps(module.Dataset(module.DatasetConfig(), "val")))
    script = f"import pickle, sys; sys.path = {sys.path!r}; print(len(pickle.load(open({str(path)!r}, 'rb'))))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "16\n"


@pytest.mark.parametrize("plugins", [None, [], "x", {"a": 1}, {"a": {"path": "x"}}, {"a": {"path": 1, "sha256": "0"}}])
def test_what_is_no_plugin_is_left_to_who_reads_the_values(plugins: object) -> None:
    load_values({"plugins": plugins})
    if plugins:
        with pytest.raises(ConfigError, match=r"^plugins"):
            parse(TrialConfig, values({"plugins": plugins}))
