"""A study with parts of a user's own: read, hashed, kept in its folder, and run by nobody who only looks at it."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from study.__main__ import main
from study.configuration.config import StudyConfig
from study.configuration.identity import record, refuse_another
from study.configuration.loading import load
from study.execution.recording.environment import environment
from study.folder import create_study, read_config, read_outline
from study.ledger.ledger import open_arms
from tests.analysis.searches import search, write_search
from tests.own_parts import METHOD, PLUGIN, unload, write, write_shown
from tests.study.conftest import tiny, write_study, write_teacher
from trainers.config import ConfigError, TeacherFile, content_hash
from trainers.plugins.content import copied, read_plugin
from trainers.registry import known

TEACHER = TeacherFile(path="teacher.safetensors", sha256="0" * 64)


@pytest.fixture(autouse=True)
def _nothing_stays_loaded() -> Iterator[None]:
    yield
    unload()


@pytest.fixture
def shown(tmp_path: Path) -> StudyConfig:
    """The study that docs/own-methods.md shows."""
    return load(str(write_shown(tmp_path)))


@pytest.fixture
def with_soft(tmp_path: Path) -> Callable[..., StudyConfig]:
    """The tiny study with a method of its own in one arm."""

    def made(text: str = METHOD, **changes: Any) -> StudyConfig:
        write(tmp_path / "soft.py", text)
        soft = {"trials": 1, "space": "optimizer", "methods": {"soft": {}}}
        return load(str(write_study(tmp_path, tiny(plugins=["soft.py"], arms__soft=soft, **changes))))

    return made


def test_the_study_of_the_page_is_well(shown: StudyConfig, tmp_path: Path) -> None:
    plugin = shown.plugins["mylab"]
    assert plugin.path == str(tmp_path / "mylab.py")
    trial = shown.trial("mylab", shown.space("mylab").defaults(), TEACHER)
    assert trial.plugins == {"mylab": plugin} == shown.teacher_trial().plugins
    assert shown.class_names == ("ground", "disc")


def test_a_trial_has_the_plugins_that_it_has_a_part_of(with_soft: Callable[..., StudyConfig], tmp_path: Path) -> None:
    with_one = with_soft()
    hashes = {arm: hash_of(with_one, arm) for arm in with_one.arms}
    other = with_soft(METHOD + "# another\n")
    assert {arm for arm in hashes if hash_of(other, arm) != hashes[arm]} == {"soft"}
    without = load(str(write_study(tmp_path, tiny())))
    assert hash_of(without, "rdd") == hashes["rdd"] and content_hash(without.teacher_trial()) == content_hash(
        with_one.teacher_trial()
    )


def hash_of(config: StudyConfig, arm: str) -> str:
    return content_hash(config.trial(arm, config.space(arm).defaults(), TEACHER))


def test_a_plugin_with_a_network_counts_where_the_teacher_may_have_it(
    tmp_path: Path, with_soft: Callable[..., StudyConfig]
) -> None:
    write(tmp_path / "soft.py", METHOD)
    network = "from dataclasses import dataclass\nfrom typing import Literal\nfrom trainers.models import espnet\n"
    network += "@dataclass(frozen=True, kw_only=True)\nclass Config(espnet.Config):\n"
    network += '    architecture: Literal["net"] = "net"\nclass Network(espnet.Network):\n    pass\n'
    write(tmp_path / "net.py", network)
    teacher = write_teacher(tmp_path / "teacher.safetensors")
    both = tiny(plugins=["soft.py", "net.py"], arms__rdd__trials=1)
    named = load(str(write_study(tmp_path, {**both, "teacher": {"file": str(teacher)}})))
    assert [*named.trial("rdd", named.space("rdd").defaults(), TEACHER).plugins] == ["net"]
    assert not named.trial("baseline", {}, None).plugins
    trained = load(
        str(write_study(tmp_path, {**both, "teacher": {**both["teacher"], "model": {"architecture": "net"}}}))
    )
    assert [*trained.trial("rdd", trained.space("rdd").defaults(), TEACHER).plugins] == ["net"]
    assert [*trained.teacher_trial().plugins] == ["net"]


@pytest.mark.parametrize(
    ("plugins", "law"),
    [
        ("soft.py", r"plugins: must be a list of paths, but got 'soft\.py'; for example"),
        (["nowhere.py"], r"plugins: a plugin must be a Python file or a folder, but there is no .*nowhere\.py"),
        (["soft.py", "lab/soft.py"], "plugins: a plugin's name must stand for one, but soft is .* rename one"),
        (["kd.py"], "plugins: .*'kd' is in kdstudy and in plugin kd"),
    ],
)
def test_faults_are_told_beside_the_others(tmp_path: Path, plugins: object, law: str) -> None:
    for path in ("soft.py", "lab/soft.py", "kd.py"):
        write(tmp_path / path)
    with pytest.raises(ConfigError, match=law) as caught:
        load(str(write_study(tmp_path, tiny(plugins=plugins, seed=-1))))
    assert any(line.startswith("seed: ") for line in caught.value.faults)


def test_a_study_keeps_what_it_began_with(with_soft: Callable[..., StudyConfig], tmp_path: Path) -> None:
    began, folder = with_soft(), tmp_path / "study"
    create_study(began, folder)
    write(tmp_path / "soft.py", "raise AssertionError('the file beside the study is no longer read')\n")
    unload()
    kept = read_config(folder)
    assert "soft" in known("trainers.methods") and hash_of(kept, "soft") == hash_of(began, "soft")
    assert Path(kept.plugins["soft"].path).is_relative_to(folder / "plugins")
    refuse_another(record(kept, "soft"), kept, "soft")


def test_a_moved_study_finds_its_plugins(with_soft: Callable[..., StudyConfig], tmp_path: Path) -> None:
    create_study(with_soft(), tmp_path / "study")
    shutil.move(tmp_path / "study", tmp_path / "elsewhere")
    unload()
    config = read_config(tmp_path / "elsewhere")
    assert Path(config.trial("soft", config.space("soft").defaults(), TEACHER).plugins["soft"].path).exists()


def test_a_changed_copy_is_refused_by_its_name(
    with_soft: Callable[..., StudyConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "study"
    create_study(with_soft(), folder)
    (copy,) = (folder / "plugins" / "kdstudy_plugins").glob("soft_*.py")
    copy.write_text(METHOD + "# mended\n")
    unload()
    assert main(["resume", str(folder)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        "checking the study ...\nkdstudy: plugins.soft must stay what it was as the study began (sha256 "
    )
    assert "put it back, or start another study" in said


def test_a_study_with_other_code_is_another_one(with_soft: Callable[..., StudyConfig], tmp_path: Path) -> None:
    began = with_soft()
    create_study(began, tmp_path / "study")
    with pytest.raises(ValueError, match="holds this study already"):
        create_study(began, tmp_path / "study")
    other = with_soft(METHOD + "# mended\n")
    with pytest.raises(ValueError, match=r"another study already, which differs in plugins\.soft\.sha256;"):
        create_study(other, tmp_path / "study")
    with pytest.raises(ConfigError, match=r"plugins\.soft\.sha256: must stay"):
        refuse_another(record(began, "soft"), other, "soft")


def test_the_environment_names_every_plugin(shown: StudyConfig) -> None:
    assert ("mylab", f"sha256 {shown.plugins['mylab'].sha256}") in environment(shown.plugins)["plugins"]


def test_opening_a_strangers_study_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command but those that train, score or check may be used on a folder of unknown origin."""
    folder = write_search(tmp_path / "search", search())
    marker = tmp_path / "it was run"
    code = f"from pathlib import Path\nPath({str(marker)!r}).touch()\n{PLUGIN}"
    name, plugin = read_plugin(write(tmp_path / "mylab.py", code))
    kept = copied(name, plugin, folder / "plugins")
    study = json.loads((folder / "study.json").read_text())
    study |= {"plugins": {name: {"path": kept.path, "sha256": kept.sha256}}, "data": {"name": "mylab"}}
    study["arms"] = {**study["arms"], "mine": {"trials": 1, "methods": {"mylab": {}}, "task": {"weighting": "mylab"}}}
    (folder / "study.json").write_text(json.dumps(study))
    arms = [arm for arm in study["arms"] if arm != "mine"]
    began = tmp_path / "began"
    create_study(load(str(write_shown(tmp_path))), began)
    (copy,) = (began / "plugins" / "kdstudy_plugins").glob("*.py")
    open_arms(read_config(began), began, with_teacher=False)
    copy.write_text(code)
    for command in (
        ["status", began],
        ["best", folder, "--json"],
        ["verdict", folder],
        ["report", folder],
        ["compare", f"{folder}:{arms[0]}", f"{folder}:{arms[-1]}"],
        ["ablate", folder],
        ["export-table", folder, "--format", "csv"],
    ):
        # these tables have no counts of images, which `compare` says
        expected = 2 if command[0] == "compare" else 0
        assert main([str(argument) for argument in command]) == expected, capsys.readouterr().err
    read_outline(folder)
    assert not marker.exists()
    unload()
    main(["replicate", str(folder), "--arm", "no such arm"])
    assert marker.exists()


def test_an_older_study_has_no_plugins(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    create_study(load(str(write_study(tmp_path, tiny()))), folder)
    values = json.loads((folder / "study.json").read_text())
    del values["plugins"]
    (folder / "study.json").write_text(json.dumps(values))
    assert not read_config(folder).plugins
    assert not (folder / "plugins").exists()
