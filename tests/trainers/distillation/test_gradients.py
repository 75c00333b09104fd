"""The gradients of the terms by the last feature map: known ones, how they are summed up, and that nothing changes."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.trainers import small
from tests.trainers.stops import ending, equal, reproducible
from trainers.context import LocalContext
from trainers.data import IGNORE
from trainers.difficulty import weighted_cross_entropy
from trainers.distillation.gradients import PROBES, GradientProbe
from trainers.loop import prepare_step, step, train
from trainers.methods.kd import pixel_kl
from trainers.models import deeplabv3

PLAIN = torch.amp.GradScaler("cpu", enabled=False)
METHODS: dict[str, dict[str, Any]] = {
    "rdd kd": {"kd": {}},
    "rdd of features": {"kd": {}, "at": {}, "fitnet": {}, "cwd": {}, "dsd": {}, "ifvd": {}},
    "rdd cirkd": {"kd": {}, "cirkd": {}},
    "rdd skd": {"skd": {}},
    "rdd idd": small.READING["methods"],
}
"""All methods of the presets."""


class Student(nn.Module):
    """A map and its logits, from images of the map's size."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 4, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.first(images)
        return {"logits": self.last(features), "features": features, "early": images.mean() * self.first.weight}


def watched(probe: GradientProbe, iteration: int = 0) -> dict[str, Tensor]:
    """The taps of a student at a step."""
    student = Student().double()
    with probe.watching(student, iteration):
        taps: dict[str, Tensor] = student(torch.rand(2, 3, 5, 7, dtype=torch.float64))
    return taps


def found(terms: Mapping[str, Tensor], probe: GradientProbe, scaler: Any = PLAIN) -> Any:
    """What a report says of a step with these terms, the only one that is probed."""
    probe.measure(terms, scaler, 0, None)
    (told,) = json.loads(probe.drain()[PROBES])
    return told


def test_terms_with_known_gradients() -> None:
    probe = GradientProbe(1)
    features = watched(probe)["features"]
    task = features[:, :2].sum()  # 1 at 2 * 2 * 5 * 7 elements
    terms = {
        "task/main": 0.75 * task,
        "task/aux": 0.25 * task,
        "kd/same": 3 * task,
        "kd/opposite": -0.5 * task,
        "kd/across": features[:, 2:4].sum(),
        "kd/between": features[:, 1:3].sum(),
        "kd/nothing": 0 * task,
    }
    norm = math.sqrt(2 * 2 * 5 * 7)
    assert found(terms, probe) == {
        "iteration": 1,
        "stage": None,
        "task_norm": pytest.approx(norm),
        "terms": {
            "kd/same": pytest.approx([3 * norm, 1]),
            "kd/opposite": pytest.approx([norm / 2, -1]),
            "kd/across": pytest.approx([norm, 0]),
            "kd/between": pytest.approx([norm, 0.5]),
            "kd/nothing": [0, None],
        },
    }


def test_a_term_that_does_not_reach_the_map_has_no_value() -> None:
    probe = GradientProbe(1)
    taps = watched(probe)
    task = taps["logits"].sum()
    terms = {"task/main": task, "a/early": taps["early"].sum(), "b/constant": torch.ones(()), "c/late": task}
    told = found(terms, probe)["terms"]
    assert (told["a/early"], told["b/constant"]) == ([None, None], [None, None])
    assert told["c/late"][1] == pytest.approx(1)


def test_nor_has_any_term_beside_a_task_that_does_not() -> None:
    probe = GradientProbe(1)
    taps = watched(probe)
    told = found({"task/main": taps["early"].sum(), "a/b": taps["logits"].sum()}, probe)
    assert told["task_norm"] is None and told["terms"]["a/b"][1] is None and told["terms"]["a/b"][0] > 0


def test_kd_beside_itself_and_a_batch_without_labels() -> None:
    probe, labels = GradientProbe(1), torch.full((2, 5, 7), IGNORE)
    logits = watched(probe)["logits"]
    value = pixel_kl(logits, torch.rand_like(logits)).value
    own = found({"task/main": 2 * value, "kd/pixel": 0.5 * value}, probe)
    assert own["terms"]["kd/pixel"] == pytest.approx([own["task_norm"] / 4, 1])
    logits = watched(probe)["logits"]
    task = weighted_cross_entropy(logits, labels).value
    told = found({"task/main": task, "kd/pixel": pixel_kl(logits, torch.rand_like(logits)).value}, probe)
    assert told["task_norm"] == 0 and told["terms"]["kd/pixel"][1] is None


def test_a_map_that_was_cut_stands_for_the_whole() -> None:
    class Cut(Student):
        def forward(self, images: Tensor) -> dict[str, Tensor]:
            taps = super().forward(images)
            return {**taps, "features": taps["features"][..., :3]}

    probe, student = GradientProbe(1), Cut()
    with probe.watching(student, 0):
        taps = student(torch.rand(2, 3, 5, 7))
    told = found({"task/main": taps["logits"].sum(), "a/b": taps["features"].sum()}, probe)
    assert told["terms"]["a/b"][0] == pytest.approx(math.sqrt(taps["features"].numel()))
    assert 0 < abs(told["terms"]["a/b"][1]) < 1


