"""Which sampler and which early stopping find good settings for the least cost: searches of synthetic curves.

Every strategy searches the same landscapes: a curve that rises to a quality which the settings decide, with a stage in
which RDD's curve is behind, and noise. What counts is the regret: how much the true quality of the trial that a search
would name its best is below that of the best setting there is, in points of mIoU, over what the search has spent, in
whole trials of the plain student. Ours go through the ledger, with its common first rung and startup settings; plain
Optuna asks and tells a study of its own. Nothing is trained. The defaults of `search` and `pruning` are what came out
best.

And whether a method that does nothing is tuned as well as the baseline: `do_nothing` lets every arm search where the
optimizer alone decides, at the prices of the real arms.
"""

import argparse
import json
import math
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import optuna
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import TrialState

from study.configuration.config import StudyConfig
from study.configuration.tuning import PruningConfig, SearchConfig
from study.ledger import ledger as ledgers
from study.ledger.ledger import ArmLedger, open_arms
from study.ledger.trial_run import Suggestion, TrialRun
from tests.benchmarks.measure import machine
from trainers.config import TeacherFile, content_hash, parse

OUT = Path("runs/bench/tuning.json")
SEEDS = 20
CHECKPOINTS = (5.0, 10.0, 20.0, 40.0)
"""Whole trials of the plain student at which the regret is read."""
ITERATIONS, EVERY = 400, 25
NETWORK = {"architecture": "deeplabv3", "backbone": "mobilenetv2_035", "head_channels": 16, "rates": [2, 4]}
ARMS: dict[str, dict[str, Any]] = {
    "baseline": {"space": ["optimizer"]},
    "kd": {"space": ["optimizer", "kd"], "methods": {"kd": {}}},
    "rdd": {"space": ["optimizer", "rdd", "kd"], "task": {"weighting": "rdd"}, "methods": {"kd": {}}},
}
Values = Mapping[str, Any]
Quality = Callable[[Values], float]


def study(
    seed: int, *, whole_trials: float = CHECKPOINTS[-1], arms: Sequence[str] = tuple(ARMS), **changes: Any
) -> StudyConfig:
    """A study of these arms that nobody trains."""
    schedule = {"iterations": ITERATIONS, "batch": 4, "evaluate_every": EVERY}
    values = {
        "name": "synthetic",
        "seed": seed,
        "data": {"name": "streets", "size": [48, 64]},
        "augment": {"crop": [48, 64]},
        "student": NETWORK,
        "train": schedule,
        "teacher": {"model": NETWORK, "train": schedule},
        "budget": {"whole_trials": whole_trials},
        "arms": {name: ARMS[name] for name in arms},
    }
    return replace(parse(StudyConfig, values).with_spaces(), **changes)


