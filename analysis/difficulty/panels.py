"""A picture of an image as RDD sees it: predictions, confidences, the TFE weight, and what TSE keeps, a row for each t.

Drawn from plain arrays, with colours of the dataset for classes, viridis for scalars, one blue for masks, and white for
pixels that are ignored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

Array = NDArray[Any]

IGNORED = 255
"""In labels."""
COLUMNS, TILE_INCHES, ABOVE_INCHES, DPI = 5, 2.3, 0.42, 110
LEFT_OUT, KEPT = "#c6d5e6", "#08519c"
LEGEND_ROWS = 11

CONFIDENCE = {"max": "probability of the likeliest class", "target": "probability of the labelled class"}
MASKS = {
    "teacher_hard": "hard for the teacher",
    "student_hard": "hard for the student",
    "xor": "hard for exactly one (XOR)",
    "or": "hard for either (OR)",
    "and": "hard for both (AND)",
}
"""What a column shows, from left to right."""


class Maps(Protocol):
    """What is drawn of one image: RGB [H, W, 3], all others [H, W]; masks by threshold."""

    @property
    def name(self) -> str: ...
    @property
    def image(self) -> Array: ...
    @property
    def label(self) -> Array: ...
    @property
    def student_prediction(self) -> Array: ...
    @property
    def teacher_prediction(self) -> Array: ...
    @property
    def student_confidence(self) -> Array: ...
    @property
    def teacher_confidence(self) -> Array: ...
    @property
    def tfe_weight(self) -> Array | None: ...
    @property
    def student_hard(self) -> Mapping[float, Array]: ...
    @property
    def teacher_hard(self) -> Mapping[float, Array]: ...
    @property
    def masks(self) -> Mapping[str, Mapping[float, Array]]: ...


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the numbers of maps mean.

    Attributes:
        class_names: by class number.
        palette: RGB of each class.
        confidence: a key of CONFIDENCE.
        trained: mask (a key of MASKS) and threshold that the student was trained with; None where it was not.
    """

    class_names: Sequence[str]
    palette: Sequence[tuple[int, int, int]]
    confidence: str
    trained: tuple[str, float] | None = None


def write(maps: Maps, reading: Reading, folder: Path) -> Path:
    """Write the picture as `FOLDER/IMAGE NAME.png`, the same bytes for the same arrays."""
    path = folder / f"{maps.name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(maps, reading))
    return path


def png(maps: Maps, reading: Reading) -> bytes:
    """The picture as the content of a PNG file."""
    buffer = BytesIO()
    draw(maps, reading).savefig(buffer, format="png", dpi=DPI, bbox_inches="tight", metadata={"Software": None})
    return buffer.getvalue()


def draw(maps: Maps, reading: Reading) -> Figure:
    """The picture of one image."""
    thresholds = sorted(maps.student_hard)
    height, width = maps.label.shape
    rows = 2 + len(thresholds)
    tile = ABOVE_INCHES + TILE_INCHES * height / width
    figure = Figure(figsize=(COLUMNS * TILE_INCHES, rows * tile + 2 * ABOVE_INCHES), layout="compressed")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{maps.name}: what teacher and student find hard, and what RDD learns from", fontsize=11)
    axes = figure.subplots(rows, COLUMNS, squeeze=False)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    _draw_classes(axes[0], maps, reading)
    _draw_scalars(figure, axes[1], maps, reading)
    for row, threshold in zip(axes[2:], thresholds, strict=True):
        _draw_masks(row, maps, threshold, reading)
    return figure


