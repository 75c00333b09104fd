"""Seconds and peak memory of every term of the loss, and of those with a bar beside their rivals.

Ours and the rival run in two processes that take turns, so that a machine that slows down slows both, and the ratio is
the median over the turns. Before that both are computed in float64 on a small batch, and must agree.
"""

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.cases import SIZES, Case, Comparison, Size, comparisons, terms
from tests.benchmarks.measure import Measured, Setting, machine, settings

OUT = Path("runs/bench/losses.json")
TOLERANCE = 1e-6
"""Largest difference of ours and the rival in float64, of the loss or its gradient, relative to the largest value."""
LONG_S = 60
"""After so many seconds a measurement ends as soon as it has three turns."""


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and write; returns what was written."""
    chosen = _parsed(arguments)
    size = dataclasses.replace(SIZES[chosen.size], minibatch=chosen.minibatch)
    written: dict[str, Any] = {
        "machine": machine(),
        "size": dataclasses.asdict(size),
        "terms": [],
        "comparisons": [],
    }
    wanted = [name for name in [*terms(), *comparisons()] if not chosen.only or name in chosen.only]
    for setting in settings():
        where = dataclasses.asdict(setting)
        print(f"\n{setting.device}, {setting.precision}, threads: {setting.threads}")
        print(f"  {'term, forward + backward':32} {'seconds':>9} {'MiB':>7}")
        for name, case in terms().items():
            if name in wanted:
                found = _turns([case], size, setting, chosen.repeats)[0]
                written["terms"].append({"name": name, **where, **found})
                print(f"  {name:32} {found['seconds']:9.4f} {found['mib']:7.0f}", flush=True)
        print(
            f"  {'beside a plain implementation':32} {'seconds':>9} {'MiB':>7} {'rival s':>9} {'MiB':>7}  ratio and bar"
        )
        for name, comparison in comparisons().items():
            if name in wanted:
                row = _compared(name, comparison, size, setting, chosen.repeats)
                written["comparisons"].append({"name": name, **where, **row})
                print(_line(name, row), flush=True)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(written, indent=1))
    print(f"\nwritten to {chosen.out}")
    return written


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.losses", description=__doc__)
    known = [*terms(), *comparisons()]
    parser.add_argument("--size", choices=SIZES, default="published")
    parser.add_argument("--only", nargs="+", choices=known, metavar="NAME", help=f"of: {', '.join(known)}")
    parser.add_argument(
        "--minibatch", type=int, default=2, help="images in CIRKD's mini-batch (4: the rival takes 10 GB)"
    )
    parser.add_argument(
        "--repeats", type=int, default=7, help="turns after a warm-up; fewer, but three, where they are long"
    )
    parser.add_argument("--out", type=Path, default=OUT)
    return parser.parse_args(arguments)


def _turns(cases: Sequence[Case], size: Size, setting: Setting, repeats: int) -> list[dict[str, Any]]:
    """What each case takes, all of them turn by turn."""
    with ExitStack() as running:
        measured = [running.enter_context(Measured(case, size, setting)) for case in cases]
        times: list[list[float]] = [[] for _ in cases]
        start = time.monotonic()
        while len(times[0]) < (repeats if time.monotonic() - start < LONG_S else min(3, repeats)):
            for mine, one in zip(times, measured, strict=True):
                mine.append(one.seconds())
        return [
            {"seconds": statistics.median(mine), "mib": one.peak_mib, "times": mine}
            for mine, one in zip(times, measured, strict=True)
        ]


def _compared(name: str, comparison: Comparison, size: Size, setting: Setting, repeats: int) -> dict[str, Any]:
    difference = _difference(comparison, setting)
    if not difference < TOLERANCE:
        raise ValueError(
            f"a rival must compute what it is compared with, but {name!r} differs by {difference:.1e} of the largest "
            f"value in float64 on {setting.device}, above {TOLERANCE}; correct one of the two"
        )
    ours, rival = _turns([comparison.ours, comparison.rival], size, setting, repeats)
    pairs = zip(rival["times"], ours["times"], strict=True)
    ratios = {"seconds": statistics.median(r / o for r, o in pairs), "mib": rival["mib"] / ours["mib"]}
    return {"ours": ours, "rival": rival, "difference": difference, "ratios": ratios, "bars": _bars(ratios, comparison)}


def _bars(ratios: Mapping[str, float], comparison: Comparison) -> list[dict[str, Any]]:
    return [
        {"measure": measure, "ratio": ratios[measure], "at_least": least, "met": ratios[measure] >= least}
        for measure, least in comparison.bars.items()
    ]


def _difference(comparison: Comparison, setting: Setting) -> float:
    """Of ours and the rival on a small batch in float64: the largest, relative to the largest value."""
    exact = dataclasses.replace(setting, precision="float64")
    found = []
    for case in (comparison.same_as_rival or comparison.ours, comparison.rival):
        prepared = exact.prepared(case, SIZES["tiny"])
        loss = prepared.loss()
        found.append([loss.detach(), *torch.autograd.grad(loss, prepared.leaves)])
    return max(float((ours - rival).abs().max() / rival.abs().max()) for ours, rival in zip(*found, strict=True))


def _line(name: str, row: Mapping[str, Any]) -> str:
    ours, rival = row["ours"], row["rival"]
    bars = ", ".join(
        f"{bar['measure']} {bar['ratio']:.2f}x (bar {bar['at_least']:.2f}{'' if bar['met'] else ', MISSED'})"
        for bar in row["bars"]
    )
    times = f"{ours['seconds']:9.4f} {ours['mib']:7.0f} {rival['seconds']:9.4f} {rival['mib']:7.0f}"
    return f"  {name:32} {times}  {bars}"


if __name__ == "__main__":
    main()
