"""What the README shows works as it stands there."""

import re
from pathlib import Path

import pytest
import yaml

from study.__main__ import main
from study.commands import COMMANDS
from study.configuration.loading import load, presets
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
STREETS = "data={name: streets, size: [48, 64]}"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_study_that_the_readme_shows_is_well(tmp_path: Path) -> None:
    (study,) = blocks("yaml")
    file = tmp_path / "study.yaml"
    file.write_text(study)
    config = load(str(file), [STREETS])
    assert set(config.arms) == set(yaml.safe_load(study)["arms"])


@pytest.mark.parametrize("preset", sorted(presets()))
def test_every_preset_is_well_and_named_in_the_readme(preset: str) -> None:
    assert load(preset, [STREETS]).name == preset
    assert preset in README


def test_the_trial_by_hand_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    by_hand = next(block for block in blocks("python") if "TrialConfig" in block)
    exec(by_hand, {})
    assert 0 < float(capsys.readouterr().out) < 100


def test_every_command_of_the_readme_exists(capsys: pytest.CaptureFixture) -> None:
    named = set(re.findall(r"^\| `kdstudy ([\w-]+)", README, re.MULTILINE))
    assert named == set(COMMANDS)
    for command in COMMANDS:
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
