"""Two processes over gloo against one process with the same global batch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from tests.trainers import small
from tests.trainers.stops import AskedContext, asked_to_stop, equal, reproducible
from trainers.checkpoints.reading import read_evaluations
from trainers.context import LocalContext
from trainers.data import IGNORE, streets
from trainers.data.order import CountedBatches
from trainers.data.transforms import TrainingSamples
from trainers.distillation.adversaries import AdversaryTraining
from trainers.distillation.gradients import PROBES
from trainers.distributed.means import Mean, global_means
from trainers.loop import train
from trainers.methods import skd

RANKS = 2
PLAIN: dict[str, Any] = {
    "train": {
        "iterations": 4, "batch": 4, "evaluate_every": 1, "precision": "float64", "freeze_batch_norm": True,
        "probe_every": 1,
    },
    "student/dropout": False,
    "augment/scale": [0.3, 1.2],
}  # fmt: skip
SPANNING = {"span_ranks": True, "weights": {"pixel_memory": 0, "region_memory": 0}}
"""CIRKD's term between the images of all ranks, whose gradients cross them."""
UNEVEN = {
    "uneven": [Mean(torch.tensor(6.0), torch.tensor(4)), Mean(torch.tensor(1.0), torch.tensor(3))],
    "one empty": [Mean(torch.tensor(0.0), torch.tensor(0)), Mean(torch.tensor(9.0), torch.tensor(2))],
    "all empty": [Mean(torch.tensor(0.0), torch.tensor(0))] * 2,
}
"""Means by name, one per rank."""


def trials(folder: Path) -> dict[str, dict[str, Any]]:
    """Changes of the small trial by name.

    The position network of "positions" is learned by the two ranks and found by the one.
    """
    distilled = {**small.DISTILLED, "teacher/path": str(folder / "teacher.safetensors")}
    return {
        "distilled": PLAIN | distilled,
        "adversarial": {**PLAIN, **distilled, "methods": {"skd": {"discriminator": {"loss": "hinge"}}}},
        "positions": {**PLAIN, **distilled, **small.READING},
        "idle aux": {**PLAIN, "task/aux_weight": 0},
        "spanning": {**PLAIN, **distilled, "task/aux_weight": 0, "methods": {"cirkd": SPANNING}},
    }


def stop_and_go_on(folder: Path, rank: int) -> dict[str, Any]:
    """Reports of a trial without and with a stop before its first evaluation, and where it was stopped."""
    changes = trials(folder)["distilled"] | {"train/evaluate_every": 3, "train/freeze_batch_norm": False}
    ranks = {"rank": rank, "world_size": RANKS}
    through = LocalContext(folder / "two" / "through", **ranks)
    train(small.trial(changes), through)
    at = asked_to_stop(changes, AskedContext(folder / "two" / "stopped", 2, **ranks))
    dist.barrier()  # it is there for both
    again = LocalContext(folder / "two" / "stopped", **ranks)
    train(small.trial(changes), again)
    return {"at": at, "through": through.reports, "again": again.reports}


def critic_after_a_step(rank: int, *, ranks: int) -> dict[str, Tensor]:
    """A discriminator, one step of wgan-gp with SGD on this rank's logits of the same random draw for all."""
    torch.manual_seed(5)
    critic = skd.Critic(skd.DiscriminatorConfig(optimizer="sgd", lr=0.1), 3).double()
    taps = [{"logits": torch.randn(RANKS, 2, 3, 16, 16, dtype=torch.float64)} for _ in range(2)]
    training = AdversaryTraining(critic, ranks=ranks)
    student, teacher = ({"logits": tap["logits"][rank]} for tap in taps)
    torch.manual_seed(rank)
    training.step(student, teacher, iteration=0, iterations=10)
    return {name: weight.detach() for name, weight in critic.named_parameters() if "weight_u" not in name}


def rank_main(rank: int, folder: Path) -> None:
    """What each process does; leaves `rank_<number>.json`."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=RANKS)
    reports = {}
    for name, changes in trials(folder).items():
        context = LocalContext(folder / "two" / name, rank=rank, world_size=RANKS)
        train(small.trial(changes), context)
        reports[name] = context.reports
    means = global_means({name: parts[rank] for name, parts in UNEVEN.items()})
    found = {
        "reports": reports,
        "means": {name: mean.item() for name, mean in means.items()},
        "stopped": stop_and_go_on(folder, rank),
    }
    (folder / f"rank_{rank}.json").write_text(json.dumps(found))
    torch.save(critic_after_a_step(rank, ranks=RANKS), folder / f"critic_{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both trials by two ranks under `two`, by one under `one`."""
    made = tmp_path_factory.mktemp("ranks")
    small.teacher_file(made / "teacher.safetensors")
    spawn(rank_main, args=(made,), nprocs=RANKS)  # type: ignore[no-untyped-call]
    for name, changes in trials(made).items():
        context = LocalContext(made / "one" / name)
        train(small.trial(changes), context)
        (made / "one" / f"{name}.json").write_text(json.dumps(context.reports))
    return made


