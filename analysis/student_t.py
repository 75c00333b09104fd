"""Student's t distribution for whole degrees of freedom, in closed form: all that intervals over seeds need."""

import math

_STEPS = 60
"""Halvings of an angle: more than a float64 can tell apart."""


def cumulative(t: float, freedom: int) -> float:
    """P(T <= t).

    The finite series of Abramowitz and Stegun, 26.7.3 and 26.7.4, in the angle whose tangent is t / sqrt(freedom).

    Raises:
        ValueError: `freedom` is below 1.
    """
    if freedom < 1:
        raise ValueError(f"degrees of freedom must be at least 1, but got {freedom}; give two values or more")
    return _below(math.atan2(t, math.sqrt(freedom)), freedom)


def quantile(probability: float, freedom: int) -> float:
    """The t below which T lies with this probability.

    Raises:
        ValueError: `freedom` is below 1, or `probability` not between 0 and 1.
    """
    if freedom < 1 or not 0 < probability < 1:
        raise ValueError(
            f"a quantile needs freedom >= 1 and 0 < probability < 1, but got {freedom} and {probability}; "
            "give two values or more"
        )
    low, high = -math.pi / 2, math.pi / 2
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if _below(middle, freedom) < probability else (low, middle)
    return math.tan(low) * math.sqrt(freedom)


def _below(angle: float, freedom: int) -> float:
    cosine = math.cos(angle)
    odd = freedom % 2
    term, series = cosine**odd, 0.0
    for step in range(freedom // 2):
        series += term
        term *= cosine**2 * (2 * step + 1 + odd) / (2 * step + 2 + odd)
    central = math.sin(angle) * series
    return (1 + (2 * (angle + central) / math.pi if odd else central)) / 2
