"""What recorded outputs of a teacher take, before any is computed."""

from collections.abc import Mapping

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from trainers import models
from trainers.config import TrialConfig


@torch.no_grad()
def bytes_per_iteration(config: TrialConfig, teacher_model: object, num_classes: int) -> Mapping[str, int]:
    """Bytes of each tap of the whole batch of one iteration, of all ranks together.

    The network computes without values, on tensors that are of the CPU in all but their memory, so that autocast gives
    each tap the type that it has in training.

    Args:
        config: the trial; its precision, batch and crop are read.
        teacher_model: configuration of the teacher's network.
        num_classes: classes of the dataset.
    """
    precision = getattr(torch, config.train.precision)
    plain = precision if precision == torch.float64 else torch.float32
    autocast = precision.itemsize == 2
    with FakeTensorMode():  # the network too, of which not every tensor need be a parameter or a buffer
        network = models.build(teacher_model, num_classes=num_classes, initial_weights=False).eval()
        tensors = dict([*network.named_parameters(), *network.named_buffers()])
        state = {name: tensor.to(plain) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
        images = torch.empty(config.train.batch, 3, *config.augment.crop, dtype=plain)
        with torch.autocast("cpu", dtype=precision if autocast else torch.bfloat16, enabled=autocast):
            taps = torch.func.functional_call(network, state, (images,))
    return {name: tap.numel() * tap.element_size() for name, tap in taps.items()}
