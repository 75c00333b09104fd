"""Several methods against one baseline: intervals that hold together, and a verdict that says what they say.

With ten methods and one baseline some method would often look better by chance if each had an interval of its own. So
the interval of each is its marginal one at the level at which, over joint draws of all differences, the smallest p
value of the family has its 5 % point (min-p; Westfall and Young, 1993). A method is better where its interval lies
above zero, which is where its adjusted p is at most the level: both count the same draws.

The draws are joint: resampled groups of images and draws of seeds are the same for all arms. Where the images are fewer
than FEWEST_GROUPS groups, only seeds are drawn, and what is found holds on these images.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from analysis.statistics import images
from analysis.statistics.images import FEWEST_GROUPS, Groups, effective_groups
from analysis.statistics.power import detectable
from analysis.statistics.scores import Classes, Counts, Reals, labelled_classes, miou_percent
from analysis.statistics.seeds import Pairs, SeedNoise, seed_deviations, seed_noise

FAMILY_LEVEL = 0.05
"""How often a study without any true difference may call one, in either direction."""
DRAWS = 20_000
BASELINE = 0
T = TypeVar("T")
Outcome = Literal["better", "worse", "no different", "open", "no verdict"]


@dataclass(frozen=True)
class MethodDifference:
    """mIoU of a method minus that of the baseline, over the same seeds and images.

    Attributes:
        estimate: percentage points, the mean over seeds that both finished; None where there is none.
        low: end of the simultaneous interval; None where nothing can be said: one seed, or failed ones.
        high: the other end.
        p_value: two-sided, adjusted for the family.
        detectable: the smallest true difference, in points, that the family's interval would have told from none in
            80 % of studies like this.
        seeds: that both finished.
        failed: seeds that the method or the baseline did not finish.
    """

    estimate: float | None
    low: float | None
    high: float | None
    p_value: float | None
    detectable: float | None
    seeds: int
    failed: int

    @property
    def is_better(self) -> bool:
        return self.low is not None and self.low > 0

    @property
    def is_worse(self) -> bool:
        return self.high is not None and self.high < 0

    @property
    def within(self) -> float | None:
        """The smallest X, in points, for which "no different by more than X" is supported."""
        return None if self.low is None or self.high is None else max(abs(self.low), abs(self.high))

    def outcome(self, margin: float) -> Outcome:
        """What is shown, where differences up to `margin` points count as none.

        A difference that is shown and yet within the margin is `better` or `worse`.
        """
        if self.within is None:
            return "no verdict"
        if self.is_better:
            return "better"
        if self.is_worse:
            return "worse"
        return "no different" if self.within <= margin else "open"


@dataclass(frozen=True)
class Family:
    """All methods of a study against its baseline.

    Attributes:
        differences: of each method.
        level: two-sided, of the whole family.
        images: how many.
        groups: as how many independent groups they count.
        over_images: whether the intervals hold for other images too; else on these alone.
        best_shares: of every arm, the baseline first: in what share of joint draws it is the best. Descriptive, no
            probability of being the best. None for arms that were not judged.
        not_worse: of every arm, whether it is not shown to be worse than any other, over all pairs of arms at once.
        seed_points: standard deviation over seeds of the difference between two runs, in points; None where no arms
            were judged.
        image_points: standard error of a difference from images, in points, the mean over the methods; 0 where these
            are taken as given.
    """

    differences: tuple[MethodDifference, ...]
    level: float
    images: int
    groups: float
    over_images: bool
    best_shares: tuple[float | None, ...]
    not_worse: tuple[bool, ...]
    seed_points: float | None
    image_points: float = 0.0


def judge(
    counts: Counts,
    groups: Groups = None,
    finished: NDArray[np.bool_] | None = None,
    *,
    level: float = FAMILY_LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> Family:
    """Which methods differ from the baseline, from what every run counted in every image.

    Args:
        counts: [arms, seeds, images, classes, 3], the baseline first; equal seeds are paired.
        groups: [images], the group of each; each its own where None.
        finished: [arms, seeds], which runs there are; all where None. A method with a seed that failed gets no
            interval, as seeds that diverge do not fail at random; all of them where it is the baseline's.
        level: two-sided, of the family.
        draws: joint ones.
        seed: of the randomness.

    Raises:
        ValueError: shapes that are not these, fewer than two arms or images, or no seed.
    """
    there = np.ones(counts.shape[:2], bool) if finished is None else np.asarray(finished, bool)
    _check(counts, groups, there)
    independent = effective_groups(groups, counts.shape[2])
    classes = labelled_classes(counts[there])
    scores = miou_percent(counts.sum(2), classes)
    whole: NDArray[np.bool_] = np.asarray(there.all(1))
    judged = np.flatnonzero(whole) if whole[BASELINE] and counts.shape[1] > 1 else np.array([], int)
    evidence = None
    if len(judged) > 1:
        drawn = None if independent < FEWEST_GROUPS else _resampled(counts[judged], groups, classes, draws, seed)
        evidence = _Evidence(scores[judged], drawn, independent, draws, seed)
    shares = evidence.best_shares() if evidence else []
    not_worse = evidence.not_worse(level) if evidence else []
    return Family(
        differences=_differences(scores, there, judged, evidence, level),
        level=level,
        images=counts.shape[2],
        groups=independent,
        over_images=independent >= FEWEST_GROUPS,
        best_shares=tuple(_placed(shares, judged, len(counts))),
        not_worse=tuple(one is True for one in _placed(not_worse, judged, len(counts))),
        seed_points=evidence.seed_points if evidence else None,
        image_points=evidence.image_points if evidence else 0.0,
    )


def _check(counts: Counts, groups: Groups, there: NDArray[np.bool_]) -> None:
    if counts.ndim != 5 or counts.shape[-1] != 3 or counts.shape[0] < 2 or counts.shape[1] < 1 or counts.shape[2] < 2:
        raise ValueError(
            "counts must be [arms, seeds, images, classes, 3] of two arms, a seed and two images or more, "
            f"but got {list(counts.shape)}"
        )
    if groups is not None and len(groups) != counts.shape[2]:
        raise ValueError(f"groups must name one of each image, but got {len(groups)} for {counts.shape[2]} images")
    if there.shape != counts.shape[:2]:
        raise ValueError(f"finished must be [arms, seeds] = {list(counts.shape[:2])}, but got {list(there.shape)}")


def _resampled(counts: Counts, groups: Groups, classes: Classes, draws: int, seed: int) -> Reals:
    """mIoU on resampled images [arms, seeds, resamples]; the same resamples for all."""
    summed = images.grouped(counts, groups)
    weights = images.resamples(summed.shape[2], min(images.RESAMPLES, draws), np.random.default_rng([seed, 0]))
    return np.stack([miou_percent(images.resampled(arm, weights), classes) for arm in summed])


def _differences(
    scores: Reals,
    there: NDArray[np.bool_],
    judged: NDArray[np.int64],
    evidence: "_Evidence | None",
    level: float,
) -> tuple[MethodDifference, ...]:
    intervals = evidence.to_baseline(level) if evidence else []
    known = dict(zip(judged[1:].tolist(), intervals, strict=True)) if intervals else {}
    return tuple(_difference(scores, there, method, known.get(method)) for method in range(1, len(scores)))


def _difference(
    scores: Reals, there: NDArray[np.bool_], method: int, found: "_Simultaneous | None"
) -> MethodDifference:
    both = there[BASELINE] & there[method]
    estimate = float((scores[method] - scores[BASELINE])[both].mean()) if both.any() else None
    low, high, p_value, shown = found or (None, None, None, None)
    return MethodDifference(estimate, low, high, p_value, shown, int(both.sum()), int((~both).sum()))


class _Simultaneous(NamedTuple):
    low: float
    high: float
    p_value: float
    detectable: float


class _Evidence:
    """Scores of whole arms, and what seeds and images may change about their differences.

    Args:
        scores: [arms, seeds], the baseline first.
        drawn: on resampled images [arms, seeds, resamples]; None where the images are taken as given.
        groups: how many independent ones.
        draws: joint ones.
        seed: of the randomness.
    """

    def __init__(self, scores: Reals, drawn: Reals | None, groups: float, draws: int, seed: int) -> None:
        self._scores, self._drawn, self._groups, self._seed = scores, drawn, groups, seed
        pairs = [(arm, BASELINE) for arm in range(1, len(scores))]
        self._baseline = self._joint(pairs, draws)

    def _joint(self, pairs: Pairs, draws: int) -> "_Joint":
        rng = np.random.default_rng([self._seed, 1])
        noise = seed_noise(self._scores, pairs)
        deviations = seed_deviations(noise, pairs, draws, rng)
        estimates = np.array([(self._scores[a] - self._scores[b]).mean() for a, b in pairs])
        variances = np.zeros(len(pairs))
        if self._drawn is not None:
            scale = images.scales(self._groups, draws, rng)
            for n, (a, b) in enumerate(pairs):
                common = _common_deviations(self._drawn[a] - self._drawn[b], estimates[n])
                variances[n] = common.var() * self._groups / (self._groups - 1)
                deviations[:, n] += scale * np.resize(common, draws)
        return _Joint(estimates, deviations, noise, variances)

    @property
    def seed_points(self) -> float:
        """Standard deviation over seeds of one pair's difference."""
        noise = self._baseline.noise
        return float(noise.errors[~noise.own][0]) * math.sqrt(self._scores.shape[1])

    @property
    def image_points(self) -> float:
        """Standard error of a difference from images."""
        return math.sqrt(float(self._baseline.image_variances.mean()))

    def to_baseline(self, level: float) -> list[_Simultaneous]:
        """Of every arm but the baseline."""
        found = self._baseline
        low, high, p_values, alpha = simultaneous(found.estimates, found.deviations, level)
        half = (high - low) / 2
        shown = [
            detectable(half[n], alpha, found.noise.errors[n] ** 2, found.noise.freedom[n], variance, self._groups - 1)
            for n, variance in enumerate(found.image_variances)
        ]
        return [_Simultaneous(*map(float, row)) for row in zip(low, high, p_values, shown, strict=True)]

    def best_shares(self) -> list[float]:
        """In what share of joint draws each arm is the best."""
        values = self._baseline.estimates + self._baseline.deviations
        best = np.concatenate([np.zeros((len(values), 1)), values], axis=1).argmax(1)
        return [float(share) for share in np.bincount(best, minlength=len(self._scores)) / len(values)]

    def not_worse(self, level: float) -> list[bool]:
        """Whether each arm is not shown worse than any other, over all pairs at once."""
        pairs = list(combinations(range(len(self._scores)), 2))
        found = self._joint(pairs, min(len(self._baseline.deviations), images.RESAMPLES))
        low, high, _, _ = simultaneous(found.estimates, found.deviations, level)
        worse = {b for n, (_, b) in enumerate(pairs) if low[n] > 0} | {
            a for n, (a, _) in enumerate(pairs) if high[n] < 0
        }
        return [arm not in worse for arm in range(len(self._scores))]


