"""The best of the first n trials over all orders in which the same trials might have come, without replacement.

The expected best of n is the unbiased estimator of Tang et al. 2020, "Showing Your Work Doesn't Always Work"; that of
Dodge et al. 2019, "Show Your Work", draws with replacement, which is biased to the low side. Where trials cost
differently, how many of them a cost buys depends on the order too, so orders are drawn.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Reals = NDArray[np.float64]
ORDERS = 1000
"""Orders that are drawn where trials cost differently."""
QUANTILES = (0.05, 0.95)
"""Ends of the band: 90 % of the orders lie between."""
_BLOCK = 2_000_000
"""Numbers of drawn orders that are held at a time."""


class Best(NamedTuple):
    """The best found at each of several costs [costs]: its mean over the orders, and the band's ends."""

    mean: Reals
    low: Reals
    high: Reals


def best_of(values: Reals) -> Best:
    """Best of n trials for n = 1 ... N, over all subsets of so many, each as likely as another.

    With the values in ascending order, the best of n is at most the i-th in C(i, n) of C(N, n) subsets.

    Args:
        values: scores of N trials [N], at least one.
    """
    ordered = np.sort(values)
    number = len(ordered)
    size = np.arange(1, number + 1)
    count = size[:, None]
    # log C(i, n) - log C(N, n), minus infinity where i < n
    with np.errstate(invalid="ignore"):
        chance = np.where(
            size >= count,
            np.exp(_log_choose(size, count) - _log_choose(np.full(1, number), count)),
            0.0,
        )  # [n, i]
    mean = (np.diff(chance, axis=1, prepend=0.0) * ordered).sum(1)
    # a chance that is the quantile itself may be off by its last bits
    low, high = (ordered[(chance < quantile * (1 - 1e-9)).sum(1).clip(max=number - 1)] for quantile in QUANTILES)
    return Best(mean, low, high)


def _log_choose(n: NDArray[np.int64], k: NDArray[np.int64]) -> Reals:
    found: Reals = gammaln(n + 1) - gammaln(k + 1) - gammaln(np.maximum(n - k, 0) + 1)
    return found


def best_at(values: Reals, costs: Reals, at: Reals, *, seed: int = 0) -> Best:
    """Best found within each of several costs, over drawn orders of the trials.

    Args:
        values: scores of the trials [N].
        costs: of them [N], in the unit of `at`.
        at: costs to look at [M], each at least the dearest trial's, so that every order has finished one by then.
        seed: of the orders.
    """
    rng = np.random.default_rng(seed)
    rows = max(1, _BLOCK // len(values))
    blocks = [_drawn(values, costs, at, min(rows, ORDERS - start), rng) for start in range(0, ORDERS, rows)]
    found = np.concatenate(blocks)
    low, high = np.quantile(found, QUANTILES, axis=0, method="inverted_cdf")
    return Best(found.mean(0), low, high)


def _drawn(values: Reals, costs: Reals, at: Reals, orders: int, rng: np.random.Generator) -> Reals:
    """Best within each cost [orders, M]."""
    order = np.argsort(rng.random((orders, len(values))), axis=1)
    best = np.maximum.accumulate(values[order], axis=1)
    spent = np.cumsum(costs[order], axis=1)
    rounded = at * (1 + 1e-9)
    finished = np.stack([np.searchsorted(row, rounded, side="right") for row in spent])
    found: Reals = np.take_along_axis(best, np.maximum(finished - 1, 0), axis=1)
    return found
