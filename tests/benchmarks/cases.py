"""What is measured: every term of every method and weighting, and, where there is a bar, ours and its rival.

A case makes its inputs and gives the loss to compute from them. Methods and weightings come from the registry, with
their default options, so a new one is measured without a line here.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.benchmarks import rivals
from trainers.data import IGNORE
from trainers.difficulty import rdd, uniform
from trainers.distributed.means import Mean
from trainers.methods import cirkd, idd, ifvd
from trainers.models import Taps
from trainers.registry import implementations, module_of

ITERATIONS = 100
STAGES = {"rdd": {"rdd/tfe": 0, "rdd/tse": ITERATIONS - 1}}
"""Iterations at which a weighting is measured, by name; the others are the same at all of them."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large the inputs are; the defaults are a Cityscapes batch at output stride 8."""

    batch: int = 4
    minibatch: int = 2
    """Images that CIRKD contrasts with each other; the rival takes 10 GB for 4."""
    classes: int = 19
    logits: tuple[int, int] = (65, 129)
    labels: tuple[int, int] = (513, 1025)
    student_features: int = 128
    teacher_features: int = 256
    bank_rows: int = 19 * 216


SIZES = {
    "published": Size(),
    "tiny": Size(
        batch=2, classes=5, logits=(9, 13), labels=(65, 97), student_features=6, teacher_features=8, bank_rows=30
    ),
}


class Prepared(NamedTuple):
    """A loss and the tensors whose gradient is wanted."""

    loss: Callable[[], Tensor]
    leaves: list[Tensor]


