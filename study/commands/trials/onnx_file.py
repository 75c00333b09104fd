"""A student as an ONNX file: RGB images of any number and size to logits.

The file is written from PyTorch's exported program, and then run by onnxruntime on images of another number and size
than it was traced with. Where a network cannot be written for any size, or would compute something else at another, the
file is for images of one size.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from study.commands.trials.deployment import OnnxFacts
from trainers.data.transforms import Normalisation
from trainers.difficulty import upsample
from trainers.teachers.teacher import TeacherCard

OPSET = 18
"""The version of ONNX's operators: what runtimes of the last years read."""
AXES = {0: "batch", 2: "height", 3: "width"}
UNWRITABLE = (RuntimeError, ValueError, TypeError, AssertionError)
"""What networks, `torch.export`, `torch.onnx` and `_compare` raise where a network cannot be written."""
COMPARED = (100, 132)
"""Height and width of the image on which a file for any size is compared with its network."""


class Deployed(nn.Module):
    """RGB values 0..255 [B, 3, H, W] to logits: [B, C, H, W] where they are to be as large, else [B, C, h, w]."""

    def __init__(self, network: nn.Module, normalisation: Normalisation, *, upsampled: bool) -> None:
        super().__init__()
        self.network, self.normalisation, self.upsampled = network, normalisation, upsampled

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(self.normalisation(images))["logits"]
        return upsample(logits, (images.shape[-2], images.shape[-1])) if self.upsampled else logits


def write_onnx(
    network: nn.Module, card: TeacherCard, path: Path, *, size: tuple[int, int], upsampled: bool
) -> OnnxFacts:
    """Write the file.

    Args:
        network: the student.
        card: its normalisation, which the file does itself, and its classes, which stand in its metadata.
        path: where.
        size: height and width of images that it can take, and of those that it takes where it cannot take any.
        upsampled: whether the logits are enlarged to the images' size, bilinearly with aligned corners.

    Raises:
        ValueError: PyTorch cannot write this network as ONNX, or what it writes computes something else.
    """
    deployed = Deployed(network, card.normalisation, upsampled=upsampled).eval()
    about = {"class_names": json.dumps(card.class_names), "images": "RGB, 0 to 255, not normalised"}
    why = getattr(network, "why_one_size", None)
    if why is None:
        try:
            _write(deployed, path, size, about, dynamic=True)
            return OnnxFacts(size=None, upsampled=upsampled, opset=OPSET)
        except UNWRITABLE as error:
            why = _first_sentence(error)
    try:
        _write(deployed, path, size, about, dynamic=False)
    except UNWRITABLE as error:
        raise ValueError(
            f"PyTorch cannot write this network as ONNX ({_first_sentence(error)}); leave out --onnx"
        ) from None
    return OnnxFacts(size=size, upsampled=upsampled, opset=OPSET, why_fixed=why)


def _first_sentence(error: Exception) -> str:
    """Without the advice to who writes exporters that follows."""
    return " ".join(str(error).partition(". ")[0].split()).rstrip(".") or type(error).__name__


def _write(deployed: Deployed, path: Path, size: tuple[int, int], about: Mapping[str, str], *, dynamic: bool) -> None:
    # at a multiple of a stride, PyTorch would take a size to be one
    shape = (2, 3, *(side | 1 for side in size)) if dynamic else (2, 3, *size)
    axes = {"images": dict.fromkeys(AXES if dynamic else [0], Dim.DYNAMIC)}
    with torch.no_grad():
        program = torch.export.export(deployed, (torch.zeros(shape),), dynamic_shapes=axes, strict=False)
    table: Any = torch.export.default_decompositions()
    table.update(DECOMPOSITIONS)
    written = torch.onnx.export(
        program.run_decompositions(table),
        input_names=["images"],
        output_names=["logits"],
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert written is not None
    _name_axes(written.model.graph.inputs[0], AXES if dynamic else {0: AXES[0]})
    large = AXES if deployed.upsampled else {0: AXES[0], 2: "rows", 3: "columns"}
    _name_axes(written.model.graph.outputs[0], large if dynamic else {0: AXES[0]})
    written.model.metadata_props.update(about)
    written.save(path, external_data=False)
    _compare(deployed, path, (1, 3, *(COMPARED if dynamic else size)))


def _name_axes(value: Any, names: Mapping[int, str]) -> None:
    """Instead of the symbols that PyTorch has for them."""
    for axis, name in names.items():
        value.shape[axis] = name


def _compare(deployed: Deployed, path: Path, shape: tuple[int, ...]) -> None:
    """Run the file on noise of a shape.

    Raises:
        ValueError: it cannot be run, or more than a few of its logits, where rounding moves a maximum, are others.
    """
    from onnxruntime import InferenceSession
    from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument, RuntimeException

    images = torch.randint(256, shape, generator=torch.Generator().manual_seed(0)).float()
    with torch.no_grad():
        expected = deployed(images)
    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    try:
        logits = torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])
    except (InvalidArgument, RuntimeException) as error:
        raise ValueError(f"onnxruntime cannot run it on images of {list(shape)}: {error}") from None
    apart = (logits - expected).abs() > 1e-3 * expected.abs().max() if logits.shape == expected.shape else torch.ones(1)
    if apart.float().mean() > 0.01:
        raise ValueError(f"onnxruntime computes other logits for images of {list(shape)}")


def _means_of_cells(maps: Tensor, cells: list[int]) -> Tensor:
    """Adaptive average pooling as two matrix products, for maps of any size; ONNX has no operator for it."""
    rows, columns = (_shares(size, count, maps) for size, count in zip(maps.shape[-2:], cells, strict=True))
    return rows @ maps @ columns.T


def _shares(size: int, cells: int, maps: Tensor) -> Tensor:
    """[cells, size]: what each place adds to the mean of a cell. Cells overlap where they do not divide the size."""
    cell, place = torch.arange(cells), torch.arange(size)
    first, end = cell * size // cells, ((cell + 1) * size + cells - 1) // cells
    inside = (place >= first[:, None]) & (place < end[:, None])
    return inside.to(maps.dtype) / (end - first)[:, None]


def _unpooled(maps: Tensor, indices: Tensor, size: list[int]) -> Tensor:
    """Max-unpooling to `size`; ONNX counts the indices of its operator otherwise."""
    empty = maps.new_zeros((*maps.shape[:2], size[0] * size[1]))
    filled: Tensor = empty.scatter(2, indices.flatten(2), maps.flatten(2))
    return filled.view(*maps.shape[:2], *size)


DECOMPOSITIONS = {
    torch.ops.aten._adaptive_avg_pool2d.default: _means_of_cells,
    torch.ops.aten.max_unpool2d.default: _unpooled,
}
"""Of operators that PyTorch would otherwise write for the traced size alone, or not at all."""
