import numpy as np
import pytest
import torch

from trainers.data import IGNORE
from trainers.methods.class_regions import class_sums, resized_labels


@pytest.mark.parametrize("size", [(9, 13), (65, 97), (1, 1), (8, 100)])
def test_labels_are_taken_at_the_floor_of_the_scaled_index(size: tuple[int, int]) -> None:
    labels = torch.randint(19, (2, 65, 97))
    resized = resized_labels(labels, size)
    assert resized.shape == (2, *size)
    for y, x in np.ndindex(size):
        source = labels[:, y * 65 // size[0], x * 97 // size[1]]
        assert resized[:, y, x].tolist() == source.tolist()


def test_sums_and_counts_are_those_of_each_image_and_class() -> None:
    features = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    labels = torch.randint(3, (2, 3, 5))
    labels[0, 0] = torch.tensor([IGNORE, 6, 7, -1, 5])  # none of them is a class of 5
    labels[1, labels[1] == 2] = 0
    sums, counts, one_hot = class_sums(features, labels, num_classes=5)
    assert sums.dtype == torch.float64
    for b in range(2):
        for c in range(5):
            mask = labels[b] == c
            assert counts[b, c] == mask.sum()
            torch.testing.assert_close(sums[b, c], features[b][:, mask].sum(1))
            assert torch.equal(one_hot[b, :, c].bool(), mask.flatten())
    assert not counts[1, 2]
    assert not one_hot[0, :5].any()


def test_no_class_anywhere_sums_to_nothing_with_a_live_graph() -> None:
    features = torch.randn(1, 4, 3, 5, requires_grad=True)
    sums, counts, _ = class_sums(features, torch.full((1, 3, 5), IGNORE), num_classes=2)
    sums.sum().backward()
    assert not sums.any() and not counts.any()
    assert features.grad is not None and not features.grad.any()
