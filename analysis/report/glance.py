"""The first section: what was compared, one figure of what came out and what it cost, one sentence."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from analysis.comparison.wording import counted
from analysis.figures.standings import Difference, differences
from analysis.report.section import Section
from analysis.report.source import Source
from analysis.verdict.arm_evidence import ArmVerdict
from analysis.verdict.ranking import Standing
from analysis.verdict.verdict import Verdict

NAMED_ARMS = 6
"""Of more arms the number is given; their names stand in the figure."""


def glance(source: Source) -> Section:
    """Facts, figure and answer."""
    found = source.verdict
    facts = tuple(_facts(source))
    if isinstance(found, str):
        return Section(key="glance", title="At a glance", facts=facts, answer=f"No verdict: {found}.")
    if not found.arms:
        answer = "No trial of an arm has ended, so there is no verdict."
        return Section(key="glance", title="At a glance", facts=facts, answer=answer)
    lines, first = _differences(found), found.answer[0]
    return Section(
        key="glance",
        title="At a glance",
        facts=facts,
        drawings=((differences(lines, found.baseline or "the baseline", source.colours),),),
        notes=tuple(_notes(lines)),
        answer=f"{first[0].upper()}{first[1:]}.",
    )


def _notes(lines: Sequence[Difference]) -> Iterator[str]:
    """How to read the figure, as far as it is not in its heading."""
    if any(one.detectable is not None for one in lines):
        reach = max(one.detectable for one in lines if one.detectable is not None)
        yield f"Differences in the grey band (up to {reach:.2f} points) are smaller than these seeds could have shown."
    if any(one.low is None for one in lines):
        yield "An open circle has no interval: what one seed shows, or seeds of which some failed, another may reverse."
    if any(one.spent is not None for one in lines):
        yield "Spent: what the arm's search cost, in whole trials of the plain student."


def _differences(found: Verdict) -> list[Difference]:
    """Settings that were run again with new seeds; where there are none, the best of each arm."""
    spent = {one.arm: one.spent for one in found.tunings}
    again = [standing for arm in found.arms for standing in arm.replicates]
    chosen = [one for one in again if one.difference] or _of_one_seed(found.arms)
    lines = [
        Difference(
            name=standing.name,
            arm=standing.arm,
            points=standing.difference.estimate,
            low=standing.difference.low,
            high=standing.difference.high,
            by_seed=standing.by_seed,
            detectable=standing.difference.detectable,
            spent=spent.get(standing.arm),
        )
        for standing in chosen
        if standing.difference is not None and standing.difference.estimate is not None
    ]
    return sorted(lines, key=lambda one: -one.points)


def _of_one_seed(arms: Sequence[ArmVerdict]) -> list[Standing]:
    return [arm.best for arm in arms if arm.best is not None and arm.best.difference]


def _facts(source: Source) -> Iterator[tuple[str, str]]:
    study, config = source.study, source.study.config
    yield "dataset", f"{study.dataset}, judged on {study.split}{_images(source)}"
    if "student" in config:
        yield "student", _network(config["student"])
    if study.teacher:
        yield "teacher", _teacher(config.get("teacher") or {}, study.teacher.get("miou_percent"))
    if "train" in config:
        train = config["train"]
        yield "training", f"{train['iterations']} iterations, batch {train['batch']}"
    yield "arms", ", ".join(source.arms) if len(source.arms) <= NAMED_ARMS else str(len(source.arms))
    yield "trials", _trials(study.trials)
    yield "seeds", _seeds(source)
    yield from _when(study.ended)


def _images(source: Source) -> str:
    try:
        rows = source.study.table("images", ["image", "group"])
    except (FileNotFoundError, KeyError, ValueError):
        return ""
    groups = len(set(rows["group"].to_pylist()) - {None})
    said = counted(rows.num_rows, "image")
    return f", {said}" + (f" in {counted(groups, 'group')}" if 0 < groups < rows.num_rows else "")


def _network(config: Mapping[str, Any]) -> str:
    backbone = f" on {config['backbone']}" if config.get("backbone") else ""
    width = config.get("width", 1.0)
    return f"{config.get('architecture', 'network')}{backbone}" + (f", width {width:g}" if width != 1.0 else "")


def _teacher(config: Mapping[str, Any], miou: float | None) -> str:
    what = _network(config["model"]) if config.get("model") else "from a file"
    return what if miou is None else f"{what}, {miou:.2f} % mIoU"


def _trials(trials: pa.Table) -> str:
    states = Counter(trials["state"].to_pylist())
    said = ", ".join(f"{states[state]} {state}" for state in ("COMPLETE", "PRUNED", "FAIL") if states[state])
    return f"{trials.num_rows} ({said})" if said else "0"


def _seeds(source: Source) -> str:
    found = source.verdict
    seeds = 0 if isinstance(found, str) else _most_seeds(found)
    return f"{seeds} for each compared setting" if seeds > 1 else "one for each setting"


def _most_seeds(found: Verdict) -> int:
    differences = [s.difference for arm in found.arms for s in (*arm.replicates, arm.best) if s is not None]
    return max((one.seeds for one in differences if one is not None), default=0)


def _when(ended: pa.Table) -> Iterator[tuple[str, str]]:
    if not ended.num_rows:
        return
    first, last = pc.min(ended["started"]).as_py(), pc.max(ended["ended"]).as_py()
    hours = pc.sum(ended["seconds"]).as_py() / 3600
    gpu_hours = pc.sum(ended["gpu_seconds"]).as_py() / 3600
    yield "ran", _span(first, last)
    yield "trial hours", f"{hours:.2f}" + (f", {gpu_hours:.2f} of GPUs" if gpu_hours else "")


def _span(first: datetime, last: datetime) -> str:
    return f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC, {(last - first).total_seconds() / 3600:.2f} h"
