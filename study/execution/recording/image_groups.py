"""The table `images`: which of the images that a study is judged on belong together."""

from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from study import tables
from study.configuration.config import StudyConfig
from study.tables import IMAGES, TableWriter
from trainers.data import SegmentationDataset
from trainers.data.groups import image_groups
from trainers.data.splits import judging_images


def record_groups(config: StudyConfig, folder: Path) -> str | None:
    """Write the group of every image that the study's trials are judged on, where it is not yet there.

    Only the driver writes it, so its machine must have the dataset when it first starts; trials may run elsewhere.

    Returns:
        What kept it from that, None where nothing did or they are there.
    """
    try:
        data = judging_images(config.data, config.evaluate_on, holdout=config.holdout)
        rows = group_rows(data, config.evaluate_on, config.groups)
    except ValueError as wrong:
        if _known(folder, config.evaluate_on):
            return None
        return f"{wrong}; the table images does not say which images belong together"
    with TableWriter(folder / "tables", IMAGES) as writer:
        writer.append(rows)
    return None


def _known(folder: Path, split: str) -> bool:
    try:
        return bool(tables.read(folder / "tables", "images", ["split"], pc.field("split") == split).num_rows)
    except FileNotFoundError:
        return False


def group_rows(data: SegmentationDataset, split: str, pattern: str | None) -> list[dict[str, Any]]:
    """Rows of the table `images`.

    Raises:
        ValueError: the pattern does not fit.
    """
    found = image_groups(data, pattern)
    return [{"split": split, "image": name, "group": group} for name, group in found.items()]
