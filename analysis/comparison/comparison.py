"""Is A better than B? Two settings, pair by pair: on the same images, and seed by seed where there are several."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis import statistics
from analysis.statistics import Difference, Interval, PairedInterval, difference_over_images
from analysis.studies.image_counts import ImageCounts, image_counts
from analysis.studies.image_groups import ImageGroups, image_groups
from analysis.studies.runs import Pair, Run, Runs, Seeds, named_runs, pair_runs
from analysis.studies.study import Evaluation, Study, check_one_dataset

PLACES = ("data/root", "teacher/path")
"""Settings that only say where something lies."""
COMPARED = ("task/", "methods/", "teacher", "train/optimizer/")
"""Where settings may differ between two ways to train the same student for as long."""
REMEDY = "compare studies of one data configuration"


@dataclass(frozen=True)
class Side:
    """One of the two.

    Attributes:
        name: in sentences.
        folder: of its study.
        trials: names of the runs that were compared, pair by pair.
        seeds: data_seed and init_seed of each.
        miou_percent: mean over its runs.
        class_iou_percent: the same by class; None for one that does not occur in all runs.
        failed: seeds of its setting that failed; what the others show is no verdict then.
        ended: its seeds that finished or failed.
    """

    name: str
    folder: str
    trials: tuple[str, ...]
    seeds: tuple[Seeds, ...]
    miou_percent: Interval
    class_iou_percent: tuple[float | None, ...]
    failed: int
    ended: int


@dataclass(frozen=True)
class Comparison:
    """A against B.

    Attributes:
        a: the one whose being better is asked for.
        b: the other.
        evaluation: whose mIoU, that of the `last` or the `best` evaluation of a run.
        split: whose images.
        classes: in the order of `difference.classes`.
        difference: A - B in points, over images, and over seeds too where there are several pairs.
        over_seeds: the same with the images taken as given; no interval where there is one pair.
        settings: what A and B have at each path where they differ.
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
        ValueError: A is B; the studies are of different datasets, splits, classes, images or labels; no two runs make
            a pair, or no pair has counts of its images.
    """
    check_one_dataset([a.study, b.study])
    _check_same_split(a.study, b.study)
    chosen = evaluation or ("best" if a.study.evaluation == b.study.evaluation == "best" else "last")
    pairs, unpaired = _pairs(a, b)
    pairs, counts, uncounted = _counted(a.study, b.study, pairs, chosen)
    _check_same_labels(counts, (a.study, b.study))
    groups = image_groups(a.study, counts[0].images, a.study.split)
    settings = _differing(pairs[0][0].settings, pairs[0][1].settings)
    sides = [_side(x, name, [p[i] for p in pairs], counts[i]) for i, (x, name) in enumerate(_named(a, b))]
    scores = [statistics.miou_percent(one.counts.sum(1)) for one in counts]
    return Comparison(
        a=sides[0],
        b=sides[1],
        evaluation=chosen,
        split=a.study.split,
        classes=counts[0].classes,
        difference=difference_over_images(counts[0].counts, counts[1].counts, groups.names),
        over_seeds=statistics.paired_over_seeds(scores[0], scores[1]),
        settings=settings,
        notes=(*_limits(a, b, pairs), *_odd(settings), *_kind(chosen, groups), *unpaired, *uncounted),
    )


def _named(a: Runs, b: Runs) -> list[tuple[Runs, str]]:
    """Each with its name; of equal names, with the folder before it."""
    return [(x, x.name if a.name != b.name else f"{x.study.folder}:{x.name}") for x in (a, b)]


def _side(runs: Runs, name: str, used: Sequence[Run], counts: ImageCounts) -> Side:
    summed = counts.counts.sum(1)
    ious = statistics.iou_percent(summed).mean(0)
    return Side(
        name=name,
        folder=str(runs.study.folder),
        trials=tuple(str(run.name) for run in used),
        seeds=tuple(run.seeds for run in used),
        miou_percent=statistics.mean_over_seeds(statistics.miou_percent(summed)),
        class_iou_percent=tuple(None if np.isnan(iou) else float(iou) for iou in ious),
        failed=len(runs.failed),
        ended=len(runs.runs) + len(runs.failed),
    )


def _pairs(a: Runs, b: Runs) -> tuple[list[Pair], list[str]]:
    """What is compared, and who has no partner."""
    pairs = pair_runs(a, b)
    if a.study.folder.resolve() == b.study.folder.resolve() and any(one.name == other.name for one, other in pairs):
        raise ValueError(f"A and B must be two settings, but both are {pairs[0][0].name} of {a.study.folder}; name two")
    paired = [[pair[i].name for pair in pairs] for i in (0, 1)]
    return pairs, [
        f"{run.name} of {x.study.folder} has no partner of the same seeds and is left out"
        for x, names in zip((a, b), paired, strict=True)
        for run in x.runs
        if run.name not in names
    ]


def _counted(
    a: Study, b: Study, pairs: Sequence[Pair], evaluation: Evaluation
) -> tuple[list[Pair], list[ImageCounts], list[str]]:
    """The pairs of which both have counts, the counts of each side, and who has none."""
    found = [image_counts(study, [pair[i].name for pair in pairs], evaluation) for i, study in enumerate((a, b))]
    whole = [pair for pair in pairs if all(pair[i].name in found[i].trials for i in (0, 1))]
    lacking = [f"{trial} of {study.folder}" for study, one in zip((a, b), found, strict=True) for trial in one.missing]
    if not whole:
        raise ValueError(
            f"a trial must have rows in the table image_confusion to be compared, but {', '.join(lacking)} has none: "
            "it left no whole checkpoint; name another trial"
        )
    kept = [one.only([pair[i].name for pair in whole]) for i, one in enumerate(found)]
    return whole, kept, [f"{who} has no rows in image_confusion; its pair is left out" for who in lacking]


def _check_same_split(a: Study, b: Study) -> None:
    if a.split != b.split:
        raise ValueError(
            f"what is compared must have been judged on the same images, but {a.folder} was on {a.split} and "
            f"{b.folder} on {b.split}; compare studies of one evaluate_on"
        )


def _check_same_labels(counts: Sequence[ImageCounts], studies: Sequence[Study]) -> None:
    """Equal classes, equal images, and in each as many labelled pixels of each class."""
    one, other = counts
    where = " and ".join(str(study.folder) for study in studies)
    for what, mine, yours in (("classes", one.classes, other.classes), ("images", one.images, other.images)):
        if mine != yours:
            odd = sorted(set(mine) ^ set(yours))
            differ = f"only one has {odd[0]!r}, the first of {len(odd)}" if odd else "their order differs"
            raise ValueError(f"what is compared must have the same {what}, but of {where} {differ}; {REMEDY}")
    labelled = [x.counts[0, ..., 0] + x.counts[0, ..., 2] for x in counts]
    if (wrong := np.argwhere(labelled[0] != labelled[1])).size:
        image, name = wrong[0]
        raise ValueError(
            f"what is compared must be evaluated on the same labels, but in {one.images[image]!r} {where} have "
            f"{labelled[0][image, name]} and {labelled[1][image, name]} pixels of {one.classes[name]!r}; {REMEDY}"
        )


def _limits(a: Runs, b: Runs, pairs: Sequence[Pair]) -> Iterator[str]:
    """What the runs themselves leave open."""
    if len(pairs) == 1:
        yield "one seed each: the interval is over images alone and does not cover what other seeds would give"
    if chosen := [f"{x.name} among {x.chosen_from}" for x in (a, b) if x.chosen_from > 1]:
        yield f"chosen as the best on the images that compare them, which flatters: {', '.join(chosen)} settings"
    if any(one.seeds[0] != other.seeds[0] for one, other in pairs):
        yield "their data_seed differs, so they did not see the same batches"
    for run in (run for pair in pairs for run in pair if run.row["state"] != "COMPLETE"):
        yield f"{run.name} ended {run.row['state']} at iteration {run.row['iterations']} of {run.row['budget']}"


def _odd(settings: Mapping[str, tuple[Any, Any]]) -> Iterator[str]:
    """Settings that a comparison of ways to train would keep equal."""
    odd = [path for path in settings if not path.startswith(COMPARED)]
    hashes = settings.get("teacher/sha256", ())
    if odd:
        yield f"they differ in more than how the student is taught: {', '.join(odd)}"
    if hashes and None not in hashes:
        yield "their teachers differ"


def _kind(evaluation: Evaluation, groups: ImageGroups) -> Iterator[str]:
    """What kind of mIoU, of what kind of images."""
    if evaluation == "best":
        yield "the mIoU is that of each run's best evaluation, chosen on the images that score it, which flatters both"
    if groups.missing:
        yield groups.missing


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    mine, yours = dict(_leaves(one)), dict(_leaves(other))
    paths = sorted({*mine, *yours} - set(PLACES))
    return {path: (mine.get(path), yours.get(path)) for path in paths if mine.get(path) != yours.get(path)}


def _leaves(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{key}/")
        else:
            yield f"{above}{key}", value
