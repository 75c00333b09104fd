"""Images per second on one core: Cityscapes samples read, decoded and augmented, here and by a plain OpenCV loader.

Draws a few images of Cityscapes' size into a temporary folder in Cityscapes' layout. All loaders make uint8 RGB
[3, H, W] and int64 labels of the same crops from the same files with the same random numbers, in turns, on one thread,
and the medians of their processor time are compared, with the files in the system's cache. The plain one is the usual
way: imread, a table for the labels, resize, pad, crop, flip. Ours reads the files too, or the copies of decoded images
that the first pass has left, and from these cuts samples by either version of the augmentation.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from tests.benchmarks.measure import machine
from trainers.config import AugmentConfig
from trainers.data import IGNORE, cityscapes, streets
from trainers.data.decoded.plan import DecodedPlan
from trainers.data.decoded.reader import Reader
from trainers.data.order import generator
from trainers.data.transforms import PADDING, TrainingSamples

OUT = Path("runs/bench/reading.json")
BARS = {"kdstudy": 1.0, "decoded": 6.0, "decoded, version 2": 6.0}
"""Least images per second of ours, by loader, in those of the plain one."""
HEIGHT, WIDTH = 1024, 2048
CROP = (512, 1024)
Loader = Callable[[int], tuple[Tensor, Tensor]]


def draw(root: Path, images: int) -> None:
    """Street scenes in Cityscapes' layout; streets' classes become Cityscapes' first ones."""
    drawn = streets.Dataset(streets.Config(size=(HEIGHT, WIDTH), train_images=images), "train")
    label_ids = np.zeros(256, np.uint8)
    label_ids[: len(cityscapes.Dataset.ids)] = cityscapes.Dataset.ids
    for index in range(images):
        image, label = drawn.load(index)
        name = f"town_000000_{index:06d}"
        for path, pixels in (
            (root / f"cityscapes/leftImg8bit/train/town/{name}_leftImg8bit.png", image[..., ::-1]),
            (root / f"cityscapes/gtFine/train/town/{name}_gtFine_labelIds.png", label_ids[label]),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not cv2.imwrite(str(path), pixels):
                raise OSError(f"{path} could not be written")


def ours(root: Path, plan: DecodedPlan | None = None, version: Literal[1, 2] = 1) -> Loader:
    data = Reader(plan, cache_mib=0)(cityscapes.Config(root=str(root / "cityscapes")), "train")
    samples = TrainingSamples(data, AugmentConfig(crop=CROP, version=version), seed=0)
    return lambda step: samples[divmod(step, len(data))]


def plain(root: Path) -> Loader:
    images = sorted(root.glob("cityscapes/leftImg8bit/train/*/*.png"))
    labels = sorted(root.glob("cityscapes/gtFine/train/*/*_labelIds.png"))
    table = np.full(256, IGNORE, np.uint8)
    table[list(cityscapes.Dataset.ids)] = np.arange(len(cityscapes.Dataset.ids))

    def load(step: int) -> tuple[Tensor, Tensor]:
        image = cv2.cvtColor(cv2.imread(str(images[step % len(images)])), cv2.COLOR_BGR2RGB)
        label = table[cv2.imread(str(labels[step % len(labels)]), cv2.IMREAD_UNCHANGED)]
        rng = generator(0, "augment", *divmod(step, len(images)))
        scale = rng.uniform(0.5, 2.0)
        size = (round(WIDTH * scale), round(HEIGHT * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        label = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST)
        below, right = max(0, CROP[0] - label.shape[0]), max(0, CROP[1] - label.shape[1])
        image = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT, value=PADDING)
        label = cv2.copyMakeBorder(label, 0, below, 0, right, cv2.BORDER_CONSTANT, value=IGNORE)
        top, left = rng.integers(label.shape[0] - CROP[0] + 1), rng.integers(label.shape[1] - CROP[1] + 1)
        image = image[top : top + CROP[0], left : left + CROP[1]]
        label = label[top : top + CROP[0], left : left + CROP[1]]
        if rng.random() < 0.5:
            image, label = image[:, ::-1], label[:, ::-1]
        channels_first = np.ascontiguousarray(image.transpose(2, 0, 1))
        return torch.from_numpy(channels_first), torch.from_numpy(label.astype(np.int64))

    return load


def seconds(load: Loader, steps: range) -> float:
    """Of processor time for one image."""
    start = time.process_time()
    for step in steps:
        load(step)
    return (time.process_time() - start) / len(steps)


def measure(root: Path, images: int, rounds: int) -> dict[str, Any]:
    """Median images per second of all, and how many times the plain one's ours are."""
    plan = DecodedPlan(folder=str(root / "decoded"), max_gib=1)
    loaders = {
        "plain": plain(root),
        "kdstudy": ours(root),
        "decoded": ours(root, plan),
        "decoded, version 2": ours(root, plan, version=2),
    }
    taken: dict[str, list[float]] = {name: [] for name in loaders}
    for step in range(2 * images):  # warms the file cache, leaves the copies, and holds all to the same work
        expected, *found = (load(step) for load in loaders.values())
        for (image, label), tolerance in zip(found, (0, 0, 1), strict=True):
            assert torch.equal(label, expected[1])
            assert int((image.int() - expected[0].int()).abs().max()) <= tolerance
    for number in range(rounds):
        for name, load in loaders.items():
            taken[name].append(seconds(load, range(number * images, (number + 1) * images)))
    rates = {name: 1 / statistics.median(times) for name, times in taken.items()}
    ratios = {name: rates[name] / rates["plain"] for name in BARS}
    rows = [{"name": name, "ratio": ratios[name], "bar": bar, "met": ratios[name] >= bar} for name, bar in BARS.items()]
    return {"images_per_second": rates, "loaders": rows}


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and write; returns what was written."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.reading", description=__doc__)
    parser.add_argument("--images", type=int, default=8, help="different files, read once a round")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), options.images)
        found = measure(Path(folder), options.images, options.rounds)
    rates = found["images_per_second"]
    print(f"\nreading, images/s a core: plain OpenCV {rates['plain']:.1f}")
    for row in found["loaders"]:
        verdict = f"bar {row['bar']:.2f}{'' if row['met'] else ', MISSED'}"
        print(f"{row['name']}: {rates[row['name']]:.1f}, {row['ratio']:.2f}x ({verdict})")
    written = {"machine": machine(), **found}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(written, indent=1))
    print(f"written to {options.out}")
    return written


if __name__ == "__main__":
    main()
