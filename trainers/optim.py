"""The optimizer of a trial and the poly schedule."""

from collections.abc import Iterable

import torch
from torch.nn import Parameter

from trainers.config import OptimizerConfig


def optimizer(parameters: Iterable[Parameter], config: OptimizerConfig) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW, over one parameter group, as the papers train."""
    if config.name == "adamw":
        return torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(parameters, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)


def poly_rate(config: OptimizerConfig, iteration: int, iterations: int) -> float:
    """Learning rate of the 0-based `iteration`: lr * (1 - iteration / iterations) ** power."""
    return float(config.lr * (1 - iteration / iterations) ** config.power)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter group this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
