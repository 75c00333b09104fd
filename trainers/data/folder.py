"""Images and labels of one's own: any folder of images with label files, described in a study's YAML.

Which files belong together is said by patterns or lists, what label files hold by classes, colours and a mapping; see
`trainers.data.folders` for each. Nothing is guessed: a file, value or colour that the description does not cover is
refused by its name and place. Settings of paths are relative to `root`, so that a data set that has moved is the same.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal, get_args

from annotated_types import Ge, Le
from pydantic import BeforeValidator

from trainers.data import Array, Split
from trainers.data.classes import Classes
from trainers.data.decoding import orientation, read_image, resized
from trainers.data.files import OWN_DATA, FileDataset, Stored
from trainers.data.folders.labels import LabelClasses, read_label
from trainers.data.folders.meaning import Meaning, read_meaning
from trainers.data.folders.spelling import spelled
from trainers.data.folders.splits import Files, SplitConfig, locate
from trainers.data.groups import named_group

Channel = Annotated[int, Ge(0), Le(255)]
Rgb = tuple[Channel, Channel, Channel]
Side = Annotated[int, Ge(16)]
Source = Annotated[str, BeforeValidator(str)]
"""A value in digits or a name; YAML has values as numbers, JSON as text."""
CLASSES = spelled(
    "must be a list of names, or a file such as class_dict.csv (YAML wants quotes around yes, no, on, off)"
)
PALETTE = spelled("must be a list of colours such as [128, 64, 128], colours by name, or a file such as class_dict.csv")
IGNORED = spelled("must be a list of values, names and colours, such as [255, void, [0, 0, 0]]")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Attributes:

    root: the folder that the other paths are relative to.
    images: a folder, or a pattern with `{split}`, `{id}` and stars.
    labels: the same of the label files.
    classes: what is trained, in order, or a file that names it; label files hold the places in this order unless `map`
        or a file says otherwise.
    palette: the colours of label files in RGB: in the order of the classes, by name, or a file such as class_dict.csv.
    map: the class that a value, or a class of `palette`, stands for.
    ignore: values, colours, or classes of `palette` that count for nothing.
    split: how images are split, where `{split}` in `images` does not say.
    groups: a regular expression that captures of an image's name which images belong together, such as the frames of
        one film; None for each image alone.
    orientation: whether images are as their pixels are stored, or turned as their header says (EXIF); labels never are.
    size: height and width that images and labels are resized to after reading; None leaves them as they are.
    """

    name: Literal["folder"] = "folder"
    root: str = field(default="", metadata={"location": True})
    images: str = ""
    labels: str = ""
    classes: Annotated[tuple[str, ...] | str, CLASSES] = ()
    palette: Annotated[tuple[Rgb, ...] | Mapping[str, Rgb] | str | None, PALETTE] = None
    map: Mapping[Source, str] = field(default_factory=dict)
    ignore: Annotated[tuple[int | str | Rgb, ...], IGNORED] = ()
    split: SplitConfig = field(default_factory=SplitConfig)
    groups: str | None = None
    orientation: Literal["stored", "exif"] = "stored"
    size: tuple[Side, Side] | None = None


class Dataset(FileDataset):
    """One split of a folder.

    Args:
        config: the folder.
        split: of its images.

    Raises:
        ValueError: the folder, a list, an image or a label is missing, or the description contradicts itself.
    """

    published: ClassVar[Mapping[Split, int]] = {}
    labelled: ClassVar[tuple[Split, ...]] = get_args(Split)

    def __init__(self, config: Config, split: Split) -> None:
        root = _root(config)
        self.meaning = _meaning(config)
        self._group = _grouping(config.groups)
        found = locate(Files(root, config.images, config.labels, config.split, self._group), split)
        super().__init__(found.pairs, self.meaning.values, listing=found.listing)
        self.colours, self.notes = self.meaning.colours, found.notes
        self.splits_by_group = config.groups is not None
        self.size, self._turned = config.size, config.orientation == "exif"
        self._names = found.names
        self._class_files = [root / name for name in (config.classes, config.palette) if isinstance(name, str)]
        self._label_classes = LabelClasses(self.meaning)

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.meaning.names

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        return self.meaning.palette

    @property
    def ids(self) -> tuple[int, ...]:
        return self.meaning.ids

    @staticmethod
    def classes_of(config: Config) -> Classes:
        """The classes, without looking for images."""
        meaning = _meaning(config)
        return Classes(meaning.names, meaning.palette, meaning.ids)

    @property
    def files(self) -> list[Path]:
        return self._class_files + super().files

    def image_name(self, index: int) -> str:
        """Its id, or its listed path without the ending."""
        return self._names[index]

    def image_group(self, index: int) -> str:
        return self._group(self._names[index])

    def load(self, index: int) -> tuple[Array, Array]:
        return resized(*super().load(index), self.size)

    def image(self, index: int) -> Array:
        return read_image(self.pairs[index].image, turned=self._turned)

    def stored(self, index: int) -> Stored | None:
        path = self.pairs[index].label
        return None if path is None else read_label(path)

    def classes(self, stored: Stored, path: Path) -> Array:
        return self._label_classes(stored, path)

    def size_remedy(self, index: int) -> str:
        if orientation(self.pairs[index].image) > 4:
            other = "stored" if self._turned else "exif"
            return (
                f"the image's header says that it is to be turned by a quarter, which data.orientation={other} "
                f"{'leaves out' if self._turned else 'does'}; set it where the labels are like that, or save both anew"
            )
        return "save both at one size, or correct data.images and data.labels where they do not belong together"


def _grouping(pattern: str | None) -> Callable[[str], str]:
    """The group of an image by its name; what is wrong with the pattern is said with its setting."""

    def group(name: str) -> str:
        with _named_setting():
            return named(name)

    with _named_setting():
        named = named_group(pattern)
    return group


@contextmanager
def _named_setting() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"data.groups {error}") from None


def _root(config: Config) -> Path:
    root = Path(config.root)
    if not config.root or not root.is_dir():
        raise ValueError(f"data.root must be your folder, but got {config.root!r}, which is none; {OWN_DATA}")
    return root


def _meaning(config: Config) -> Meaning:
    return read_meaning(
        Path(config.root),
        classes=config.classes,
        palette=config.palette,
        mapped=config.map,
        ignore=config.ignore,
    )
