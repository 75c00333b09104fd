import json
from pathlib import Path
from typing import Any

import pytest

from tests.trainers import small
from trainers.config import ConfigError, TrialConfig, absolute, canonical_json, content_hash, leaf, parse, replaced


def faults(changes: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        small.trial(changes)
    return caught.value.faults


def test_all_faults_are_told_at_once_with_their_paths() -> None:
    told = faults(
        {
            "train/workers": 0,
            "train/optimizer": {"lr": -1},
            "task/aux_weight": "much",
            "student/rates": [2, 0],
            "augment/crop": [32],
            "methods": {"kd": {"weights": {"pixel": -1}}},
            "colour": 1,
        }
    )
    paths = [line.split(":")[0] for line in told]
    expected = "train.workers train.optimizer.lr task.aux_weight student.rates.1 augment.crop.1"
    assert sorted(paths) == sorted(f"{expected} methods.kd.weights.pixel colour".split())


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("trian", "trian: no such key; did you mean 'train'?"),
        ("data/sice", "data.sice: no such key; did you mean 'size'?"),
        ("student/head_channel", "student.head_channel: no such key; did you mean 'head_channels'?"),
        ("task/aux_wight", "task.aux_wight: no such key; did you mean 'aux_weight'?"),
        ("train/optimizer/momentun", "train.optimizer.momentun: no such key; did you mean 'momentum'?"),
        ("methods/kdd", "methods.kdd: no such key; did you mean 'kd'?"),
        ("methods/kd/weights/pixl", "methods.kd.weights.pixl: no such key; did you mean 'pixel'?"),
        ("teacher/pth", "teacher.pth: no such key; did you mean 'path'?"),
    ],
)
def test_an_unknown_key_is_told_with_the_nearest_one(path: str, said: str) -> None:
    given = {"teacher/path": "t"} if path.startswith("teacher") else {}
    assert faults(given | {path: 1}) == [said]


@pytest.mark.parametrize(
    ("path", "name", "nearest"),
    [
        ("data/name", "streetz", "streets"),
        ("student/architecture", "deeplab", "deeplabv3"),
        ("task/weighting", "unifrom", "uniform"),
    ],
)
def test_an_unknown_implementation_is_told_with_the_nearest_one(path: str, name: str, nearest: str) -> None:
    key, tag = path.split("/")
    (told,) = faults({path: name})
    assert told.startswith(f"{key}: {tag} must name one of trainers.")
    assert told.endswith(f"but got {name!r}; did you mean {nearest!r}?")
    (told,) = faults({path: [name]})
    assert told.startswith(f"{key}: {tag} must name one of")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("train/batch", "many"),
        ("train/batch", 2.5),
        ("train/batch", 0),
        ("train/precision", "fp16"),
        ("train/optimizer", 3),
        ("train/optimizer/momentum", 1.01),
        ("train/optimizer/lr", 0),
        ("train/optimizer/lr", float("inf")),
        ("train/optimizer/weight_decay", float("nan")),
        ("augment/scale", [0, 1]),
        ("augment/flip", "perhaps"),
        ("data_seed", -1),
        ("teacher", {}),
        ("teacher", {"path": ""}),
        ("methods", []),
        ("data", {}),
        ("student", "deeplabv3"),
    ],
)
def test_wrong_types_and_values_out_of_range_are_refused(path: str, value: Any) -> None:
    (told,) = faults({path: value})
    assert told.startswith(path.replace("/", "."))


@pytest.mark.parametrize("nothing", [None, [], "train", 3])
def test_what_is_no_mapping_is_refused(nothing: object) -> None:
    with pytest.raises(ConfigError, match="the file: input should be a dictionary"):
        parse(TrialConfig, nothing)


def test_what_is_required_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(TrialConfig, {"task": {"weighting": "uniform"}})
    assert caught.value.faults == [f"{key}: is required" for key in ("data", "augment", "student", "train")]


def test_a_number_that_yaml_hands_over_as_text_is_read() -> None:
    config = small.trial({"train/optimizer": {"lr": "1e-3"}, "task/aux_weight": "4e-1"})
    assert config.train.optimizer.lr == 1e-3 and config.task.aux_weight == 0.4


def test_canonical_json_round_trips() -> None:
    config = small.trial({**small.DISTILLED, "teacher": {"path": "t", "sha256": "ab"}})
    text = canonical_json(config)
    assert parse(TrialConfig, json.loads(text)) == config
    assert canonical_json(parse(TrialConfig, json.loads(text))) == text
    assert " " not in text


CAMVID = {"data": {"name": "camvid", "root": "here"}, "teacher": {"path": "t", "sha256": "ab"}}


@pytest.mark.parametrize("path", ["data/root", "teacher/path"])
def test_the_hash_ignores_where_things_lie(path: str) -> None:
    moved = small.trial({**CAMVID, path: "elsewhere"})
    assert moved != small.trial(CAMVID)
    assert content_hash(moved) == content_hash(small.trial(CAMVID))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("teacher/sha256", "cd"),
        ("data/size", [32, 48]),
        ("augment/flip", False),
        ("student/aux", False),
        ("train/threads", 2),
        ("train/optimizer/lr", 0.5),
        ("task/aux_weight", 0.5),
        ("methods/kd", {}),
        ("data_seed", 1),
        ("init_seed", 1),
        ("evaluate_on", "test"),
        ("holdout", 0.1),
    ],
)
def test_the_hash_changes_with_everything_else(path: str, value: Any) -> None:
    assert content_hash(small.trial({**CAMVID, path: value})) != content_hash(small.trial(CAMVID))


def test_absolute_changes_only_where_things_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = absolute(small.trial(CAMVID))
    assert config.data.root == str(tmp_path / "here")
    assert config.teacher is not None and config.teacher.path == str(tmp_path / "t")
    assert absolute(config) == config
    assert content_hash(config) == content_hash(small.trial(CAMVID))
    assert absolute(small.trial({"data": {"name": "camvid"}})).data.root == ""


def test_replaced_and_leaf_go_by_paths() -> None:
    values: dict[str, Any] = {"a": {"b": 1, "c": 2}, "d": 3}
    assert replaced(values, "a/b", 9) == {"a": {"b": 9, "c": 2}, "d": 3}
    assert replaced(values, "e.f", 9, separator=".") == {**values, "e": {"f": 9}}
    assert replaced(values, "d/x", 9)["d"] == {"x": 9}
    assert values == {"a": {"b": 1, "c": 2}, "d": 3}
    assert leaf(values, "a/c") == 2 and leaf(values, "a.b", separator=".") == 1
    with pytest.raises(KeyError):
        leaf(values, "a/x")


def test_comparing_gradients_is_no_part_of_the_hash() -> None:
    plain, probed = small.trial(), small.trial({"train/probe_every": 3})
    assert plain != probed and content_hash(plain) == content_hash(probed)


def test_a_memory_format_that_is_left_to_the_device_keeps_the_hash_of_before() -> None:
    """It was off unless it was asked for, and trials and teachers from then keep their hashes."""
    left, off, on = (small.trial({"train/channels_last": value}) for value in (None, False, True))
    assert left == small.trial()
    assert content_hash(left) == content_hash(off) != content_hash(on)
    formats = {
        trial.train.channels_last: [trial.train.is_channels_last(on_gpu=gpu) for gpu in (False, True)]
        for trial in (left, off, on)
    }
    assert formats == {None: [False, True], False: [False, False], True: [True, True]}
