"""Stored checkpoints judged on images that the search has not seen. No cluster is started."""

import json
import shutil
from pathlib import Path

import pyarrow.compute as pc
import pytest
import torch

from study import tables
from study.__main__ import main
from study.commands.searches import rescore
from study.commands.searches.rescore import rescore as rescored
from study.configuration.loading import load
from study.execution.recording import recorder
from study.folder import read_config
from study.ledger.lock import locked
from tests.study.commands.trials.test_export import trained_study
from tests.study.conftest import tiny, write_study, write_teacher
from tests.study.test_light_commands import loaded
from trainers.config import TeacherFile
from trainers.data.splits import judging_images
from trainers.teachers import teacher

KINDS = ("true_positives", "false_positives", "false_negatives")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that was searched on a holdout: one finished trial in each arm."""
    place = tmp_path_factory.mktemp("rescore")
    file = write_teacher(place / "teacher.safetensors")
    values = tiny(teacher={"file": str(file)}, train__iterations=4, train__evaluate_every=2, evaluate_on="holdout")
    values["holdout"] = 0.3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "release", lambda _: None)  # speaks to a cluster
        torch.set_num_threads(1)
        found = TeacherFile(path=str(file), sha256=teacher.sha256(file))
        trained_study(load(str(write_study(place, values))), place / "run", found)
    return place / "run"


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def test_on_its_own_images_a_trial_scores_what_the_search_saw(folder: Path) -> None:
    rows = rescored(folder, top=1, split="holdout")
    assert [(row["setting"], row["arm"], row["trial"]) for row in rows] == [
        ("baseline", "baseline", 0),
        ("rdd-0", "rdd", 0),
    ]
    assert [row["setting"] for row in rescored(folder, split="holdout", arms=["baseline"])] == ["baseline"]
    config = read_config(folder)
    for row in rows:
        assert row["miou_percent"] == pytest.approx(row["searched_miou_percent"], abs=1e-9)
        assert row["images"] == len(judging_images(config.data, "holdout", holdout=0.3)) < 24
        assert (row["searched_on"], row["iteration"]) == ("holdout", 4)


def test_scores_on_other_images_are_rows_and_are_computed_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rescore", str(folder), "--split", "val", "--top", "1", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert all(row["images"] == 8 and row["miou_percent"] != row["searched_miou_percent"] for row in first)
    with monkeypatch.context() as patch:
        patch.setattr(rescore, "evaluate", lambda *_, **__: pytest.fail("was there already"))
        assert rescored(folder, top=1, split="val") == first
    rescored(folder, top=1, split="test")
    stored = tables.read(folder / "tables", "rescored").to_pylist()
    assert [(row["arm"], row["split"]) for row in stored] == [
        ("baseline", "val"), ("rdd", "val"), ("baseline", "test"), ("rdd", "test"),
    ]  # fmt: skip
    assert main(["rescore", str(folder), "--split", "val", "--top", "1"]) == 0
    shown = capsys.readouterr().out
    assert "holdout mIoU %" in shown and "searched on holdout, judged again on val: 8 images" in shown
    assert all(f"{row['miou_percent']:.2f}" in shown for row in first)


def test_what_each_image_counted_is_kept_with_its_group(folder: Path) -> None:
    rows = rescored(folder, split="val")
    kept = tables.read(folder / "tables", "rescored_confusion")
    images = tables.read(folder / "tables", "images").to_pylist()
    assert {row["image"]: row["group"] for row in images if row["split"] == "val"} == {
        f"val/{number:05d}": f"val/{number:05d}" for number in range(8)
    }
    for row in rows:
        mine = kept.filter((pc.field("arm") == row["arm"]) & (pc.field("trial") == row["trial"]))
        assert set(mine["image"].to_pylist()) == {f"val/{number:05d}" for number in range(8)}
        assert set(mine["iteration"].to_pylist()) == {row["iteration"]}
        summed = mine.group_by("class").aggregate([(name, "sum") for name in KINDS])
        hits, *misses = (summed[f"{name}_sum"].to_numpy() for name in KINDS)
        assert row["miou_percent"] == pytest.approx(100 * (hits / (hits + sum(misses))).mean())


def test_counts_are_added_to_scores_that_an_older_kdstudy_kept(folder: Path) -> None:
    first = rescored(folder, split="val")
    counted = tables.read(folder / "tables", "rescored_confusion").sort_by("arm")
    shutil.rmtree(folder / "tables" / "rescored_confusion")
    shutil.rmtree(folder / "trials" / "rdd-00000" / "checkpoint_000000004")
    assert rescored(folder, split="val") == first, "where the checkpoint is gone, the score stands alone"
    added = tables.read(folder / "tables", "rescored_confusion")
    assert added.equals(counted.filter(pc.field("arm") == "baseline"))
    assert tables.read(folder / "tables", "rescored").num_rows == len(first)


def test_a_checkpoint_that_is_gone_is_named(folder: Path) -> None:
    shutil.rmtree(folder / "trials" / "rdd-00000" / "checkpoint_000000004")
    with pytest.raises(ValueError, match=r"by the checkpoint that its score comes from, but .*checkpoint_000000004"):
        rescored(folder, top=1, split="val")


def test_a_running_study_and_wrong_input_are_refused(folder: Path) -> None:
    with locked(folder), pytest.raises(ValueError, match="is driven by process"):
        rescored(folder, top=1, split="val")
    with pytest.raises(ValueError, match="--top must be at least 1, but got 0"):
        rescored(folder, top=0, split="val")


def test_it_needs_no_ray(folder: Path) -> None:
    printed, modules = loaded(["rescore", str(folder), "--split", "val", "--top", "1", "--json"])
    assert [row["setting"] for row in json.loads(printed)] == ["baseline", "rdd-0"]
    assert "torch" in modules and "ray" not in modules
