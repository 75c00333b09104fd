"""The steps of what is trained against the student: its own optimizer, its own DDP wrapper, its own backward.

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
        ranks: processes that train; above 1 there is a process group.
    """

    def __init__(self, adversary: Adversary, *, ranks: int) -> None:
        self._adversary = adversary
        self.optimizer = adversary.optimizer()
        self._model = self._wrapped() if ranks > 1 else adversary

    def _wrapped(self) -> nn.Module:
        device = self._adversary.learning[0].device
        ids = [device.index] if device.type == "cuda" else None
        self._adversary.rest(False)  # DDP looks after what requires a gradient when it is built
        model = DistributedDataParallel(self._adversary, device_ids=ids, broadcast_buffers=False)
        self._adversary.rest(True)
        return model

    def step(self, student: Taps, teacher: Taps, *, iteration: int, iterations: int) -> Mapping[str, Tensor]:
        """One step on the taps of the student's step; the values of the adversary's terms, as of `global_means`."""
        optim.set_rate(self.optimizer, self._adversary.rate(iteration, iterations))
        self._adversary.rest(False)
        values = global_means(self._model(student, teacher))
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack(list(values.values())).sum().backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self._adversary.rest(True)
        return {name: value.detach() for name, value in values.items()}