@pytest.mark.parametrize("scale", [2.0**16, 2.0**-4])
def test_gradients_are_those_of_the_loss_before_its_scale(scale: float) -> None:
    probe, scaled = GradientProbe(1), torch.amp.GradScaler("cpu", init_scale=scale)
    outcomes = []
    for scaler in (PLAIN, scaled):
        logits = watched(probe)["logits"]
        outcomes.append(found({"task/main": logits.square().mean(), "a/b": logits.exp().mean()}, probe, scaler))
    assert outcomes[1]["task_norm"] == pytest.approx(outcomes[0]["task_norm"])
    assert outcomes[1]["terms"]["a/b"] == pytest.approx(outcomes[0]["terms"]["a/b"])


def test_a_step_that_the_scale_skips_has_no_row() -> None:
    probe = GradientProbe(1)
    for factor in (1.0, math.inf, 1.0):
        logits = watched(probe)["logits"]
        probe.measure(
            {"task/main": logits.sum(), "a/b": factor * logits.square().mean()}, PLAIN, int(factor == 1), None
        )
    assert [told["iteration"] for told in json.loads(probe.drain()[PROBES])] == [2, 2]
    assert probe.drain() == {}


def test_every_so_many_steps_are_watched_and_a_student_alone_is_not() -> None:
    probe = GradientProbe(3)
    for iteration in range(7):
        value = watched(probe, iteration)["logits"].sum()
        probe.measure({"task/main": value, "a/b": value}, PLAIN, iteration, "tse")
    told = json.loads(probe.drain()[PROBES])
    assert [(one["iteration"], one["stage"]) for one in told] == [(3, "tse"), (6, "tse")]
    probe.measure({"task/main": watched(probe, 8)["logits"].sum()}, PLAIN, 8, None)
    assert probe.drain() == {}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(small.teacher_file(tmp_path_factory.mktemp("teacher") / "teacher.safetensors"))


def trained(folder: Path, changes: Mapping[str, Any], every: int) -> tuple[LocalContext, Tensor]:
    """A trial, and the state of the random numbers at its end."""
    context = LocalContext(folder / str(every))
    train(small.trial({**changes, "train/probe_every": every}), context)
    return context, torch.get_rng_state()


@pytest.mark.parametrize("name", METHODS)
def test_a_trial_comes_to_the_same_bits(tmp_path: Path, teacher: str, name: str) -> None:
    changes = {**small.DISTILLED, "methods": METHODS[name], "teacher/path": teacher}
    (plain, before), (probed, after) = (trained(tmp_path, changes, every) for every in (0, 2))
    assert equal(ending(probed.folder), ending(plain.folder)) and torch.equal(before, after)
    told = [json.loads(str(report.pop(PROBES, "[]"))) for report in probed.reports]
    assert list(map(reproducible, probed.reports)) == list(map(reproducible, plain.reports))
    # 7 iterations, evaluated after 3, 6 and 7; TFE for the first 4
    assert [[(one["iteration"], one["stage"]) for one in part] for part in told] == [
        [(2, "tfe")], [(4, "tfe"), (6, "tse")], [],
    ]  # fmt: skip
    logged = {key.removeprefix("train/term/") for key in plain.reports[0] if key.startswith("train/term/")}
    adversary = {"skd/discriminator", "skd/penalty"}
    for one in told[0] + told[1]:
        assert one["terms"].keys() == {term for term in logged - adversary if not term.startswith("task/")}
        assert all(norm > 0 and -1 <= cosine <= 1 for norm, cosine in one["terms"].values())


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_comes_to_the_same_bits_and_nearly_the_same_gradients(
    tmp_path: Path, teacher: str, precision: str
) -> None:
    changes = {**small.DISTILLED, "teacher/path": teacher}
    full = trained(tmp_path / "full", changes, 2)[0].reports[0]
    half = {**changes, "train/precision": precision}
    plain, probed = (trained(tmp_path, half, every)[0] for every in (0, 2))
    assert equal(ending(probed.folder), ending(plain.folder))
    (exact,), (rounded,) = (json.loads(str(report[PROBES])) for report in (full, probed.reports[0]))
    assert rounded["task_norm"] == pytest.approx(exact["task_norm"], rel=0.1)
    assert rounded["terms"]["kd/pixel"] == pytest.approx(exact["terms"]["kd/pixel"], rel=0.1, abs=0.05)


def test_compiled_steps_and_students_without_the_map_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    context = LocalContext(Path())
    with pytest.raises(ValueError, match="probe_every=2 and compile=true; leave one of them out"):
        prepare_step(small.trial({"train/probe_every": 2, "train/compile": True}), context, None, num_classes=11)
    built = deeplabv3.Network.__init__

    def without_features(network: Any, *arguments: Any, **options: Any) -> None:
        built(network, *arguments, **options)
        del network.channels["features"]

    monkeypatch.setattr(deeplabv3.Network, "__init__", without_features)
    with pytest.raises(ValueError, match=r"'features' tap, but this network has only \['aux', 'logits'\]; give it"):
        prepare_step(small.trial({"train/probe_every": 2}), context, None, num_classes=11)


def test_a_student_without_distillation_is_not_probed() -> None:
    parts, state = prepare_step(small.trial({"train/probe_every": 1}), LocalContext(Path()), None, num_classes=11)
    step(parts, state, torch.zeros(2, 3, 32, 48, dtype=torch.uint8), torch.zeros(2, 32, 48, dtype=torch.uint8))
    assert parts.probe.drain() == {}
