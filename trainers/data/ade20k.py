"""ADE20K as `ADEChallengeData2016`: `images/training`, `annotations/training` and the same for `validation`.

150 classes, in label files 1..150; 0 is everything else and ignored. Names are the first of each class's names in
`objectInfo150.txt`. The test split is the challenge's `release_test/testing`, without labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from trainers.data import IGNORE, Split
from trainers.data.files import FileDataset, Pair, SplitMissingError, find_folder, names

FOLDERS: Mapping[Split, str] = {"train": "training", "val": "validation"}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Attributes:

    root: `ADEChallengeData2016`, or the folder that holds it.
    """

    name: Literal["ade20k"] = "ade20k"
    root: str = field(default="", metadata={"location": True})


class Dataset(FileDataset):
    """One split of ADE20K's scene parsing challenge.

    Raises:
        ValueError: where the folder, an image or a label is missing; names it.
    """

    class_names: ClassVar[tuple[str, ...]] = (
        "wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane", "grass", "cabinet",
        "sidewalk", "person", "earth", "door", "table", "mountain", "plant", "curtain", "chair", "car", "water",
        "painting", "sofa", "shelf", "house", "sea", "mirror", "rug", "field", "armchair", "seat", "fence", "desk",
        "rock", "wardrobe", "lamp", "bathtub", "railing", "cushion", "base", "box", "column", "signboard",
        "chest of drawers", "counter", "sand", "sink", "skyscraper", "fireplace", "refrigerator", "grandstand",
        "path", "stairs", "runway", "case", "pool table", "pillow", "screen door", "stairway", "river", "bridge",
        "bookcase", "blind", "coffee table", "toilet", "flower", "book", "hill", "bench", "countertop", "stove",
        "palm", "kitchen island", "computer", "swivel chair", "boat", "bar", "arcade machine", "hovel", "bus",
        "towel", "light", "truck", "tower", "chandelier", "awning", "streetlight", "booth", "television", "airplane",
        "dirt track", "apparel", "pole", "land", "bannister", "escalator", "ottoman", "bottle", "buffet", "poster",
        "stage", "van", "ship", "fountain", "conveyer belt", "canopy", "washer", "plaything", "swimming pool",
        "stool", "barrel", "basket", "waterfall", "tent", "bag", "minibike", "cradle", "oven", "ball", "food", "step",
        "tank", "trade name", "microwave", "pot", "animal", "bicycle", "lake", "dishwasher", "screen", "blanket",
        "sculpture", "hood", "sconce", "vase", "traffic light", "tray", "ashcan", "fan", "pier", "crt screen",
        "plate", "monitor", "bulletin board", "shower", "radiator", "glass", "clock", "flag",
    )  # fmt: skip
    palette: ClassVar[tuple[tuple[int, int, int], ...]] = (
        (120, 120, 120), (180, 120, 120), (6, 230, 230), (80, 50, 50), (4, 200, 3), (120, 120, 80), (140, 140, 140),
        (204, 5, 255), (230, 230, 230), (4, 250, 7), (224, 5, 255), (235, 255, 7), (150, 5, 61), (120, 120, 70),
        (8, 255, 51), (255, 6, 82), (143, 255, 140), (204, 255, 4), (255, 51, 7), (204, 70, 3), (0, 102, 200),
        (61, 230, 250), (255, 6, 51), (11, 102, 255), (255, 7, 71), (255, 9, 224), (9, 7, 230), (220, 220, 220),
        (255, 9, 92), (112, 9, 255), (8, 255, 214), (7, 255, 224), (255, 184, 6), (10, 255, 71), (255, 41, 10),
        (7, 255, 255), (224, 255, 8), (102, 8, 255), (255, 61, 6), (255, 194, 7), (255, 122, 8), (0, 255, 20),
        (255, 8, 41), (255, 5, 153), (6, 51, 255), (235, 12, 255), (160, 150, 20), (0, 163, 255), (140, 140, 140),
        (250, 10, 15), (20, 255, 0), (31, 255, 0), (255, 31, 0), (255, 224, 0), (153, 255, 0), (0, 0, 255),
        (255, 71, 0), (0, 235, 255), (0, 173, 255), (31, 0, 255), (11, 200, 200), (255, 82, 0), (0, 255, 245),
        (0, 61, 255), (0, 255, 112), (0, 255, 133), (255, 0, 0), (255, 163, 0), (255, 102, 0), (194, 255, 0),
        (0, 143, 255), (51, 255, 0), (0, 82, 255), (0, 255, 41), (0, 255, 173), (10, 0, 255), (173, 255, 0),
        (0, 255, 153), (255, 92, 0), (255, 0, 255), (255, 0, 245), (255, 0, 102), (255, 173, 0), (255, 0, 20),
        (255, 184, 184), (0, 31, 255), (0, 255, 61), (0, 71, 255), (255, 0, 204), (0, 255, 194), (0, 255, 82),
        (0, 10, 255), (0, 112, 255), (51, 0, 255), (0, 194, 255), (0, 122, 255), (0, 255, 163), (255, 153, 0),
        (0, 255, 10), (255, 112, 0), (143, 255, 0), (82, 0, 255), (163, 255, 0), (255, 235, 0), (8, 184, 170),
        (133, 0, 255), (0, 255, 92), (184, 0, 255), (255, 0, 31), (0, 184, 255), (0, 214, 255), (255, 0, 112),
        (92, 255, 0), (0, 224, 255), (112, 224, 255), (70, 184, 160), (163, 0, 255), (153, 0, 255), (71, 255, 0),
        (255, 0, 163), (255, 204, 0), (255, 0, 143), (0, 255, 235), (133, 255, 0), (255, 0, 235), (245, 0, 255),
        (255, 0, 122), (255, 245, 0), (10, 190, 212), (214, 255, 0), (0, 204, 255), (20, 0, 255), (255, 255, 0),
        (0, 153, 255), (0, 41, 255), (0, 255, 204), (41, 0, 255), (41, 255, 0), (173, 0, 255), (0, 245, 255),
        (71, 0, 255), (122, 0, 255), (0, 255, 184), (0, 92, 255), (184, 255, 0), (0, 133, 255), (255, 214, 0),
        (25, 194, 194), (102, 255, 0), (92, 0, 255),
    )  # fmt: skip
    ids: ClassVar[tuple[int, ...]] = tuple(range(1, 151))
    published: ClassVar[Mapping[Split, int]] = {"train": 20210, "val": 2000, "test": 3352}
    remedy: ClassVar[str] = "take annotations/ as published in ADEChallengeData2016"

    def __init__(self, config: Config, split: Split) -> None:
        remedy = "set data.root to ADEChallengeData2016, which holds images/ and annotations/"
        root = find_folder(
            config.root, whose="ADE20K's", holds="annotations", below=("ADEChallengeData2016",), remedy=remedy
        )
        images = _test_folder(root) if split == "test" else root / "images" / FOLDERS[split]
        labels = None if split == "test" else root / "annotations" / FOLDERS[split]
        found = names(images, "*", ".jpg")
        if not found:
            raise SplitMissingError(f"{images} must hold the images *.jpg, but holds none; {remedy}")
        labelled = names(labels, "*", ".png") if labels else set()
        pairs = [
            Pair(images / f"{name}.jpg", labels / f"{name}.png" if labels else None)
            for name in sorted(found | labelled)
        ]
        super().__init__(pairs, {0: IGNORE, **{value: index for index, value in enumerate(self.ids)}})


def _test_folder(root: Path) -> Path:
    """Where the test images were unpacked: inside the dataset's folder or beside it."""
    inside, beside = (folder / "release_test" / "testing" for folder in (root, root.absolute().parent))
    return beside if beside.is_dir() else inside
