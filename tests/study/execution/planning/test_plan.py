"""A plan out of measured figures: what trials cost, where the teacher comes from, what does not fit and what would."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from study.configuration.config import StudyConfig
from study.configuration.loading import load
from study.execution.planning import plan as planning
from study.execution.planning.forecast import INLINE_START_S, TRAIN_START_S
from study.execution.planning.machine import Machine, _left_to_group
from study.execution.planning.measurement import one_rank
from study.execution.planning.plan import RAY_START_S, Plan, plan_study, stand_in, teacher_origin
from study.execution.planning.processes import TrialFaultError
from study.execution.planning.works import unstopped_share
from tests.study.conftest import write_teacher
from trainers.config import TrialConfig
from trainers.costs.trial import TrialMemory, TrialTimes
from trainers.teachers.recordings.reading import AHEAD_BYTES
from trainers.teachers.recordings.writing import WAITING_BYTES
from trainers.teachers.teacher import read_card

Config = Callable[..., StudyConfig]
ONLY = {"baseline": {"trials": 2, "space": "optimizer"}}
HOST_MIB = 8000.0
BASE_MIB, IMAGE_MIB = 300.0, 50.0
"""What a pretended process takes, and each image of its batch."""


class Pretended:
    """Trials of `BASE_MIB` and `IMAGE_MIB` for each image; steps of 0.1 s, with a teacher 0.15; alone in half of it."""

    faults_of: dict[str, TrialFaultError]
    seen: dict[str, TrialConfig]
    alone: list[set[str]]
    fails_alone: bool

    def __init__(self, places: Any, say: Any) -> None:
        self.places, self.faults, self.import_s = places, {}, 2.0
        Pretended.seen = {}

    def measure(self, trials: dict[str, TrialConfig]) -> dict[str, Any]:
        Pretended.seen = dict(trials)
        self.faults = {name: fault for name, fault in Pretended.faults_of.items() if name in trials}
        return {name: self._measured(trial) for name, trial in trials.items() if name not in self.faults}

    def memory(self, trial: TrialConfig) -> TrialMemory:
        taken = BASE_MIB + IMAGE_MIB * trial.train.batch
        return TrialMemory(peak_mib=taken, host_mib=taken, reserved_mib=0, checkpoint_bytes=1000)

    def steps(self, trials: dict[str, TrialConfig], teacher: object, plugins: object) -> dict[str, float]:
        Pretended.alone.append(set(trials))
        if "rdd" in trials and Pretended.fails_alone:
            raise TrialFaultError("ValueError: not alone")
        return {name: self._measured(trial).times.step_s / 2 for name, trial in trials.items()}

    def _measured(self, trial: TrialConfig) -> Any:
        teacher_s = 0.05 if trial.teacher else 0.0
        times = TrialTimes(step_s=0.1 + teacher_s, teacher_s=teacher_s, evaluation_s=1.0, start_s=2.0, steps=9)
        return planning.Measured(memory=self.memory(trial), times=times)


@pytest.fixture(autouse=True)
def _pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "Measurement", Pretended)
    monkeypatch.setattr(Machine, "host_mib", HOST_MIB)
    monkeypatch.setattr("study.execution.planning.machine.usable_cpus", lambda: 4)
    Pretended.faults_of, Pretended.alone, Pretended.fails_alone = {}, [], False


def planned(config: StudyConfig, **options: Any) -> Plan:
    return plan_study(config, **options)


def test_times_and_hours_by_hand(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning.time, "perf_counter", lambda: 0.0)  # what counting takes is no figure of a test
    only = {"baseline": {"trials": 8, "space": "optimizer"}}
    found = planned(config(arms=only, pruning={"kind": "none"}), seeds=3)
    arm = found.arms["baseline"]
    whole = 2 + INLINE_START_S + 12 * 0.1 + 6 * 1.0
    assert found.at_a_time == 4
    assert arm.whole_trial_s == pytest.approx(whole)
    assert (arm.trials, arm.iterations, arm.busy_s) == (8, 96, pytest.approx(8 * whole))
    assert found.search.core_hours == pytest.approx(8 * whole / 3600)
    assert found.search.gpu_hours == 0
    assert found.search.wall_s == pytest.approx(2 * whole + RAY_START_S + 2 * 2), "of two processes"
    assert found.replicates is not None
    assert found.replicates.core_hours == pytest.approx(3 * whole / 3600)
    assert found.teacher is None and found.faults == {} and found.refused == ()
    assert found.disk_bytes == 8 * 3 * 1000


def test_a_budget_in_whole_trials_is_the_same_cost_in_every_arm(config: Config) -> None:
    arms = {
        "baseline": {"space": "optimizer"},
        "kd": {"space": ["optimizer", "kd"], "methods": {"kd": {}}},
    }
    found = planned(config(arms=arms, budget={"whole_trials": 5}))
    assert found.arms["baseline"].iterations == pytest.approx(5 * 12)
    assert 0.6 * 60 < found.arms["kd"].iterations < 0.9 * 60, "each of whose iterations is dearer"


def test_the_teacher_is_trained_found_or_comes_with_kdstudy(config: Config, tmp_path: Path) -> None:
    study = config()
    assert teacher_origin(study) == "has to be trained"
    found = planned(study)
    assert found.teacher == "has to be trained"
    assert found.arms["teacher"].whole_trial_s == pytest.approx(2 + TRAIN_START_S + 12 * 0.1 + 2 * 1.0)
    seen = Pretended.seen["rdd"].teacher
    assert seen is not None and not Path(seen.path).exists(), "the stand-in is gone"
    untrained = stand_in(study, tmp_path)
    assert read_card(untrained).class_names == study.class_names
    file = write_teacher(tmp_path / "mine.safetensors")
    named = planned(config(teacher__file=str(file)))
    assert named.teacher == "found"
    assert "teacher" not in named.arms
    assert Pretended.seen["rdd"].teacher == replace(seen, path=str(file))
    assert teacher_origin(config(arms=ONLY)) is None


def test_recordings_spare_the_teacher_and_take_memory_and_disk(config: Config) -> None:
    on = planned(config(execution__concurrent=2))
    off = planned(config(execution__concurrent=2, teacher__record="off"))
    assert on.recordings_bytes > 0 == off.recordings_bytes
    assert on.live_share < 1 == off.live_share
    assert on.arms["rdd"].whole_trial_s < off.arms["rdd"].whole_trial_s
    buffers = min(on.recordings_bytes, AHEAD_BYTES + WAITING_BYTES) / 2**20
    assert on.arms["rdd"].peak_mib - off.arms["rdd"].peak_mib == pytest.approx(buffers)


def test_one_rank_has_its_share_of_a_batch(config: Config) -> None:
    found = planned(config(arms=ONLY, train__workers=2, pruning={"kind": "none"}))
    assert Pretended.seen["baseline"].train.batch == 2
    assert Pretended.seen["baseline"].train.workers == 1
    assert found.at_a_time == 2, "of four CPUs"
    whole = found.arms["baseline"].whole_trial_s
    assert found.search.core_hours == pytest.approx(2 * 2 * whole / 3600)
    assert one_rank(Pretended.seen["baseline"]).train.batch == 2


def test_an_arm_that_cannot_be_trained_is_named_and_the_others_are_planned(config: Config) -> None:
    Pretended.faults_of = {"rdd": TrialFaultError("KeyError: 'tap'")}
    found = planned(config())
    assert found.faults == {"rdd": "KeyError: 'tap'"}
    assert set(found.arms) == {"baseline", "teacher"}
    assert found.search.wall_s > 0


def test_an_arm_whose_operations_cannot_be_counted_is_named_too(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = planning.price_arms

    def failing(study: StudyConfig, measure: object) -> Any:
        if "rdd" in study.arms:
            raise RuntimeError("shapes do not fit\nat all")
        return counted(study, None)

    monkeypatch.setattr(planning, "price_arms", failing)
    assert planned(config()).faults == {"rdd": "RuntimeError: shapes do not fit"}


def test_what_does_not_fit_side_by_side_is_refused_with_what_would(config: Config) -> None:
    (line,) = planned(config(arms=ONLY, train__batch=64, data__train_images=80)).refused
    # 300 + 64 * 50 = 3500 MiB: two of them fit 8000; 300 + 34 * 50 = 2000, which do four times
    assert "but 4 of 3500 MiB do not fit the 8000 MiB" in line
    assert "execution.concurrent=2, or train.batch=34 would fit" in line
    assert planned(config(arms=ONLY, train__batch=34, data__train_images=80)).refused == ()
    assert planned(config(arms=ONLY, train__batch=64, data__train_images=80, execution__concurrent=2)).refused == ()


def test_what_fits_no_memory_alone_is_refused_with_a_batch_that_does(config: Config) -> None:
    Pretended.faults_of = {"baseline": TrialFaultError("it takes more than 8000 MiB of host memory", "host")}
    found = planned(config(arms=ONLY, train__batch=256, data__train_images=300))
    (line,) = found.refused
    assert "must fit the host's memory" in line and "a batch of 256" in line
    # alone 154 would fit, four at a time as many as above
    assert line.endswith("train.batch=34 would fit; it is in none of these figures")
    assert found.faults == {} and found.arms == {}
    Pretended.faults_of = {}
    assert planned(config(arms=ONLY, train__batch=34, data__train_images=300)).refused == ()


def named_batch(line: str) -> int:
    """The batch that a refusal names."""
    return int(re.findall(r"(?:batch=|batch of )(\d+)", line)[-1])


def test_a_batch_that_is_named_fits_with_the_buffers_of_recordings(config: Config) -> None:
    study = {"execution__concurrent": 4, "data__train_images": 80}
    refused = planned(config(train__batch=64, **study)).refused
    batches = {line.split(":")[0]: named_batch(line) for line in refused}
    assert set(batches) == {"baseline", "rdd"} and max(batches.values()) < 34
    found = planned(config(train__batch=min(batches.values()), **study))
    assert found.recordings_bytes > 0 and found.refused == ()


def test_the_teachers_batch_fits_alone(config: Config) -> None:
    Pretended.faults_of = {"teacher": TrialFaultError("it takes more than 8000 MiB of host memory", "host")}
    (line,) = planned(config(teacher__train__batch=256, data__train_images=300)).refused
    assert "teacher.train.batch=154 would fit" in line
    Pretended.faults_of = {}
    assert planned(config(teacher__train__batch=154, data__train_images=300)).refused == ()


def test_a_batch_that_does_not_fit_beside_others_takes_fewer_of_them(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Machine, "host_mib", 4 * BASE_MIB)
    (line,) = planned(config(arms=ONLY, train__batch=64, data__train_images=80)).refused
    assert line.endswith(
        "no smaller batch would fit: take fewer trials at a time, a smaller augment.crop or network, or "
        "a larger machine"
    )


def test_a_batch_of_several_ranks_is_named_as_the_study_has_it(config: Config) -> None:
    study = {"arms": ONLY, "train__workers": 2, "data__train_images": 300}
    (line,) = planned(config(train__batch=192, **study)).refused
    assert named_batch(line) == 68
    assert planned(config(train__batch=68, **study)).refused == ()


def test_a_batch_that_lacks_memory_of_a_gpu_fits_that_and_the_hosts(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_gpu(self: Pretended, trial: TrialConfig) -> TrialMemory:
        images = trial.train.batch
        return TrialMemory(peak_mib=10 * images, host_mib=50 * images, reserved_mib=10 * images, checkpoint_bytes=1)

    monkeypatch.setattr(Pretended, "memory", on_gpu)
    monkeypatch.setattr(Machine, "gpu_mib", 500.0)
    Pretended.faults_of = {"baseline": TrialFaultError("out of memory", "GPU")}
    study = config(arms=ONLY, train__batch=256, data__train_images=300)
    assert "train.batch=40 would fit" in planned(study).refused[0], "8000 / 4 / 50"
    alone = replace(study, execution=replace(study.execution, concurrent=1))
    assert "train.batch=50 would fit" in planned(alone).refused[0], "500 / 10"


@pytest.mark.parametrize("how", ["fixed", "space"])
def test_a_batch_is_named_by_what_sets_it(config: Config, tmp_path: Path, how: str) -> None:
    space = tmp_path / "batches.yaml"

    def arm(batch: int) -> dict[str, Any]:
        space.write_text(f"train/batch: {{type: int, low: 4, high: {batch}, default: 4}}\n")
        own = {"space": "optimizer", "fixed": {"train/batch": batch}}
        return {"trials": 2, **(own if how == "fixed" else {"space": ["optimizer", str(space)]})}

    study = {"compares": ["train/batch"], "data__train_images": 80}
    (line,) = planned(config(arms={"baseline": arm(64)}, **study)).refused
    said = {"fixed": "or arms.baseline.fixed.train/batch=34", "space": "or a largest train/batch of 34 in its space"}
    assert line.endswith(f"{said[how]} would fit")
    assert planned(config(arms={"baseline": arm(34)}, **study)).refused == ()


def test_a_batch_that_an_arm_fixes_is_set_as_the_refusal_says(study_file: Callable[..., Path]) -> None:
    arms = {"baseline": {"trials": 2, "space": "optimizer", "fixed": {"train/batch": 8}}}
    path = str(study_file(arms=arms, compares=["train/batch"]))
    assert load(path, ["arms.baseline.fixed.train/batch=4"]).arms["baseline"].fixed == {"train/batch": 4}


def test_every_search_of_an_arm_is_replicated(config: Config) -> None:
    arms = {
        "baseline": {"trials": 2, "space": "optimizer"},
        "kd": {"trials": 2, "space": ["optimizer", "kd"], "methods": {"kd": {}}},
    }
    once, twice = (planned(config(arms=arms, searches=searches, teacher__record="off"), seeds=3) for searches in (1, 2))
    assert once.replicates and twice.replicates
    assert twice.replicates.core_hours == pytest.approx(2 * once.replicates.core_hours)
    assert once.arms.keys() == twice.arms.keys()


def test_the_replicates_of_all_searches_share_recordings(config: Config) -> None:
    one, two = (planned(config(searches=number, execution__concurrent=1), seeds=3) for number in (1, 2))
    assert two.arms["rdd"].replicate_s < one.arms["rdd"].replicate_s, "two settings read what one of them records"


def test_trials_that_may_never_be_stopped_are_foreseen_as_whole(config: Config) -> None:
    arms = {"rdd": {"trials": 9, "space": "rdd", "task": {"weighting": "rdd"}}}
    searched = config(arms=arms)
    assert unstopped_share(searched, "rdd") == pytest.approx(1 / 5), "one tfe_fraction of five"
    stays = {"rdd": {"trials": 9, "space": "optimizer", "task": {"weighting": "rdd", "tfe_fraction": 1.0}}}
    assert planned(config(arms=stays)).arms["rdd"].iterations == 9 * 12
    ends = {"rdd": {"trials": 9, "space": "optimizer", "task": {"weighting": "rdd", "tfe_fraction": 0.0}}}
    halved = planned(config(arms=ends)).arms["rdd"].iterations
    assert unstopped_share(config(arms=ends), "rdd") == 0
    assert halved < planned(searched).arms["rdd"].iterations < 9 * 12


def test_a_choice_that_decides_only_at_another_counts_as_often_as_both_are_drawn(
    config: Config, tmp_path: Path
) -> None:
    space = tmp_path / "stages.yaml"
    space.write_text(
        "task/tfe_fraction: {type: categorical, choices: [0.1, 1.0], default: 0.1, when: {task/combine: [and]}}\n"
        "task/combine: {type: categorical, choices: [xor, and, or], default: xor}\n"
    )
    arms = {"rdd": {"trials": 2, "space": str(space), "task": {"weighting": "rdd"}}}
    assert unstopped_share(config(arms=arms), "rdd") == pytest.approx(1 / 3 * 1 / 2)


MEASURED = {
    "price": "measured",
    "arms": {
        "baseline": {"space": "optimizer"},
        "rdd": {"space": ["optimizer", "kd"], "task": {"weighting": "rdd"}, "methods": {"kd": {}}},
    },
}


def test_seconds_of_a_budget_are_those_of_steps_alone(config: Config) -> None:
    found = planned(config(**MEASURED, budget={"seconds": 3}))
    # alone a step takes 0.05 s, or with its teacher 0.075; beside others twice as long
    assert found.arms["baseline"].iterations == pytest.approx(3 / 0.05)
    assert found.arms["rdd"].iterations == pytest.approx(3 / 0.075)
    assert found.arms["baseline"].iteration_ms == pytest.approx(100)
    assert [name for names in Pretended.alone for name in sorted(names)] == ["baseline", "plain", "teacher", "rdd"]


def test_whole_trials_are_paid_at_measured_prices(config: Config) -> None:
    found = planned(config(**MEASURED, budget={"whole_trials": 5}))
    assert found.arms["baseline"].iterations == pytest.approx(5 * 12)
    assert found.arms["rdd"].iterations == pytest.approx(5 * 12 / 1.5)


def test_an_arm_whose_steps_cannot_be_timed_alone_is_named(config: Config) -> None:
    Pretended.fails_alone = True
    found = planned(config(**MEASURED, budget={"seconds": 3}))
    assert found.faults == {"rdd": "ValueError: not alone"}
    assert set(found.arms) == {"baseline", "teacher"}


def test_searched_batches_are_measured_at_the_largest(config: Config, tmp_path: Path) -> None:
    space = tmp_path / "batches.yaml"
    space.write_text("train/batch: {type: categorical, choices: [2, 4, 8], default: 4}\n")
    arms = {"baseline": {"trials": 2, "space": ["optimizer", str(space)]}}
    found = planned(config(arms=arms, compares=["train/batch"]))
    assert Pretended.seen["baseline"].train.batch == 8
    # steps of (2 + 4 + 8) / 3 images on average, where 8 take 0.1 s
    assert found.arms["baseline"].iteration_ms == pytest.approx(100 * 14 / 24, rel=0.02)


def test_no_seeds_and_no_gpu_are_refused(config: Config) -> None:
    with pytest.raises(ValueError, match="--seeds must be at least 1, but got 0"):
        plan_study(config(), seeds=0)
    with pytest.raises(ValueError, match=r"gpus_per_worker=1 and this machine has no GPU"):
        plan_study(replace(config(), execution=replace(config().execution, gpus_per_worker=1)))


def test_a_machine_that_is_too_small_is_refused(config: Config) -> None:
    with pytest.raises(ValueError, match=r"must fit on this machine, which is 4 CPUs, but needs 1 workers with 8 CPUs"):
        plan_study(replace(config(), execution=replace(config().execution, cpus_per_worker=8)))


def test_ranks_that_share_a_gpu_have_its_number(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    of_half = Machine(replace(config().execution, gpus_per_worker=0.5))
    assert [(place.gpu, place.gpu_share) for place in of_half.places(4)] == [(0, 0.5), (0, 0.5), (1, 0.5), (1, 0.5)]
    assert of_half.slots(1) == 4
    whole = Machine(replace(config().execution, gpus_per_worker=1))
    assert [place.gpu for place in whole.places(2)] == [0, 1]


def test_the_limit_of_a_container_counts(tmp_path: Path) -> None:
    assert _left_to_group(tmp_path) == float("inf")
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 200\n")
    assert _left_to_group(tmp_path) == 500
    (tmp_path / "memory.max").write_text("max\n")
    assert _left_to_group(tmp_path) == float("inf")
