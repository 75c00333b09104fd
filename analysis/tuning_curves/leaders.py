"""At what cost the answer changes: which arm has found the best setting, by what every arm has spent."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from analysis.studies.study import Study
from analysis.tuning_curves.curves import ArmCurve, Path, arm_curves

QUARTER = 0.25
"""Share of the budget at which it is asked what one would have concluded."""


@dataclass(frozen=True, kw_only=True)
class Leader:
    """Which arm is ahead from a cost on.

    Attributes:
        cost: whole trials of the plain student that each arm has spent.
        arm: whose best finished trial is the best of all by then.
        miou_percent: of that.
        ahead: points over the best of the other arms; None where no other has finished a trial.
    """

    cost: float
    arm: str
    miou_percent: float
    ahead: float | None


@dataclass(frozen=True, kw_only=True)
class TuningCurves:
    """The tuning curves of a study.

    Attributes:
        study: its name.
        baseline: what others are held against; None where there is none.
        sampler: what drew the settings.
        curves: of each arm that searches.
        common: whole trials that every arm with a path has spent; None where there is none.
        leaders: each change of the leader up to there.
        expected_leaders: the same by the expectations, up to the end of the shortest.
        answers: what they say, in sentences.
    """

    study: str
    baseline: str | None
    sampler: str
    curves: tuple[ArmCurve, ...]
    common: float | None
    leaders: tuple[Leader, ...]
    expected_leaders: tuple[Leader, ...]
    answers: tuple[str, ...]


def tuning_curves(study: Study) -> TuningCurves:
    """The curves of a study, finished or running, and where they change its answer."""
    curves = arm_curves(study)
    paths = {curve.arm: curve.path for curve in curves if curve.path is not None}
    common = min((path.spent for path in paths.values()), default=None)
    leaders = () if common is None else tuple(leaders_of(paths, common))
    expected = _expected_leaders(curves)
    return TuningCurves(
        study=study.name,
        baseline=study.baseline,
        sampler=str(study.config.get("search", {}).get("sampler", "tpe")),
        curves=curves,
        common=common,
        leaders=leaders,
        expected_leaders=expected,
        answers=(*_answers(paths, common, leaders, curves), *_in_expectation(expected)),
    )


def _expected_leaders(curves: Sequence[ArmCurve]) -> tuple[Leader, ...]:
    """The changes of the leader by the expectations, from where every one has begun."""
    found = {curve.arm: curve.expectation for curve in curves if curve.expectation is not None}
    if len(found) < 2:
        return ()
    means = {
        arm: Path(cost=one.cost, miou_percent=one.mean, trial=(), spent=one.cost[-1]) for arm, one in found.items()
    }
    first, last = max(one.cost[0] for one in found.values()), min(one.cost[-1] for one in found.values())
    return tuple(one for one in leaders_of(means, last, first=first))


def _in_expectation(leaders: Sequence[Leader]) -> Iterator[str]:
    """What the expectations say."""
    if leaders:
        said = ", ".join(f"{one.arm} from {one.cost:.2f} whole trials on" for one in leaders)
        yield f"in expectation over the order of trials the best is found by {said}"


def leaders_of(paths: Mapping[str, Path], common: float, *, first: float = 0.0) -> Iterator[Leader]:
    """Each change of the arm that is ahead, up to a cost that all have spent; of equal arms the former leader stays."""
    costs = sorted({cost for path in paths.values() for cost in path.cost if first <= cost <= common})
    arm: str | None = None
    for cost in costs:
        now = leader_at(paths, cost, arm)
        if now is not None and now.arm != arm:
            arm = now.arm
            yield now


def leader_at(paths: Mapping[str, Path], cost: float, former: str | None = None) -> Leader | None:
    """The arm that is ahead at a cost; None where none has finished a trial."""
    found = {arm: score for arm, path in paths.items() if (score := path.at(cost)) is not None}
    if not found:
        return None
    arm = max(found, key=lambda name: (found[name], name == former))
    others = [score for name, score in found.items() if name != arm]
    ahead = found[arm] - max(others) if others else None
    return Leader(cost=cost, arm=arm, miou_percent=found[arm], ahead=ahead)


def _answers(
    paths: Mapping[str, Path], common: float | None, leaders: Sequence[Leader], curves: Sequence[ArmCurve]
) -> Iterator[str]:
    if common is None:
        yield "there is no tuning curve: " + ("; ".join(_missing(curves)) or "no arm that searches has an ended trial")
        return
    end = leader_at(paths, common)
    if len(paths) < 2:
        yield f"only {next(iter(paths))} has a tuning curve, so there is no answer that a budget could change"
    elif end is None:
        yield f"no trial had finished when every arm had spent {common:.2f} whole trials"
    else:
        yield _quarter(paths, common, end)
        changes = [one for one in leaders if one.ahead is not None]
        yield _changes(changes) if len(changes) > 1 else f"{end.arm} is ahead at every cost at which arms compare"
    yield from _missing(curves)


def _quarter(paths: Mapping[str, Path], common: float, end: Leader) -> str:
    """What would have been concluded with a quarter of the budget."""
    early = leader_at(paths, QUARTER * common)
    last = f"with all of it, {common:.2f}, {_said(end)}"
    where = f"with a quarter of the budget, {QUARTER * common:.2f} whole trials of each arm,"
    if early is None:
        return f"{where} no trial had finished; {last}"
    same = "the same arm" if early.arm == end.arm else "another answer"
    return f"{where} {_said(early)}; {last}: {same}"


def _said(one: Leader) -> str:
    ahead = "alone has a finished trial" if one.ahead is None else f"leads by {one.ahead:.2f} points"
    return f"{one.arm} {ahead}"


def _changes(changes: Sequence[Leader]) -> str:
    said = ", ".join(f"{one.arm} from {one.cost:.2f} whole trials on" for one in changes)
    return f"the answer changes with the budget: {said}"


def _missing(curves: Sequence[ArmCurve]) -> list[str]:
    return [line for curve in curves for line in curve.missing]
