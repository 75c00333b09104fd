"""The report's pictures: what stands in the page, and what is said where there are none."""

import re
from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.pictures.predictions import BASELINE, RDD, TEACHER, Pictures
from analysis.report import report
from analysis.report.pictured import hard, pictured
from analysis.report.source import Source
from analysis.studies.study import open_study
from study.tables import MASK_SHARES, TableWriter
from tests.analysis.pictures.test_predictions import image
from tests.analysis.pictures.test_predictions import pictures as some
from tests.analysis.report.test_report import rows, texts
from tests.analysis.searches import search, write_search

IMAGES = re.compile(r'<img src="data:image/(\w+);base64,([^"]+)" alt="([^"]*)">')


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_search(tmp_path / "study", search())


def test_every_picture_lies_in_the_page(folder: Path) -> None:
    made = replace(some(image(), image(seed=1), difficulty=b"\x89PNG of maps"), notes=("Something lacks.",))
    made = replace(made, names={**made.names, RDD: "rdd-14"})
    page = report([folder], pictures={folder: made})
    found = IMAGES.findall(page.read_text())
    captions = [caption for _, _, caption in found]
    assert captions[:3] == ["image", "ground truth", f"teacher: {made.images[0].miou_percent[TEACHER]:.1f} %"]
    assert len(found) == 2 * 6 + 1
    assert [kind for kind, _, _ in found[:6]] == ["jpeg", "png", "png", "png", "png", "png"]
    assert b64decode(found[-1][1]) == b"\x89PNG of maps"
    shares = made.images[0].agreement
    assert (
        captions[5] == f"where they differ: {shares[1]:.1f} % only kd-1 right, {shares[2]:.1f} % only baseline-0 right"
    )
    assert "Something lacks." in texts(page) and "as rdd-14 and its teacher see it" in texts(page)


def test_legends_name_the_classes_that_occur(folder: Path) -> None:
    section = pictured(Source(open_study(folder), some(image())))
    (classes, colours), (who, meanings) = section.swatches
    assert (classes, [name for _, name in colours]) == ("classes", ["a", "b", "c", "d", "ignored"])
    assert who == "where they differ" and ("rgb(0, 114, 178)", "only kd-1 right") in meanings


def test_without_a_baseline_or_teacher_there_is_no_difference_to_draw(folder: Path) -> None:
    one = image()
    alone = replace(one, predictions={"best": one.predictions["best"]}, agreement=())
    made = replace(some(alone, difficulty=b""), names={"best": "kd-1"})
    section = pictured(Source(open_study(folder), made))
    assert [len(panel.images) for panel in section.panels] == [3] and len(section.swatches) == 1
    assert BASELINE not in made.names
    assert not hard(Source(open_study(folder), made)).has_evidence


@pytest.mark.parametrize("why", ["The dataset is not here.", None])
def test_what_is_not_there_is_named_with_its_reason(folder: Path, why: str | None) -> None:
    given: dict[Path, Pictures | str] | None = None if why is None else {folder: why}
    page = report([folder], pictures=given)
    left_out = texts(page).partition("Left out, because there is nothing to show:")[2]
    said = "None were made" if why is None else "The dataset is not here"
    assert f"<strong>Pictures of predictions</strong> ({said})" in left_out
    assert not IMAGES.search(page.read_text())


def test_no_name_of_a_dataset_is_markup(folder: Path) -> None:
    attack = '"><script>alert(1)</script>'
    page = report([folder], pictures={folder: some(replace(image(), name=attack, why=attack), difficulty=b"")})
    assert attack not in page.read_text()


def test_mask_shares_are_drawn_over_the_iterations(folder: Path) -> None:
    with TableWriter(folder / "tables", MASK_SHARES) as writer:
        for iteration, mask, kept in ((10, "tfe", 30.0), (20, "tfe", 40.0), (30, "tse", 10.0), (40, "tse", 20.0)):
            key = {"arm": "rdd", "trial": 14, "iteration": iteration, "mask": mask}
            writer.append([
                {**key, "class": "road", "valid_pixels": 100, "kept_pixels": kept, "share_percent": kept},
                {**key, "class": "sign", "valid_pixels": 300, "kept_pixels": 3.0, "share_percent": 1.0},
            ])  # fmt: skip
    page = report([folder])
    found = rows(page, "mask-shares")
    assert len(found) == 8 and {(row["arm"], row["trial"]) for row in found} == {("rdd", "14")}
    text = page.read_text()
    assert "rdd 14: mean TFE weight of the labelled pixels of each class" in text
    assert "rdd 14: share of each class" in text
    # of all classes: pixels, not the mean of shares
    tse = text.partition("rdd 14: share of each class")[2].partition("</script>")[0]
    assert '"y":[3.25,5.75]' in tse
