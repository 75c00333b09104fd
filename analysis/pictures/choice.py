"""Which trials' predictions a report draws, and on which images, decided by tables alone.

Images that are chosen for a large difference show what a difference looks like, not how common it is. So others are
drawn at random beside them, with a fixed seed: the same ones in every report on a dataset.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import pyarrow.compute as pc

from analysis.statistics import Reals, miou_percent
from analysis.studies.image_counts import TrialName, image_counts
from analysis.studies.runs import finished, none_finished
from analysis.studies.study import Study

SEED = 0
AT_RANDOM = 2
"""Images that are drawn at random."""
IN_ALL = 4
"""Where the choices coincide, further ones are drawn at random."""
RANDOM = f"drawn at random (seed {SEED})"


@dataclass(frozen=True)
class Pictured:
    """A trial whose predictions are drawn.

    Attributes:
        name: its name.
        iteration: of the evaluation by which the study judges it.
        config_hash: of its configuration.
    """

    name: TrialName
    iteration: int
    config_hash: str


@dataclass(frozen=True)
class ChosenImage:
    """An image by its name in the split, and why it was chosen."""

    name: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is drawn of a study.

    Attributes:
        baseline: the best finished trial of the baseline; None where there is none beside `best`.
        best: the best finished trial of all other arms, or of the baseline where it is alone.
        rdd: the best finished trial whose task loss RDD weighs; None where there is none.
        images: IN_ALL, or all where the split has fewer.
    """

    baseline: Pictured | None
    best: Pictured
    rdd: Pictured | None
    images: tuple[ChosenImage, ...]


def choose(study: Study) -> Choice:
    """The trials and images of a study's pictures.

    Raises:
        ValueError: no trial has finished, or the tables do not say on which images.
    """
    own, others = _best_rows(study)
    best = next(iter((*others, *own)), None)
    if best is None:
        raise ValueError(none_finished(study, *study.trials["arm"].unique().to_pylist()))
    baseline = own[0] if own and others else None
    weighted = (row for row in sorted((*own, *others), key=lambda row: -row[study.objective]) if _by_rdd(row))
    rdd = next(weighted, None)
    pair = [_pictured(study, row) for row in (baseline, best) if row is not None]
    return Choice(
        baseline=pair[0] if baseline is not None else None,
        best=pair[-1],
        rdd=None if rdd is None else _pictured(study, rdd),
        images=_images(study, [one.name for one in pair]),
    )


def _best_rows(study: Study) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """The best finished trial of each search of the baseline, and of each other arm, the best first."""
    arms = sorted(set(study.trials["arm"].to_pylist()))
    rows = [row for arm in arms for row in finished(study, arm).slice(0, 1).to_pylist()]
    rows.sort(key=lambda row: -row[study.objective])
    own = [row for row in rows if study.first_search(row["arm"]) == study.baseline]
    return own, [row for row in rows if row not in own]


def _by_rdd(row: Mapping[str, Any]) -> bool:
    task = json.loads(row["config"] or "{}").get("task") or {}
    return bool(task.get("weighting") == "rdd")


def _pictured(study: Study, row: Mapping[str, Any]) -> Pictured:
    iteration = row["best_iteration" if study.evaluation == "best" else "iterations"]
    return Pictured(TrialName(row["arm"], row["trial"]), int(iteration or 0), row["config_hash"])


def _images(study: Study, trials: Sequence[TrialName]) -> tuple[ChosenImage, ...]:
    counts = image_counts(study, trials, study.evaluation)
    names = list(counts.images) or _listed(study)
    if not names:
        raise ValueError("the tables do not say on which images the trials were judged; an older kdstudy wrote them")
    reasons: dict[str, list[str]] = {}
    if len(counts.trials) > 1:
        for name, why in _extremes(names, miou_percent(counts.counts), *map(str, counts.trials)):
            reasons.setdefault(name, []).append(why)
    shuffled = Random(SEED).sample(sorted(names), len(names))
    for drawn, name in enumerate(shuffled):
        if drawn >= AT_RANDOM and len(reasons) >= IN_ALL:
            break
        reasons.setdefault(name, []).append(RANDOM)
    return tuple(ChosenImage(name, "; ".join(why)) for name, why in reasons.items())


def _extremes(names: Sequence[str], scores: Reals, baseline: str, best: str) -> Iterator[tuple[str, str]]:
    """Where the best gains most over the baseline, and where it loses most, by the image's own mIoU."""
    gains = np.nan_to_num(scores[1] - scores[0])
    if gains.max() > 0:
        yield names[int(gains.argmax())], f"largest gain of {best} over {baseline}"
    if gains.min() < 0:
        yield names[int(gains.argmin())], f"largest loss of {best} against {baseline}"


def _listed(study: Study) -> list[str]:
    """The images of the split in the table of images; none where there is no such table."""
    try:
        rows = study.table("images", ["image"], pc.field("split") == study.split)
    except FileNotFoundError:
        return []
    return list(rows["image"].to_pylist())
