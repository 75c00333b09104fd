"""Runs the real training step on fake CUDA tensors, which needs no GPU, and prints one line a case as JSON.

    python -m tests.gpu                           all cases, one rank
    python -m tests.gpu --ranks 4 --only cirkd    rank 0 of 4

Of several ranks, synchronised batch norm and collectives are the real ones, on a fake process group; DDP's wrapper,
whose reducer reads addresses that fake tensors lack, is left out.

A line says what kept the step from running (`error`; an operator with tensors of two devices is refused as CUDA would),
how often the CPU waited for the GPU and where (`syncs`), and `launches`, `flops`, `frozen_casts`, `resident_mib` and
`peak_mib` of the last step.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.gpu import cases, fake_runtime, watching
from trainers import loop, models
from trainers.config import TrialConfig, parse
from trainers.context import LocalContext
from trainers.distillation import adversaries
from trainers.teachers.teacher import Teacher, TeacherCard

LATER = 10
"""The iteration from which steps are watched: the TFE stage is over, where it ends."""


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__)
    parser.add_argument("--only", default="", help="names of cases, separated by commas")
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--crop", type=int, nargs=2, default=(360, 360))
    parser.add_argument("--batch", type=int, default=4, help="images of each GPU")
    parser.add_argument("--precision", default="float16")
    parser.add_argument("--architecture", default="deeplabv3")
    parser.add_argument("--teacher", default="resnet101")
    parser.add_argument("--student", default="resnet18")
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--broken", action="store_true", help="a step that waits, with a teacher that is cast in it")
    parser.add_argument("--train", default="{}", help="more values of `train`, as JSON")
    return parser.parse_args()


def config_of(name: str, args: argparse.Namespace) -> TrialConfig:
    train = {
        "iterations": 40000,
        "batch": args.batch * args.ranks,
        "evaluate_every": 1000,
        "workers": args.ranks,
        "precision": args.precision,
        **json.loads(args.train),
    }
    return parse(
        TrialConfig,
        {
            "data": {"name": "camvid", "root": "/nowhere"},
            "augment": {"crop": list(args.crop)},
            "student": {"architecture": args.architecture, "backbone": args.student},
            "train": train,
            "task": cases.task_of(name, args.classes),
            "methods": cases.methods_of(name),
            "teacher": {"path": "/nowhere/teacher.safetensors"},
        },
    )


def context_of(args: argparse.Namespace) -> LocalContext:
    context = LocalContext.__new__(LocalContext)  # without a folder of checkpoints
    context.rank, context.world_size, context.device = 0, args.ranks, torch.device("cuda", 0)
    return context


def teacher_of(args: argparse.Namespace) -> Teacher:
    model = {"architecture": args.architecture, "backbone": args.teacher}
    card = {"model": model, "class_names": ["x"] * args.classes, "normalisation": {}}
    read = parse(TeacherCard, card)
    return Teacher(models.build(read.model, num_classes=args.classes), read)


@contextmanager
def already_on_the_gpu() -> Iterator[None]:
    """Modules are made on the GPU and stay there: a fake parameter cannot be moved in place."""
    moved = nn.Module.to

    def laid_out(
        module: nn.Module, dtype: torch.dtype | None = None, *, memory_format: Any = None, **_: Any
    ) -> nn.Module:
        if isinstance(dtype, torch.dtype):  # of a frozen layer; those of a whole module are its own already
            for name, parameter in module.named_parameters(recurse=False):
                setattr(module, name, nn.Parameter(parameter.detach().type(dtype), requires_grad=False))
        if memory_format is not None:
            for tensor in _tensors(module):
                if tensor.dim() == 4:
                    tensor.data = tensor.data.contiguous(memory_format=memory_format)
        return module

    nn.Module.to = laid_out
    try:
        with torch.device("cuda"):
            yield
    finally:
        nn.Module.to = moved


def _tensors(module: nn.Module | None) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()] if module else []


def watched(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """The figures of a case's last step."""
    config, context = config_of(name, args), context_of(args)
    with already_on_the_gpu():
        teacher = teacher_of(args) if config.methods else None
        if teacher is not None and not args.broken:
            loop.placed_teacher(teacher, config, context.device)
        parts, state = loop.prepare_step(config, context, teacher, num_classes=args.classes)
    state.iteration = LATER
    syncs = watching.HostSyncs()
    operators = watching.Operators(syncs, teacher.parameters() if teacher else ())
    operators.hold([*_tensors(teacher), *_tensors(parts.model)])
    resident = operators.held
    with syncs, operators:
        for _ in range(args.steps):
            syncs.found.clear()
            operators.restart()
            images = torch.zeros(args.batch, 3, *args.crop, dtype=torch.uint8)
            loop.step(parts, state, images, torch.zeros(args.batch, *args.crop, dtype=torch.uint8))
            if args.broken:
                parts.objective.mean_loss()
    _refuse_other_devices(state.optimizer)
    return {
        "syncs": dict(syncs.found.most_common()),
        "launches": operators.launches.total(),
        "flops": operators.flops,
        "frozen_casts": operators.frozen_casts,
        "resident_mib": round(resident / 2**20),
        "peak_mib": round(operators.peak / 2**20),
        "operators": dict(operators.launches.most_common(12)),
    }


def _refuse_other_devices(optimizer: torch.optim.Optimizer) -> None:
    for values in optimizer.state.values():
        for key, value in values.items():
            if isinstance(value, Tensor) and value.dim() and value.device.type != "cuda":
                raise ValueError(f"the optimizer's state must lie on the GPU, but its {key} is on the {value.device}")


def line(name: str, args: argparse.Namespace) -> dict[str, Any]:
    with FakeTensorMode(allow_non_fake_inputs=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return {"case": name, "error": None, **watched(name, args)}
        except Exception as error:  # noqa: BLE001
            ours = [f for f in traceback.extract_tb(error.__traceback__) if watching._is_ours(f.filename)]
            place = f" at {Path(ours[-1].filename).relative_to(watching.ROOT)}:{ours[-1].lineno}" if ours else ""
            return {"case": name, "error": f"{type(error).__name__}: {error}{place}"}


def main() -> None:
    args = options()
    if not torch.cuda.is_available():
        with tempfile.TemporaryDirectory() as folder:
            env = fake_runtime.environment(Path(folder))
            again = [sys.executable, "-m", "tests.gpu", *sys.argv[1:]]
            sys.exit(subprocess.run(again, env=env, check=False).returncode)
    torch.set_num_threads(1)
    torch.cuda.is_bf16_supported = lambda *_, **__: True
    # fake parameters are of a type for which optimizers do not choose their foreach form, as they do for real ones
    for optimizer in (sys.modules["torch.optim.sgd"], sys.modules["torch.optim.adam"]):
        optimizer._default_to_fused_or_foreach = lambda *_, **__: (False, True)
    if args.ranks > 1:
        from torch.testing._internal.distributed.fake_pg import FakeStore

        loop.DistributedDataParallel = adversaries.DistributedDataParallel = lambda module, **_: module
        dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=args.ranks)
    wanted = [name for name in args.only.split(",") if name] or list(cases.CASES)
    for name in wanted:
        print(json.dumps(line(name, args)), flush=True)


if __name__ == "__main__":
    main()
