"""What a trial learns from and what it is judged on."""

import json
from pathlib import Path

import pytest
import torch

from tests.trainers import small
from tests.trainers.trees import cityscapes_tree
from trainers.config import TrialConfig, canonical_json, content_hash, identity, parse
from trainers.context import LocalContext
from trainers.data import camvid, cityscapes, streets
from trainers.data.splits import Judged, is_held_out, judging_images, training_images
from trainers.loop import train

STREETS = streets.Config(size=(32, 48), train_images=50, val_images=4, test_images=5)


def names(data: object, split: Judged | None = None, *, holdout: float = 0.0) -> list[str]:
    found = judging_images(data, split, holdout=holdout) if split else training_images(data, holdout=holdout)
    return [found.image_name(index) for index in range(len(found))]


def test_a_holdout_parts_the_training_images() -> None:
    kept, held = names(STREETS, holdout=0.3), names(STREETS, "holdout", holdout=0.3)
    assert sorted(kept + held) == names(STREETS) and not set(kept) & set(held)
    assert 5 <= len(held) <= 25
    assert kept == sorted(kept) and held == sorted(held)
    assert not set(names(STREETS, "val", holdout=0.3)) & set(names(STREETS))


def test_an_image_of_a_part_is_that_of_the_whole() -> None:
    held, whole = judging_images(STREETS, "holdout", holdout=0.3), training_images(STREETS)
    for index in range(3):
        place = int(held.image_name(index).rpartition("/")[2])
        assert (held.load(index)[0] == whole.load(place)[0]).all()
    assert (held.class_names, held.palette, held.ids) == (whole.class_names, whole.palette, whole.ids)


def test_a_name_alone_decides_and_larger_shares_hold_more() -> None:
    share = [sum(is_held_out(f"image-{number}", part) for number in range(4000)) / 4000 for part in (0.1, 0.25, 0.5)]
    assert share == pytest.approx([0.1, 0.25, 0.5], abs=0.02)
    assert set(names(STREETS, "holdout", holdout=0.2)) <= set(names(STREETS, "holdout", holdout=0.4))
    # a change of the hash would move images that were judged on into training
    assert [number for number in range(20) if is_held_out(f"image-{number}", 0.2)] == HELD


HELD = [0, 2, 10, 12, 15]


@pytest.mark.parametrize(
    ("split", "holdout", "message"),
    [
        ("holdout", 0.0, "set holdout to a share such as 0.2"),
        ("holdout", 1e-9, "holdout=1e-09 of 50 training images does not"),
    ],
)
def test_a_holdout_of_nothing_is_refused(split: Judged, holdout: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        judging_images(STREETS, split, holdout=holdout)


def test_a_split_without_published_labels_is_refused_and_one_with_them_is_not(tmp_path: Path) -> None:
    config = cityscapes.Config(root=str(cityscapes_tree(tmp_path / "cityscapes").root))
    with pytest.raises(ValueError, match=r"none are published for cityscapes's test split; choose train or val, or"):
        judging_images(config, "test")
    assert len(judging_images(config, "val")) > 0
    assert "test" in camvid.Dataset.labelled


def test_the_new_fields_leave_the_hashes_of_earlier_trials_as_they_were() -> None:
    config = small.trial()
    assert content_hash(config) == "4f157d156073f7dca8aa7e5749085f0ea7b7d90750eea5f8e0119fb18c9da1a6"
    assert {"evaluate_on", "holdout"} & identity(config).keys() == set()
    assert "test_images" not in identity(config)["data"]
    changed = [
        small.trial({"evaluate_on": "test"}),
        small.trial({"holdout": 0.2}),
        small.trial({"data/test_images": 9}),
    ]
    assert len({content_hash(trial) for trial in (config, *changed)}) == 4
    assert parse(TrialConfig, json.loads(canonical_json(changed[1]))) == changed[1]


def test_a_trial_is_judged_on_what_it_names(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    scores = {}
    for split in ("val", "test", "holdout"):
        trial = small.trial({"evaluate_on": split, "holdout": 0.3, "data/train_images": 30, "train/iterations": 2})
        context = LocalContext(tmp_path / split)
        scores[split] = train(trial, context)["eval/miou_percent"]
    assert len(set(scores.values())) == 3
