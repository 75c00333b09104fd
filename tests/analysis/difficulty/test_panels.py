"""The pictures of `kdstudy difficulty`, from arrays made by hand."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from analysis.difficulty.panels import KEPT, LEFT_OUT, MASKS, Reading, draw, write

READING = Reading(
    class_names=("sky", "road", "car"), palette=((10, 20, 200), (120, 10, 120), (200, 0, 0)), confidence="max"
)


@dataclass(frozen=True, kw_only=True)
class Drawn:
    name: str
    image: Any
    label: Any
    student_prediction: Any
    teacher_prediction: Any
    student_confidence: Any
    teacher_confidence: Any
    tfe_weight: Any
    student_hard: Any
    teacher_hard: Any
    masks: Any


def maps(**changes: Any) -> Drawn:
    """Sky over road and two ignored rows; t = 0.7 keeps the left half, t = 0.5 nothing."""
    label = np.zeros((12, 16), np.uint8)
    label[6:] = 1
    label[:2] = 255
    left = np.zeros(label.shape, bool)
    left[2:, :8] = True
    by_threshold = {0.7: left, 0.5: np.zeros_like(left)}
    ramp = np.linspace(0, 1, label.size).reshape(label.shape)
    drawn = Drawn(
        name="val/00001",
        image=np.full((*label.shape, 3), 90, np.uint8),
        label=label,
        student_prediction=np.where(label == 255, 0, label).astype(np.uint8),
        teacher_prediction=np.full(label.shape, 2, np.uint8),
        student_confidence=ramp,
        teacher_confidence=1 - ramp,
        tfe_weight=ramp,
        student_hard=by_threshold,
        teacher_hard=by_threshold,
        masks=dict.fromkeys(("xor", "or", "and"), by_threshold),
    )
    return dataclasses.replace(drawn, **changes)


def titles(figure: Figure) -> list[str]:
    return [axis.get_title() for axis in figure.axes if axis.get_title()]


def test_every_tile_says_what_it_shows() -> None:
    figure = draw(maps(), READING)
    found = titles(figure)
    for t, share in ((0.7, 50), (0.5, 0)):
        assert [f"{words}, t = {t}\n{share:.1f} % of labelled pixels" in found for words in MASKS.values()] == [
            True
        ] * 5
    assert {"image", "ground truth", "teacher's prediction", "student's prediction", "teacher's confidence"} <= {*found}
    assert "student's mistakes\n0.0 % of labelled pixels" in found
    units = [axis.get_xlabel() for axis in figure.axes if axis.get_xlabel()]
    assert units == ["probability of the likeliest class"] * 2 + ["weight exp(-D), D the divergence in nats"]
    assert figure.get_suptitle().startswith("val/00001: ")


def legend_texts(figure: Figure) -> list[str]:
    legends = [axis.get_legend() for axis in figure.axes]
    return [text.get_text() for legend in legends if legend is not None for text in legend.get_texts()]


def test_the_legend_names_the_classes_that_are_there() -> None:
    assert legend_texts(draw(maps(), READING))[:4] == ["sky", "road", "car", "ignored"]
    without = maps(teacher_prediction=np.zeros((12, 16), np.uint8))
    assert legend_texts(draw(without, READING))[:3] == ["sky", "road", "ignored"]


def test_the_mask_that_the_student_was_trained_with_stands_out() -> None:
    trained = dataclasses.replace(READING, trained=("xor", 0.7))
    bold = [axis for axis in draw(maps(), trained).axes if axis.title.get_fontweight() == "bold"]
    assert [axis.get_title() for axis in bold] == [
        "hard for exactly one (XOR), t = 0.7\n50.0 % of labelled pixels, as trained"
    ]
    assert not [axis for axis in draw(maps(), READING).axes if axis.title.get_fontweight() == "bold"]


def test_a_teacher_without_tfe_weight_is_told_of() -> None:
    figure = draw(maps(tfe_weight=None), READING)
    assert any("no auxiliary head" in text.get_text() for axis in figure.axes for text in axis.texts)


def colours(path: Path) -> tuple[tuple[int, ...], set[tuple[int, ...]]]:
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    assert pixels is not None
    return pixels.shape, {tuple(colour) for colour in np.unique(pixels.reshape(-1, 3), axis=0).tolist()}


def test_the_file_holds_the_palette_and_the_masks_in_one_hue(tmp_path: Path) -> None:
    path = write(maps(), READING, tmp_path / "pictures")
    assert path == tmp_path / "pictures" / "val" / "00001.png"
    (height, width, _), found = colours(path)
    assert 1100 < width < 1500 and 500 < height < 1500
    assert {*READING.palette, (90, 90, 90), (255, 255, 255)} <= found
    assert {tuple(round(255 * part) for part in to_rgb(colour)) for colour in (KEPT, LEFT_OUT)} <= found


def test_the_same_arrays_give_the_same_bytes_and_others_do_not(tmp_path: Path) -> None:
    first, second, other = (
        write(drawn, READING, tmp_path / name).read_bytes()
        for name, drawn in (("a", maps()), ("b", maps()), ("c", maps(student_confidence=np.zeros((12, 16)))))
    )
    assert first == second != other


@pytest.mark.parametrize(("rows", "columns"), [(40, 20), (10, 80)])
def test_a_high_or_wide_image_keeps_its_shape(rows: int, columns: int) -> None:
    label = np.zeros((rows, columns), np.uint8)
    shape = {name: np.ones(label.shape) for name in ("student_confidence", "teacher_confidence", "tfe_weight")}
    mask = {0.7: np.ones(label.shape, bool)}
    figure = draw(
        maps(
            image=np.zeros((*label.shape, 3), np.uint8), label=label, student_prediction=label,
            teacher_prediction=label, student_hard=mask, teacher_hard=mask,
            masks=dict.fromkeys(("xor", "or", "and"), mask), **shape,
        ),
        READING,
    )  # fmt: skip
    figure.canvas.draw()
    tile = figure.axes[0].get_window_extent()
    assert tile.height / tile.width == pytest.approx(rows / columns, rel=0.02)
