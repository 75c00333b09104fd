"""How a study names its trackers, and that this decides nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from study.configuration.changes import Changes
from study.configuration.config import ExecutionConfig, StudyConfig
from study.configuration.loading import load
from study.configuration.schema import study_schema
from study.configuration.trackers import checks
from study.configuration.trackers.config import MlflowConfig, TrackersConfig, WandbConfig
from study.folder import create_study, read_config
from trainers.config import ConfigError, content_hash, parse, plain

Reader = Callable[..., StudyConfig]
SOME = TrackersConfig(csv=True, wandb=WandbConfig(mode="offline"))


@pytest.mark.parametrize(
    ("given", "trackers"),
    [
        ([], TrackersConfig()),
        (None, TrackersConfig()),
        (["tensorboard"], TrackersConfig(tensorboard=True)),
        (["csv", {"wandb": {"mode": "offline"}}], SOME),
        ({"csv": True, "wandb": {"mode": "offline"}}, SOME),
        (["mlflow"], TrackersConfig(mlflow=MlflowConfig())),
        ([{"mlflow": {"uri": "http://host:5000"}}], TrackersConfig(mlflow=MlflowConfig(uri="http://host:5000"))),
    ],
)
def test_a_list_and_a_mapping_name_the_same(given: Any, trackers: TrackersConfig) -> None:
    found = parse(ExecutionConfig, {"trackers": given})
    assert found.trackers == trackers and parse(ExecutionConfig, plain(found)) == found


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("wandb", "trackers: must be a list such as [tensorboard, csv, wandb], or a mapping"),
        ([["csv"]], "trackers: each must be a name, or one name with its keys, as {wandb: {mode: offline}}"),
        (["wandbb"], "trackers.wandbb: no such key; did you mean 'wandb'?"),
        ([{"wandb": {"mode": "later"}}], "trackers.wandb.mode: "),
    ],
)
def test_anything_else_is_refused_by_its_path(given: Any, fault: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(ExecutionConfig, {"trackers": given})
    assert refused.value.faults[0].startswith(fault)


def test_they_may_be_changed_while_a_study_lasts_and_change_no_trial(config: Reader, tmp_path: Path) -> None:
    create_study(config(), tmp_path / "run")
    begun = read_config(tmp_path / "run")
    changed = Changes(sets=("execution.trackers=[csv, {wandb: {mode: offline}}]",)).apply(begun)
    assert changed.execution.trackers == SOME
    again = Changes(sets=("execution.trackers.wandb.project=mine", "execution.trackers.csv=false")).apply(changed)
    assert again.execution.trackers == TrackersConfig(wandb=WandbConfig(project="mine", mode="offline"))
    assert content_hash(begun.trial("baseline", {}, None)) == content_hash(again.trial("baseline", {}, None))


def test_a_package_that_is_missing_is_refused_with_the_line_that_installs_it(
    study_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "PACKAGES", {"tensorboard": "no_such_package", "wandb": "torch"})
    with pytest.raises(ConfigError) as refused:
        load(str(study_file(execution={"trackers": ["tensorboard", "wandb", "csv"]})))
    assert refused.value.faults == [
        "execution.trackers: tensorboard needs the package no_such_package, which is not installed; pip install "
        "'kdstudy[tensorboard]'"
    ]


@pytest.mark.parametrize(
    ("uri", "refused"),
    [("sqlite:///mlflow.db", True), ("sqlite:////a/m.db", False), ("http://h", False), (None, False)],
)
def test_a_database_of_runs_has_an_absolute_path(uri: str | None, refused: bool) -> None:
    found = [one.text for one in checks.check_trackers(TrackersConfig(mlflow=MlflowConfig(uri=uri)))]
    assert bool(found) == refused and all("write sqlite:////folder/mlflow.db" in text for text in found)


@pytest.mark.parametrize("trackers", [["csv", {"wandb": {"mode": "offline"}}], {"csv": True}])
def test_editors_know_both_forms(trackers: Any) -> None:
    schema = study_schema()["properties"]["execution"]["properties"]["trackers"]
    jsonschema.validate(trackers, schema)
    for wrong in ("csv", ["csvs"], [{"wandb": {"mode": "later"}}]):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)
