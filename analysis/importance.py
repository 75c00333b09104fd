"""How much each searched parameter mattered: Optuna's PED-ANOVA on the conditional space of an arm.

The Optuna study is rebuilt in memory from the tables, so that a study moved without its storage can be asked too.
Trials that were stopped early count like the others: all are compared at one iteration that enough of them reached.
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
import pyarrow as pa
import pyarrow.compute as pc
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from analysis.sampling import sample
from analysis.studies.parameters import kind, searched, values, varies

ENOUGH = 12
"""Trials below which an importance would say more about chance than about parameters."""
MOST = 1000
"""Trials of an arm that are asked: a random sample of more says the same, and Optuna copies each one deeply."""
BEST_SHARE = 0.25
"""What a parameter is asked: how much it decides whether a trial is in this best share. Optuna's default, the best
tenth, would be a single trial in small studies."""


@dataclass(frozen=True, kw_only=True)
class Importance:
    """What PED-ANOVA says of an arm.

    Attributes:
        arm: its name.
        shares: of the varying parameters by path, the largest first; they add up to 1. Empty where `reason` is not.
        trials: how many trials it rests on.
        iteration: the evaluation at which they are compared.
        reason: why there is none, as a sentence.
    """

    arm: str
    shares: dict[str, float]
    trials: int
    iteration: int
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
    study = _study(asked, paths, [scores[trial] for trial in asked["trial"].to_pylist()])
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return Importance(arm=arm, shares=shares, trials=asked.num_rows, iteration=iteration)


def _none(arm: str, trials: int, law: str) -> Importance:
    reason = f"{arm}: an importance {law}; {trials} trials ended, for which this does not hold."
    return Importance(arm=arm, shares={}, trials=trials, iteration=0, reason=reason)


def _common(iterations: Sequence[int]) -> int | None:
    """The last iteration at which at least ENOUGH trials were evaluated."""
    return max((at for at, count in Counter(iterations).items() if count >= ENOUGH), default=None)


def _study(trials: pa.Table, paths: Sequence[str], scores: Sequence[float]) -> optuna.Study:
    columns = {path: values(trials, path) for path in paths}
    space = {path: _distribution(found) for path, found in columns.items()}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    rows = [{path: found[n] for path, found in columns.items() if found[n] is not None} for n in range(len(scores))]
    study.add_trials(
        [
            optuna.trial.create_trial(params=row, distributions={path: space[path] for path in row}, value=score)
            for row, score in zip(rows, scores, strict=True)
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