def _draw_classes(axes: Sequence[Axes], maps: Maps, reading: Reading) -> None:
    colours = np.full((256, 3), 255, np.uint8)
    colours[: len(reading.palette)] = reading.palette
    shown = {
        "image": maps.image,
        "ground truth": colours[maps.label],
        "teacher's prediction": colours[maps.teacher_prediction],
        "student's prediction": colours[maps.student_prediction],
    }
    for axis, (title, pixels) in zip(axes, shown.items(), strict=False):
        axis.imshow(pixels, interpolation="nearest")
        _title(axis, title)
    present = np.unique([maps.label, maps.teacher_prediction, maps.student_prediction])
    patches = [
        Patch(facecolor=colours[number] / 255, edgecolor="black", linewidth=0.4, label=reading.class_names[number])
        for number in present
        if number != IGNORED
    ]
    ignored = Patch(facecolor="white", edgecolor="black", linewidth=0.4, label="ignored")
    _legend(axes[-1], [*patches, ignored])


def _draw_scalars(figure: Figure, axes: Sequence[Axes], maps: Maps, reading: Reading) -> None:
    shown = {
        "teacher's confidence": (maps.teacher_confidence, CONFIDENCE[reading.confidence]),
        "student's confidence": (maps.student_confidence, CONFIDENCE[reading.confidence]),
        "TFE weight: low where hard": (maps.tfe_weight, "weight exp(-D), D the divergence in nats"),
    }
    ignored = maps.label == IGNORED
    for axis, (title, (values, unit)) in zip(axes, shown.items(), strict=False):
        _title(axis, title)
        if values is None:
            axis.set_axis_off()
            axis.text(0.5, 0.5, "none: the teacher has\nno auxiliary head", ha="center", va="center", fontsize=8)
            continue
        drawn = axis.imshow(
            np.ma.masked_array(values, ignored),
            cmap=colormaps["viridis"].with_extremes(bad="white"),
            vmin=0,
            vmax=1,
            interpolation="nearest",
        )
        bar = figure.colorbar(drawn, ax=axis, orientation="horizontal", fraction=0.06, pad=0.03)
        bar.set_label(unit, fontsize=6)
        bar.ax.tick_params(labelsize=6)
    _draw_mask(axes[3], maps.student_prediction != maps.label, maps, "student's mistakes")
    named = {KEPT: "hard, kept, or a mistake", LEFT_OUT: "not", "white": "ignored"}
    _legend(axes[4], [Patch(facecolor=c, edgecolor="black", linewidth=0.4, label=text) for c, text in named.items()])


def _draw_masks(axes: Sequence[Axes], maps: Maps, threshold: float, reading: Reading) -> None:
    by_name = {"teacher_hard": maps.teacher_hard, "student_hard": maps.student_hard, **maps.masks}
    for axis, (name, words) in zip(axes, MASKS.items(), strict=True):
        trained = reading.trained == (name, threshold)
        title = f"{words}, t = {threshold:.3g}"
        _draw_mask(axis, by_name[name][threshold], maps, title, emphasis=trained)


def _draw_mask(axis: Axes, mask: Array, maps: Maps, title: str, *, emphasis: bool = False) -> None:
    valid = maps.label != IGNORED
    axis.imshow(
        np.ma.masked_array(mask.astype(np.uint8), ~valid),
        cmap=ListedColormap([LEFT_OUT, KEPT]).with_extremes(bad="white"),
        vmin=0,
        vmax=1,
        interpolation="nearest",
    )
    share = f"{100 * mask[valid].mean():.1f} % of labelled pixels" if valid.any() else "no labelled pixel"
    _title(axis, f"{title}\n{share}" + (", as trained" if emphasis else ""), weight="bold" if emphasis else "normal")


def _title(axis: Axes, text: str, weight: str = "normal") -> None:
    axis.set_title(text, fontsize=7, fontweight=weight, pad=3)


def _legend(axis: Axes, patches: Sequence[Patch]) -> None:
    axis.set_axis_off()
    axis.legend(
        handles=list(patches),
        loc="center",
        fontsize=6,
        frameon=False,
        ncols=-(-len(patches) // LEGEND_ROWS),
        borderaxespad=0,
        handlelength=1.2,
        columnspacing=0.8,
    )
