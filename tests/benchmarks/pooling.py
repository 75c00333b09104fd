"""Which estimate of the noise of seeds a verdict over several methods may use: three rules on seeds alone, vectorised.

Studies of normal scores in which no method differs from the baseline. `layout` takes the residual variance of the block
layout seed x arm; `differences` the mean variance of the differences to the baseline, but for one of more than four
times that, as the product does; `own` the variance of each difference by itself. Each has its level by min-p.
"""

import argparse
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from scipy.special import stdtr

from analysis.statistics.seeds import OUTLYING

Rule = Literal["layout", "differences", "own"]
LEVEL = 0.05
DRAWS = 200_000
CASES: dict[str, tuple[float, float, float]] = {
    "equal": (1, 1, 1),
    "3x, a method": (1, 3, 1),
    "3x, every other method": (1, 3, 3),
    "3x, the baseline": (3, 1, 1),
    "9x, a method": (1, 9, 1),
}
"""Variances of the baseline, of the first method, and of every other one of the rest; the others have 1."""


def false_better(rule: Rule, variances: np.ndarray, seeds: int, studies: int) -> float:
    """In what share of studies some method is called better."""
    rng = np.random.default_rng(len(variances) * seeds)
    scores = rng.normal(size=(studies, len(variances), seeds)) * np.sqrt(variances)[:, None]
    differences = scores[:, 1:] - scores[:, :1]
    own = differences.var(2, ddof=1)
    alone = _alone(rule, own)
    pooled = _layout(scores) if rule == "layout" else _mean(own, ~alone)
    errors = np.sqrt(np.where(alone, own, pooled[:, None]) / seeds)
    called = np.zeros(studies, bool)
    for number in np.unique(alone.sum(1)):
        rows, methods = alone.sum(1) == number, own.shape[1]
        freedom = np.where(alone[rows], seeds - 1, _freedom(rule, methods - int(number), seeds))
        p_values = 2 * stdtr(freedom, -np.abs(differences[rows].mean(2) / errors[rows]))
        better = (p_values <= _level(rule, methods, int(number), seeds)) & (differences[rows].mean(2) > 0)
        called[rows] = better.any(1)
    return float(called.mean())


def _alone(rule: Rule, own: np.ndarray) -> np.ndarray:
    """Which differences [studies, methods] do not take part in the pool."""
    if rule == "differences":
        return np.asarray(own > OUTLYING * own.mean(1, keepdims=True))
    return np.full(own.shape, rule == "own")


def _layout(scores: np.ndarray) -> np.ndarray:
    """Twice the residual mean square of seed x arm [studies], the variance of a difference."""
    arms, seeds = scores.shape[1:]
    residuals = scores - scores.mean(1, keepdims=True) - scores.mean(2, keepdims=True)
    residuals = residuals + scores.mean((1, 2), keepdims=True)
    return np.asarray(2 * (residuals**2).sum((1, 2)) / ((arms - 1) * (seeds - 1)))


def _mean(own: np.ndarray, inside: np.ndarray) -> np.ndarray:
    return np.asarray(np.where(inside, own, 0).sum(1) / np.maximum(inside.sum(1), 1))


def _freedom(rule: Rule, pooled: int, seeds: int) -> float:
    """Degrees of freedom of the pool; 1, which nothing uses, where it is empty."""
    if not pooled:
        return 1.0
    return (seeds - 1) * (pooled if rule == "layout" else pooled / (1 + (pooled - 1) / 4))


@lru_cache
def _level(rule: Rule, methods: int, alone: int, seeds: int) -> float:
    """Where the smallest p of the family has its 5 % point, with so many differences outside the pool."""
    rng = np.random.default_rng(0)
    pooled = _freedom(rule, methods - alone, seeds)
    freedom = np.array([seeds - 1.0] * alone + [pooled] * (methods - alone))[:, None]
    together = np.sqrt(rng.chisquare(pooled, DRAWS) / pooled)
    scale = [np.sqrt(rng.chisquare(seeds - 1, DRAWS) / (seeds - 1)) for _ in range(alone)]
    deviations = (rng.normal(size=(methods, DRAWS)) - rng.normal(size=DRAWS)) / np.sqrt(2)
    t = deviations / np.stack([*scale, *[together] * (methods - alone)])
    return float(np.quantile(2 * stdtr(freedom, -np.abs(t)).min(0), LEVEL))


def main(arguments: Sequence[str] | None = None) -> dict[tuple[str, int, int], dict[Rule, float]]:
    """Simulate and print a table in Markdown; returns the shares by case, methods and seeds."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.pooling", description=__doc__)
    parser.add_argument("--studies", type=int, default=20_000, help="of each kind")
    parser.add_argument("--methods", type=int, nargs="+", default=[2, 5, 11])
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5])
    options = parser.parse_args(arguments)
    rules: tuple[Rule, ...] = get_args(Rule)
    print("| variances | methods | seeds |", " | ".join(rules), "|\n|---|---|---|---|---|---|")
    found = {}
    for name, (baseline, first, others) in CASES.items():
        for methods in options.methods:
            variances = np.ones(methods + 1)
            variances[1::2] = others
            variances[:2] = baseline, first
            for seeds in options.seeds:
                shares = {rule: false_better(rule, variances, seeds, options.studies) for rule in rules}
                found[name, methods, seeds] = shares
                print(f"| {name} | {methods} | {seeds} |", " | ".join(f"{share:.3f}" for share in shares.values()), "|")
    return found


if __name__ == "__main__":
    main()
