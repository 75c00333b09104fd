"""How small a difference could have been shown."""

import math

from scipy.special import gammaln, nctdtrinc, stdtrit

POWER = 0.80
"""How likely the smallest detectable difference would have been found."""


def detectable(
    half_width: float,
    alpha: float,
    seed_variance: float,
    seed_freedom: float,
    image_variance: float,
    image_freedom: float,
) -> float:
    """The smallest true difference, in points, that the interval would tell from none in 80 % of studies like this.

    Half the interval is t standard errors wide; the difference is as many of them as make a noncentral t pass that
    in 80 % of cases, with the degrees of freedom of both noises together (Satterthwaite). The standard error is an
    estimate, on average c4 of the truth for few degrees of freedom, which is divided out: of many studies the mean
    of this number has the power.

    Args:
        half_width: of the interval, in points.
        alpha: two-sided level of the interval alone.
        seed_variance: of the mean difference, from seeds.
        seed_freedom: degrees of freedom of that.
        image_variance: from images; 0 where they are taken as given.
        image_freedom: degrees of freedom of that.
    """
    total = seed_variance + image_variance
    if total == 0:
        return half_width
    parts = ((seed_variance, seed_freedom), (image_variance, image_freedom))
    within = sum(variance**2 / freedom for variance, freedom in parts if variance)
    freedom = total**2 / within
    critical = float(stdtrit(freedom, 1 - alpha / 2))
    needed = float(nctdtrinc(freedom, 1 - POWER, critical))
    return half_width * needed / critical / _c4(freedom)


def _c4(freedom: float) -> float:
    """The mean of an estimated standard deviation over the true one."""
    return math.sqrt(2 / freedom) * math.exp(float(gammaln((freedom + 1) / 2) - gammaln(freedom / 2)))