@dataclass(frozen=True)
class Landscape:
    """How good settings are: a function of the seed that drew it.

    Attributes:
        lr: the best learning rate, away from the default.
        decay: the best weight decay.
        method: points that the best own parameters of a method bring.
        noise: standard deviation of an evaluation, and of a trial as a whole, in points.
    """

    lr: float
    decay: float
    method: float
    noise: float = 0.3

    @classmethod
    def drawn(cls, seed: int, *, method: float = 3.0) -> "Landscape":
        """One whose optimum lies away from the defaults."""
        random = np.random.default_rng([seed, 7])
        side = 1 if random.random() < 0.5 else -1
        return cls(
            lr=float(np.clip(0.05 * 10 ** (side * random.uniform(0.3, 0.55)), 0.006, 0.18)),
            decay=float(5e-4 * 10 ** random.uniform(-1.2, 1.0)),
            method=method,
        )

    def quality(self, values: Values) -> float:
        """mIoU at the end of a whole trial, without noise."""
        lr = math.log10(values["train/optimizer/lr"] / self.lr)
        decay = math.log10(values["train/optimizer/weight_decay"] / self.decay)
        return 60 - 12 * lr**2 - 1.0 * decay**2 + self.method * self._own(values)

    def _own(self, values: Values) -> float:
        """Share of what the method can bring, 1 at its best parameters; 0 for an arm without any."""
        shares = []
        if "methods/kd/weights/pixel" in values:
            shares.append(math.exp(-(math.log10(values["methods/kd/weights/pixel"] / 3) ** 2)))
            shares.append(math.exp(-((values["methods/kd/temperature"] - 4) ** 2) / 10))
        if "task/tfe_fraction" in values:
            shares.append({0.0: 0.7, 0.1: 0.9, 0.2: 1.0, 0.3: 0.8, 1.0: 0.2}[values["task/tfe_fraction"]])
            shares.append({"xor": 1.0, "and": 0.6, "or": 0.8}.get(values.get("task/combine", "and"), 0.6))
            shares.append(math.exp(-((values.get("task/threshold", 0.5) - 0.75) ** 2) / 0.02))
        return statistics.fmean(shares) if shares else 0.0

    def best(self, arm: str) -> float:
        """The quality of the best settings of an arm."""
        return 60 + (0.0 if arm == "baseline" else self.method)

    def curve(self, values: Values, seed: int, number: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """What a trial's evaluations say; a small learning rate rises sooner, and the TFE stage holds it back."""
        random = np.random.default_rng([seed, number, 11])
        share = np.arange(1, ITERATIONS // EVERY + 1) * EVERY / ITERATIONS
        slow = 0.12 * (1 + 0.6 * math.log10(values["train/optimizer/lr"] / 0.005))
        held = np.where(share < values.get("task/tfe_fraction", 0.0), 4.0, 0.0)
        rise = 25 * np.exp(-share / slow) + held
        return self.quality(values) + random.normal(0, self.noise) - rise + random.normal(0, self.noise, len(share))


@dataclass
class Search:
    """What one arm's search has done: after each trial, what was spent by then and which setting it would name."""

    spent: float = 0.0
    trials: int = 0
    finished: int = 0
    named: float = -math.inf
    quality: float = -math.inf
    history: tuple[tuple[float, float], ...] = ()

    def ended(self, cost: float, whole: bool, value: float, quality: float) -> None:
        """A trial ended that cost so much."""
        self.spent += cost
        self.trials += 1
        self.finished += whole
        if whole and value > self.named:
            self.named, self.quality = value, quality
        self.history = (*self.history, (self.spent, self.quality))

    def at(self, spent: float) -> float:
        """The quality of what it would have named by then; minus infinity while nothing was finished."""
        return next((quality for cost, quality in reversed(self.history) if cost <= spent * 1.03), -math.inf)


@contextmanager
def in_memory() -> Iterator[None]:
    """Ledgers without a file; each folder is a storage of its own, so that it can be opened again."""
    storages: dict[Path, BaseStorage] = {}
    with mock.patch.object(
        ledgers, "open_storage", lambda config, folder: storages.setdefault(folder, InMemoryStorage())
    ):
        yield


def note(config: StudyConfig, arm: ArmLedger, suggestion: Suggestion, folder: Path) -> None:
    """Write what a trial runs to the ledger, as the driver does."""
    trial = config.trial(suggestion.arm, suggestion.values, TeacherFile(path="teacher"))
    arm.note(
        TrialRun(
            **vars(suggestion),
            trial=trial,
            hash=content_hash(trial),
            budget=trial.train.iterations,
            prunable=True,
            execution=config.execution,
            folder=str(folder),
        )
    )


def run_arms(
    config: StudyConfig,
    folder: Path,
    landscape: Landscape,
    *,
    kill_every: int = 0,
    most_trials: int = 10_000,
) -> dict[str, Search]:
    """Search every arm through the ledger, one trial at a time, the arm that has spent least first.

    Args:
        config: the study.
        folder: of its ledger.
        landscape: what trials score.
        kill_every: the driver dies at every so many-th evaluation, and another opens the ledger; 0 for never.
        most_trials: of all arms.
    """
    arms = open_arms(config, folder, with_teacher=False)
    found = {name: Search() for name in arms}
    evaluations = 0
    for _ in range(most_trials):
        waiting = [arm for arm in arms.values() if not arm.exhausted]
        if not waiting:
            break
        name = min(waiting, key=lambda arm: arm.started_share).arm
        suggestion = arms[name].ask()
        assert suggestion is not None
        note(config, arms[name], suggestion, folder)
        number, stopped = suggestion.number, False
        curve = landscape.curve(suggestion.values, config.seed, number)
        for step, value in enumerate(curve, start=1):
            iteration = step * EVERY
            evaluations += 1
            arms[name].report(number, iteration, float(value))
            if kill_every and evaluations % kill_every == 0:
                arms = open_arms(config, folder, with_teacher=False)
                again = arms[name].ask()
                assert again is not None and again.number == number
            if iteration < ITERATIONS and arms[name].should_prune(number):
                stopped = True
                break
        cost = arms[name].costs(number, iteration)["cost_trials"] or 0.0
        arms[name].tell(number, TrialState.PRUNED if stopped else TrialState.COMPLETE, float(value), {})
        found[name].ended(cost, not stopped, float(value), landscape.quality(suggestion.values))
    return found


def run_optuna(
    config: StudyConfig,
    arm: str,
    landscape: Landscape,
    sampler: optuna.samplers.BaseSampler,
    pruner: optuna.pruners.BasePruner,
    price: float,
) -> Search:
    """The same search by a study of Optuna's own, at a price of one iteration in iterations of the plain student."""
    plain, space, found = (
        optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner),
        config.space(arm),
        Search(),
    )
    plain.enqueue_trial(space.defaults())
    while found.spent < CHECKPOINTS[-1]:
        trial = plain.ask()
        values = space.suggest(trial)
        stopped = False
        for step, value in enumerate(landscape.curve(values, config.seed, trial.number), start=1):
            trial.report(float(value), step * EVERY)
            if step * EVERY < ITERATIONS and trial.should_prune():
                stopped = True
                break
        plain.tell(
            trial, None if stopped else float(value), state=TrialState.PRUNED if stopped else TrialState.COMPLETE
        )
        found.ended(price * step * EVERY / ITERATIONS, not stopped, float(value), landscape.quality(values))
    return found


OURS: dict[str, dict[str, Any]] = {
    f"{sampler} + {kind}": {"search": SearchConfig(sampler=sampler), "pruning": PruningConfig(kind=kind)}  # type: ignore[arg-type]
    for sampler, kind in (
        ("tpe", "halving"),
        ("tpe", "hyperband"),
        ("tpe", "median"),
        ("tpe", "none"),
        ("gp", "halving"),
        ("qmc", "halving"),
        ("random", "halving"),
    )
}


def _rivals(seed: int) -> dict[str, tuple[optuna.samplers.BaseSampler, optuna.pruners.BasePruner]]:
    samplers, pruners = optuna.samplers, optuna.pruners
    hyperband = {"min_resource": EVERY, "max_resource": ITERATIONS, "reduction_factor": 3}
    return {
        "Optuna TPE + Hyperband": (samplers.TPESampler(seed=seed), pruners.HyperbandPruner(**hyperband)),  # type: ignore[arg-type]
        "Optuna TPE + halving": (
            samplers.TPESampler(seed=seed),
            pruners.SuccessiveHalvingPruner(min_resource=EVERY, reduction_factor=3),
        ),
        "Optuna TPE": (samplers.TPESampler(seed=seed), pruners.NopPruner()),
        "random": (samplers.RandomSampler(seed=seed), pruners.NopPruner()),
    }


def regrets(arm: str, seeds: int, strategies: Sequence[str] | None = None) -> dict[str, dict[str, list[float]]]:
    """Of every strategy, by what was spent: the regret of each seed, in points."""
    found: dict[str, dict[str, list[float]]] = {}
    with in_memory(), tempfile.TemporaryDirectory() as place:
        for seed in range(seeds):
            landscape = Landscape.drawn(seed)
            searches: dict[str, Search] = {}
            for name, changes in OURS.items():
                if strategies is None or name in strategies:
                    config = study(seed, arms=(arm,), **changes)
                    searches[name] = run_arms(config, Path(place) / f"{seed}-{name}", landscape)[arm]
            config = study(seed, arms=(arm,))
            price = _price(config, arm, Path(place) / str(seed))
            for name, (sampler, pruner) in _rivals(seed).items():
                if strategies is None or name in strategies:
                    searches[name] = run_optuna(config, arm, landscape, sampler, pruner, price)
            for name, search in searches.items():
                for spent in CHECKPOINTS:
                    regret = landscape.best(arm) - max(search.at(spent), 0.0)
                    found.setdefault(name, {}).setdefault(f"{spent:g}", []).append(regret)
    return found


def _price(config: StudyConfig, arm: str, folder: Path) -> float:
    prices = open_arms(config, folder, with_teacher=False)[arm].spending.prices
    assert prices is not None
    return next(iter(prices.iteration.values())) / prices.plain


def do_nothing(searches: int, *, whole_trials: float = 20.0, kill_every: int = 0) -> dict[str, dict[str, float]]:
    """How far each arm ends from the baseline where no method does anything.

    Returns:
        By arm: mean difference of the true quality to the baseline's in points, its standard error, and the largest
        share by which its spend differs from the baseline's.
    """
    differences: dict[str, list[float]] = {}
    spends: dict[str, list[float]] = {}
    with in_memory(), tempfile.TemporaryDirectory() as place:
        for seed in range(searches):
            config = study(seed, whole_trials=whole_trials)
            landscape = Landscape.drawn(seed, method=0.0)
            found = run_arms(config, Path(place) / str(seed), landscape, kill_every=kill_every)
            base = found.pop("baseline")
            for name, search in found.items():
                differences.setdefault(name, []).append(search.quality - base.quality)
                spends.setdefault(name, []).append(abs(search.spent / base.spent - 1))
    return {
        name: {
            "points": statistics.fmean(values),
            "standard_error": statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan,
            "spend_differs": max(spends[name]),
        }
        for name, values in differences.items()
    }


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and write; returns what was written."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.tuning", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--searches", type=int, default=60, help="of the check that a method without effect is equal")
    parser.add_argument("--arms", nargs="+", default=["baseline", "rdd"], choices=ARMS)
    parser.add_argument("--only", nargs="+", help="strategies by name")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args(arguments)
    written: dict[str, Any] = {"machine": machine(), "regrets": {}, "do_nothing": {}}
    for arm in chosen.arms if chosen.seeds else ():
        written["regrets"][arm] = found = regrets(arm, chosen.seeds, chosen.only)
        print(f"\n{arm}: regret in points, mean and standard error of {chosen.seeds} seeds, by whole trials spent")
        print(f"  {'':24}" + "".join(f"{spent:>14g}" for spent in CHECKPOINTS))
        for name, by_spent in found.items():
            cells = (f"{statistics.fmean(v):8.2f} ±{_error(v):.2f}" for v in by_spent.values())
            print(f"  {name:24}" + "".join(f"{cell:>14}" for cell in cells), flush=True)
    if chosen.searches:
        written["do_nothing"] = do_nothing(chosen.searches)
        print(f"\nmethods that do nothing, {chosen.searches} searches: points over the baseline")
        for name, row in written["do_nothing"].items():
            print(
                f"  {name:10} {row['points']:+.2f} ±{row['standard_error']:.2f}, spend differs by at most "
                f"{100 * row['spend_differs']:.1f} %"
            )
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(written, indent=1))
    print(f"written to {chosen.out}")
    return written


def _error(values: Sequence[float]) -> float:
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


if __name__ == "__main__":
    main()
