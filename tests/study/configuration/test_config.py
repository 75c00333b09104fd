"""Configuration: every fault is found before anything starts, all at once, each with its path and a remedy."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from study.configuration.config import SHIPPED_TEACHERS, StudyConfig, prunable
from study.configuration.loading import load, presets
from tests.study.conftest import NETWORK, TINY, ray_environment, write_teacher
from trainers.config import ConfigError, TeacherFile, content_hash, identity
from trainers.difficulty import focal
from trainers.teachers.teacher import read_card

Reader = Callable[..., StudyConfig]
Writer = Callable[..., Path]
CAMVID = {"name": "camvid", "size": [48, 64]}
SCRIPT = """
import sys
from study.__main__ import main
code = main(["validate", sys.argv[1]])
sys.exit(99 if "ray" in sys.modules else code)
"""


def faults(read: Reader, **changes: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(**changes)
    return caught.value.faults


def space_file(folder: Path, name: str = "own-space", **parameters: dict[str, Any]) -> str:
    path = folder / f"{name}.yaml"
    entries = {name.replace("__", "/"): {"type": "float", **entry} for name, entry in parameters.items()}
    path.write_text(yaml.safe_dump(entries))
    return str(path)


def test_a_preset_is_read_by_its_name() -> None:
    assert load("quickstart").name == "quickstart"
    assert "quickstart" in presets()


def test_the_quickstart_comes_with_its_teacher(tmp_path: Path) -> None:
    """And a study that trains it otherwise has none."""
    folder = f"teacher.folder={tmp_path}"
    study = load("quickstart", [folder])
    assert study.teacher_path.parent == SHIPPED_TEACHERS
    assert study.teacher_path.stat().st_size <= 2e6
    card = read_card(study.teacher_path)
    assert card.trained_by == content_hash(study.teacher_trial())
    assert card.trial == identity(study.teacher_trial())
    assert load("quickstart", [folder, "seed=7"]).teacher_path.parent == tmp_path


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ("quikstart", "must be a preset or a YAML file, but got 'quikstart'; did you mean 'quickstart'?"),
        ("nowhere.yaml", "there is no file 'nowhere.yaml'"),
    ],
)
def test_a_study_that_is_none_is_refused(study: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(study)
    assert message in str(caught.value)


@pytest.mark.parametrize(("text", "message"), [("a: [1", "must be readable YAML"), ("- 1", "holds list")])
def test_a_file_that_is_no_mapping_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load(str(tmp_path / "bad.yaml"))


FAULTS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown keys at every depth": (
        {
            "trian": {},
            "train__optimizer__lrr": 1,
            "student": {**NETWORK, "rate": [1]},
            "arms__rdd__methods__kd": {"temprature": 1},
        },
        [
            "trian: no such key; did you mean 'train'?",
            "train.optimizer.lrr: no such key; did you mean 'lr'?",
            "student.rate: no such key; did you mean 'rates'?",
            "arms.rdd.methods.kd.temprature: no such key; did you mean 'temperature'?",
        ],
    ),
    "types": (
        {"train__batch": "four", "augment__crop": [48], "arms__rdd__trials": 1.5},
        [
            "train.batch: input should be a valid integer, unable to parse string as an integer, but got 'four'",
            "augment.crop.1: is required",
            "arms.rdd.trials: input should be a valid integer, got a number with a fractional part, but got 1.5",
        ],
    ),
    "ranges": (
        {"train__batch": 0, "train__optimizer__momentum": 2, "seed": -1, "arms__rdd__trials": 0},
        [
            "train.batch: input should be greater than or equal to 1, but got 0",
            "train.optimizer.momentum: input should be less than or equal to 1, but got 2",
            "seed: input should be greater than or equal to 0, but got -1",
            "arms.rdd.trials: input should be greater than or equal to 1, but got 0",
        ],
    ),
    "unknown implementations": (
        {
            "data": {"name": "street"},
            "student": {"architecture": "deeplab"},
            "arms__rdd__task": {"weighting": "rd"},
            "arms__rdd__methods": {"kdd": {}},
        },
        [
            "data: name must name one of trainers.data, but got 'street'; did you mean 'streets'?",
            "student: architecture must name one of trainers.models, but got 'deeplab'; did you mean 'deeplabv3'?",
            "arms.rdd.task: weighting must name one of trainers.difficulty, but got 'rd'; did you mean 'rdd'?",
            "arms.rdd.methods.kdd: no such key; did you mean 'kd'?",
        ],
    ),
    "what types cannot see, of every part": (
        {
            "data": CAMVID,
            "teacher": {"model": NETWORK},
            "arms__rdd__space": "rdf",
            "arms__teacher": {"trials": 1, "space": "optimizer"},
        },
        [
            "data: data.root must be CamVid's folder, but got '', which is none; set data.root to the folder that "
            "holds train.txt, train/ and trainannot/ (SegNet layout)",
            "teacher.train: is required with teacher.model",
            "arms.rdd.space: rdf: must be a search space or a path to one, but is none; did you mean 'rdd'?",
            "arms.teacher: this name is the teacher's own; call the arm something else",
        ],
    ),
    "inline trials of two workers": (
        {"train__workers": 2, "execution": {"engine": "inline"}},
        ["execution.engine: inline trials have one worker, but got train.workers=2; set engine: train"],
    ),
    "shares of GPUs": (
        {"train__workers": 2, "execution": {"gpus_per_worker": 0.5}},
        [
            "execution.gpus_per_worker: a share of a GPU is for trials of one worker, because NCCL refuses two ranks "
            "on one GPU, but got 0.5 and train.workers=2; give each worker 1 GPU, or set train.workers to 1"
        ],
    ),
    "a placement that Ray does not know": (
        {"execution": {"placement": "NEAR"}},
        ["execution.placement: input should be 'PACK', 'SPREAD', 'STRICT_PACK' or 'STRICT_SPREAD', but got 'NEAR'"],
    ),
    "GPUs that are none": (
        {"execution": {"gpus_per_worker": 1.5}},
        ["execution.gpus_per_worker: above 1 it must be a whole number, but got 1.5; give 1 or 2"],
    ),
    "a kind of GPU for trials without one": (
        {"execution": {"accelerator_type": "A100"}},
        [
            "execution.accelerator_type: A100 is a GPU, but got gpus_per_worker=0; set execution.gpus_per_worker, or "
            "leave accelerator_type out"
        ],
    ),
    "a batch that workers cannot share": (
        {"train__workers": 4, "train__batch": 10, "arms": {"only": {"trials": 1, "space": "optimizer"}}},
        [
            "arms.only: train.batch must be a multiple of train.workers, but got batch=10 and workers=4; change one of "
            "them"
        ],
    ),
    "one image for each worker": (
        {"train__workers": 4, "arms": {"only": {"trials": 1, "space": "optimizer"}}},
        [
            "arms.only: batch normalisation needs two images per worker, but got batch=4 and workers=4; raise "
            "train.batch or set train.freeze_batch_norm"
        ],
    ),
    "settings to try first": (
        {
            "arms__rdd__enqueue": [
                {"task/threshold": 0.1},
                {"task/thresold": 0.6},
                {"task/tfe_fraction": 1.0, "task/threshold": 0.6},
            ]
        },
        [
            "arms.rdd.enqueue.0: task/threshold: must be in [0.5, 0.9], but got 0.1",
            "arms.rdd.enqueue.1: task/thresold: no such parameter; did you mean 'task/threshold'?",
            "arms.rdd.enqueue.2: task/threshold: exists only where task/tfe_fraction is one of [0.0, 0.1, 0.2, 0.3], "
            "but got 1.0; leave it out",
        ],
    ),
    "fixed values": (
        {"arms__baseline__fixed": {"train/optimizer/momentum": 1.5, "train/optimizer/lrr": 1}},
        [
            "arms.baseline.fixed: train.optimizer.momentum: input should be less than or equal to 1, but got 1.5",
            "arms.baseline.fixed: train/optimizer/lrr is nothing that this arm's trials have; did you mean "
            "'train/optimizer/lr'?",
        ],
    ),
    "what has no place in an arm without a space": (
        {"arms__baseline": {"trials": 2, "enqueue": [{"train/optimizer/lr": 1}], "fixed": {"init_seed": 3}}},
        [
            "arms.baseline.enqueue: is for arms that search, but this one has no space; add one, or use fixed",
            "arms.baseline.fixed: init_seed is what tells replicates apart; leave it out, or change the study's seed",
        ],
    ),
    "a holdout of nothing": (
        {"evaluate_on": "holdout"},
        ["evaluate_on: a holdout must hold training images out, but got holdout=0; set holdout to a share such as 0.2"],
    ),
    "a weighting that does not fit the dataset, beside another fault": (
        {"arms__baseline__task": {"weighting": "uniform", "class_weights": [1, 2]}, "data": CAMVID},
        [
            "data: data.root must be CamVid's folder, but got '', which is none; set data.root to the folder that "
            "holds train.txt, train/ and trainannot/ (SegNet layout)",
            "arms.baseline.task: class_weights must hold one weight per class, but got 2 for 11 classes; give 11 "
            "weights or leave class_weights out",
        ],
    ),
}


@pytest.mark.parametrize(("changes", "expected"), FAULTS.values(), ids=FAULTS)
def test_all_faults_come_together(config: Reader, changes: dict[str, Any], expected: list[str]) -> None:
    assert sorted(faults(config, **changes)) == sorted(expected)


def test_a_fault_that_every_arm_has_is_named_once(config: Reader) -> None:
    found = faults(config, augment__scale=[2, 1], arms__other=TINY["arms"]["rdd"], teacher={"file": "none.safetensors"})
    assert len(found) == len(set(found)) == 2
    assert found[1].startswith("augment.scale: the lowest factor must come first")


def test_a_data_folder_that_misses_its_lists_is_named(config: Reader, tmp_path: Path) -> None:
    (found,) = faults(config, data={**CAMVID, "root": str(tmp_path)}, arms={"a": {"trials": 1, "space": "optimizer"}})
    assert found.startswith(f"data: CamVid's folder must hold train.txt, but {tmp_path} does not")


def test_an_arm_that_distils_needs_a_teacher(config: Reader) -> None:
    found = faults(config, teacher={})
    assert found[0].startswith("teacher: an arm distils, so a teacher.file or a teacher.model with teacher.train")


def test_a_teachers_file_is_looked_into(config: Reader, teacher_file: Path, tmp_path: Path) -> None:
    assert config(teacher={"file": str(teacher_file)}).teacher.file == str(teacher_file)
    (missing,) = faults(config, teacher={"file": str(tmp_path / "none.safetensors")})
    assert f"there is no {tmp_path / 'none.safetensors'}" in missing
    assert "kdstudy teacher" in missing
    five = write_teacher(tmp_path / "five.safetensors", classes=5)
    assert faults(config, teacher={"file": str(five)}) == [
        "teacher: teacher and dataset must have the same classes, but the file has 5 and streets has 11"
    ]
    (tmp_path / "text.safetensors").write_text("no teacher")
    (corrupt,) = faults(config, teacher={"file": str(tmp_path / "text.safetensors")})
    assert "is corrupt" in corrupt


def test_a_space_names_only_what_the_arm_has(config: Reader, tmp_path: Path) -> None:
    misspelt = space_file(tmp_path, task__treshold={"low": 0.5, "high": 0.9, "default": 0.7})
    assert faults(config, arms__rdd__space=misspelt) == [
        "arms.rdd.space: task/treshold is nothing that this arm's trials have; did you mean 'task/threshold'?"
    ]
    # the arm has no kd, and naming a field of it must not bring it in
    unused = space_file(tmp_path, "kd-space", methods__kd__temperature={"low": 1, "high": 8, "default": 2})
    assert faults(config, arms__baseline__space=unused) == [
        f"arms.baseline.space: space {unused} needs methods: {{kd: {{}}}}, but the arm has none; add that to the arm, "
        "or leave the space out"
    ]


def test_a_space_stays_within_the_ranges_of_the_configuration(config: Reader, tmp_path: Path) -> None:
    space = space_file(tmp_path, train__optimizer__momentum={"low": 0.5, "high": 1.5, "default": 0.9})
    assert faults(config, arms__baseline__space=space) == [
        "arms.baseline.space: train.optimizer.momentum: input should be less than or equal to 1, but got 1.5"
    ]


def test_set_takes_dotted_paths_and_yaml_values(study_file: Writer) -> None:
    sets = ["seed=3", "train.optimizer.lr=1e-2", "pruning.reduction_factor=0", "augment.crop=[32, 48]"]
    read = load(str(study_file()), sets)
    assert (read.seed, read.train.optimizer.lr, read.pruning.reduction_factor) == (3, 0.01, 0)
    assert read.augment.crop == (32, 48)
    assert read.train.optimizer.momentum == 0.9


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("seed", "--set must be path=value, but got 'seed'"),
        ("seed=[1", "YAML value, but got 'seed=\\[1'"),
        ("sed=1", "sed: no such key; did you mean 'seed'"),
        ("train.batch.size=4", "train.batch: input should be a valid integer"),
    ],
)
def test_set_refuses_what_it_cannot_place(study_file: Writer, setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(str(study_file()), [setting])


def test_relative_paths_become_absolute(
    study_file: Writer, tmp_path: Path, teacher_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.safetensors").write_bytes(teacher_file.read_bytes())
    space_file(tmp_path, task__threshold={"low": 0.5, "high": 0.9, "default": 0.7})
    written = study_file(teacher={"file": "t.safetensors", "folder": "kept"}, arms__rdd__space=["own-space.yaml", "kd"])
    read = load(str(written))
    assert read.teacher.file == str(tmp_path / "t.safetensors")
    assert read.teacher.folder == str(tmp_path / "kept")
    assert read.arms["rdd"].space == (str(tmp_path / "own-space.yaml"), "kd")


def test_some_arms_may_be_chosen(study_file: Writer) -> None:
    file = str(study_file())
    assert list(load(file, arms=["rdd", "baseline"]).arms) == ["baseline", "rdd"]
    with pytest.raises(ConfigError, match=r"arm of the study, but got 'rdf'; did you mean 'rdd'\?"):
        load(file, arms=["baseline", "rdf"])


def test_one_space_may_be_named_without_a_list(config: Reader) -> None:
    assert config(arms__rdd__space="rdd").arms["rdd"].space == ("rdd",)
    assert config(arms__rdd__space=["rdd"]).arms["rdd"].space == ("rdd",)


def test_no_trial_of_any_arm_is_stopped_before_the_longest_tfe_stage_and_one_evaluation(config: Reader) -> None:
    searched = config(train__iterations=100, train__evaluate_every=10)
    assert {searched.grace(arm) for arm in searched.arms} == {40}  # 0.3 is the longest fraction below 1
    former = replace(searched, tuning_rules=1)
    assert (former.grace("rdd"), former.grace("baseline")) == (40, 10)
    assert config(pruning={"grace_iterations": 60}).grace("rdd") == 60
    own = {"trials": 1, "space": "kd", "methods": {"kd": {}}}
    of_task = config(train__iterations=100, arms__rdd={**own, "task": {"weighting": "rdd", "tfe_fraction": 0.5}})
    assert of_task.grace("rdd") == 52
    fixed = {**own, "task": {"weighting": "rdd"}, "fixed": {"task/tfe_fraction": 1.0}}
    assert config(train__iterations=100, arms__rdd=fixed).grace("rdd") == 2


def test_any_weighting_may_ask_for_time(config: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    study = config(arms={"baseline": {"trials": 2, "space": "optimizer", "task": {"weighting": "focal"}}})
    assert study.grace("baseline") == study.train.evaluate_every
    monkeypatch.setattr(focal.Config, "earliest_stop", lambda self, iterations: iterations // 2)
    assert study.grace("baseline") == study.train.iterations // 2 + study.train.evaluate_every
    monkeypatch.setattr(focal.Config, "earliest_stop", lambda self, iterations: None)
    assert not prunable(study.trial("baseline", {}, None))
    monkeypatch.setattr(focal.Config, "needs_teacher", True)
    assert study.needs_teacher("baseline")


def test_a_trial_that_stays_in_the_tfe_stage_is_not_prunable(config: Reader) -> None:
    study = config()
    file = TeacherFile(path="teacher")
    assert prunable(study.trial("baseline", {}, None))
    assert prunable(study.trial("rdd", {"task/tfe_fraction": 0.3}, file))
    assert not prunable(study.trial("rdd", {"task/tfe_fraction": 1.0}, file))


def test_arms_have_their_trials_of_one_seed_and_their_teacher(config: Reader) -> None:
    study = config(seed=7, arms__baseline__fixed={"train/optimizer/momentum": 0.5})
    file = TeacherFile(path="teacher")
    trial = study.trial("rdd", {"methods/kd/temperature": 4.0}, file)
    assert (trial.data_seed, trial.init_seed, trial.teacher) == (7, 7, file)
    assert trial.methods["kd"].temperature == 4.0
    plain = study.trial("baseline", {"train/optimizer/lr": 0.1}, file)
    assert plain.teacher is None
    assert (plain.train.optimizer.lr, plain.train.optimizer.momentum) == (0.1, 0.5)


def test_what_is_held_out_is_so_for_every_arm_and_for_the_teacher(config: Reader) -> None:
    study = config(evaluate_on="holdout", holdout=0.3)
    trials = [study.trial("baseline", {}, None), study.teacher_trial()]
    assert {(trial.evaluate_on, trial.holdout) for trial in trials} == {("holdout", 0.3)}


def test_replicates_of_equal_number_have_equal_seeds_in_every_arm(config: Reader) -> None:
    study = config(seed=7, arms__one={"trials": 3}, arms__other={"trials": 3, "fixed": {"train/optimizer/lr": 0.1}})
    for number in range(3):
        trials = [study.trial(arm, {"replicate": number}, None) for arm in ("one", "other")]
        assert {(trial.data_seed, trial.init_seed) for trial in trials} == {(7 + number, 7 + number)}
        assert trials[1].train.optimizer.lr == 0.1
    assert study.space("one").defaults() == {"replicate": 0}


def validate(study: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(study)], capture_output=True, text=True, env=ray_environment(), check=False
    )


def test_validate_starts_and_imports_no_ray(study_file: Writer) -> None:
    done = validate(study_file(arms__rdd__space=["optimizer", "rdd", "kd"]))
    assert (done.returncode, done.stderr) == (0, "")
    assert "tiny: well" in done.stdout


def test_validate_names_every_fault_without_a_traceback(study_file: Writer) -> None:
    done = validate(study_file(train__batch=0, seed=-1))
    assert done.returncode == 2
    faults = [line for line in done.stderr.splitlines() if not line.startswith("kdstudy: warning: ")]
    assert [line.partition(" input")[0] for line in faults] == [
        "kdstudy: train.batch:",
        "kdstudy: seed:",
    ]


def test_trials_run_the_teacher_as_the_study_says(config: Reader) -> None:
    file = TeacherFile(path="t", sha256="0" * 64)
    usual, asked = config(), config(teacher__fold_batch_norm=True, teacher__compile=True)
    assert usual.trial("rdd", {}, file).teacher == file
    assert asked.trial("rdd", {}, file).teacher == replace(file, fold_batch_norm=True, compile=True)
    assert asked.trial("baseline", {}, file).teacher is None
