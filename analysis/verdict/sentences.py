"""What standings show, in sentences: first the answer, then each setting, then how they rank."""

from collections.abc import Iterator, Mapping, Sequence

from analysis.comparison.wording import counted, ends, percent, place, seeds_each
from analysis.statistics import MethodDifference
from analysis.studies.parameters import assignments
from analysis.verdict.arm_evidence import ArmVerdict, Rescored
from analysis.verdict.ranking import Standing, Standings

OUTCOMES = {"better": "better", "worse": "worse", "open": "not shown to be better or worse"}
UNEQUAL = {**OUTCOMES, "better": "higher, not at equal tuning", "worse": "lower, not at equal tuning"}
"""What is said of arms that were not tuned alike: the difference is there, but may be one of their tuning."""


def answer(judged: Standings, caveats: Sequence[str]) -> Iterator[str]:
    """Of the settings with several seeds, or else of the search's."""
    yield headline(judged, caveats)
    if judged.baseline is None or not judged.compared:
        return
    if caveats:
        yield f"not at equal tuning: {'; '.join(caveats)}"
    for standing in judged.compared:
        yield against(standing, judged, caveats)
    if judged.family and judged.shares:
        yield from _together(judged)


def headline(judged: Standings, caveats: Sequence[str]) -> str:
    """The answer in one sentence."""
    if judged.baseline is None:
        return (
            "there is no baseline to be better than: no arm is named baseline, or has no method and uniform weighting"
        )
    if not judged.compared:
        return f"nothing can be said yet: no finished setting can be compared with a finished {judged.baseline}"
    if judged.family is None or judged.look is None:
        return "no method can be called better: each setting was run with one seed, and another may change their order"
    if all(standing.outcome == "no verdict" for standing in judged.compared):
        return f"no verdict: {'; '.join(dict.fromkeys(_failures(one, judged) for one in judged.compared))}"
    if judged.look.interim:
        of = f"{judged.seeds} of {judged.planned} planned seeds have ended of every setting"
        return f"interim: {of}, and before all have, no method is called better than {judged.baseline}"
    better = [standing.name for standing in judged.compared if standing.is_better]
    number = f"{counted(len(judged.compared), 'setting')} compared with it"
    images = "" if judged.family.over_images else " on these images"
    if not better:
        return f"no method is shown to be better than {judged.baseline}{images}: {number}"
    if caveats:
        return f"not at equal tuning, but higher than {judged.baseline}{images}, of {number}: {', '.join(better)}"
    return f"better than {judged.baseline}{images}, of {number}: {', '.join(better)}"


def against(standing: Standing, judged: Standings, caveats: Sequence[str]) -> str:
    """One setting against the baseline, with what its difference rests on."""
    found, base = standing.difference, judged.base
    assert found is not None
    said = f"{standing.name} against {base.name}: {_shown(standing, found, judged, UNEQUAL if caveats else OUTCOMES)}"
    return f"{said}; {assignments(standing.parameters)}" if standing.parameters else said


def _shown(standing: Standing, found: MethodDifference, judged: Standings, outcomes: Mapping[str, str]) -> str:
    if standing.outcome == "no verdict":
        pairs = counted(found.seeds, "pair")
        points = "" if found.estimate is None else f"; {found.estimate:+.2f} points over the {pairs} that finished"
        return f"no verdict: {_failures(standing, judged)}{points}"
    assert found.estimate is not None
    if judged.family is None or found.low is None:
        where = f"on {judged.split} ({counted(standing.images, 'image')}"
        return f"{found.estimate:+.2f} points {where}, {seeds_each(found.seeds)}; seed noise unknown)"
    family = judged.family
    where = place(judged.split, images=family.images, groups=family.groups, over_images=family.over_images)
    number = counted(len(family.differences), "comparison")
    rests = f"{where}, {seeds_each(found.seeds)}; {_p_value(found.p_value)}, adjusted for {number})"
    return (
        f"{found.estimate:+.2f} points {ends(found)} {rests}: {_conclusion(standing, found, judged.margin, outcomes)}"
    )


def _p_value(value: float | None) -> str:
    return "p below 0.001" if value is not None and value < 0.001 else f"p {value:.3f}"


def _conclusion(standing: Standing, found: MethodDifference, margin: float, outcomes: Mapping[str, str]) -> str:
    """What an interval shows, how large a difference it leaves possible, and how small a one it could have shown."""
    assert found.within is not None
    bound = f"by at most {found.within:.2f} points"
    if standing.outcome == "interim":
        return f"interim; so far they differ {bound}"
    missed = f"the smallest difference that this could have shown is {found.detectable:.2f}"
    if standing.outcome == "no different":
        return f"no different by more than {margin:g} {'point' if margin == 1 else 'points'} ({bound}); {missed}"
    joined = ", " if found.within <= margin and standing.outcome != "open" else "; they differ "
    shown = f"{outcomes[standing.outcome or 'open']}{joined}{bound}"
    return shown if standing.is_better else f"{shown}; {missed}"


def _failures(standing: Standing, judged: Standings) -> str:
    """`2 of 5 seeds failed (kd-0)`: the setting's, or the baseline's where that lacks them."""
    base = judged.base
    lacking = base if base.failed else standing
    return f"{lacking.failed} of {counted(lacking.ended, 'seed')} failed ({lacking.name})"


def _together(judged: Standings) -> Iterator[str]:
    assert judged.family is not None
    yield f"these intervals hold together in {100 * (1 - judged.family.level):g} % of studies"
    ranked = sorted(judged.shares.items(), key=lambda item: -item[1])
    shares = ", ".join(f"{name} {percent(share)}" for name, share in ranked)
    yield f"best in so many of the joint draws, which describes them and is no test: {shares}"
    yield f"not shown to be worse than any other: {', '.join(judged.not_worse)}"


def rescored_on(rescored: Sequence[Rescored]) -> Iterator[str]:
    """Scores on splits that the search has not seen."""
    for split, images in sorted({(one.split, one.images) for one in rescored}):
        scores = [
            f"{one.name} {one.miou_percent:.2f}" for one in rescored if (one.split, one.images) == (split, images)
        ]
        yield f"mIoU % on {split} ({counted(images, 'image')}), which the search has not seen: {', '.join(scores)}"


def flattery(arms: Sequence[ArmVerdict]) -> Iterator[str]:
    """How much being chosen flatters the best trials."""
    known = [
        f"{arm.arm} {'at least ' if arm.optimism_is_bound else ''}{arm.optimism.estimate:.2f} (of {arm.optimism.n})"
        for arm in arms
        if arm.optimism
    ]
    if known:
        yield (
            "being chosen as the best on the images that score it flatters a trial by about so many points: "
            f"{', '.join(known)}; what luck with the seed adds is not in this"
        )
