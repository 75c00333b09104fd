"""Networks as ONNX files compute what they compute, for images of two sizes and numbers, in onnxruntime."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from study.commands.trials.onnx_file import Deployed, write_onnx
from trainers import models
from trainers.data.transforms import Normalisation
from trainers.models import named
from trainers.teachers.teacher import TeacherCard

CLASSES = 5
ANY_SIZE = (
    "pspnet(resnet18d, width=1, head_channels=8, aux=False)",
    "pspnet_skd(resnet18, width=0.125, aux=False)",
    "icnet(resnet18)",
    "enet",
    "espnet(p=1, q=1)",
)


@pytest.mark.parametrize("name", ANY_SIZE)
def test_any_number_and_size_of_images(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = named(name)
    network = models.build(config, num_classes=CLASSES).eval()
    card = TeacherCard(model=config, class_names=(None,) * CLASSES, normalisation=Normalisation())
    facts = write_onnx(network, card, tmp_path / "network.onnx", size=(64, 96), upsampled=True)
    assert (facts.size, facts.why_fixed) == (None, None)
    deployed = Deployed(network, card.normalisation, upsampled=True).eval()
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    for batch, height, width in ((1, 64, 96), (2, 64, 96), (1, 97, 130), (3, 97, 130)):
        images = torch.randint(256, (batch, 3, height, width)).float()
        with torch.no_grad():
            expected = deployed(images).numpy()
        (found,) = session.run(["logits"], {"images": images.numpy()})
        assert found.shape == expected.shape == (batch, CLASSES, height, width)
        # where two values are nearly equal, rounding moves the maximum that a pooling of ENet takes
        apart = np.abs(found - expected) > 1e-3 * np.abs(expected).max()
        assert apart.mean() < 0.01


def test_an_architecture_of_one_size_says_why(tmp_path: Path) -> None:
    config = named("ocnet(resnet18, width=0.125, head_channels=4, cells=(1, 2), aux=False)")
    network = models.build(config, num_classes=CLASSES).eval()
    card = TeacherCard(model=config, class_names=(None,) * CLASSES, normalisation=Normalisation())
    facts = write_onnx(network, card, tmp_path / "network.onnx", size=(64, 96), upsampled=True)
    assert facts.size == (64, 96) and facts.why_fixed == network.why_one_size
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(["logits"], {"images": np.zeros((3, 3, 64, 96), np.float32)})
    assert found.shape == (3, CLASSES, 64, 96)
