"""How much each searched parameter mattered: Optuna's PED-ANOVA on the conditional space of an arm.

The Optuna study is rebuilt in memory from the tables, so that a study moved without its storage can be asked too.
Trials that were stopped early count like the others: all are compared at one iteration that enough of them reached.

Of a dozen trials parameters that do nothing reach a share of 78 %. So the scores are permuted among the trials, and
only what stands out of what that gives is shown: where no parameter does anything, one is shown in at most 5 % of arms.
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import optuna
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from analysis.sampling import sample
from analysis.studies.parameters import kind, searched, values, varies

ENOUGH = 12
"""Trials below which an importance would say more about chance than about parameters."""
MOST = 300
"""Trials of an arm that are asked: a random sample of more says the same, and all permutations ask them."""
BEST_SHARE = 0.25
"""What a parameter is asked: how much it decides whether a trial is in this best share. Optuna's default, the best
tenth, would be a single trial in small studies."""
PERMUTATIONS = 39
PASSED = 1
"""Permutations that may reach a parameter that is shown: with itself 2 of 40, which is 5 %."""


@dataclass(frozen=True, kw_only=True)
class Importance:
    """What PED-ANOVA says of an arm.

    Attributes:
        arm: its name.
        shares: of the parameters that stand out of chance, by path, the largest first; of 1 for all that vary. Empty
            where `reason` is not.
        chance: the varying parameters that do not stand out.
        trials: how many trials it rests on.
        iteration: the evaluation at which they are compared.
        reason: why there is none, as a sentence.
    """

    arm: str
    shares: dict[str, float]
    trials: int
    iteration: int
    chance: tuple[str, ...] = ()
    reason: str = ""


def importance(trials: pa.Table, reports: pa.Table, arm: str) -> Importance:
    """Importance of an arm's parameters for mIoU at the last iteration that ENOUGH of its trials reached.

    Args:
        trials: of the study.
        reports: arm, trial, iteration and miou_percent of the study.
        arm: which.
    """
    mine = trials.filter(pc.field("arm") == arm)
    here = reports.filter((pc.field("arm") == arm) & pc.field("miou_percent").is_valid())
    iteration = _common(here["iteration"].to_pylist())
    if iteration is None:
        return _none(arm, mine.num_rows, f"needs {ENOUGH} trials with an evaluation at the same iteration")
    at = here.filter(pc.field("iteration") == iteration)
    scores = dict(zip(at["trial"].to_pylist(), at["miou_percent"].to_pylist(), strict=True))
    compared = mine.filter(pc.field("trial").isin(list(scores)))
    paths = [path for path in searched(compared) if varies(values(compared, path))]
    if compared.num_rows < ENOUGH:
        return _none(arm, compared.num_rows, f"needs {ENOUGH} ended trials with an evaluation")
    if not paths:
        return _none(arm, compared.num_rows, "needs a parameter that varies")
    asked = compared.take(sample(range(compared.num_rows), MOST))
    values_of = np.array([scores[trial] for trial in asked["trial"].to_pylist()])
    raw = _permuted_importances(_study(asked, paths), paths, values_of)
    shown = [path for path, stands in zip(paths, standing_out(raw), strict=True) if stands]
    shares = {path: float(raw[0, paths.index(path)] / raw[0].sum()) for path in shown}
    found = Importance(
        arm=arm,
        shares=dict(sorted(shares.items(), key=lambda item: -item[1])),
        trials=asked.num_rows,
        iteration=iteration,
        chance=tuple(path for path in paths if path not in shown),
    )
    if shares:
        return found
    reason = f"{arm}: no parameter stands out of what chance gives {asked.num_rows} trials at iteration {iteration}."
    return replace(found, reason=reason)


def _permuted_importances(
    study: optuna.Study, paths: Sequence[str], scores: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Importances [1 + PERMUTATIONS, parameters], not normalised: of the scores, then of permuted ones."""
    rng = np.random.default_rng(0)
    rows = [scores, *(rng.permutation(scores) for _ in range(PERMUTATIONS))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return np.array([_importances(study, paths, row) for row in rows])


def _importances(study: optuna.Study, paths: Sequence[str], scores: NDArray[np.float64]) -> list[float]:
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE)
    # PED-ANOVA takes lower ones for better
    found = evaluator.evaluate(study, target=lambda trial: -float(scores[trial.number]))
    return [found[path] for path in paths]


def standing_out(importances: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which parameters stand out of chance [parameters], all asked at once.

    Each parameter is measured in standard deviations of its own, and held against the largest of each permutation.

    Args:
        importances: [1 + permutations, parameters], the first row without permutation.
    """
    spread = importances.std(0)
    heights = (importances - importances.mean(0)) / np.where(spread > 0, spread, 1)
    reached = (heights[1:].max(1)[:, None] >= heights[0]).sum(0)
    return np.asarray(reached <= PASSED)


def _none(arm: str, trials: int, law: str) -> Importance:
    reason = f"{arm}: an importance {law}; {trials} trials ended, for which this does not hold."
    return Importance(arm=arm, shares={}, trials=trials, iteration=0, reason=reason)


def _common(iterations: Sequence[int]) -> int | None:
    """The last iteration at which at least ENOUGH trials were evaluated."""
    return max((at for at, count in Counter(iterations).items() if count >= ENOUGH), default=None)


def _study(trials: pa.Table, paths: Sequence[str]) -> optuna.Study:
    """The trials by their place, without scores."""
    columns = {path: values(trials, path) for path in paths}
    space = {path: _distribution(found) for path, found in columns.items()}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    rows = [{path: found[n] for path, found in columns.items() if found[n] is not None} for n in range(len(trials))]
    study.add_trials(
        [
            optuna.trial.create_trial(params=row, distributions={path: space[path] for path in row}, value=0.0)
            for row in rows
        ]
    )
    return study


def _distribution(found: Sequence[Any]) -> BaseDistribution:
    """The range that was tried: tables do not hold the space."""
    active = [value for value in found if value is not None]
    scale = kind(found)
    if scale == "category":
        return CategoricalDistribution(sorted(set(active)))
    if all(isinstance(value, int) for value in active):
        return IntDistribution(min(active), max(active), log=scale == "log")
    return FloatDistribution(min(active), max(active), log=scale == "log")
