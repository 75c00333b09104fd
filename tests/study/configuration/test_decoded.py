"""What a study says about decoded images, and what its trials are handed of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.configuration.changes import Changes
from study.configuration.checks import storage
from study.configuration.config import ExecutionConfig, StudyConfig
from study.configuration.decoded import DecodedConfig
from study.ledger.trial_run import Suggestion, TrialRun
from tests.study.ledger.test_ledger import run_of
from trainers.config import ConfigError, content_hash, parse, plain
from trainers.data.decoded.plan import DecodedPlan

Reader = Callable[..., StudyConfig]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("auto", DecodedConfig()),
        ("off", DecodedConfig(max_gib=0)),
        (False, DecodedConfig(max_gib=0)),  # a bare off in YAML
        ({"max_gib": 2.5}, DecodedConfig(max_gib=2.5)),
        ({"folder": "/disk/decoded"}, DecodedConfig(folder="/disk/decoded")),
    ],
)
def test_it_is_a_word_or_a_mapping(written: Any, read: DecodedConfig) -> None:
    execution = parse(ExecutionConfig, {"decoded_images": written})
    assert execution.decoded_images == read
    assert parse(ExecutionConfig, plain(execution)) == execution


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("on", "decoded_images: must be auto, off, or a mapping of folder and max_gib, but got 'on'"),
        ({"max_gb": 1}, "decoded_images.max_gb: no such key; did you mean 'max_gib'?"),
        ({"max_gib": -1}, "decoded_images.max_gib: input should be greater than or equal to 0, but got -1"),
    ],
)
def test_what_it_cannot_be_is_refused(written: Any, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(ExecutionConfig, {"decoded_images": written})
    assert caught.value.faults == [fault]


def test_copies_lie_beside_the_teachers_or_where_a_study_says(config: Reader, tmp_path: Path) -> None:
    study = config(teacher__folder=str(tmp_path / "teachers"))
    assert study.decoded_plan == DecodedPlan(folder=str(tmp_path / "teachers" / "decoded"))
    assert config(execution={"decoded_images": "off"}).decoded_plan is None
    own = config(execution={"decoded_images": {"folder": "own", "max_gib": 3}}).decoded_plan
    assert own == DecodedPlan(folder=str(Path("own").absolute()), max_gib=3)


def test_a_store_is_no_place_for_them() -> None:
    assert not list(storage.check_decoded_images(None)) and not list(storage.check_decoded_images("/disk"))
    (found,) = storage.check_decoded_images("s3://bucket/decoded")
    assert found.is_fault and found.text.startswith("execution.decoded_images.folder: must be a folder, but got s3://")


def test_a_study_may_change_them_and_no_hash_knows_of_them(config: Reader) -> None:
    study = config()
    changed = Changes(sets=("execution.decoded_images=off",)).apply(study)
    assert changed.decoded_plan is None
    hashes = {content_hash(one.trial("baseline", {}, None)) for one in (study, changed)}
    assert len(hashes) == 1


def test_trials_of_an_earlier_version_have_none() -> None:
    run = run_of(Suggestion(arm="rdd", number=0, attempt=1, values={}))
    values = run.plain()
    assert values.pop("decoded") is None and values["execution"].pop("decoded_images")
    assert TrialRun.parse(values).decoded is None
    planned = {**values, "decoded": {"folder": "/disk", "max_gib": None}}
    assert TrialRun.parse(planned).decoded == DecodedPlan(folder="/disk")
