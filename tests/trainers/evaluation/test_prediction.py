import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.evaluation.prediction import Views, _largest, predict

CLASSES = 4


class Local(nn.Module):
    """Logits at half size from each pixel's neighbourhood; keeps the sizes that it was shown."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, CLASSES, 3, stride=2, padding=1)
        self.shown: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        self.shown.append(tuple(images.shape[-2:]))
        return {"logits": self.conv(images)}


class Place(nn.Module):
    """Says of every pixel how far it is from the left edge of what is shown, whatever the image."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        columns = torch.arange(images.shape[-1], dtype=torch.float32).expand(len(images), 1, *images.shape[-2:])
        return {"logits": torch.cat([columns, 2.5 - 0 * columns], 1)}


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 20, 26, generator=torch.Generator().manual_seed(1))


def resized(tensor: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(tensor, size, mode="bilinear", align_corners=True)


@torch.no_grad()
def test_the_default_is_the_whole_image_once(images: Tensor) -> None:
    network = Local()
    expected = resized(network.conv(images), (20, 26)).argmax(1)
    assert torch.equal(predict(network, images, Views()), expected)
    assert network.shown == [(20, 26)]


@torch.no_grad()
def test_scales_and_mirror_images_are_averaged_as_probabilities(images: Tensor) -> None:
    network = Local()
    total = torch.zeros(2, CLASSES, 20, 26)
    for size in ((10, 13), (20, 26), (35, 46)):
        scaled = resized(images, size) if size != (20, 26) else images
        total += resized(network.conv(scaled), (20, 26)).softmax(1)
        total += resized(network.conv(scaled.flip(-1)), (20, 26)).flip(-1).softmax(1)
    found = predict(network, images, Views(scales=(0.5, 1.0, 1.75), flip=True))
    assert torch.equal(found, total.argmax(1))
    assert network.shown == [(10, 13), (10, 13), (20, 26), (20, 26), (35, 46), (35, 46)]
    assert not torch.equal(found, predict(network, images, Views()))


@torch.no_grad()
def test_windows_cover_the_image_and_are_averaged_where_they_meet(images: Tensor) -> None:
    network = Local()
    total, shown = torch.zeros(2, CLASSES, 20, 26), torch.zeros(20, 26)
    for top in (0, 6, 8):
        for left in (0, 10):
            part = images[..., top : top + 12, left : left + 16]
            total[..., top : top + 12, left : left + 16] += resized(network.conv(part), (12, 16))
            shown[top : top + 12, left : left + 16] += 1
    assert shown.min() == 1
    found = predict(network, images, Views(window=(12, 16), stride=(6, 10)))
    assert torch.equal(found, (total / shown).argmax(1))
    assert network.shown == [(12, 16)] * 6


@torch.no_grad()
def test_a_window_is_two_thirds_on_and_no_larger_than_the_image(images: Tensor) -> None:
    network = Local()
    predict(network, images, Views(window=(12, 100)))
    assert network.shown == [(12, 26)] * 2  # rows 0 and 8, where 8 is both the stride and the edge
    assert torch.equal(predict(network, images, Views(window=(50, 50))), predict(network, images, Views()))


def test_a_pixel_is_judged_by_the_windows_that_show_it() -> None:
    blank = torch.zeros(1, 3, 1, 8)
    # columns 4 and 5 are 4 and 5 from the edge of the first window, and 0 and 1 from that of the second
    found = predict(Place(), blank, Views(window=(1, 6), stride=(1, 2)))
    distances = np.array([0, 1, (2 + 0) / 2, (3 + 1) / 2, (4 + 2) / 2, (5 + 3) / 2, 4, 5])
    np.testing.assert_array_equal(found[0, 0], (distances < 2.5).astype(int))


@pytest.mark.parametrize("window", [None, (12, 16)])
def test_a_stride_is_that_of_a_window_and_leaves_no_gaps(window: tuple[int, int] | None) -> None:
    with pytest.raises(ValueError, match=r"stride must be that of a window .*, but got stride=\(13, 10\) and window="):
        Views(window=window, stride=(13, 10))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_of_equal_scores_the_first_class_counts(layout: torch.memory_format) -> None:
    """As argmax has it, also for scores that are no numbers."""
    scores = torch.randint(3, (2, 7, 9, 11), generator=torch.Generator().manual_seed(0)).float()
    scores[torch.rand(scores.shape, generator=torch.Generator().manual_seed(1)) < 0.05] = torch.nan
    scores = scores.contiguous(memory_format=layout)
    assert torch.equal(_largest(scores), scores.argmax(1))