def read(folder: Path, rank: int) -> Any:
    return json.loads((folder / f"rank_{rank}.json").read_text())


@pytest.mark.parametrize("name", ["distilled", "adversarial", "positions", "idle aux"])
def test_two_ranks_have_the_curves_of_one(folder: Path, name: str) -> None:
    alone = json.loads((folder / "one" / f"{name}.json").read_text())
    assert len(alone) == 4
    for rank in range(RANKS):
        together = read(folder, rank)["reports"][name]
        for one, two in zip(alone, together, strict=True):
            curves = {key for key in one if key.startswith(("train/", "eval/", "best/", "mask/"))}
            assert curves == {key for key in two if key.startswith(("train/", "eval/", "best/", "mask/"))}
            assert {key: two[key] for key in curves} == pytest.approx({key: one[key] for key in curves}, rel=1e-6)
    assert len({report["train/loss"] for report in alone}) == 4
    assert ("train/term/task/aux" in alone[0]) == (name != "idle aux")
    masks = [{key.split("/")[1] for key in report if key.startswith("mask/")} for report in alone]
    assert masks == ([set()] * 4 if name == "idle aux" else [{"tfe"}, {"tfe"}, {"tse"}, {"tse"}])


@pytest.mark.parametrize("name", ["distilled", "adversarial", "positions", "spanning"])
def test_two_ranks_have_the_gradients_of_one(folder: Path, name: str) -> None:
    alone = json.loads((folder / "one" / f"{name}.json").read_text())
    for rank in range(RANKS):
        for one, two in zip(alone, read(folder, rank)["reports"][name], strict=True):
            ((mine,), (ours,)) = (json.loads(report[PROBES]) for report in (one, two))
            assert ours.pop("terms") == {
                term: pytest.approx(found, rel=1e-6) for term, found in mine.pop("terms").items()
            }
            assert ours.pop("task_norm") == pytest.approx(mine.pop("task_norm"), rel=1e-6)
            assert mine == ours


def test_the_ranks_had_uneven_numbers_of_labelled_pixels() -> None:
    config = small.trial(PLAIN)
    samples = TrainingSamples(streets.Dataset(config.data, "train"), config.augment, seed=0)
    labelled = []
    for rank in range(RANKS):
        batches = CountedBatches(length=5, batch=4, seed=0, start=0, stop=4, rank=rank, ranks=RANKS)
        labelled.append([sum(int((samples[key][1] != IGNORE).sum()) for key in batch) for batch in batches])
    assert all(abs(one - two) > 100 for one, two in zip(*labelled, strict=True))


def test_no_image_is_counted_twice(folder: Path) -> None:
    counts = {}
    for ranks in ("one", "two"):
        (last,) = LocalContext(folder / ranks / "distilled").checkpoints()[-1:]
        names, counts[ranks] = read_evaluations(last)
        assert names == ["val/00000", "val/00001", "val/00002"]
    for kind in ("last", "best"):
        np.testing.assert_array_equal(counts["two"][kind], counts["one"][kind])
    labels = [streets.Dataset(small.trial().data, "val").load(index)[1] for index in range(3)]
    labelled = counts["two"]["last"][..., [0, 2]].sum((1, 2))
    assert labelled.tolist() == [int((label != IGNORE).sum()) for label in labels]


def test_the_average_over_ranks_is_the_global_mean(folder: Path) -> None:
    means = [read(folder, rank)["means"] for rank in range(RANKS)]
    average = {name: (means[0][name] + means[1][name]) / RANKS for name in UNEVEN}
    assert average == pytest.approx({"uneven": 1.0, "one empty": 4.5, "all empty": 0.0}, rel=1e-6)
    assert means[0]["uneven"] == pytest.approx(2 * 6 / 7, rel=1e-6)


def test_a_discriminators_gradients_are_averaged_with_their_penalty(folder: Path) -> None:
    """After one step of SGD from the same weights, averaged gradients are averaged weights."""
    alone = [critic_after_a_step(rank, ranks=1) for rank in range(RANKS)]
    for rank in range(RANKS):
        together = torch.load(folder / f"critic_{rank}.pt", weights_only=True)
        for name, weight in together.items():
            torch.testing.assert_close(weight, (alone[0][name] + alone[1][name]) / 2, rtol=1e-9, atol=1e-12)
    assert not torch.equal(alone[0]["network.last.0.weight"], alone[1]["network.last.0.weight"])


def test_two_ranks_stop_at_one_iteration_and_go_on_with_the_same_bits(folder: Path) -> None:
    for rank in range(RANKS):
        found = read(folder, rank)["stopped"]
        assert found["at"] == 2
        assert [report["iteration"] for report in found["through"]] == [3, 4]
        assert list(map(reproducible, found["again"])) == list(map(reproducible, found["through"]))
    ends = [folder / "two" / name / "checkpoint_000000004" for name in ("through", "stopped")]
    weights = [load_file(end / "weights.safetensors") for end in ends]
    assert equal(*weights)
