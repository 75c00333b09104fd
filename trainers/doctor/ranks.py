"""One training step of two processes, which must have the losses of one process with the whole batch."""

import json
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from trainers.config import TrialConfig, parse, plain
from trainers.doctor.cases import Size
from trainers.doctor.steps import Losses, step_losses

RANKS = 2


def losses_of_two_ranks(trial: TrialConfig, size: Size, kind: str) -> Losses:
    """The losses of rank 0.

    Args:
        trial: for two workers.
        size: whose teacher it has.
        kind: "cuda" for a GPU each and NCCL, "cpu" for gloo.
    """
    with tempfile.TemporaryDirectory(prefix="kdstudy-") as folder:
        spawn(_rank, (folder, plain(trial), size, kind), nprocs=RANKS)  # type: ignore[no-untyped-call]
        found: Losses = json.loads(Path(folder, "losses.json").read_text())
    return found


def _rank(rank: int, folder: str, trial: object, size: Size, kind: str) -> None:
    device = torch.device(kind, rank) if kind == "cuda" else torch.device(kind)
    if kind == "cuda":
        torch.cuda.set_device(device)
    place = f"file://{Path(folder, 'group')}"
    dist.init_process_group("nccl" if kind == "cuda" else "gloo", init_method=place, rank=rank, world_size=RANKS)
    try:
        losses = step_losses(parse(TrialConfig, trial), size, device, rank=rank, ranks=RANKS)
        if rank == 0:
            Path(folder, "losses.json").write_text(json.dumps(dict(losses)))
    finally:
        dist.destroy_process_group()
