"""The optimizer of a trial and the poly schedule.

On GPUs optimizers are PyTorch's fused ones: few launches, and in float16 they look at the scaler's finding on the GPU,
where the others make the host wait for it. On the CPU they are PyTorch's own choice.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch.nn import Parameter

from trainers.config import OptimizerConfig

KERNELS = ("foreach", "fused")
"""What of a group of parameters says how a machine computes, and not what."""


def optimizer(parameters: Iterable[Parameter], config: OptimizerConfig) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW, over one parameter group, as the papers train."""
    if config.name == "adamw":
        return adam(parameters, torch.optim.AdamW, lr=config.lr, weight_decay=config.weight_decay)
    return sgd(parameters, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)


def adam(
    parameters: Iterable[Parameter], kind: type[torch.optim.Adam] = torch.optim.Adam, **options: Any
) -> torch.optim.Optimizer:
    """Adam or AdamW, fused on GPUs; `options` are PyTorch's."""
    parameters = list(parameters)
    return kind(parameters, **options, **_fused(parameters))


def sgd(parameters: Iterable[Parameter], **options: Any) -> torch.optim.Optimizer:
    """SGD, fused on GPUs; `options` are PyTorch's."""
    parameters = list(parameters)
    fused = _fused(parameters)
    made = torch.optim.SGD(parameters, **options, **fused)
    if fused and options.get("momentum"):
        # the fused kernel leaves the buffers of its first step unwritten if the scaler skips that step, which is usual.
        # From zeros the first step is the same: without dampening its buffer is the gradient
        for parameter in parameters:
            made.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return made


def _fused(parameters: list[Parameter]) -> dict[str, Any]:
    return {"fused": True} if parameters and all(parameter.is_cuda for parameter in parameters) else {}


def load(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Go on from the state of an optimizer that another kind of machine may have left, by this one's kernels."""
    own = [{name: group[name] for name in KERNELS if name in group} for group in optimizer.param_groups]
    groups = [{**group, **kernels} for group, kernels in zip(state["param_groups"], own, strict=False)]
    optimizer.load_state_dict({**state, "param_groups": groups})


def poly_rate(config: OptimizerConfig, iteration: int, iterations: int) -> float:
    """Learning rate of the 0-based `iteration`: lr * (1 - iteration / iterations) ** power."""
    return float(config.lr * (1 - iteration / iterations) ** config.power)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter group this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
