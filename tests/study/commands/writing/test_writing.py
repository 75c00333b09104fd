"""What helps to write a study: its keys, their schema, the presets, a shell's completion."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from study.__main__ import main
from study.commands.writing.init import DATA
from study.configuration.loading import presets
from study.configuration.schema import FILLED_IN, study_schema
from trainers.registry import implementations


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return study_schema()


def faults(schema: dict[str, Any], values: Any) -> list[str]:
    return [".".join(map(str, fault.absolute_path)) for fault in Draft202012Validator(schema).iter_errors(values)]


@pytest.mark.parametrize("name", sorted(presets()))
def test_every_preset_fits_the_schema(name: str, schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    assert faults(schema, yaml.safe_load(presets()[name].read_text())) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("train.iterations", 0),
        ("train.optimiser", {}),
        ("student", {"architecture": "deeplabv4"}),
        ("arms.kd.methods", {"kdd": {}}),
        ("arms.kd.space", 3),
        ("spaces", {}),
        ("data", {"name": "streets", "size": [64]}),
    ],
)
def test_what_a_study_may_not_have_does_not_fit(path: str, value: Any, schema: dict[str, Any]) -> None:
    values = yaml.safe_load(presets()["quickstart"].read_text())
    *above, last = path.split(".")
    here = values
    for part in above:
        here = here[part]
    here[last] = value
    assert faults(schema, values)


def test_the_schema_has_every_implementation_and_says_what_keys_mean(schema: dict[str, Any]) -> None:
    arm = schema["properties"]["arms"]["additionalProperties"]["properties"]
    assert arm["methods"]["properties"].keys() == implementations("trainers.methods").keys()
    assert {one["title"] for one in schema["properties"]["student"]["oneOf"]} == set(implementations("trainers.models"))
    train = schema["properties"]["train"]["properties"]
    assert train["iterations"]["description"] == "optimizer steps, the full horizon of every schedule."
    assert not set(FILLED_IN["StudyConfig"]) & schema["properties"].keys()


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out.splitlines()


def test_options_says_type_range_default_and_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    found = lines(capsys, "options", "train.optimizer")
    assert "train.optimizer.lr  number > 0, default 0.02" in found
    found = lines(capsys, "options", "arms.mine.methods.kd")
    assert "arms.mine.methods.kd.temperature  number > 0, default 1.0" in found
    assert "    divides both logits." in found
    assert "train.iterations  integer >= 1, required" in lines(capsys, "options", "train.iterations")
    assert any(line.startswith("student.deeplabv3.width  ") for line in lines(capsys, "options", "student.deeplabv3"))


def test_options_of_everything_names_the_implementations_and_not_their_keys(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = lines(capsys, "options")
    assert any(line.startswith("arms.NAME.methods.cirkd  ") for line in found)
    assert not any("temperature" in line and line.startswith("arms") for line in found)


def test_a_path_that_is_none_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["options", "train.optimiser"]) == 2
    assert "PATH must be a key of a study, but train has no 'optimiser'; did you mean 'optimizer'?" in (
        capsys.readouterr().err
    )


def test_presets_are_listed_and_printed(capsys: pytest.CaptureFixture[str]) -> None:
    listed = lines(capsys, "presets")
    assert [line.split()[0] for line in listed] == list(presets())
    assert all(len(line.split()) > 3 for line in listed)
    assert lines(capsys, "presets", "quickstart") == presets()["quickstart"].read_text().splitlines()
    assert main(["presets", "quikstart"]) == 2
    assert "did you mean 'quickstart'?" in capsys.readouterr().err


def test_the_schema_is_written_where_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (said,) = lines(capsys, "schema", "--out", str(tmp_path / "study.schema.json"))
    assert f"$schema={tmp_path / 'study.schema.json'}" in said
    assert json.loads((tmp_path / "study.schema.json").read_text()) == json.loads("\n".join(lines(capsys, "schema")))


@pytest.mark.parametrize("data", DATA)
def test_init_writes_a_study_that_fits_the_schema_and_is_not_written_over(
    data: str, schema: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "My study.yaml"
    (said,) = lines(capsys, "init", str(file), "--data", data)
    assert f"kdstudy validate {file}" in said
    values = yaml.safe_load(file.read_text())
    assert (values["name"], values["data"]["name"]) == ("my-study", data)
    assert faults(schema, values) == []
    assert main(["init", str(file)]) == 2
    assert f"{file}: File exists" in capsys.readouterr().err


def test_the_study_that_init_writes_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines(capsys, "init", str(tmp_path / "study.yaml"))
    assert lines(capsys, "validate", str(tmp_path / "study.yaml"))[0] == "study: well"
    assert main(["init", str(tmp_path / "study.txt")]) == 2
    assert "FILE must end in .yaml" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_completion_knows_the_commands_and_their_options(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(lines(capsys, "completion", shell))
    assert "replicate" in text and "--retry-failed" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("kdstudy ")
