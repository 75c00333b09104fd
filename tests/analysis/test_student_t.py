import math

import numpy as np
import pytest

from analysis.student_t import cumulative, quantile

# printed tables of t at 97.5 %
TABLE = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 9: 2.2622, 30: 2.0423, 120: 1.9799}


@pytest.mark.parametrize(("freedom", "t"), TABLE.items())
def test_quantiles_are_those_of_printed_tables(freedom: int, t: float) -> None:
    assert quantile(0.975, freedom) == pytest.approx(t, abs=5e-5)
    assert quantile(0.025, freedom) == pytest.approx(-t, abs=5e-5)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 10])
@pytest.mark.parametrize("t", [-3.0, -0.4, 0.0, 1.7])
def test_the_distribution_is_the_integral_of_the_density(freedom: int, t: float) -> None:
    x = np.linspace(0, abs(t), 20001)
    scale = math.gamma((freedom + 1) / 2) / math.gamma(freedom / 2) / math.sqrt(freedom * math.pi)
    area = math.copysign(np.trapezoid(scale * (1 + x**2 / freedom) ** (-(freedom + 1) / 2), x), t)
    assert cumulative(t, freedom) == pytest.approx(0.5 + area, abs=1e-8)


@pytest.mark.parametrize("freedom", [1, 4, 29])
def test_quantile_and_distribution_are_inverses(freedom: int) -> None:
    for probability in (0.001, 0.3, 0.5, 0.8, 0.999):
        assert cumulative(quantile(probability, freedom), freedom) == pytest.approx(probability, abs=1e-12)
    assert (cumulative(-math.inf, freedom), cumulative(math.inf, freedom)) == (pytest.approx(0), pytest.approx(1))


def test_what_no_distribution_has_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, but got 0"):
        cumulative(1.0, 0)
    for probability, freedom in ((0.5, 0), (0.0, 3), (1.0, 3)):
        with pytest.raises(ValueError, match=f"but got {freedom} and {probability}"):
            quantile(probability, freedom)
