from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional

from trainers.config import AugmentConfig, ConfigError, JitterConfig, identity, parse
from trainers.data import IGNORE, Array, streets
from trainers.data.jitter import jittered
from trainers.data.order import generator
from trainers.data.transforms import (
    PADDING,
    Normalisation,
    TrainingSamples,
    WholeImages,
    _Size,
    _Window,
    augment,
    scaled_part,
)


def numbered(height: int, width: int) -> tuple[Array, Array]:
    """An image whose red channel is its label, every pixel another value."""
    label = np.arange(height * width, dtype=np.uint8).reshape(height, width)
    return np.stack([label, label // 2, label // 3], axis=2), label


def samples(seed: int = 0, **changes: Any) -> TrainingSamples:
    data = streets.Dataset(streets.Config(size=(32, 48), train_images=2), "train")
    return TrainingSamples(data, AugmentConfig(**({"crop": (24, 32)} | changes)), seed=seed)


@pytest.mark.parametrize("crop", [(16, 16), (32, 48), (40, 20), (100, 70)])
def test_samples_are_as_large_as_the_crop(crop: tuple[int, int]) -> None:
    for epoch in range(4):
        image, label = samples(crop=crop)[epoch, 1]
        assert image.shape == (3, *crop) and image.dtype == torch.uint8
        assert label.shape == crop and label.dtype == torch.uint8


def test_what_lies_beside_the_image_is_ignored() -> None:
    image, label = numbered(10, 12)
    config = AugmentConfig(crop=(16, 17), scale=(1, 1), flip=False)
    grown, marked = augment(image, label, config, generator(0))
    np.testing.assert_array_equal(grown[:10, :12], image)
    np.testing.assert_array_equal(marked[:10, :12], label)
    for part in (marked[10:], marked[:, 12:]):
        assert (part == IGNORE).all()
    assert (grown[10:] == PADDING).all() and (grown[:, 12:] == PADDING).all()


def test_scale_one_and_the_image_as_crop_change_nothing() -> None:
    image, label = numbered(16, 20)
    config = AugmentConfig(crop=(16, 20), scale=(1, 1), flip=False)
    same = augment(image, label, config, generator(0))
    np.testing.assert_array_equal(same[0], image)
    np.testing.assert_array_equal(same[1], label)


def test_image_and_label_are_cropped_and_mirrored_together() -> None:
    image, label = numbered(18, 14)
    config = AugmentConfig(crop=(16, 11), scale=(1, 1))
    mirrored, corners = 0, set()
    for key in range(120):
        cut, marked = augment(image, label, config, generator(key))
        np.testing.assert_array_equal(cut[..., 0], marked)
        mirrored += int(marked[0, 0]) > int(marked[0, 1])
        corners.add(min(marked[0, 0], marked[0, -1]))
    assert 40 < mirrored < 80
    assert len(corners) == 3 * 4  # rows 0..2, columns 0..3


def test_samples_are_cut_as_they_always_were() -> None:
    """Trials of a study are compared with each other, also with those of an earlier version."""
    image, label = numbered(18, 14)
    config = AugmentConfig(crop=(16, 11), scale=(1, 1))
    corners = [int(augment(image, label, config, generator(key))[1][0, 0]) for key in range(10)]
    assert corners == [28, 0, 0, 26, 11, 15, 3, 13, 14, 30]
    config = AugmentConfig(crop=(20, 11))
    starts = [augment(image, label, config, generator(key))[1][0, :2].tolist() for key in range(5)]
    assert starts == [[43, 44], [0, 1], [0, 1], [11, 10], [9, 9]]


@pytest.mark.parametrize("version", [1, 2])
def test_the_scale_is_drawn_between_its_bounds(version: Any) -> None:
    label = np.zeros((40, 60), np.uint8)
    config = AugmentConfig(crop=(80, 120), scale=(0.5, 1.5), flip=False, version=version)
    image = np.zeros((40, 60, 3), np.uint8)
    shown = [(augment(image, label, config, generator(key))[1] == 0).mean() for key in range(60)]
    factors = [2 * share**0.5 for share in shown]
    assert 0.48 < min(factors) < 0.6 and 1.4 < max(factors) < 1.52


def both_versions(image: Array, label: Array, seed: int, **changes: Any) -> list[tuple[Array, Array]]:
    """The same sample of versions 1 and 2."""
    return [augment(image, label, AugmentConfig(**changes, version=version), generator(seed)) for version in (1, 2)]


CROPS = {
    "smaller than the image": (16, 24),
    "wider": (20, 100),
    "higher": (90, 30),
    "larger than every scale": (200, 300),
}


@pytest.mark.parametrize("scale", [(0.05, 0.3), (0.5, 2.0), (1, 1), (2, 8)])
@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS)
def test_version_2_draws_the_samples_of_version_1(crop: tuple[int, int], scale: tuple[float, float]) -> None:
    """On noise, where every shift of a fraction of a pixel shows: labels the same, images up to rounding."""
    for seed in range(25):
        rng = np.random.default_rng(seed)
        size = tuple(rng.integers(1, 70, 2))
        image, label = rng.integers(0, 256, (*size, 3), np.uint8), rng.integers(0, 256, size, np.uint8)
        one, two = both_versions(image, label, seed, crop=crop, scale=scale)
        np.testing.assert_array_equal(two[1], one[1])
        assert two[0].shape == one[0].shape and two[0].dtype == np.uint8
        assert np.abs(two[0].astype(int) - one[0]).max() <= (scale != (1, 1))


def test_version_2_interpolates_between_four_neighbours_and_labels_by_the_nearest() -> None:
    """Held against the definition in float64, the source's border continued outwards."""
    rng = np.random.default_rng(0)
    image, label = rng.integers(0, 256, (37, 53, 3), np.uint8), rng.integers(0, 256, (37, 53), np.uint8)
    size, part = _Size(61, 40), _Window(slice(0, 61), slice(3, 40))
    found, marked = scaled_part(image, label, size, part)
    for row, column in np.ndindex(marked.shape):
        y, x = row * 37 / 61, (column + 3) * 53 / 40
        assert marked[row, column] == label[int(y), int(x)]
        y, x = (row + 0.5) * 37 / 61 - 0.5, (column + 3.5) * 53 / 40 - 0.5
        top, left = int(np.floor(y)), int(np.floor(x))
        rows, columns = np.clip([top, top + 1], 0, 36), np.clip([left, left + 1], 0, 52)
        down, right = np.array([top + 1 - y, y - top]), np.array([left + 1 - x, x - left])
        expected = np.einsum("rcd,r,c->d", image[np.ix_(rows, columns)].astype(float), down, right)
        assert np.abs(found[row, column] - expected).max() <= 1


def test_a_jittered_sample_of_version_2_has_the_colours_of_version_1() -> None:
    image, label = numbered(40, 50)
    one, two = both_versions(image, label, 3, crop=(24, 32), jitter=JitterConfig(brightness=0.5, contrast=0.5))
    assert np.abs(two[0].astype(int) - one[0]).max() <= 3
    np.testing.assert_array_equal(two[1], one[1])


def test_old_trials_keep_their_hash_and_new_versions_have_another() -> None:
    first, second = (AugmentConfig(crop=(24, 32), version=version) for version in (1, 2))
    assert "version" not in identity(first) and identity(second)["version"] == 2
    assert parse(AugmentConfig, {"crop": [24, 32]}) == first
    with pytest.raises(ConfigError, match="version: input should be 1 or 2, but got 3"):
        parse(AugmentConfig, {"crop": [24, 32], "version": 3})


def test_a_sample_depends_on_seed_epoch_and_index_alone() -> None:
    used = samples()
    used[0, 1], used[1, 0]
    for found, fresh in zip(used[2, 1], samples()[2, 1], strict=True):
        assert torch.equal(found, fresh)
    others = (samples()[3, 1], samples()[2, 0], samples(seed=1)[2, 1])
    assert not any(torch.equal(used[2, 1][0], other) for other, _ in others)


JITTER = {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.1}


def test_jitter_is_off_by_default_and_moves_nothing_but_colours() -> None:
    assert parse(AugmentConfig, {"crop": [24, 32]}).jitter == JitterConfig()
    changed = 0
    for key in ((0, 0), (1, 0), (1, 1), (2, 0)):
        plain, coloured = samples(crop=(40, 60))[key], samples(crop=(40, 60), jitter=JitterConfig(**JITTER))[key]
        assert torch.equal(plain[1], coloured[1])
        changed += not torch.equal(plain[0], coloured[0])
        padding = (plain[0] == torch.tensor(PADDING).view(3, 1, 1)).all(0) & (plain[1] == IGNORE)
        assert torch.equal(plain[0][:, padding], coloured[0][:, padding])
    assert changed == 4


def test_a_jittered_sample_depends_on_seed_epoch_and_index_alone() -> None:
    used = samples(jitter=JitterConfig(**JITTER))
    used[0, 1], used[1, 0]
    assert torch.equal(used[2, 1][0], samples(jitter=JitterConfig(**JITTER))[2, 1][0])


@pytest.mark.parametrize(("name", "worst"), [("brightness", 1), ("contrast", 2), ("saturation", 2), ("hue", 12)])
def test_jitter_is_torchvisions(name: str, worst: int) -> None:
    """Up to rounding: of 8 bits here, and of the hue to 180 steps, each up to 4.25 of 255 on the steepest channel."""
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    strength = JITTER[name]
    found = jittered(image, JitterConfig(**{name: strength}), np.random.default_rng(5))
    lowest = -strength if name == "hue" else 1 - strength
    factor = np.random.default_rng(5).uniform(lowest, strength if name == "hue" else 1 + strength)
    adjust = getattr(functional, f"adjust_{name}")
    expected = adjust(torch.from_numpy(image).permute(2, 0, 1), factor).permute(1, 2, 0).numpy()
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= worst
    assert np.abs(image.astype(int) - expected).mean() > 4 * difference.mean()


def test_scales_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match=r"augment\.scale must be .* got \(2.0, 0.5\); swap"):
        samples(scale=(2.0, 0.5))


def test_whole_images_are_as_they_are() -> None:
    data = streets.Dataset(streets.Config(size=(32, 48), val_images=2), "val")
    whole = WholeImages(data)
    assert len(whole) == 2
    np.testing.assert_array_equal(whole[1][0].permute(1, 2, 0), data.load(1)[0])
    np.testing.assert_array_equal(whole[1][1], data.load(1)[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bgr", [False, True])
def test_normalisation(bgr: bool, dtype: torch.dtype) -> None:
    images = torch.randint(256, (2, 3, 4, 5), dtype=torch.uint8)
    normalisation = Normalisation(mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0), bgr=bgr)
    found = normalisation(images, dtype)
    assert found.dtype == dtype
    for channel in range(3):
        expected = (images[:, channel].double() - (1 + channel)) / (4 + channel)
        place = 2 - channel if bgr else channel
        torch.testing.assert_close(found[:, place].double(), expected, rtol=1e-6, atol=1e-6)