Case = Callable[[Size, torch.dtype], Prepared]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One of our losses beside its rival.

    Attributes:
        ours: the case that the bars are for.
        rival: what it is compared with.
        bars: least ratio rival / ours, by what is measured: "seconds" or "mib".
        same_as_rival: what computes the rival's numbers, where that is not `ours`.
    """

    ours: Case
    rival: Case
    bars: Mapping[str, float]
    same_as_rival: Case | None = None


def terms() -> dict[str, Case]:
    """Every task loss, every term of every method alone, and the step of what is trained against the student."""
    found: dict[str, Case] = {}
    for name, module in implementations("trainers.difficulty").items():
        for stage, iteration in STAGES.get(name, {name: 0}).items():
            found[stage] = partial(_task_loss, module.Config(), iteration)
    for name, module in implementations("trainers.methods").items():
        config = module.Config()
        for term in dataclasses.asdict(config.weights):
            found[f"{name}/{term}"] = partial(_term, _alone(config, term), term)
        if _method(config, SIZES["tiny"]).adversary is not None:
            found[f"{name}/adversary"] = partial(_opponent, config)
    return found


def comparisons() -> dict[str, Comparison]:
    """The terms that have a bar."""
    published_tse = rdd.Config(confidence="target", denominator="kept")
    plain = partial(_task_loss, uniform.Config(), 0)
    plain_rival = partial(_compared, rivals.cross_entropy, _taps)
    last = ITERATIONS - 1
    return {
        "ifvd": Comparison(
            ours=partial(_compared, ifvd.intra_class_variation, _features_and_labels),
            rival=partial(_compared, rivals.intra_class_variation, _features_and_labels),
            bars={"seconds": 10},
        ),
        "inter-class distance": Comparison(
            ours=partial(_compared, idd.inter_class_distance, _features_and_labels),
            rival=partial(_compared, rivals.inter_class_distance, _features_and_labels),
            bars={"seconds": 20},
        ),
        "cross entropy": Comparison(ours=plain, rival=plain_rival, bars={"seconds": 1}),
        "rdd tse": Comparison(
            ours=partial(_task_loss, published_tse, last),
            rival=partial(_compared, rivals.tse, _taps),
            bars={"seconds": 2.5},
        ),
        "rdd tse / plain cross entropy": Comparison(
            ours=partial(_task_loss, rdd.Config(), last),
            rival=plain_rival,
            bars={"seconds": 1 / 1.2},
            same_as_rival=plain,
        ),
        "cirkd mini-batch": Comparison(
            ours=partial(_compared, cirkd.minibatch_contrast, _contrasted_images),
            rival=partial(_compared, rivals.minibatch_contrast, _contrasted_images),
            bars={"mib": 8, "seconds": 1},
        ),
        "cirkd memory": Comparison(
            ours=partial(_compared, cirkd.memory_contrast, _rows),
            rival=partial(_compared, rivals.memory_contrast, _rows),
            bars={"mib": 3, "seconds": 1.5},
        ),
    }


class Inputs(NamedTuple):
    """What a batch is to the losses."""

    student: Taps
    teacher: Taps
    labels: Tensor


def _inputs(size: Size, dtype: torch.dtype) -> Inputs:
    torch.manual_seed(0)

    def taps(features: int, scale: float) -> Taps:
        channels = {"logits": size.classes, "aux": size.classes, "features": features}
        made = {tap: scale * torch.randn(size.batch, count, *size.logits) for tap, count in channels.items()}
        return {tap: (made[tap].abs() if tap == "features" else made[tap]).to(dtype) for tap in made}

    student = {tap: values.requires_grad_() for tap, values in taps(size.student_features, 1).items()}
    return Inputs(student, taps(size.teacher_features, 2), _labels(size))


def _labels(size: Size) -> Tensor:
    """Blocks of classes, like label maps, a twentieth of the pixels ignored."""
    blocks = torch.randint(size.classes, (size.batch, 1, *size.logits)).float()
    labels = F.interpolate(blocks, size.labels, mode="nearest").squeeze(1).long()
    return labels.masked_fill(torch.rand(labels.shape) < 0.05, IGNORE)


def _alone(config: Any, term: str) -> Any:
    """The options with all weight on one term."""
    weights = {name: float(name == term) for name in dataclasses.asdict(config.weights)}
    return dataclasses.replace(config, weights=type(config.weights)(**weights))


def _term(config: Any, term: str, size: Size, dtype: torch.dtype) -> Prepared:
    size = dataclasses.replace(size, batch=size.minibatch) if term == "minibatch" else size
    method, inputs = _method(config, size, dtype), _inputs(size, dtype)
    learning = [parameter for parameter in method.parameters() if parameter.requires_grad]
    return Prepared(lambda: _sum(method.terms(*inputs)), [*inputs.student.values(), *learning])


def _opponent(config: Any, size: Size, dtype: torch.dtype) -> Prepared:
    adversary = _method(config, size, dtype).adversary
    adversary.unfreeze()
    student, teacher, _ = _inputs(size, dtype)
    return Prepared(lambda: _sum(adversary(student, teacher)), adversary.trainable)


def _method(config: Any, size: Size, dtype: torch.dtype = torch.float32) -> Any:
    channels = {"logits": size.classes, "aux": size.classes}
    method: nn.Module = module_of(config).Method(
        config,
        student_channels={**channels, "features": size.student_features},
        teacher_channels={**channels, "features": size.teacher_features},
        num_classes=size.classes,
    )
    # under autocast parameters are float32, as in training
    return method.to(torch.promote_types(dtype, torch.float32))


def _task_loss(config: Any, iteration: int, size: Size, dtype: torch.dtype) -> Prepared:
    weighting = module_of(config).Weighting(config, num_classes=size.classes, iterations=ITERATIONS)
    inputs, weights = _inputs(size, dtype), weighting.weights(iteration)
    return Prepared(
        lambda: _sum(weighting.terms(*inputs, iteration=iteration), weights),
        [inputs.student["logits"], inputs.student["aux"]],
    )


def _sum(means: Mapping[str, Mean], weights: Mapping[str, float] | None = None) -> Tensor:
    return torch.stack([(weights[name] if weights else 1) * mean.value for name, mean in means.items()]).sum()


class Arguments(NamedTuple):
    """What ours and the rival are called with."""

    positional: tuple[Any, ...]
    named: dict[str, Any]
    leaves: list[Tensor]


def _compared(
    function: Callable[..., Mean | Tensor], arguments: Callable[[Size, torch.dtype], Arguments], *made: Any
) -> Prepared:
    positional, named, leaves = arguments(*made)

    def loss() -> Tensor:
        result = function(*positional, **named)
        return result.value if isinstance(result, Mean) else result

    return Prepared(loss, leaves)


def _taps(size: Size, dtype: torch.dtype) -> Arguments:
    inputs = _inputs(size, dtype)
    return Arguments(inputs, {}, [inputs.student["logits"], inputs.student["aux"]])


def _features_and_labels(size: Size, dtype: torch.dtype) -> Arguments:
    student, teacher, labels = _inputs(size, dtype)
    features = (student["features"], teacher["features"], labels)
    return Arguments(features, {"num_classes": size.classes}, [features[0]])


def _contrasted_images(size: Size, dtype: torch.dtype) -> Arguments:
    student, teacher, _ = _inputs(dataclasses.replace(size, batch=size.minibatch), dtype)
    return Arguments((student["features"], teacher["features"]), {}, [student["features"]])


def _rows(size: Size, dtype: torch.dtype) -> Arguments:
    """Unit rows of student, teacher and memory."""
    torch.manual_seed(0)
    pixels = size.batch * size.logits[0] * size.logits[1]
    student, teacher, bank = (
        F.normalize(torch.randn(count, size.teacher_features, dtype=dtype), dim=1)
        for count in (pixels, pixels, size.bank_rows)
    )
    return Arguments((student.requires_grad_(), teacher, bank), {}, [student])
