"""The papers' ablation tables out of a study's own trials, beside the published numbers.

A cell holds the finished trials that have its settings and agree with one another, and with the rest of the table, in
everything else but their seeds. Where a study has several such groups, as a search has, the one that fills the most
lines is taken, then the one nearest to the paper's other settings, then the one with the most seeds. A search's trials
share one seed, so what it can say of a setting is one number without an interval; replicates say more.
"""

import json
import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple

import pyarrow.compute as pc

from analysis.ablation.published import ABLATIONS, RDD_PAPER, Ablation, Line
from analysis.statistics import Interval, mean_over_seeds, paired_over_seeds
from analysis.studies.runs import SEEDS, Run, Seeds, read_runs
from analysis.studies.study import Study

APART = (*SEEDS, "teacher")
"""What trials of one table may differ in: a line without distillation has no teacher, and a study has one teacher."""


@dataclass(frozen=True)
class TimedRun(Run):
    """A finished trial of a study, and how long a step of it took."""

    step_ms: float | None = None

    @cached_property
    def sections(self) -> Mapping[str, str]:
        """The sections of its configuration in which trials of one table agree, as text."""
        return {name: json.dumps(part, sort_keys=True) for name, part in self.settings.items() if name not in APART}

    def without(self, paths: Sequence[str]) -> Hashable:
        """What its configuration is but for the values at `paths`, which are sections or inside of `task`."""
        inside = [path.removeprefix("task/") for path in paths if path.startswith("task/")]
        kept = {name: text for name, text in self.sections.items() if name not in paths}
        if inside:
            task = {name: value for name, value in self.config["task"].items() if name not in inside}
            kept["task"] = json.dumps(task, sort_keys=True)
        return tuple(sorted(kept.items()))


@dataclass(frozen=True)
class Gain:
    """A line less the one that it is compared with: in percentage points, or as the ratio of two times.

    `interval` is over pairs of equal seeds where `paired`, else only a difference of two means, without ends. None
    where one of the two has no evidence, or where `why` says that they do not compare.
    """

    published: float
    interval: Interval | None
    paired: bool
    why: str | None = None


@dataclass(frozen=True)
class Cell:
    """What a study knows of a line: the mean over seeds, or None where it has no evidence."""

    line: Line
    runs: tuple[TimedRun, ...]
    mean: Interval | None
    step_ms: float | None
    gain: Gain | None


@dataclass(frozen=True)
class AblationTable:
    """A table of a paper with a study's cells; `other_settings` more groups of trials could have filled it."""

    published: Ablation
    cells: tuple[Cell, ...]
    other_settings: int

    @property
    def lines_with_evidence(self) -> int:
        return sum(cell.mean is not None for cell in self.cells)


def ablations(study: Study) -> list[AblationTable]:
    """Every table of the papers, in their order, whether there is evidence for it or not."""
    runs = finished_runs(study)
    return [_table(ablation, runs) for ablation in ABLATIONS]


def finished_runs(study: Study) -> list[TimedRun]:
    """The trials that used their whole budget and whose row says what they trained, without the teacher's."""
    rows = study.trials.filter(pc.field("state") == "COMPLETE").sort_by([("arm", "ascending"), ("trial", "ascending")])
    steps = _step_ms(study)
    runs = read_runs(rows)
    return [TimedRun(run.row, run.config, steps.get((run.name.arm, run.name.number))) for run in runs if run.is_whole]


def _step_ms(study: Study) -> dict[tuple[str, int], float]:
    """The mean over a trial's reports, which are equally many steps apart."""
    try:
        reports = study.table("reports", ["arm", "trial", "step_ms"])
    except FileNotFoundError:
        return {}
    means = reports.group_by(["arm", "trial"]).aggregate([("step_ms", "mean")]).to_pylist()
    return {(row["arm"], row["trial"]): row["step_ms_mean"] for row in means if row["step_ms_mean"] is not None}


