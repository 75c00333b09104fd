"""`kdstudy difficulty`: a student beside a teacher on whole images, as RDD sees them, drawn, and counted by class."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Gt, Le, MinLen

from analysis.difficulty import mask_shares, panels
from study.commands.lookup.image_maps import ImageMaps, Pair, trained_mask
from study.commands.lookup.trained_networks import load_trained
from study.commands.options import add_json, add_plugins, load_plugins
from trainers.config import parse, plain
from trainers.data import SegmentationDataset, Split
from trainers.difficulty import rdd
from trainers.difficulty.class_shares import ClassShares
from trainers.difficulty.maps import THRESHOLDS
from trainers.registry import nearest
from trainers.teachers import teacher as teachers


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_json(parser)
    add_plugins(parser)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="of the student, as for evaluate")
    parser.add_argument("--teacher", required=True, type=Path, metavar="FILE", help="a teacher's file")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--root", default="", help="the dataset's folder")
    parser.add_argument("--split", default="val", choices=("train", "val"))
    parser.add_argument("--images", nargs="+", default=["4"], metavar="N|NAME", help="the first N (4), or by name")
    parser.add_argument("--thresholds", type=float, nargs="+", metavar="T", help="the paper's and the trial's own")
    parser.add_argument("--whole-split", action="store_true", help="count the shares over all images")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the pictures and shares")


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    load_plugins(options)
    difficulty = SplitDifficulty(
        options.checkpoint,
        teacher=options.teacher,
        dataset=options.dataset,
        root=options.root,
        split=options.split,
        requested=parse(RequestedThresholds, {"thresholds": options.thresholds}),
    )
    reading = panels.Reading(
        class_names=difficulty.data.class_names,
        palette=difficulty.data.palette,
        confidence=difficulty.config.confidence,
        trained=difficulty.trained_mask,
    )
    pictures = [
        panels.write(difficulty.maps_of(index), reading, options.out)
        for index in chosen(difficulty.data, options.images)
    ]
    if options.whole_split:
        difficulty.count_remaining()
    answer = difficulty.drain()
    shares = mask_shares.shares_table(answer["shares"])
    written = [*mask_shares.write(shares, options.out), *pictures]
    if options.json:
        print(json.dumps({**answer, "files": [str(path) for path in written]}))
        return 0
    print(difficulty.options_text)
    threshold = difficulty.reported_threshold
    print(f"percent of the labelled pixels of {answer['images']} images (tfe: mean weight), t = {threshold:g}")
    mask_shares.print_shares(shares, threshold)
    for path in written:
        print(f"written to {path}")
    return 0


@dataclass(frozen=True, kw_only=True)
class RequestedThresholds:
    """Confidences at or below which a pixel is hard; None for the paper's and the trial's own."""

    thresholds: Annotated[tuple[Annotated[float, Gt(0), Le(1)], ...], MinLen(1)] | None = None


class SplitDifficulty:
    """What RDD finds hard on one split, for a student beside a teacher.

    Args:
        checkpoint: of the student; what `kdstudy evaluate` takes.
        teacher: a teacher's file.
        dataset: name of a dataset; where the student was trained on the same one, at the size that it had then.
        root: the dataset's folder.
        split: with labels, without which nothing is hard.
        requested: thresholds to make maps at.

    Attributes:
        config: the options of RDD that the student was trained with, or the paper's.
        from_trial: whether they are the trial's.
        thresholds: in rising order.
        reported_threshold: the one whose shares are printed: the trial's among them, else the first.

    Raises:
        ValueError: wrong input.
    """

    def __init__(
        self,
        checkpoint: Path,
        *,
        teacher: Path,
        dataset: str,
        root: str,
        split: Split,
        requested: RequestedThresholds | None = None,
    ) -> None:
        network, normalisation, self.data, trial = load_trained(checkpoint, dataset=dataset, root=root, split=split)
        self.from_trial = trial is not None and isinstance(trial.task, rdd.Config)
        self.config: rdd.Config = trial.task if trial is not None and self.from_trial else rdd.Config()
        given = (requested or RequestedThresholds()).thresholds
        self.thresholds = sorted(set(given or (*THRESHOLDS, self.config.threshold)))
        own = self.config.threshold
        self.reported_threshold = own if own in self.thresholds else self.thresholds[0]
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._pair = Pair(
            student=network.to(device).eval(),
            normalisation=normalisation,
            teacher=teachers.load(teacher, class_names=self.data.class_names).to(device),
            config=self.config,
            thresholds=self.thresholds,
        )
        self._shares: ClassShares[tuple[str, float | None]] = ClassShares(len(self.data.class_names))
        self._seen: set[int] = set()

    @property
    def trained_mask(self) -> tuple[str, float] | None:
        """Mask and threshold that the student's TSE stage kept pixels by; None where it had none."""
        return trained_mask(self.config) if self.from_trial else None

    @property
    def options_text(self) -> str:
        """The options of RDD and where they come from, in a sentence."""
        config = self.config
        options = f"confidence {config.confidence}, divergence {config.divergence}"
        if not self.from_trial:
            return f"options of the paper, since the student was not trained with RDD: {options}"
        raised = f"; in training min_kept={config.min_kept} could raise t, here not" if config.min_kept else ""
        return f"options of the trial: {options}, combine {config.combine}, t = {config.threshold:g}{raised}"

    def maps_of(self, index: int) -> ImageMaps:
        """The maps of one image, which is counted into the shares."""
        self._seen.add(index)
        drawn, maps, labels = self._pair.maps_of(self.data, index)
        for name, threshold, weight in maps.weights():
            self._shares.add((name, threshold), labels, weight)
        return drawn

    def count_remaining(self) -> None:
        """Count the remaining images of the split into the shares."""
        for index in sorted({*range(len(self.data))} - self._seen):
            self.maps_of(index)

    def drain(self) -> dict[str, Any]:
        """What was counted since the last call.

        Returns:
            {"settings": options of RDD, with "from_trial", "images": number of images counted, "shares": a row for
            each mask, threshold and class that had labelled pixels}.
        """
        settings = {"from_trial": self.from_trial, **plain(self.config)}
        images, self._seen = len(self._seen), set()
        return {"settings": settings, "images": images, "shares": self._rows()}

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "mask": mask,
                "threshold": threshold,
                "class": class_name,
                "kept_pixels": kept,
                "valid_pixels": int(valid),
                "share_percent": 100 * kept / valid,
            }
            for (mask, threshold), sums in self._shares.drain().items()
            for class_name, kept, valid in zip(self.data.class_names, *sums.tolist(), strict=True)
            if valid
        ]


def chosen(data: SegmentationDataset, images: Sequence[str]) -> list[int]:
    """Indices of images by name, or of the first N where `images` is one number.

    Raises:
        ValueError: no image of such a name, or not so many.
    """
    names = {data.image_name(index): index for index in range(len(data))}
    if len(images) == 1 and images[0].isdecimal() and images[0] not in names:
        if not 1 <= int(images[0]) <= len(names):
            raise ValueError(f"--images must be 1 to {len(names)} of the split's images, but got {images[0]}; lower it")
        return list(range(int(images[0])))
    for name in images:
        if name not in names:
            raise ValueError(f"--images must be a number or names of the split, but got {name!r}; {_near(name, names)}")
    return [names[name] for name in dict.fromkeys(images)]


def _near(name: str, names: Mapping[str, int]) -> str:
    """The nearest name, of thousands only some."""
    return nearest(name, names) if len(names) <= 20 else f"names are like {next(iter(names))!r}"
