"""How often the verdict is wrong: studies whose truth is known, judged by the product's own function.

A study has a baseline and methods, seeds that all share, and images. What a run scores in an image, in points of IoU,
is a sum of normal deviations: of the image, the seed, the arm on the seed, the arm on the image (or on its group of
images), and of all three. A false "better" is an interval that lies above the truth; the power is that of the mean of
what the studies print as the smallest difference that they could have shown.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.statistics import Counts, Family, judge
from tests.benchmarks.measure import machine

OUT = Path("runs/bench/verdicts.json")
PIXELS = 1_000_000
FALSE_BETTER, UNEQUAL_FALSE_BETTER = 0.025, 0.035
"""How many families may hold a false "better"; the second for unequal variances."""
COVERED = (0.93, 0.99)
POWERS = {3: (0.65, 1.0), 5: (0.75, 0.85)}
"""Of the smallest difference, by the number of seeds."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Standard deviations, in points.

    Attributes:
        arm: of each arm on each seed; of the baseline and the first method it is multiplied by the next two.
        baseline: factor.
        method: factor.
        image: of an arm on a group of images, the same for all seeds.
        both: of an arm on an image with one seed.
        sizes: of the groups of images; images are one each where empty.
        grouped: whether the judge knows the groups.
        failing: a method's run fails where it is so many standard deviations below its mean.
    """

    arm: float = 0.5
    baseline: float = 1.0
    method: float = 1.0
    image: float = 0.0
    both: float = 1.0
    sizes: tuple[int, ...] = (1,) * 40
    grouped: bool = True
    failing: float | None = None


CASES = {
    "seed-heavy": Noise(arm=1.0),
    "image-heavy": Noise(arm=0.2, image=3.0),
    "seeds and images": Noise(image=2.0),
    "3x variance, a method": Noise(arm=1.0, method=3**0.5),
    "3x variance, the baseline": Noise(arm=1.0, baseline=3**0.5),
    "frames of 12 drives": Noise(image=2.0, sizes=(10, 8, 6, 5, 5, 4, 4, 4, 3, 3, 2, 2)),
    "frames of one drive": Noise(image=2.0, sizes=(40,)),
    "bad seeds fail": Noise(arm=1.0, failing=1.5),
}
UNEQUAL = tuple(name for name in CASES if name.startswith("3x"))


@dataclass(frozen=True)
class Study:
    """What is judged, and what is true: the difference of each method [methods], in points."""

    counts: Counts
    groups: np.ndarray
    finished: np.ndarray
    truth: np.ndarray


def simulate(rng: np.random.Generator, noise: Noise, methods: int, seeds: int) -> Study:
    """A study in which no method differs from the baseline."""
    arms, groups = methods + 1, np.repeat(np.arange(len(noise.sizes)), noise.sizes)
    factors = np.ones((arms, 1))
    factors[0], factors[1] = noise.baseline, noise.method
    of_arm = rng.normal(0, noise.arm, (arms, seeds)) * factors
    of_image = rng.normal(0, noise.image, (arms, len(noise.sizes)))[:, groups]
    shared = rng.normal(50, 8, len(groups)) + rng.normal(0, 1, (seeds, 1))
    points = shared + of_arm[..., None] + of_image[:, None] + rng.normal(0, noise.both, (arms, seeds, len(groups)))
    hits = np.rint(PIXELS * points / 100).astype(np.int64)
    counts = np.stack([hits, np.zeros_like(hits), PIXELS - hits], axis=-1)[..., None, :]
    finished = np.ones((arms, seeds), bool)
    if noise.failing is not None:
        finished[1:] = of_arm[1:] > -noise.failing * noise.arm
    # on images of one drive nothing is said about others, so what the arms do on these is true
    one_drive = len(noise.sizes) == 1
    truth = (of_image[1:] - of_image[0]).mean(1) if one_drive else np.zeros(methods)
    return Study(counts, groups, finished, truth)


def measure(noise: Noise, *, methods: int, seeds: int, studies: int, draws: int) -> dict[str, Any]:
    """Rates over studies, with how many methods got no verdict because a seed failed."""
    rng = np.random.default_rng([methods, seeds])
    found = []
    for number in range(studies):
        study = simulate(rng, noise, methods, seeds)
        groups = study.groups if noise.grouped else None
        family = judge(study.counts, groups, study.finished, draws=draws, seed=number)
        found.append((study, family))
    ends = [_ends(study, family) for study, family in found]
    judged = [(low, high) for low, high in ends if low.size]
    printed = [d.detectable for _, family in found for d in family.differences if d.detectable is not None]
    smallest = float(np.mean(printed))
    return {
        "studies": len(judged),
        "without_verdict": 1 - len(printed) / (studies * methods),
        "false_better": float(np.mean([(low > 0).any() for low, _ in judged])),
        "covered": float(np.mean([((low <= 0) & (high >= 0)).all() for low, high in judged])),
        "smallest_points": smallest,
        "power": float(np.mean([(low + smallest > 0).mean() for low, _ in judged])),
    }


def _ends(study: Study, family: Family) -> tuple[np.ndarray, np.ndarray]:
    """Of the intervals of the methods that were judged, minus the truth."""
    judged = [n for n, found in enumerate(family.differences) if found.low is not None]
    rows = [(family.differences[n].low, family.differences[n].high) for n in judged]
    low, high = np.array(rows, np.float64).reshape(-1, 2).T - study.truth[judged]
    return low, high


def met(name: str, seeds: int, row: dict[str, Any]) -> bool:
    """Whether the rates keep within the bars, but for three standard errors of that many studies."""

    def error(rate: float) -> float:
        return 3 * (rate * (1 - rate) / row["studies"]) ** 0.5

    bar = UNEQUAL_FALSE_BETTER if name in UNEQUAL else FALSE_BETTER
    low, high = POWERS[seeds]
    if name in UNEQUAL or name == "bad seeds fail":  # where intervals are of another noise than the method's own
        low, high = 0.0, 1.0
    return bool(
        row["false_better"] <= bar + error(bar)
        and COVERED[0] - error(COVERED[0]) <= row["covered"]
        and low - error(low) <= row["power"] <= high + error(high)
    )


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Simulate, print a table in Markdown, write; returns what was written."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.verdicts", description=__doc__)
    parser.add_argument("--studies", type=int, default=600, help="of each kind")
    parser.add_argument("--draws", type=int, default=2000, help="joint draws of each judgement")
    parser.add_argument("--methods", type=int, nargs="+", default=[1, 2, 5])
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5], choices=POWERS)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    print("| noise | methods | seeds | false better | all intervals hold | smallest difference | its power | bars |")
    print("|---|---|---|---|---|---|---|---|")
    rows = []
    for name in options.only:
        for methods in options.methods:
            for seeds in options.seeds:
                row = measure(CASES[name], methods=methods, seeds=seeds, studies=options.studies, draws=options.draws)
                rows.append({"noise": name, "methods": methods, "seeds": seeds, **row, "met": met(name, seeds, row)})
                print(_line(rows[-1]), flush=True)
    written = {"machine": machine(), "cases": {name: asdict(CASES[name]) for name in options.only}, "rows": rows}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(written, indent=1))
    print(f"written to {options.out}")
    return written


def _line(row: dict[str, Any]) -> str:
    lost = f", {row['without_verdict']:.0%} without verdict" if row["without_verdict"] else ""
    rates = f"{row['false_better']:.3f} | {row['covered']:.3f} | {row['smallest_points']:.2f} | {row['power']:.2f}"
    bars = "met" if row["met"] else "missed"
    return f"| {row['noise']}{lost} | {row['methods']} | {row['seeds']} | {rates} | {bars} |"


if __name__ == "__main__":
    main()
