"""Optimizers: which kernels they use, and that these do not change what they compute."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from trainers import optim
from trainers.config import OptimizerConfig


def parameters() -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(4))]


def step(optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, factor: float) -> None:
    (group,) = optimizer.param_groups
    optimizer.zero_grad()
    scaler.scale(sum((p.square().sum() * factor for p in group["params"]), torch.zeros(()))).backward()
    scaler.step(optimizer)
    scaler.update()


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_on_the_cpu_the_kernels_are_pytorchs_choice(name: Any) -> None:
    (group,) = optim.optimizer(parameters(), OptimizerConfig(name=name)).param_groups
    assert not group["fused"] and not group["foreach"]


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_fused_kernels_survive_a_first_step_that_the_scaler_skips(name: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scaler begins too high, mostly; what the first step did not write must not be read by the second."""
    config = OptimizerConfig(name=name, weight_decay=0.1)
    usual, fused = parameters(), parameters()
    optimizers = [optim.optimizer(usual, config)]
    monkeypatch.setattr(optim, "_fused", lambda _: {"fused": True})
    monkeypatch.setattr(torch, "empty_like", lambda like, **_: torch.full_like(like, torch.nan))
    optimizers.append(optim.optimizer(fused, config))
    for optimizer in optimizers:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**100)
        for factor in (2.0**60, 1.0, 0.5):
            step(optimizer, scaler, factor)
        assert scaler.get_scale() == 2.0**99
    for one, other in zip(usual, fused, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_state_goes_on_by_the_kernels_of_the_machine_that_loads_it(
    name: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = optim.optimizer(parameters(), OptimizerConfig(name=name))
    monkeypatch.setattr(optim, "_fused", lambda _: {"fused": True})
    there = optim.optimizer(parameters(), OptimizerConfig(name=name))
    step(there, torch.amp.GradScaler("cpu", enabled=False), 1.0)
    state = copy.deepcopy(there.state_dict())
    optim.load(here, state)
    assert not here.param_groups[0]["fused"] and there.param_groups[0]["fused"]
    assert state["param_groups"][0]["fused"]
    optim.load(there, here.state_dict())
    assert there.param_groups[0]["fused"]
    found = list(here.state_dict()["state"].values())
    assert len(found) == 2
    assert all(torch.equal(found[i][key], value) for i in range(2) for key, value in state["state"][i].items())
