from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.trainers import small
from tests.trainers.teachers.recordings.test_key import key
from trainers.config import content_hash, plain
from trainers.context import LocalContext
from trainers.data import streets
from trainers.loop import placed_teacher, train
from trainers.teachers import teacher
from trainers.teachers.teacher import Teacher

IMAGES = torch.randint(256, (2, 3, 32, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
CPU = torch.device("cpu")
HALVES = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.teacher_file(tmp_path_factory.mktemp("teacher") / "teacher.safetensors")


def read(file: Path) -> Teacher:
    return teacher.load(file, class_names=streets.Dataset.class_names)


def placed(file: Path, **changes: Any) -> Teacher:
    trial = small.trial({"teacher": {"path": str(file)}, "methods": {"kd": {}}, **changes})
    return placed_teacher(read(file), trial, CPU)


class Casts(TorchDispatchMode):
    """Counts changes of type of some tensors."""

    def __init__(self, tensors: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self.count, self._of = 0, {id(tensor) for tensor in tensors}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        if func.overloadpacket is torch.ops.aten._to_copy and id(args[0]) in self._of:
            self.count += found.dtype != args[0].dtype
        return found


@HALVES
def test_its_weights_are_cast_once_and_its_outputs_keep_their_bits(file: Path, dtype: torch.dtype) -> None:
    plain_one = read(file)
    held = placed(file, **{"train/precision": str(dtype).removeprefix("torch.")})
    casts = []
    taps = []
    for one in (plain_one, held):
        with torch.autocast("cpu", dtype), Casts(list(one.parameters())) as counted:
            taps.append(one(IMAGES))
        casts.append(counted.count)
    assert casts[0] > 50 and casts[1] == 0
    assert all(torch.equal(tap, taps[1][name]) for name, tap in taps[0].items())
    kept = {
        part.dtype for module in held.modules() if isinstance(module, nn.BatchNorm2d) for part in module.parameters()
    }
    assert kept == {torch.float32}


def test_full_precision_leaves_it_as_it_was_read(file: Path) -> None:
    before, after = read(file).state_dict(), placed(file).state_dict()
    assert all(
        torch.equal(tensor, after[name]) and tensor.dtype == after[name].dtype for name, tensor in before.items()
    )


def test_folded_it_answers_alike(file: Path) -> None:
    expected, folded = read(file)(IMAGES), placed(file, **{"teacher/fold_batch_norm": True})
    assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())
    assert all(torch.allclose(tap, folded(IMAGES)[name], rtol=1e-3, atol=1e-4) for name, tap in expected.items())


def test_options_that_round_otherwise_are_part_of_the_recordings_key_and_of_the_hash(file: Path) -> None:
    usual = {"teacher": {"path": str(file)}, "methods": {"kd": {}}}
    changed = [usual | {"teacher/fold_batch_norm": True}, usual | {"teacher/compile": True}]
    assert len({key(changes) for changes in (usual, *changed)}) == 3
    distiller = usual | {"train/compile": True}
    assert key(distiller) == key(usual)
    assert len({content_hash(small.trial(changes)) for changes in (usual, *changed, distiller)}) == 4


def test_a_trial_from_before_these_options_keeps_its_hash(file: Path) -> None:
    trial = small.trial({"teacher": {"path": str(file)}, "methods": {"cirkd": {}}})
    old = plain(trial)
    del old["teacher"]["fold_batch_norm"], old["teacher"]["compile"], old["train"]["compile"]
    del old["methods"]["cirkd"]["half_banks"]
    assert content_hash(small.trial(old)) == content_hash(trial)
    assert content_hash(trial) == "76133efd6239e841b517c0bbf5edbfa957fd91e547871c935637827732a8db8e"


def test_compiled_without_a_break_a_trial_trains_as_it_does_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: Path
) -> None:
    compiled = nn.Module.compile
    # traced as for any backend, and run as it is: the same bits, without a compiler
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: compiled(self, backend="eager", **options))
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    changes = {**small.DISTILLED, "methods": {"cirkd": {}}, "teacher": {"path": str(file)}, "train/iterations": 4}
    eager = small.trial(changes)
    options = {"fold_batch_norm": False, "compile": True}
    fast = replace(eager, train=replace(eager.train, compile=True), teacher=replace(eager.teacher, **options))
    weights = []
    for name, trial in (("eager", eager), ("compiled", fast)):
        context = LocalContext(tmp_path / name)
        train(trial, context)
        weights.append(load_file(context.checkpoints()[-1] / "weights.safetensors"))
    counters = torch._dynamo.utils.counters
    assert counters["stats"]["unique_graphs"] > 0 and not counters["graph_break"], counters
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
