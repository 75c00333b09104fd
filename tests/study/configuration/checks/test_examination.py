"""A study examined: everything in one go, faults apart from warnings, each once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from study.configuration.checks import Findings
from study.configuration.loading import load_examined
from tests.study.conftest import NETWORK, write_teacher
from trainers.models.encoder import Encoder
from trainers.teachers import teacher

Writer = Callable[..., Path]
Examine = Callable[..., Findings]


@pytest.fixture
def examined(study_file: Writer, tmp_path: Path) -> Examine:
    """What is found in the tiny study; `space` is the content of a space of its arm baseline."""

    def of(sets: tuple[str, ...] = (), *, space: dict[str, Any] | None = None, **changes: Any) -> Findings:
        if space is not None:
            (tmp_path / "own.yaml").write_text(yaml.safe_dump(space))
            changes["arms__baseline__space"] = str(tmp_path / "own.yaml")
        return load_examined(str(study_file(**changes)), sets)[1]

    return of


def choice(*choices: Any) -> dict[str, Any]:
    return {"type": "categorical", "choices": list(choices), "default": choices[0]}


def whole(low: int, high: int, default: int) -> dict[str, Any]:
    return {"type": "int", "low": low, "high": high, "default": default}


def real(low: float, high: float) -> dict[str, Any]:
    return {"type": "float", "low": low, "high": high, "default": high}


SEARCHED: dict[str, tuple[dict[str, Any], str]] = {
    "a network that nobody has": (
        {"student/backbone": choice("mobilenetv2_035", "nosuchnet")},
        "at student/backbone=nosuchnet: backbone must be the name of a timm model",
    ),
    "a network that cannot be used": (
        {"student/backbone": choice("mobilenetv2_035", "vit_small_patch16_224")},
        "at student/backbone=vit_small_patch16_224: backbone must give NCHW maps",
    ),
    "two that do not go together": (
        {"student/backbone": choice("resnet18", "mobilenetv2_035"), "student/width": choice(1.0, 0.5)},
        "at student/backbone=mobilenetv2_035, student/width=0.5: width scales resnet18",
    ),
    "a network of no channels": (
        {
            "student/backbone": choice("resnet18"),
            "student/width": real(0.001, 1),
        },
        "at student/width=0.001: networks must be such that PyTorch can build them",
    ),
    "the lower end of a batch": (
        {"train/batch": whole(1, 4, 4)},
        "at train/batch=1: batch normalisation needs two images per worker, but got batch=1 and workers=1",
    ),
    "the upper end of a batch": (
        {"train/batch": whole(2, 48, 4)},
        "at train/batch=25: train.batch must be at most the number of training images, but got batch=25 and 24 images; "
        "lower it (and 23 more of what is searched)",
    ),
    "a batch between": (
        {"train/batch": whole(4, 8, 4), "train/workers": choice(2)},
        "at train/batch=5: train.batch must be a multiple of train.workers",
    ),
    "workers": (
        {"train/workers": choice(1, 3)},
        "at train/workers=3: train.batch must be a multiple of train.workers, but got batch=4 and workers=3",
    ),
    "evaluations": (
        {"train/evaluate_every": whole(2, 20, 2)},
        "at train/evaluate_every=20: train.evaluate_every must be at most train.iterations",
    ),
    "a value that the trial refuses": (
        {"student/output_stride": choice(16, 4)},
        "student.output_stride: input should be 8, 16 or 32, but got 4",
    ),
    "a path with dots": (
        {"train.optimizer.lr": real(0.01, 0.1)},
        "nothing that this arm's trials have; its parts are joined by slashes: train/optimizer/lr",
    ),
    "a weighting's own": (
        {"task/threshold": real(0.5, 0.9), "task/combine": choice("xor")},
        "own.yaml needs task: {weighting: rdd}, but the arm has none",
    ),
}


@pytest.mark.parametrize(("space", "expected"), SEARCHED.values(), ids=SEARCHED)
def test_every_value_that_is_searched_is_examined(space: dict[str, Any], expected: str, examined: Examine) -> None:
    found = examined(space=space).faults
    assert any(fault.startswith("arms.baseline.space: ") and expected in fault for fault in found), found


def test_the_engine_is_held_against_workers_wherever_they_are_set(examined: Examine) -> None:
    inline = {"execution": {"engine": "inline"}}
    law = "execution.engine: inline trials have one worker, but got train.workers=2; set engine: train"
    assert examined(train__workers=2, **inline).faults == [law]
    fixed = examined(arms__baseline__fixed={"train/workers": 2}, **inline).faults
    assert fixed == [f"arms.baseline: {law}"]
    assert examined(teacher__train__workers=2, **inline).faults == [f"teacher: {law}"]
    searched = examined(space={"train/workers": choice(1, 2)}, **inline).faults
    assert searched == [f"arms.baseline.space: at train/workers=2: {law}"]


@pytest.mark.parametrize(
    ("chosen", "fault"),
    [
        ({"name": "camvid"}, "teacher.data.name: a teacher is trained on the study's dataset; leave it out"),
        ({"train_image": 40}, "teacher.data.train_image: no such key; did you mean 'train_images'?"),
        ({"train_images": 0}, "teacher.data.train_images: input should be greater than or equal to 1, but got 0"),
    ],
)
def test_what_a_teacher_is_trained_on_differs_in_keys_of_the_data(
    chosen: dict[str, Any], fault: str, examined: Examine
) -> None:
    assert examined(teacher__data={"train_images": 40}).faults == []
    assert fault in examined(teacher__data=chosen).faults


def test_a_teacher_needs_no_teacher(examined: Examine) -> None:
    assert examined(teacher__task={"weighting": "rdd"}).faults == [
        "teacher.task: a teacher is trained without a teacher, but got weighting=rdd, which needs one; choose another, "
        "such as uniform"
    ]


def test_what_is_enqueued_is_examined_and_has_its_trials(examined: Examine) -> None:
    arms = {"baseline": {"trials": 2, "space": "optimizer", "enqueue": [{"train/optimizer/lr": 0.1}] * 2}}
    few = examined(arms=arms).faults
    assert [fault.partition(" settings")[0] for fault in few] == [
        "arms.baseline.enqueue: must leave a trial to each setting and one to the spaces' defaults, but got 2"
    ]
    long = {"train/batch": whole(2, 200, 4)}  # of which the ends are looked at
    found = examined(space=long, arms__baseline__enqueue=[{"train/batch": 99}]).faults
    assert any(
        fault.startswith("arms.baseline.enqueue.0: at train/batch=99: train.batch must be at") for fault in found
    )


def test_a_path_is_fixed_or_searched(examined: Examine) -> None:
    found = examined(arms__baseline__fixed={"train/optimizer/lr": 0.1}).faults
    assert found == [
        "arms.baseline.fixed: train/optimizer/lr is searched too; leave it out here, or in the arm's space"
    ]


def test_a_shared_finding_is_named_once_and_that_of_the_teacher_for_itself(examined: Examine) -> None:
    found = examined(train__optimizer__lr=50, arms__baseline__fixed={}, arms__baseline__space="kd")
    assert [line.partition(" should")[0] for line in found.warnings if "should lie" in line] == ["train.optimizer.lr"]
    taught = examined(teacher__train__optimizer__lr=50)
    assert (taught.faults, [line.partition(" should")[0] for line in taught.warnings if "should lie" in line]) == (
        [],
        ["teacher: train.optimizer.lr"],
    )


EVERY_STAGE = {
    "trian": {},
    "train__batch": "four",
    "student": {**NETWORK, "backbone": "nosuchnet"},
    "data": {"name": "camvid"},
    "storage": "jounal",
    "arms__baseline__fixed": {"train/optimizer/lr": 0.1, "evaluate_on": "test"},
    "arms__rdd__space": ["rdf", "kd"],
    "arms__rdd__enqueue": [{}, {}, {}, {}],
    "execution": {"gpus_per_worker": 1.5},
    "teacher__train__evaluate_every": 40,
}
EXPECTED = [
    "--set must be path=value",
    "trian: no such key",
    "train.batch: input should be a valid integer",
    "data: data.root must be CamVid's folder",
    "storage: must be journal",
    "execution.gpus_per_worker: above 1",
    "arms.baseline.fixed: train/optimizer/lr is searched too",
    "arms.baseline.fixed: evaluate_on decides the images",
    "arms.rdd.space: rdf: must be a search space",
    "arms.rdd.enqueue: must leave a trial to each setting",
    "teacher: train.evaluate_every must be at most",
    "backbone must be the name of a timm model",
]


def test_the_faults_of_all_stages_come_in_one_go(examined: Examine) -> None:
    found = examined(("seed",), **EVERY_STAGE).faults
    # what train.batch would have said is not known, so nothing is said of it
    missing = [part for part in EXPECTED if not any(part in fault for fault in found)]
    assert missing == [] and len(found) == len(EXPECTED), found


def test_keys_that_stand_twice_come_with_the_other_faults(study_file: Writer) -> None:
    path = study_file(seed=-1)
    path.write_text(
        path.read_text() + "seed: 2\narms:\n  one: {trials: 2}\n  one: {trials: 3, fixed: {evaluate_on: test}}\n"
    )
    found = load_examined(str(path))[1].faults
    assert [fault.partition(":")[0] for fault in found] == ["seed", "arms", "arms.one", "arms.one.fixed"]
    assert "stands twice, in lines " in found[0]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "train/optimizer/lr=0.1",
            "--set must have a path with dots, but got 'train/optimizer/lr=0.1'; write --set train.optimizer.lr=0.1",
        ),
        ("arms.rdf.trials=3", "--set must name an arm of the study, but got 'arms.rdf.trials=3'; did you mean 'rdd'?"),
        ("train={batch: 2, batch: 4}", "--set train: batch: stands twice"),
        ("sampler=tpe", "sampler: no such key; known: "),
        ("teacher.path=x", "teacher.path: no such key; known: compile, data, file, "),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_with_the_right_hint(
    setting: str, message: str, examined: Examine
) -> None:
    assert any(message in fault for fault in examined((setting,)).faults)


@pytest.mark.parametrize("text", ["arms: 3\n1: {}\n", "arms: {}\n", "name: x\narms: {A B: {trials: 1}, a.b: {}}\n"])
def test_hardly_a_study_is_refused_with_all_that_it_lacks(text: str, tmp_path: Path) -> None:
    (tmp_path / "none.yaml").write_text(text)
    found = load_examined(str(tmp_path / "none.yaml"))[1].faults
    assert any(fault.startswith("arms") for fault in found)
    assert {"data: is required", "augment: is required", "student: is required", "train: is required"} <= {*found}


@pytest.mark.parametrize(
    ("name", "value", "law"),
    [
        ("conv_stem.weight", float("nan"), "weights must be finite"),
        ("bn1.running_var", -1.0, "outputs must be finite"),
    ],
)
def test_weights_of_a_student_that_are_not_finite_are_found(
    name: str, value: float, law: str, examined: Examine, tmp_path: Path
) -> None:
    tensors = Encoder("mobilenetv2_035", output_stride=8).stages.state_dict()
    torch.save(tensors, tmp_path / "weights.pth")
    assert examined(student__weights=str(tmp_path / "weights.pth")).faults == []
    tensors[name].fill_(value)
    torch.save(tensors, tmp_path / "weights.pth")
    (fault,) = examined(student__weights=str(tmp_path / "weights.pth")).faults
    assert fault.startswith(law) and str(tmp_path / "weights.pth") in fault


def test_a_teacher_that_is_not_finite_is_found(examined: Examine, tmp_path: Path) -> None:
    path = write_teacher(tmp_path / "teacher.safetensors")
    assert examined(teacher={"file": str(path)}).faults == []
    loaded = teacher.load(path, class_names=teacher.read_card(path).class_names)
    loaded.network.state_dict()["encoder.stages.bn1.running_var"].fill_(-1.0)
    teacher.save(loaded.network, loaded.card, path)
    (fault,) = examined(teacher={"file": str(path)}).faults
    assert fault.startswith("teacher: outputs must be finite, but those of the weights in")
