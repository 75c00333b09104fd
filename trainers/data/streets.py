"""Streets: synthetic street scenes with CamVid's classes at about its pixel frequencies; nothing is downloaded.

Made for trying a study in minutes on any machine, and hard enough for a distilled student to gain from its teacher:
colours and textures of the classes overlap, so that shape and place must be learnt. An image is a pure function of
its split, its index and the size; sizes of one shape show the same scenes. It stands in for no real data set: nothing
measured on it says anything about real streets.
"""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, get_args

import annotated_types as at
import numpy as np

from trainers.config import LATER
from trainers.data import Array, Split
from trainers.data.street_scenes import classes as street_classes
from trainers.data.street_scenes.photo import photograph
from trainers.data.street_scenes.scene import draw_street

Side = Annotated[int, at.Ge(32)]


@dataclass(frozen=True, kw_only=True)
class Config:
    """The drawn streets.

    Attributes:
        name: tag of this data set.
        size: height and width of every image, in pixels.
        train_images: number of images to train on; more of them leave the first ones as they are.
        val_images: number of images to validate on.
        test_images: number of images that are in neither.
        drawing: which streets are drawn; another number gives other streets of the same kind.
    """

    name: Literal["streets"] = "streets"
    size: tuple[Side, Side] = (96, 128)
    train_images: Annotated[int, at.Ge(1)] = 200
    val_images: Annotated[int, at.Ge(1)] = 60
    test_images: Annotated[int, at.Ge(1)] = field(default=60, metadata=LATER)
    drawing: Annotated[int, at.Ge(0), at.Lt(2**64)] = field(default=0, metadata=LATER)


class Dataset:
    """One split of the drawn streets, a `SegmentationDataset`."""

    class_names: ClassVar[tuple[str, ...]] = street_classes.NAMES
    palette: ClassVar[tuple[tuple[int, int, int], ...]] = street_classes.PALETTE
    ids: ClassVar[tuple[int, ...]] = tuple(range(len(street_classes.NAMES)))
    labelled: ClassVar[tuple[Split, ...]] = get_args(Split)
    drawn: ClassVar[bool] = True
    """Images follow from the configuration and this code alone."""

    def __init__(self, config: Config, split: Split) -> None:
        self.size = config.size
        self.split = split
        self.images: int = getattr(config, f"{split}_images")
        self.drawing = config.drawing

    def __len__(self) -> int:
        return self.images

    def image_name(self, index: int) -> str:
        """`train/00017`."""
        return f"{self.split}/{self._checked(index):05d}"

    def load(self, index: int) -> tuple[Array, Array]:
        """Draw image `index`: uint8 RGB [H, W, 3] and label uint8 [H, W]."""
        key = (self._checked(index), get_args(Split).index(self.split))
        scene, photo = (
            np.random.Generator(np.random.Philox(key=key, counter=(0, 0, self.drawing, stream))) for stream in (0, 1)
        )
        return photograph(photo, draw_street(scene, *self.size))

    def _checked(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"index must be in [0, {len(self)}), but got {index}; split {self.split}")
        return index
