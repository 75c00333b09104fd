"""A trial's schedule held against itself, its images and its optimizer."""

from collections.abc import Iterable

from study.configuration.checks.findings import Finding, fault, warning
from study.configuration.config import ExecutionConfig
from trainers.config import OptimizerConfig, TrainConfig

RATES = {"sgd": (1e-5, 1.0), "adamw": (1e-7, 0.1)}
"""Learning rates between which networks are trained, by optimizer; published recipes have 0.01 to 0.02 and 1e-4."""
MOMENTUM = 0.999


def check_evaluations(train: TrainConfig) -> Iterable[Finding]:
    """A trial is evaluated within its iterations, and evenly."""
    every, iterations = train.evaluate_every, train.iterations
    if every > iterations:
        yield fault(
            f"train.evaluate_every must be at most train.iterations, but got evaluate_every={every} and "
            f"iterations={iterations}; lower it"
        )
    elif iterations % every:
        yield warning(
            f"train.evaluate_every should divide train.iterations, but got evaluate_every={every} and "
            f"iterations={iterations}: the last evaluation follows {iterations % every} iterations after the one "
            "before; change one of them"
        )


def check_probes(train: TrainConfig) -> Iterable[Finding]:
    """Gradients can be compared, and a step that does comes within its iterations."""
    try:
        train.refuse_compiled_probe()
    except ValueError as error:
        yield fault(str(error))
    if train.probe_every > train.iterations:
        yield warning(
            f"train.probe_every should be at most train.iterations, but got probe_every={train.probe_every} and "
            f"iterations={train.iterations}, so no step is probed; lower it, or leave it out"
        )


def check_batch(train: TrainConfig, execution: ExecutionConfig) -> Iterable[Finding]:
    """Every worker has the same share of a batch, and enough of it to normalise by."""
    if train.batch % train.workers:
        yield fault(
            f"train.batch must be a multiple of train.workers, but got batch={train.batch} and "
            f"workers={train.workers}; change one of them"
        )
    try:
        train.refuse_single_images(workers=train.workers, on_gpus=execution.gpus_per_worker > 0)
    except ValueError as error:
        yield fault(str(error))


def check_images(train: TrainConfig, images: int) -> Iterable[Finding]:
    """A batch holds no image twice."""
    if train.batch > images:
        yield fault(
            f"train.batch must be at most the number of training images, but got batch={train.batch} and {images} "
            "images; lower it"
        )


def check_optimizer(optimizer: OptimizerConfig) -> Iterable[Finding]:
    """Its numbers are such that networks are trained with."""
    name, rate = optimizer.name, optimizer.lr
    low, high = RATES[name]
    if not low <= rate <= high:
        what = "diverge" if rate > high else "stay as they began"
        yield warning(
            f"train.optimizer.lr should lie between {low:g} and {high:g} with {name}, but got {rate:g}, with which "
            f"nearly all networks {what}; {'lower' if rate > high else 'raise'} it"
        )
    if name == "sgd" and optimizer.momentum > MOMENTUM:
        yield warning(
            f"train.optimizer.momentum should be at most {MOMENTUM}, but got {optimizer.momentum:g}, with which steps "
            "only add up; lower it"
        )
    if rate * optimizer.weight_decay >= 1:
        yield warning(
            f"train.optimizer.lr times weight_decay must be below 1 for weights to decay, but got {rate:g} and "
            f"{optimizer.weight_decay:g}; lower one of them"
        )