def _table(ablation: Ablation, runs: Sequence[TimedRun]) -> AblationTable:
    found = [_Fitting(run, frozenset(line.label for line in ablation.lines if _fits(run, line))) for run in runs]
    families = _groups([each for each in found if each.labels], ablation.varies)
    family = max(families, key=lambda group: _worth(group, ablation.lines, ablation), default=[])
    held = dict(_choices(ablation, family))
    cells = tuple(_cell(ablation, line, held) for line in ablation.lines)
    return AblationTable(ablation, cells, max(0, len(families) - 1))


class _Fitting(NamedTuple):
    """A run and the lines that it fits."""

    run: TimedRun
    labels: frozenset[str]


def _choices(ablation: Ablation, family: Sequence[_Fitting]) -> Iterable[tuple[str, list[TimedRun]]]:
    """The runs of each line, by its label; lines of the same methods have them with the same options.

    A table compares lines with each other, so it must not pick each line's runs by themselves. Take the table of the
    combine modes, with the lines XOR, OR and AND, and a search that has run XOR and OR at t = 0.70, and XOR, OR and
    AND at t = 0.65, XOR at 0.70 with most seeds. Line by line, XOR would come from t = 0.70 and AND from 0.65, and
    their difference would be that of two thresholds. So first a block of lines that distil alike chooses one group
    of runs that agree in everything but what the table varies, here t = 0.65, which fills three lines; and only
    within it each line chooses among the runs that still differ, such as other weights of a method.
    """
    inside = tuple(path for path in ablation.varies if path != "methods")
    blocks: dict[Any, list[Line]] = defaultdict(list)
    for line in ablation.lines:
        blocks[line.distils].append(line)
    for lines in blocks.values():
        labels = {line.label for line in lines}
        groups = _groups([each for each in family if each.labels & labels], inside)
        block = max(groups, key=lambda group: _worth(group, lines, ablation), default=[])
        for line in lines:
            alike = _groups([each for each in block if line.label in each.labels], ())
            best = max(alike, key=lambda group: _worth(group, [line], ablation), default=[])
            yield line.label, _one_for_each_seed(best)


def _groups(found: Iterable[_Fitting], varies: Sequence[str]) -> list[list[_Fitting]]:
    """Runs that agree in all but their seeds and what varies."""
    groups: dict[Hashable, list[_Fitting]] = defaultdict(list)
    for each in found:
        groups[each.run.without(varies)].append(each)
    return list(groups.values())


def _worth(group: Sequence[_Fitting], lines: Sequence[Line], ablation: Ablation) -> tuple[int, int, int]:
    """What makes one group better than another: lines filled, the paper's other options, seeds."""
    filled = frozenset().union(*(each.labels for each in group)) & {line.label for line in lines}
    agreed = max(_like_the_paper(each.run, ablation) for each in group)
    return len(filled), agreed, len({each.run.seeds for each in group})


def _like_the_paper(run: TimedRun, ablation: Ablation) -> int:
    """How many of the options that a table leaves open are those of the paper's RDD, which stands on KD."""
    options = [name for name in RDD_PAPER if f"task/{name}" not in ablation.varies]
    agreed = sum(_equal(run.config["task"].get(name), RDD_PAPER[name]) for name in options)
    return agreed + ("methods" not in ablation.varies and set(run.config["methods"]) == {"kd"})


def _one_for_each_seed(group: Sequence[_Fitting]) -> list[TimedRun]:
    """Trials of one configuration and one seed repeat each other; the first stands for them."""
    first: dict[Seeds, TimedRun] = {}
    for each in group:
        first.setdefault(each.run.seeds, each.run)
    return list(first.values())


def _fits(run: TimedRun, line: Line) -> bool:
    task = run.config["task"]
    if not all(_equal(task.get(name), value) for name, value in line.task.items()):
        return False
    return line.distils is None or _distils(run.config["methods"], line)


