"""The table `images`: which of the images that a study is judged on belong together."""

from pathlib import Path
from typing import Any

from study.configuration.config import StudyConfig
from study.tables import IMAGES, TableWriter
from trainers.data import SegmentationDataset
from trainers.data.groups import image_groups
from trainers.data.splits import judging_images


def record_groups(config: StudyConfig, folder: Path) -> str | None:
    """Write the group of every image that the study's trials are judged on, where it is not yet there.

    Only the driver writes it, so its machine must have the dataset; trials may run where it does not.

    Returns:
        What kept it from that, None where nothing did.
    """
    try:
        data = judging_images(config.data, config.evaluate_on, holdout=config.holdout)
        rows = group_rows(data, config.evaluate_on, config.groups)
    except ValueError as wrong:
        return f"{wrong}; the table images does not say which images belong together"
    with TableWriter(folder / "tables", IMAGES) as writer:
        writer.append(rows)
    return None


def group_rows(data: SegmentationDataset, split: str, pattern: str | None) -> list[dict[str, Any]]:
    """Rows of the table `images`.

    Raises:
        ValueError: the pattern does not fit.
    """
    found = image_groups(data, pattern)
    return [{"split": split, "image": name, "group": group} for name, group in found.items()]
