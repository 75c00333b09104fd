"""Is A better than B? Two settings, pair by pair: on the same images, and seed by seed where there are several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis import statistics
from analysis.evidence import Evaluation, ImageCounts, image_counts
from analysis.runs import Run, Runs, Seeds, named_runs
from analysis.statistics import Difference, Interval, PairedInterval, difference_over_images
from analysis.studies import Study, check_one_dataset

SPLIT = "val"
"""The split on which every trial of a study is evaluated."""


@dataclass(frozen=True)
class Side:
    """One of the two.

    Attributes:
        name: in sentences.
        folder: of its study.
        trials: names of the runs that were compared, pair by pair.
        seeds: their data_seed and init_seed.
        miou_percent: mean over its runs.
    """

    name: str
    folder: str
    trials: tuple[str, ...]
    seeds: tuple[Seeds, ...]
    miou_percent: Interval


@dataclass(frozen=True)
class Comparison:
    """A against B.

    Attributes:
        a: the one whose being better is asked for.
        b: the other.
        evaluation: whose mIoU, `last` or `best` of the run.
        split: whose images.
        classes: in the order of `difference.classes`.
        difference: A - B in points, over images, and over seeds where there are several pairs.
        over_seeds: the same with the images taken as given; no interval where there is one pair.
        settings: path to what A and B have there, where they differ.
        notes: what limits the comparison, in sentences.
    """

    a: Side
    b: Side
    evaluation: Evaluation
    split: str
    classes: tuple[str, ...]
    difference: Difference
    over_seeds: PairedInterval
    settings: Mapping[str, tuple[Any, Any]]
    notes: tuple[str, ...]


def compare(a: str, b: str, evaluation: Evaluation | None = None) -> Comparison:
    """Compare what two names of the command line stand for. See `named_runs` and `compare_runs`."""
    return compare_runs(named_runs(a), named_runs(b), evaluation)


def compare_runs(a: Runs, b: Runs, evaluation: Evaluation | None = None) -> Comparison:
    """Compare two settings.

    Args:
        a: the first.
        b: the second.
        evaluation: `last` or `best` of each run; by default what both studies maximised, `last` where they differ.

    Raises:
        ValueError: the studies are of different datasets, classes, images or labels; no two runs make a pair; a run has
            no counts of its images.
    """
    check_one_dataset([a.study, b.study])
    chosen = evaluation or _objective(a.study, b.study)
    pairs, notes = _pairs(a, b)
    counts = [_counts(side, [pair[which] for pair in pairs], chosen) for which, side in enumerate((a, b))]
    _check_same_labels(counts, (a, b))
    scores = [statistics.miou_percent(one.counts.sum(1)) for one in counts]
    names = _names(a, b)
    return Comparison(
        a=_side(a, names[0], [pair[0] for pair in pairs], scores[0]),
        b=_side(b, names[1], [pair[1] for pair in pairs], scores[1]),
        evaluation=chosen,
        split=SPLIT,
        classes=counts[0].classes,
        difference=difference_over_images(counts[0].counts, counts[1].counts),
        over_seeds=statistics.paired_over_seeds(scores[0], scores[1]),
        settings=_differing(pairs[0][0].settings, pairs[0][1].settings),
        notes=(*notes, *_limits(pairs, chosen)),
    )


def _objective(a: Study, b: Study) -> Evaluation:
    return "best" if a.objective == b.objective == "best_miou_percent" else "last"


def _names(a: Runs, b: Runs) -> tuple[str, str]:
    if a.name != b.name:
        return a.name, b.name
    return f"{a.study.folder}:{a.name}", f"{b.study.folder}:{b.name}"


def _side(runs: Runs, name: str, used: Sequence[Run], scores: statistics.Reals) -> Side:
    return Side(
        name=name,
        folder=str(runs.study.folder),
        trials=tuple(str(run.name) for run in used),
        seeds=tuple(run.seeds for run in used),
        miou_percent=statistics.mean_over_seeds(scores),
    )


def _pairs(a: Runs, b: Runs) -> tuple[list[tuple[Run, Run]], list[str]]:
    """Runs of equal seeds, and who has no partner; two single runs are a pair whatever their seeds."""
    if len(a.runs) == len(b.runs) == 1:
        return [(a.runs[0], b.runs[0])], []
    first, second = ({run.seeds: run for run in reversed(side.runs)} for side in (a, b))
    pairs = [(run, second[seeds]) for seeds, run in first.items() if seeds in second and None not in seeds][::-1]
    if not pairs:
        raise ValueError(
            f"runs must share seeds to be compared, but {a.name} has {_told(first)} and {b.name} has {_told(second)} "
            "(data_seed, init_seed); name a single trial of each, DIR:ARM-N, or replicate both with the same seeds"
        )
    paired = {run.name for pair in pairs for run in pair}
    left = [(side, run) for side in (a, b) for run in side.runs if run.name not in paired]
    return pairs, [f"{run.name} of {side.study.folder} has no partner and is left out" for side, run in left]


def _told(seeds: Mapping[Seeds, Run]) -> str:
    return ", ".join(str(pair) for pair in seeds)


def _counts(side: Runs, runs: Sequence[Run], evaluation: Evaluation) -> ImageCounts:
    found = image_counts(side.study, [run.name for run in runs], evaluation)
    if found.missing:
        raise ValueError(
            f"a trial must have rows in the table image_confusion to be compared, but "
            f"{', '.join(map(str, found.missing))} of {side.study.folder} has none: it left no whole checkpoint; "
            "name another trial"
        )
    return found


def _check_same_labels(counts: Sequence[ImageCounts], sides: Sequence[Runs]) -> None:
    """Equal classes, equal images, and in each as many labelled pixels of each class."""
    one, other = counts
    where = " and ".join(str(side.study.folder) for side in sides)
    for what, mine, yours in (("classes", one.classes, other.classes), ("images", one.images, other.images)):
        if mine != yours:
            odd = sorted(set(mine) ^ set(yours)) or ["their order"]
            raise ValueError(
                f"what is compared must have the same {what}, but {where} differ in {len(odd)} of them, {odd[0]!r} "
                "first; compare studies of one data configuration"
            )
    labelled = [x.counts[0][..., [0, 2]].sum(-1) for x in counts]
    if (wrong := np.argwhere(labelled[0] != labelled[1])).size:
        image, name = wrong[0]
        raise ValueError(
            f"what is compared must be evaluated on the same labels, but {where} have {labelled[0][image, name]} and "
            f"{labelled[1][image, name]} pixels of {one.classes[name]!r} in {one.images[image]!r}; "
            "compare studies of one data configuration"
        )


def _limits(pairs: Sequence[tuple[Run, Run]], evaluation: Evaluation) -> list[str]:
    notes = []
    if len(pairs) == 1:
        notes.append(
            "one seed each: the interval is over images alone and does not cover what other seeds would have given"
        )
    if any(one.seeds[0] != other.seeds[0] for one, other in pairs):
        notes.append("their data_seed differs, so they did not see the same batches")
    for run in (run for pair in pairs for run in pair if run.row["state"] != "COMPLETE"):
        notes.append(f"{run.name} ended {run.row['state']} at iteration {run.row['iterations']} of {run.row['budget']}")
    if evaluation == "best":
        notes.append("the best evaluation of a run is chosen on the images that score it, which flatters both")
    return notes


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    mine, yours = dict(_leaves(one)), dict(_leaves(other))
    return {
        path: (mine.get(path), yours.get(path)) for path in sorted({*mine, *yours}) if mine.get(path) != yours.get(path)
    }


def _leaves(values: Any, path: str = "") -> list[tuple[str, Any]]:
    if not isinstance(values, Mapping):
        return [(path, values)]
    return [leaf for key, value in values.items() for leaf in _leaves(value, f"{path}/{key}" if path else str(key))]
