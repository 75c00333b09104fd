"""Batch normalisation by the statistics of all ranks, of which no step waits for the device.

PyTorch's SyncBatchNorm asks the device at every layer which ranks were given anything, exists for CUDA only, and cannot
be derived twice, as a discriminator's gradient penalty needs. Here every rank is taken to have been given something. On
a GPU the kernels are those of PyTorch's SyncBatchNorm, with one collective a layer and direction; elsewhere, and for
second derivatives, autograd derives the definition, `normalised`.
"""

from typing import Any

import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from trainers.distributed.means import at_least_float32
from trainers.distributed.ranks import summed, world_size

KNOWN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, BatchNormAct2d)
"""The layers that are replaced: a subclass of someone else's may do more than to normalise."""


def synchronise(module: nn.Module) -> nn.Module:
    """The module with its batch normalisations replaced by synchronised ones, of the same parameters and names."""
    if type(module) in KNOWN:
        assert isinstance(module, nn.modules.batchnorm._BatchNorm)
        return SynchronisedBatchNorm(module)
    for name, child in module.named_children():
        if (replaced := synchronise(child)) is not child:
            setattr(module, name, replaced)
    return module


class SynchronisedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Normalises as the layer that it replaces would the batches of all ranks joined.

    Every rank gives at least one value of each channel, and calls it equally often. In eval mode, and where there is
    one rank, it is the layer that it replaces.

    Args:
        layer: whose parameters, buffers and mode it takes over; with timm's the activation, too.
    """

    def __init__(self, layer: nn.modules.batchnorm._BatchNorm) -> None:
        super().__init__(0, layer.eps, layer.momentum, affine=False, track_running_stats=False)
        self.num_features, self.affine = layer.num_features, layer.affine
        self.track_running_stats, self.training = layer.track_running_stats, layer.training
        self._parameters, self._buffers = layer._parameters, layer._buffers
        self._modules = layer._modules  # of timm's: "drop" and "act", in the order in which they are applied

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"batch normalisation needs [B, C, ...], but got {list(input.shape)}; add a batch axis")

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, ...] to the same."""
        across = self.training and world_size() > 1
        values = self._across_ranks(input) if across else super().forward(input)
        for following in self._modules.values():
            if following is not None:
                values = following(values)
        return values

    def _across_ranks(self, values: Tensor) -> Tensor:
        self._check_input_dim(values)
        if values.is_cuda and self.momentum is not None:
            return self._by_kernels(values, self.momentum)
        normal, count, mean, variance = normalised(values, self.weight, self.bias, self.eps)
        if self.track_running_stats:
            self._track(count.detach(), mean.detach(), variance.detach())
        return normal

    def _by_kernels(self, values: Tensor, momentum: float) -> Tensor:
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        running = (self.running_mean, self.running_var)
        normal: Tensor = _Synchronised.apply(_dense(values), self.weight, self.bias, *running, momentum, self.eps)
        return normal

    @torch.no_grad()
    def _track(self, count: Tensor, mean: Tensor, variance: Tensor) -> None:
        assert self.num_batches_tracked is not None and self.running_mean is not None and self.running_var is not None
        self.num_batches_tracked.add_(1)
        share = self.num_batches_tracked.double().reciprocal() if self.momentum is None else self.momentum
        for running, found in ((self.running_mean, mean), (self.running_var, variance * count / (count - 1))):
            running.copy_(running + share * (found - running))


def normalised(values: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, ...]:
    """The definition, derivable any number of times.

    Args:
        values: [B, C, ...], of this rank.
        weight: [C], or None for 1.
        bias: [C], or None for 0.
        eps: added to the variance.

    Returns:
        The values normalised over all ranks; then, in float64, the number of values of each channel on all ranks,
        0-dim, their mean and their biased variance, [C].
    """
    wide, axes = at_least_float32(values), [0, *range(2, values.dim())]
    local = wide.new_full((1,), values.numel() // values.shape[1], dtype=torch.float64)
    total = summed(torch.cat([local, wide.sum(axes, dtype=torch.float64)]))
    count, mean = total[0], total[1:] / total[0]
    centred = wide - _channels(mean.to(wide.dtype), values)
    variance = summed(centred.square().sum(axes, dtype=torch.float64)) / count
    scale = (variance + eps).rsqrt() if weight is None else (variance + eps).rsqrt() * weight
    scaled = centred * _channels(scale.to(wide.dtype), values)
    shifted = scaled if bias is None else scaled + _channels(bias.to(wide.dtype), values)
    return shifted.to(values.dtype), count, mean, variance


def _channels(numbers: Tensor, values: Tensor) -> Tensor:
    """[C] as [1, C, 1, ...], for [B, C, ...]."""
    return numbers.view(1, -1, *(1 for _ in values.shape[2:]))


class _Synchronised(torch.autograd.Function):
    """`normalised` by the kernels of PyTorch's SyncBatchNorm, for CUDA, which keep the running statistics too."""

    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        running_mean: Tensor | None,
        running_variance: Tensor | None,
        momentum: float,
        eps: float,
    ) -> Tensor:
        channels = values.shape[1]
        mean, inverse = torch.batch_norm_stats(values, eps)
        count = torch.full_like(mean[:1], values.numel() // channels)
        joined = mean.new_empty(world_size(), 2 * channels + 1)
        dist.all_gather_into_tensor(joined.view(-1), torch.cat([mean, inverse, count]))
        means, inverses, counts = joined.split([channels, channels, 1], dim=1)  # type: ignore[no-untyped-call]
        mean, inverse = torch.batch_norm_gather_stats_with_counts(
            values, means, inverses, running_mean, running_variance, momentum, eps, counts.view(-1)
        )
        ctx.save_for_backward(values, weight, bias, mean, inverse, counts.to(torch.int32))
        ctx.eps = eps
        return torch.batch_norm_elemt(values, weight, bias, mean, inverse, eps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # a second derivative will be asked for
            return _derived(ctx, gradient) + (None,) * 4
        values, weight, _, mean, inverse, counts = ctx.saved_tensors
        gradient, wanted = _dense(gradient), ctx.needs_input_grad[:3]
        total, product, *affine = torch.batch_norm_backward_reduce(gradient, values, mean, inverse, weight, *wanted)
        of_values = None
        if wanted[0]:
            total, product = summed(torch.stack([total, product]))
            of_values = torch.batch_norm_backward_elemt(gradient, values, mean, inverse, weight, total, product, counts)
        of_weight, of_bias = (found if needed else None for found, needed in zip(affine, wanted[1:], strict=True))
        return of_values, of_weight, of_bias, None, None, None, None


def _dense(values: Tensor) -> Tensor:
    """In a layout that the kernels read: channels last, or contiguous."""
    last = any(
        values.dim() == axes and values.is_contiguous(memory_format=layout)
        for axes, layout in ((4, torch.channels_last), (5, torch.channels_last_3d))
    )
    return values if last else values.contiguous()


def _derived(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    """Gradients by the definition, as a graph."""
    values, weight, bias, *_ = ctx.saved_tensors
    normal, *_ = normalised(values, weight, bias, ctx.eps)
    wanted = ctx.needs_input_grad[:3]
    inputs = [tensor for tensor, needed in zip((values, weight, bias), wanted, strict=True) if needed]
    found = iter(torch.autograd.grad(normal, inputs, gradient, create_graph=True))
    return tuple(next(found) if needed else None for needed in wanted)
