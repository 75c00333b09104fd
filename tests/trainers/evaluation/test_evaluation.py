from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainers.data import IGNORE, Array, Split
from trainers.data.export import Export, Kind
from trainers.data.transforms import Normalisation
from trainers.evaluation.evaluation import BATCH, Evaluation, evaluate

CLASSES = 4
SIZES = [(6, 8)] * (BATCH + 2) + [(5, 7), (6, 8), (9, 4), (9, 4)]
NORMALISATION = Normalisation(mean=(100.0, 110.0, 120.0), std=(50.0, 60.0, 70.0))
WEIGHT = np.random.default_rng(0).normal(size=(CLASSES, 3))


class MixedSizes:
    """Random images; the last class is never labelled."""

    class_names: ClassVar[tuple[str, ...]] = ("one", "two", "three", "four")
    palette: ClassVar[tuple[tuple[int, int, int], ...]] = ((1, 2, 3), (4, 5, 6), (7, 8, 9), (10, 11, 12))
    ids: ClassVar[tuple[int, ...]] = (7, 1, 200, 3)
    labelled: ClassVar[tuple[Split, ...]] = ("val",)

    def __len__(self) -> int:
        return len(SIZES)

    def image_name(self, index: int) -> str:
        return str(index)

    def load(self, index: int) -> tuple[Array, Array]:
        rng = np.random.default_rng(index)
        label = rng.integers(0, CLASSES - 1, SIZES[index], dtype=np.uint8)
        label[rng.random(SIZES[index]) < 0.2] = IGNORE
        return rng.integers(0, 256, (*SIZES[index], 3), dtype=np.uint8), label


class Linear(nn.Module):
    """Logits at full size, linear in the pixel; the bias takes the last class out."""

    def __init__(self, last: float) -> None:
        super().__init__()
        self.bias = torch.tensor([0.0, 0.0, 0.0, last], dtype=torch.float64)
        self.modes: set[bool] = set()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        self.modes.add(self.training)
        weight = torch.from_numpy(WEIGHT).to(images.dtype)
        logits = torch.einsum("cd,bdhw->bchw", weight, images) + self.bias.view(1, -1, 1, 1)
        return {"logits": logits}


def evaluated(network: nn.Module, images: int | None = None) -> Evaluation:
    return evaluate(
        network,
        MixedSizes(),
        normalisation=NORMALISATION,
        device=torch.device("cpu"),
        dtype=torch.float64,
        images=images,
    )


def naive(network: Linear, images: int) -> NDArray[np.int64]:
    """Counts [images, C, C], pixel by pixel."""
    counts = np.zeros((images, CLASSES, CLASSES), np.int64)
    for number in range(images):
        image, label = MixedSizes().load(number)
        for row, column in np.ndindex(label.shape):
            if label[row, column] == IGNORE:
                continue
            pixel = (image[row, column] - np.array(NORMALISATION.mean)) / np.array(NORMALISATION.std)
            guess = int(np.argmax(WEIGHT @ pixel + network.bias.numpy()))
            counts[number, label[row, column], guess] += 1
    return counts


@pytest.mark.parametrize("images", [None, 1, 5, len(SIZES) - 1, 100])
def test_images_of_mixed_sizes_are_counted_like_a_naive_loop(images: int | None) -> None:
    network = Linear(0.0)
    expected = naive(network, min(images or len(SIZES), len(SIZES)))
    found = evaluated(network, images)
    np.testing.assert_array_equal(found.confusion, expected.sum(0))
    hits = expected.diagonal(axis1=1, axis2=2)
    np.testing.assert_array_equal(found.images[..., 0], hits)
    np.testing.assert_array_equal(found.images[..., 1], expected.sum(1) - hits)
    np.testing.assert_array_equal(found.images[..., 2], expected.sum(2) - hits)


def test_miou_is_that_of_the_whole_data_set() -> None:
    network = Linear(0.0)
    total = naive(network, len(SIZES)).sum(0)
    ious = [total[c, c] / (total[c].sum() + total[:, c].sum() - total[c, c]) for c in range(CLASSES)]
    found = evaluated(network)
    assert ious[3] == 0 and total[:, 3].sum() > 0
    assert found.miou_percent == pytest.approx(100 * np.mean(ious), rel=1e-12)
    assert found.pixel_accuracy_percent == pytest.approx(100 * total.trace() / total.sum(), rel=1e-12)
    expected = {name: 100 * iou for name, iou in zip(MixedSizes.class_names, ious, strict=True)}
    assert found.iou_percent(MixedSizes.class_names) == pytest.approx(expected, rel=1e-12)


def test_a_class_in_neither_labels_nor_predictions_is_left_out() -> None:
    found = evaluated(Linear(-1e9))
    ious = found.iou_percent(MixedSizes.class_names)
    assert list(ious) == ["one", "two", "three"]
    assert found.miou_percent == pytest.approx(np.mean(list(ious.values())), rel=1e-12)


@pytest.mark.parametrize("kind", ["colour", "ids"])
def test_predictions_are_written_for_every_image_as_they_were_counted(tmp_path: Path, kind: Kind) -> None:
    data, network = MixedSizes(), Linear(0.0)
    arguments = {"normalisation": NORMALISATION, "device": torch.device("cpu"), "dtype": torch.float64}
    counted = evaluate(network, data, export=Export(tmp_path / "out", data, kind), **arguments)
    counts = np.zeros((CLASSES, CLASSES), np.int64)
    values = np.array(data.palette if kind == "colour" else data.ids)
    for index in range(len(data)):
        written = cv2.imread(str(tmp_path / "out" / f"{index}.png"), cv2.IMREAD_UNCHANGED)
        assert written.dtype == np.uint8
        # OpenCV gives BGR
        same = written[..., None] == values if kind == "ids" else (written[..., None, ::-1] == values).all(-1)
        assert (same.sum(-1) == 1).all()
        label = data.load(index)[1]
        np.add.at(counts, (label[label != IGNORE], same.argmax(-1)[label != IGNORE]), 1)
    np.testing.assert_array_equal(counted.confusion, counts)
    assert len(list((tmp_path / "out").iterdir())) == len(data)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    data = MixedSizes()
    (tmp_path / "0.png").mkdir()
    with pytest.raises(ValueError, match=r"0\.png must be writable, but could not be written; choose another folder"):
        Export(tmp_path, data, "ids").write(0, np.zeros((4, 5), np.uint8))


def test_images_share_a_forward_only_while_their_logits_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = evaluated(Linear(0.0))
    sizes: list[int] = []
    network = Linear(0.0)
    network.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    monkeypatch.setattr("trainers.evaluation.evaluation.MAX_LOGITS", 3 * CLASSES * 6 * 8)
    found = evaluate(
        network, MixedSizes(), normalisation=NORMALISATION, device=torch.device("cpu"), dtype=torch.float64
    )
    assert sizes == [3, 3, 3, 1, 1, 1, 2]
    assert torch.equal(found.images, expected.images)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_evaluates_in_eval_mode_and_gets_its_mode_back(training: bool) -> None:
    network = Linear(0.0).train(training)
    evaluated(network, 2)
    assert network.modes == {False} and network.training == training