def _distils(methods: Mapping[str, Any], line: Line) -> bool:
    """Whether the methods that have any weight are those of the line, each with the terms that it names."""
    assert line.distils is not None
    active = {name: {term for term, weight in method["weights"].items() if weight} for name, method in methods.items()}
    active = {name: terms for name, terms in active.items() if terms}
    named: dict[str, set[str]] = defaultdict(set)
    for entry in line.distils:
        method, _, term = entry.partition("/")
        named[method] |= {term} if term else active.get(method, set())
    if line.kd_beside:
        active.pop("kd", None)
    return active == named


def _equal(value: object, wanted: object) -> bool:
    if isinstance(value, int | float) and isinstance(wanted, int | float):
        return math.isclose(value, wanted)
    return value == wanted


def _cell(ablation: Ablation, line: Line, held: Mapping[str, Sequence[TimedRun]]) -> Cell:
    runs = held[line.label]
    steps = [run.step_ms for run in runs if run.step_ms is not None]
    return Cell(
        line=line,
        runs=tuple(runs),
        mean=mean_over_seeds([_measured(ablation, run) for run in runs]) if runs else None,
        step_ms=sum(steps) / len(steps) if steps else None,
        gain=_gain(ablation, line, held) if line.versus else None,
    )


def _measured(ablation: Ablation, run: TimedRun) -> float:
    return float(run.row["seconds" if ablation.measure == "seconds" else "last_miou_percent"])


def _gain(ablation: Ablation, line: Line, held: Mapping[str, Sequence[TimedRun]]) -> Gain:
    other = next(found for found in ablation.lines if found.label == line.versus)
    ratio = ablation.measure == "seconds"
    published = line.published / other.published if ratio else line.published - other.published
    ours, theirs = held[line.label], held[other.label]
    if not ours or not theirs:
        return Gain(published, None, paired=False)
    if unlike := _unlike(ours[0], theirs[0]):
        return Gain(published, None, paired=False, why=f"other options of {', '.join(unlike)}")
    by_seed = [{run.seeds: _measured(ablation, run) for run in runs} for runs in (ours, theirs)]
    pairs = [(by_seed[0][seed], by_seed[1][seed]) for seed in by_seed[0] if seed in by_seed[1]]
    scale = math.log if ratio else float
    if pairs:
        found = paired_over_seeds(*([scale(value) for value in side] for side in zip(*pairs, strict=True)))
        interval = Interval(found.estimate, found.low, found.high, found.n)
    else:
        first, second = (mean_over_seeds([scale(value) for value in side.values()]) for side in by_seed)
        interval = Interval(first.estimate - second.estimate, None, None, min(first.n, second.n))
    return Gain(published, _exponential(interval) if ratio else interval, bool(pairs))


def _unlike(ours: TimedRun, theirs: TimedRun) -> list[str]:
    """Methods that both have and that differ in their options."""
    first, second = ours.config["methods"], theirs.config["methods"]
    return sorted(name for name in first.keys() & second.keys() if first[name] != second[name])


def _exponential(interval: Interval) -> Interval:
    low, high = (None if end is None else math.exp(end) for end in (interval.low, interval.high))
    return Interval(math.exp(interval.estimate), low, high, interval.n)


def as_values(study: Study, tables: Sequence[AblationTable]) -> dict[str, Any]:
    """The tables as plain values for JSON."""
    return {
        "folder": str(study.folder),
        "study": study.name,
        "dataset": study.dataset,
        "tables": [
            {
                "table": table.published.name,
                "title": table.published.title,
                "source": table.published.source,
                "setting": table.published.setting,
                "measure": table.published.measure,
                "other_settings": table.other_settings,
                "lines": [_line_values(cell) for cell in table.cells],
            }
            for table in tables
        ],
    }


def _line_values(cell: Cell) -> dict[str, Any]:
    return {
        "line": cell.line.label,
        "published": cell.line.published,
        "ours": asdict(cell.mean) if cell.mean else None,
        "trials": [str(run.name) for run in cell.runs],
        "step_ms": cell.step_ms,
        "versus": cell.line.versus,
        "gain": asdict(cell.gain) if cell.gain else None,
    }
