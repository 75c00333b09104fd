"""Training steps of an adversary, such as a discriminator: its own optimizer, its own DDP wrapper, its own backward.

The whole loss of an adversary, a gradient penalty with its inner `autograd.grad` included, is computed within the
wrapped forward, so that the one outer backward brings every parameter its gradient exactly once, which is what DDP
averages. (Calling the wrapper from within a penalty would not do: its hooks do not see the inner gradient.)
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainers import optim
from trainers.distributed.means import global_means
from trainers.methods import Adversary
from trainers.models import Taps


class AdversaryTraining:
    """An adversary with its optimizer, ready to step.

    Args:
        adversary: on its device.
        ranks: size of the process group; 1 without one.
    """

    def __init__(self, adversary: Adversary, *, ranks: int) -> None:
        self._adversary = adversary
        self.optimizer = adversary.optimizer()
        self._model = self._wrapped() if ranks > 1 else adversary

    def _wrapped(self) -> nn.Module:
        device = self._adversary.trainable[0].device
        ids = [device.index] if device.type == "cuda" else None
        self._adversary.unfreeze()  # DDP reduces the parameters that require a gradient when it is constructed
        model = DistributedDataParallel(
            self._adversary, device_ids=ids, broadcast_buffers=False, gradient_as_bucket_view=True
        )
        self._adversary.freeze()
        return model

    def step(self, student: Taps, teacher: Taps, *, iteration: int, iterations: int) -> Mapping[str, Tensor]:
        """Train the adversary for one step.

        Args:
            student: the student's taps of this step, detached.
            teacher: the teacher's taps of the same images.
            iteration: 0-based step of the trial.
            iterations: length of the trial.

        Returns:
            The terms of the adversary's loss by name, 0-dim and detached, as of `global_means`.
        """
        optim.set_rate(self.optimizer, self._adversary.rate(iteration, iterations))
        self._adversary.unfreeze()
        values = global_means(self._model(student, teacher))
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack(list(values.values())).sum().backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self._adversary.freeze()
        return {name: value.detach() for name, value in values.items()}