class _Joint(NamedTuple):
    """Differences with joint draws of their deviations [draws, pairs] and where those come from."""

    estimates: Reals
    deviations: Reals
    noise: SeedNoise
    image_variances: Reals


def _common_deviations(drawn: Reals, estimate: float) -> Reals:
    """What images change about a difference [resamples], the same for all seeds, from [seeds, resamples]."""
    deviations: Reals = images.common_share(drawn) * (drawn.mean(0) - estimate)
    return deviations


def simultaneous(estimates: Reals, deviations: Reals, level: float) -> tuple[Reals, Reals, Reals, float]:
    """Intervals that all hold at once, adjusted p values that agree with them, and the level of each interval alone.

    Args:
        estimates: [differences].
        deviations: joint draws [draws, differences].
        level: two-sided, of all together.
    """
    draws = len(deviations)
    order = np.sort(deviations, axis=0)
    # tails are counted in draws, so that interval and p value cannot disagree by a rounding
    least = np.sort(np.min([_tail(column, order[:, n]) for n, column in enumerate(deviations.T)], axis=0))
    inside = int(least[int(level * draws)]) - 1
    low, high = estimates + order[max(inside, 0)], estimates + order[draws - 1 - max(inside, 0)]
    tails = np.array([_tail(np.array([-e]), order[:, n])[0] for n, e in enumerate(estimates)])
    p_values = np.maximum(np.searchsorted(least, tails, side="right"), 1) / draws
    return low, high, p_values, 2 * max(inside, 1) / draws


def _tail(values: Reals, ordered: Reals) -> NDArray[np.int64]:
    """How many of the draws are at least as far out as each value, on the side where they are fewer."""
    below = np.searchsorted(ordered, values, side="right")
    above = len(ordered) - np.searchsorted(ordered, values, side="left")
    return np.minimum(below, above)


def _placed(values: Sequence[T], judged: NDArray[np.int64], arms: int) -> list[T | None]:
    """The values of the judged arms at their places among all."""
    known = dict(zip(judged.tolist(), values, strict=True)) if values else {}
    return [known.get(arm) for arm in range(arms)]
