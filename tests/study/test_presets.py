"""Every row of the papers' tables trains: the presets' arms with networks and crops shrunken."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from analysis.ablation.ablation import ablations
from analysis.studies.study import open_study
from study.configuration.config import StudyConfig
from study.configuration.loading import PRESETS, load
from study.tables import TableWriter, trials_schema
from tests.analysis.test_queries import trial
from trainers import models
from trainers.config import TeacherFile, canonical_json, parse
from trainers.context import LocalContext
from trainers.loop import train
from trainers.registry import config_class, implementation, implementations

METHODS = ("kd", "at", "fitnet", "skd", "ifvd", "cwd", "dsd", "cirkd", "idd")
ROWS = ("baseline", "ohem", "focal", *METHODS, "rdd", *(f"rdd-{method}" for method in METHODS if method != "kd"))
NETWORK = "{architecture: deeplabv3, backbone: mobilenetv2_035, head_channels: 12, rates: [2, 4]}"
RANKS_COUNT = ("cirkd", "rdd-cirkd")
"""The rows whose numbers depend on how a batch is split over ranks."""
FOUR = {"train/workers": 4}
SHRUNKEN = [
    "data={name: streets, size: [48, 64], train_images: 8, val_images: 2}",
    "augment={crop: [48, 64]}",
    f"student={NETWORK}",
    "train={iterations: 6, batch: 2, evaluate_every: 3, optimizer: {lr: 0.01}}",
    *(f"arms.{row}.methods.idd.pretraining={{iterations: 3, batch: 2}}" for row in ("idd", "rdd-idd")),
]
ALONE = [f"arms.{row}.fixed={{train/workers: 1}}" for row in RANKS_COUNT]
"""In a test."""


@pytest.fixture(scope="module")
def paper_sized(teacher_file: Path) -> StudyConfig:
    return load("camvid-methods-paper", [*SHRUNKEN, *ALONE, f"teacher.file={teacher_file}"])


def test_the_rows_are_all_there(paper_sized: StudyConfig) -> None:
    assert tuple(paper_sized.arms) == ROWS
    assert set(METHODS) <= set(implementations("trainers.methods"))


def test_both_sizes_have_the_same_arms() -> None:
    small, large = (
        yaml.safe_load((PRESETS / f"camvid-methods{size}.yaml").read_text())["arms"] for size in ("", "-paper")
    )
    for arms in (small, large):
        for arm in arms.values():
            arm.pop("enqueue", None)
    ranks = {name: arm.pop("fixed") for name, arm in large.items() if "fixed" in arm}
    assert small == large
    assert ranks == dict.fromkeys(RANKS_COUNT, FOUR)


@pytest.mark.parametrize("name", sorted(path.stem for path in PRESETS.glob("*-paper.yaml")))
def test_students_of_the_papers_size_have_a_gpu_each_and_what_depends_on_ranks_has_four(name: str) -> None:
    config = load(name, [SHRUNKEN[0].replace("train_images: 8", "train_images: 16"), SHRUNKEN[1]])
    assert config.execution.gpus_per_worker == 1 and config.train.workers == 1
    for arm, of in config.arms.items():
        assert dict(of.fixed) == (FOUR if "cirkd" in of.methods else {}), arm
        assert not (getattr(of.task, "min_kept", 0) or getattr(of.task, "tfe_map", "per_pixel") == "batch_mean")
    trained = [config.train, config.teacher.train]
    assert {train and train.precision for train in trained} == {"bfloat16"}


@pytest.mark.parametrize(
    ("small", "large", "tables"),
    [
        ("camvid-ablation", "cityscapes-ablation-paper", ["rdd-5", "rdd-6", "rdd-7", "rdd-8", "rdd-9"]),
        ("camvid-ablation-idd", "cityscapes-ablation-idd-paper", ["idd-1"]),
    ],
)
def test_the_ablation_presets_fill_every_line_of_their_tables(
    small: str, large: str, tables: list[str], teacher_file: Path, tmp_path: Path
) -> None:
    """And nothing else: every arm stands in a line."""
    arms = [yaml.safe_load((PRESETS / f"{preset}.yaml").read_text())["arms"] for preset in (small, large)]
    assert all(arm.pop("fixed", FOUR) == FOUR for arm in arms[1].values())
    assert arms[0] == arms[1]
    config = load(small, [SHRUNKEN[0], f"teacher.file={teacher_file}"])
    rows = []
    for arm in config.arms:
        for number in range(config.arms[arm].trials):
            planned = config.trial(arm, {"replicate": number}, TeacherFile(path=str(teacher_file)))
            rows.append({**trial(arm, number, 20.0 + number), "config": canonical_json(planned)})
    with TableWriter(tmp_path / "tables", trials_schema({})) as writer:
        writer.append(rows)
    (tmp_path / "study.json").write_text(canonical_json(config))
    found = {table.published.name: table for table in ablations(open_study(tmp_path))}
    used = set()
    for name in tables:
        for cell in found[name].cells:
            assert cell.mean is not None and cell.mean.n == 3, (name, cell.line.label)
            assert cell.gain is None or (cell.gain.paired and cell.gain.interval is not None)
            used |= {run.name.arm for run in cell.runs}
    assert used == set(config.arms)


@pytest.mark.parametrize("preset", sorted(path.stem for path in PRESETS.glob("*-paper.yaml")))
def test_presets_of_the_papers_start_from_weights_that_timm_has(preset: str) -> None:
    values = yaml.safe_load((PRESETS / f"{preset}.yaml").read_text())
    for network in (values["student"], values["teacher"]["model"]):
        config = parse(
            config_class("trainers.models", implementation("trainers.models", network["architecture"])), network
        )
        assert config.weights == "timm"
        with torch.device("meta"):  # which refuses backbones that timm has no weights for, and fetches none
            models.build(config, num_classes=11)


@pytest.mark.parametrize("row", ROWS)
def test_a_row_trains(row: str, paper_sized: StudyConfig, teacher_file: Path, tmp_path: Path) -> None:
    """At its spaces' defaults, through both stages where it has RDD, to finite terms of every weight above 0."""
    trial = paper_sized.trial(row, paper_sized.space(row).defaults(), TeacherFile(path=str(teacher_file)))
    context = LocalContext(tmp_path)
    train(trial, context)
    terms = {name.removeprefix("train/term/") for name in context.reports[-1]}
    methods: dict[str, Any] = dict(trial.methods)
    expected = {f"{name}/{term}" for name, method in methods.items() for term, w in vars(method.weights).items() if w}
    assert expected | {"task/main", "task/aux"} <= terms
    weighting = row if row in ("ohem", "focal") else "rdd" if row.startswith("rdd") else "uniform"
    assert trial.task.weighting == weighting
