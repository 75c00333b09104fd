"""Parts of installed packages: found by their names, imported where they are named, refused where a name is taken."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from search_spaces.space import Space, SpaceError
from study.__main__ import main
from study.execution.recording.environment import environment
from tests.own_parts import METHOD, install, write
from tests.trainers.small import values
from trainers.config import ConfigError, TrialConfig, parse
from trainers.registry import find, implementations, installed, known, module_of

ENTRY_POINTS = """
[trainers.methods]
soft = soft_kd.soft
broken = soft_kd.broken
hollow = soft_kd.hollow
[search_spaces]
soft = soft_kd
lost = soft_kd
[study.commands]
greet = soft_kd.greet
half = soft_kd.hollow
"""
GREET = """
def add_options(parser):
    parser.add_argument("name")


def execute(options):
    print(f"hello {options.name}")
    return 0
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on Python's path, with a package installed in it."""
    write(tmp_path / "soft_kd" / "__init__.py", "")
    write(tmp_path / "soft_kd" / "soft.py")
    write(tmp_path / "soft_kd" / "broken.py", "raise OSError('no such library')\n")
    write(tmp_path / "soft_kd" / "hollow.py", "")
    write(tmp_path / "soft_kd" / "greet.py", GREET)
    write(tmp_path / "soft_kd" / "soft.yaml", "methods/soft/weights/pixel: {type: float, low: 1, high: 2, default: 1}")
    install(tmp_path, "soft-kd", ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    installed.cache_clear()
    yield tmp_path
    installed.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "soft_kd"]:
        del sys.modules[name]


def soft_trial(**methods: object) -> TrialConfig:
    return parse(TrialConfig, values({"methods": methods, "teacher/path": "t"}))


def test_a_part_is_found_by_its_name_and_imported_then(packages: Path) -> None:
    assert "soft" in known("trainers.methods") and "soft" not in implementations("trainers.methods")
    assert "soft_kd.soft" not in sys.modules
    config = soft_trial(soft={"weights": {"pixel": 2}}).methods["soft"]
    assert module_of(config) is sys.modules["soft_kd.soft"] and config.weights.pixel == 2
    assert "soft_kd.broken" not in sys.modules


def test_a_part_that_cannot_be_imported_breaks_whoever_names_it(packages: Path) -> None:
    soft_trial(kd={})
    with pytest.raises(ConfigError, match=r"methods\.broken: 'broken' of soft-kd 1\.5 must be importable, but OSError"):
        soft_trial(broken={})
    with pytest.raises(ConfigError, match=r"a module with a Config and a Method, but soft_kd\.hollow of soft-kd"):
        soft_trial(hollow={})


def test_a_name_that_stands_twice_is_refused_with_both_owners(packages: Path) -> None:
    install(packages, "other-kd", "[trainers.methods]\nkd = soft_kd.soft\nsoft = soft_kd.hollow\n", "2.0")
    installed.cache_clear()
    with pytest.raises(ConfigError, match=r"'kd' is in kdstudy and in other-kd 2\.0; rename it"):
        soft_trial(kd={})
    with pytest.raises(ValueError, match=r"'soft' is in (other-kd 2\.0 and in soft-kd 1\.5|soft-kd.* other-kd)"):
        find("trainers.methods", "soft")
    soft_trial(at={})


def test_a_space_is_a_file_of_the_package(packages: Path) -> None:
    assert [*Space.load("soft").parameters] == ["methods/soft/weights/pixel"]
    with pytest.raises(SpaceError, match=r"lost: must be a file of soft-kd 1\.5, but there is no .*lost\.yaml"):
        Space.load("lost")
    with pytest.raises(SpaceError, match="did you mean 'soft'"):
        Space.load("sofd")
    install(packages, "other-kd", "[search_spaces]\nkd = soft_kd\n", "2.0")
    write(packages / "soft_kd" / "kd.yaml", "a/b: {type: float, low: 1, high: 2, default: 1}")
    installed.cache_clear()
    with pytest.raises(SpaceError, match=r"'kd' is in kdstudy and in other-kd 2\.0"):
        Space.load("kd")


def test_a_command_is_run_and_listed(packages: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["greet", "you"]) == 0
    assert capsys.readouterr().out == "hello you\n"
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "of soft-kd 1.5" in capsys.readouterr().out
    assert main(["half"]) == 2
    assert "soft_kd.hollow lacks add_options and execute" in capsys.readouterr().err
    install(packages, "other-kd", "[study.commands]\nstatus = soft_kd.greet\n", "2.0")
    installed.cache_clear()
    assert main(["status", "you"]) == 2
    assert "'status' is in kdstudy and in other-kd 2.0" in capsys.readouterr().err


def test_the_environment_names_packages_that_add_parts(packages: Path) -> None:
    assert ("soft-kd", "1.5") in environment({})["plugins"]


def test_the_module_needs_the_config_that_it_defines(packages: Path) -> None:
    write(packages / "soft_kd" / "hollow.py", METHOD.replace("class Config(", "class Other("))
    with pytest.raises(ValueError, match="lacks one"):
        find("trainers.methods", "hollow")
