import dataclasses
import json
import math
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.trainers import small
from tests.trainers.checkpoints.test_folder import full_at
from tests.trainers.stops import StoppedError, ending, equal, reproducible, stopped, tensors
from trainers import optim
from trainers.checkpoint import KEEP_REPORTS, TrainState
from trainers.checkpoints import folder as checkpoint_folders
from trainers.checkpoints.manifest import MANIFEST
from trainers.checkpoints.reading import read_evaluations, read_metrics, read_reports
from trainers.config import OptimizerConfig
from trainers.context import LocalContext
from trainers.distillation.objective import DivergedError
from trainers.loop import train
from trainers.worker import attempt


@pytest.fixture(scope="module")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Changes that make the small trial one with kd, rdd and a teacher."""
    path = small.teacher_file(tmp_path_factory.mktemp("teacher") / "teacher.safetensors")
    return {**small.DISTILLED, "teacher/path": str(path)}


@pytest.fixture(scope="module")
def undisturbed(distilled: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> LocalContext:
    context = LocalContext(tmp_path_factory.mktemp("undisturbed"))
    train(small.trial(distilled), context)
    return context


def test_every_evaluation_is_reported_and_so_is_the_end(undisturbed: LocalContext) -> None:
    assert [report["iteration"] for report in undisturbed.reports] == [3, 6, 7]
    kept = sorted({6, 7, int(undisturbed.reports[-1]["best/iteration"])})
    assert [path.name for path in undisturbed.checkpoints()] == [f"checkpoint_{number:09d}" for number in kept]


def test_a_checkpoint_keeps_the_reports_before_its_own_also_over_a_stop(tmp_path: Path) -> None:
    changes = {"train/iterations": 12, "train/evaluate_every": 1}
    stopped(changes, tmp_path, at=4)
    context = LocalContext(tmp_path)
    train(small.trial(changes), context)
    last = context.checkpoints()[-1]
    reports = read_reports(last)
    assert [report["iteration"] for report in reports] == list(range(12 - KEEP_REPORTS, 13))
    assert reports[1:] == context.reports and reports[-1] == read_metrics(last)


def test_every_metric_is_a_plain_finite_number(undisturbed: LocalContext) -> None:
    for report in undisturbed.reports:
        assert {type(value) for value in report.values()} == {int, float}
        assert all(math.isfinite(float(value)) for value in report.values())
        assert {"eval/miou_percent", "train/loss", "train/term/kd/pixel", "train/term/task/main"} <= report.keys()


def test_the_loss_is_the_weighted_sum_of_its_terms(undisturbed: LocalContext) -> None:
    for report in undisturbed.reports:
        terms = {name: float(report[f"train/term/{name}"]) for name in ("task/main", "task/aux", "kd/pixel")}
        expected = terms["task/main"] + 0.4 * terms["task/aux"] + terms["kd/pixel"]
        assert report["train/loss"] == pytest.approx(expected, rel=1e-5)


def test_a_report_tells_the_masks_of_the_steps_since_the_one_before(undisturbed: LocalContext) -> None:
    # 7 iterations of 2 images of 32 x 48; TFE for the first 4
    pixels = []
    for report in undisturbed.reports:
        of_mask = {
            mask: [v for n, v in report.items() if n.startswith(f"mask/{mask}/valid")] for mask in ("tfe", "tse")
        }
        pixels.append({mask: sum(map(float, values)) / (2 * 32 * 48) for mask, values in of_mask.items()})
        for name in [name for name in report if "/kept_pixels/" in name]:
            assert 0 <= float(report[name]) <= float(report[name.replace("kept", "valid")])
    steps = [{"tfe": 3, "tse": 0}, {"tfe": 1, "tse": 2}, {"tfe": 0, "tse": 1}]
    for found, expected in zip(pixels, steps, strict=True):
        assert found.keys() == expected.keys()
        for mask, number in expected.items():
            assert number / 4 <= found[mask] <= number, (
                "a good part of every crop is labelled, and no pixel counts twice"
            )


def test_a_checkpoint_has_nothing_to_hold_of_masks(
    tmp_path: Path, distilled: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    files, left = TrainState.files, []

    def looking(state: TrainState, *arguments: Any) -> dict[str, bytes]:
        left.append(state.distiller.weighting.class_shares.drain())
        return files(state, *arguments)

    monkeypatch.setattr(TrainState, "files", looking)
    train(small.trial(distilled), LocalContext(tmp_path))
    assert left == [{}, {}, {}]


@pytest.mark.parametrize("loader_workers", [0, 2])
def test_the_same_trial_gives_the_same_bits(
    tmp_path: Path, undisturbed: LocalContext, distilled: dict[str, Any], loader_workers: int
) -> None:
    context = LocalContext(tmp_path)
    train(small.trial(distilled), context, loader_workers=loader_workers)
    assert equal(ending(tmp_path), ending(undisturbed.folder))
    assert list(map(reproducible, context.reports)) == list(map(reproducible, undisturbed.reports))


@pytest.mark.parametrize("seed", ["init_seed", "data_seed"])
def test_another_seed_gives_another_student(
    tmp_path: Path, undisturbed: LocalContext, distilled: dict[str, Any], seed: str
) -> None:
    train(small.trial({**distilled, seed: 1}), LocalContext(tmp_path))
    assert not equal(ending(tmp_path), ending(undisturbed.folder))


@pytest.mark.parametrize(("at", "lost"), [(3, False), (6, False), (3, True), (7, True)])
def test_a_trial_that_died_at_a_report_ends_with_the_same_bits(
    tmp_path: Path, undisturbed: LocalContext, distilled: dict[str, Any], at: int, lost: bool
) -> None:
    stopped(distilled, tmp_path, at=at, lost=lost)
    metrics = train(small.trial(distilled), LocalContext(tmp_path))
    assert equal(ending(tmp_path), ending(undisturbed.folder))
    assert reproducible(metrics) == reproducible(undisturbed.reports[-1])


@pytest.mark.parametrize("at", [1, 4])
def test_a_trial_that_died_between_evaluations_ends_with_the_same_bits(
    tmp_path: Path, undisturbed: LocalContext, distilled: dict[str, Any], monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    set_rate, step = optim.set_rate, iter(range(100))

    def dying(*arguments: Any) -> None:
        if next(step) == at:
            raise StoppedError
        set_rate(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(optim, "set_rate", dying)
        with pytest.raises(StoppedError):
            train(small.trial(distilled), LocalContext(tmp_path))
    metrics = train(small.trial(distilled), LocalContext(tmp_path))
    assert equal(ending(tmp_path), ending(undisturbed.folder))
    assert reproducible(metrics) == reproducible(undisturbed.reports[-1])


def without_weights(state: TrainState, load: Callable[[], None]) -> None:
    fresh = {name: tensor.clone() for name, tensor in state.distiller.state_dict().items()}
    load()
    state.distiller.load_state_dict(fresh)


def without_optimizer(state: TrainState, load: Callable[[], None]) -> None:
    load()
    state.optimizer.state.clear()


def without_iteration(state: TrainState, load: Callable[[], None]) -> None:
    load()
    state.iteration, state.metrics = 0, {}  # the last report says it too


@pytest.mark.parametrize("deletion", [without_weights, without_optimizer, without_iteration])
def test_no_part_of_the_state_can_be_spared(
    tmp_path: Path,
    undisturbed: LocalContext,
    distilled: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    deletion: Callable[[TrainState, Callable[[], None]], None],
) -> None:
    stopped(distilled, tmp_path, at=3)
    load = TrainState.load

    def load_less(state: TrainState, folder: Path, **options: Any) -> None:
        deletion(state, lambda: load(state, folder, **options))
        shutil.rmtree(folder)  # a report of the same iteration may come again

    monkeypatch.setattr(TrainState, "load", load_less)
    train(small.trial(distilled), LocalContext(tmp_path))
    assert not equal(ending(tmp_path), ending(undisturbed.folder))


def test_the_best_evaluation_and_the_time_outlive_a_stop(tmp_path: Path, distilled: dict[str, Any]) -> None:
    stopped(distilled, tmp_path, at=3)
    (checkpoint,) = LocalContext(tmp_path).checkpoints()
    (checkpoint / MANIFEST).unlink()
    metrics = json.loads((checkpoint / "metrics.json").read_text())
    (checkpoint / "metrics.json").write_text(json.dumps({**metrics, "best/miou_percent": 99.0}))
    state = torch.load(checkpoint / "state.pt", weights_only=True)
    torch.save({**state, "seconds": 1000.0}, checkpoint / "state.pt")
    _, counts = read_evaluations(checkpoint)
    final = train(small.trial(distilled), LocalContext(tmp_path))
    assert (final["best/miou_percent"], final["best/iteration"]) == (99.0, 3)
    assert 1000 < float(final["time/trial_seconds"]) < 1500
    names, kept = read_evaluations(LocalContext(tmp_path).checkpoints()[-1])
    assert names == ["val/00000", "val/00001", "val/00002"]
    assert torch.equal(kept["best"], counts["last"])


def test_a_finished_trial_trains_nothing(undisturbed: LocalContext, distilled: dict[str, Any]) -> None:
    before, again = ending(undisturbed.folder), LocalContext(undisturbed.folder)
    assert train(small.trial(distilled), again) == undisturbed.reports[-1]
    assert again.reports == []
    assert equal(ending(undisturbed.folder), before)


def test_a_checkpoint_is_of_its_iteration_although_the_training_goes_on(
    tmp_path: Path, distilled: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    train(small.trial(distilled), LocalContext(tmp_path / "at once", keep=3))
    set_rate, write, step, later = optim.set_rate, checkpoint_folders.write, iter(range(100)), threading.Event()

    def counted(*arguments: Any) -> None:
        if next(step) == 5:  # two steps after the first evaluation
            later.set()
        set_rate(*arguments)

    def slow(*arguments: Any) -> None:
        assert later.wait(60)
        write(*arguments)

    monkeypatch.setattr(optim, "set_rate", counted)
    monkeypatch.setattr(checkpoint_folders, "write", slow)
    train(small.trial(distilled), LocalContext(tmp_path / "later", keep=3))
    for name in ("weights.safetensors", "evaluations.npz"):
        contents = [(tmp_path / run / "checkpoint_000000003" / name).read_bytes() for run in ("at once", "later")]
        assert contents[0] == contents[1]
    momenta = [
        tensors(torch.load(tmp_path / run / "checkpoint_000000003" / "state.pt", weights_only=True)["optimizer"])
        for run in ("at once", "later")
    ]
    assert momenta[0] and equal(*momenta)


@pytest.mark.parametrize("damaged", [1, 2, 3])
def test_a_damaged_checkpoint_is_passed_over_and_the_end_has_the_same_bits(
    tmp_path: Path, undisturbed: LocalContext, distilled: dict[str, Any], damaged: int
) -> None:
    train(small.trial(distilled), LocalContext(tmp_path, keep=3))
    found = LocalContext(tmp_path).checkpoints()
    assert len(found) == 3
    for path in found[-damaged:]:
        weights = path / "weights.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1])
    said = (
        "no checkpoint is left, so the trial starts anew"
        if damaged == 3
        else f"goes on from {found[-1 - damaged].name}"
    )
    with pytest.warns(UserWarning, match=rf"checkpoint_000000007/weights.safetensors must have .* bytes.*{said}"):
        metrics = train(small.trial(distilled), LocalContext(tmp_path))
    assert equal(ending(tmp_path), ending(undisturbed.folder))
    assert reproducible(metrics) == reproducible(undisturbed.reports[-1])


def test_a_checkpoint_of_before_the_manifest_is_gone_on_from(
    tmp_path: Path, undisturbed: LocalContext, distilled: dict[str, Any]
) -> None:
    stopped(distilled, tmp_path, at=6)
    for path in LocalContext(tmp_path).checkpoints():
        (path / MANIFEST).unlink()
    context = LocalContext(tmp_path)
    train(small.trial(distilled), context)
    assert [report["iteration"] for report in context.reports] == [7]
    assert equal(ending(tmp_path), ending(undisturbed.folder))


def test_a_full_disk_fails_the_trial_and_leaves_its_last_checkpoint(
    tmp_path: Path, undisturbed: LocalContext, distilled: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(distilled, tmp_path, at=3)
    with monkeypatch.context() as full:
        full_at(full, "state.pt")
        outcome = attempt(small.values(distilled), LocalContext(tmp_path), 0)
    assert list(outcome) == ["error", "traceback", "memory/peak_mib"]
    assert outcome["error"].startswith("FullDiskError: a checkpoint of ")
    assert f"{tmp_path}/checkpoint.writing/state.pt could not be written: No space left on device; " in outcome["error"]
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint_000000003"]
    train(small.trial(distilled), LocalContext(tmp_path))
    assert equal(ending(tmp_path), ending(undisturbed.folder))


def test_divergence_names_the_term_and_the_iteration(tmp_path: Path, distilled: dict[str, Any]) -> None:
    changes = {**distilled, "train/optimizer": {"lr": 1e30}}
    said = r"task/main.*kd/pixel was not at iteration [12]; lower train\.optimizer\.lr"
    with pytest.raises(DivergedError, match=said):
        train(small.trial(changes), LocalContext(tmp_path))
    assert LocalContext(tmp_path).checkpoints() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train/optimizer": {"lr": 1e30}}, "DivergedError: every term must stay finite, but task/main"),
        ({"methods/kd": {}}, "ValueError: kd compare with a teacher, but got teacher=None"),
        ({"teacher/path": "nowhere"}, "TeacherFileError: a teacher must be a teacher's file, but there is no nowhere"),
        ({"data": {"name": "camvid", "root": "nowhere"}}, "DataGoneError: data.root must be CamVid's folder"),
        ({"train/batch": 0}, "ConfigError: train.batch: "),
    ],
)
def test_what_a_retry_would_only_repeat_is_returned(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    outcome = attempt(small.values(changes), LocalContext(tmp_path), 0)
    assert list(outcome) == ["error", "traceback", "memory/peak_mib"]
    assert outcome["error"].startswith(said)


def test_an_attempt_returns_the_last_metrics(tmp_path: Path) -> None:
    context = LocalContext(tmp_path)
    assert attempt(small.values({"train/iterations": 1}), context, 0) == context.reports[-1]


def test_the_poly_rate(undisturbed: LocalContext) -> None:
    config = OptimizerConfig(lr=0.2, power=0.9)
    assert optim.poly_rate(config, 0, 10) == 0.2
    assert optim.poly_rate(config, 9, 10) == pytest.approx(0.2 * 0.1**0.9, rel=1e-12)
    assert optim.poly_rate(dataclasses.replace(config, power=0.0), 9, 10) == 0.2
    reported = [report["train/learning_rate"] for report in undisturbed.reports]
    assert reported == pytest.approx([0.02 * (1 - step / 7) ** 0.9 for step in (2, 5, 6)], rel=1e-12)
    optimizer = torch.load(undisturbed.checkpoints()[-1] / "state.pt", weights_only=True)["optimizer"]
    assert [group["lr"] for group in optimizer["param_groups"]] == [reported[-1]]


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_the_optimizer_is_as_configured(name: Any, kind: type[torch.optim.Optimizer]) -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    made = optim.optimizer([parameter], OptimizerConfig(name=name, lr=0.3, momentum=0.7, weight_decay=0.1))
    assert type(made) is kind
    (group,) = made.param_groups
    assert (group["lr"], group["weight_decay"], group.get("momentum", 0.7)) == (0.3, 0.1, 0.7)


def test_rdd_changes_its_stage_within_a_run(tmp_path: Path, distilled: dict[str, Any]) -> None:
    losses = []
    for fraction in (0.5, 1.0):
        context = LocalContext(tmp_path / str(fraction))
        train(small.trial({**distilled, "train/evaluate_every": 1, "task/tfe_fraction": fraction}), context)
        losses.append([report["train/term/task/main"] for report in context.reports])
    assert losses[0][:4] == losses[1][:4]  # round(0.5 * 7) iterations of TFE
    assert losses[0][4] != losses[1][4]


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_batch_norm_keeps_its_statistics(tmp_path: Path, frozen: bool) -> None:
    train(small.trial({"train/freeze_batch_norm": frozen, "train/iterations": 2}), LocalContext(tmp_path))
    weights = load_file(LocalContext(tmp_path).checkpoints()[-1] / "weights.safetensors")
    means = [tensor for name, tensor in weights.items() if name.endswith("running_mean")]
    counted = {int(tensor) for name, tensor in weights.items() if name.endswith("num_batches_tracked")}
    assert counted == ({0} if frozen else {2})
    assert any(mean.any() for mean in means) != frozen


@pytest.mark.parametrize(
    ("path", "value", "tolerance"),
    [("train/precision", "bfloat16", 0.05), ("train/precision", "float64", 1e-4), ("train/channels_last", True, 1e-4)],
)
def test_other_number_formats_give_nearly_the_same_loss(
    tmp_path: Path, distilled: dict[str, Any], path: str, value: Any, tolerance: float
) -> None:
    losses = []
    for number, changes in enumerate(({}, {path: value})):
        # a dropout mask is drawn in the order of memory
        changed = {**distilled, "student/dropout": False, "train/iterations": 1, **changes}
        losses.append(train(small.trial(changed), LocalContext(tmp_path / str(number)))["train/loss"])
    assert losses[1] == pytest.approx(losses[0], rel=tolerance)
    assert losses[1] != losses[0] or path == "train/channels_last"


def test_a_checkpoint_holds_what_it_says(undisturbed: LocalContext, distilled: dict[str, Any]) -> None:
    last = undisturbed.checkpoints()[-1]
    assert sorted(path.name for path in last.iterdir()) == [
        "evaluations.npz", "manifest.json", "metrics.json", "state.pt", "trial.json", "weights.safetensors",
    ]  # fmt: skip
    assert read_metrics(last) == undisturbed.reports[-1]
    counts = read_evaluations(last)[1]["last"].numpy()
    ious = counts.sum(0)[:, 0] / np.maximum(counts.sum((0, 2)), 1)
    present = counts.sum((0, 2)) > 0
    assert undisturbed.reports[-1]["eval/miou_percent"] == pytest.approx(100 * ious[present].mean(), rel=1e-9)
