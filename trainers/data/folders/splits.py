"""Which images and labels are a split of a folder: by the split's own folder, by a list, or as a seeded share.

A share is taken of the images in an order that depends on the seed and their names alone, group by group, so that
images that belong together are never in two splits.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from annotated_types import Ge, Lt

from trainers.data import Split
from trainers.data.files import FilesMissingError, Pair, SplitMissingError
from trainers.data.folders.labels import SUFFIXES as LABEL_SUFFIXES
from trainers.data.folders.lists import ImageIndex, Line, read_lines
from trainers.data.folders.patterns import ID, SPLIT, expected, find, with_split
from trainers.data.folders.spelling import spelled

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp")

SHARED: tuple[Literal["test", "val"], ...] = ("test", "val")
"""Splits that may be shares of all images, in the order in which they are drawn."""

LISTS = spelled("must be lists by split, such as {train: train.txt, val: val.txt}, or one path with {split}")
Share = Annotated[float, Ge(0), Lt(1)]


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How images are split; one of the three ways.

    Attributes:
        folders: what `{split}` in data.images and data.labels stands for, where that is not train, val and test.
        lists: a list of images for each split, or one path with `{split}`; relative to data.root.
        shares: shares of the images to validate and to test on; the rest is trained on.
        seed: of the shares.
    """

    folders: Mapping[Split, str] = field(default_factory=dict)
    lists: Annotated[Mapping[Split, str] | str, LISTS] = ""
    shares: Mapping[Literal["val", "test"], Share] = field(default_factory=dict)
    seed: Annotated[int, Ge(0)] = 0


class Located(NamedTuple):
    """The files of a split.

    Attributes:
        names: of its images, each once.
        pairs: an image and its label for each.
        listing: the list that names them, where there is one.
        notes: what is odd about the files, one line each.
    """

    names: list[str]
    pairs: list[Pair]
    listing: Path | None = None
    notes: tuple[str, ...] = ()


class Files(NamedTuple):
    """Where a folder's files are, as a configuration says.

    Attributes:
        root: the folder.
        images: a pattern.
        labels: a pattern.
        split: how images are split.
        group: gives the group of an image by its name.
    """

    root: Path
    images: str
    labels: str
    split: SplitConfig
    group: Callable[[str], str]


def locate(files: Files, split: Split) -> Located:
    """The images and labels of a split.

    Raises:
        SplitMissingError: there is no such split.
        ValueError: patterns, lists and shares contradict each other, or do not fit the files.
    """
    _refuse_two_ways(files)
    how = files.split
    if how.lists:
        found = _listed(files, split)
    elif how.shares:
        found = _share(files, split)
    else:
        found = _patterned(files, how.folders.get(split, split), split)
    counted = Counter(found.names)
    if len(counted) < len(found.names):
        (twice, _), *_ = counted.most_common(1)
        raise ValueError(f"a split must have each image once, but {split} has {twice!r} twice; take one line out")
    return found


def _refuse_two_ways(files: Files) -> None:
    how = files.split
    ways = [name for name in ("folders", "lists", "shares") if getattr(how, name)]
    if how.shares and (len(ways) > 1 or SPLIT in files.images + files.labels):
        raise ValueError(
            "data.split.shares must be the only way to split, but data.images, data.labels or data.split name splits "
            "too; leave one of the two out"
        )
    if not how.lists and not how.shares and SPLIT not in files.images:
        raise ValueError(
            f"data must say which images are trained on, but data.images={files.images!r} has no {SPLIT} and "
            f"data.split is not set; put {SPLIT} into data.images, or set split: {{lists: ...}} or split: {{shares: "
            "{val: 0.2}}"
        )


def _patterned(files: Files, folder: str, split: Split) -> Located:
    """The files that fit the patterns of images and labels."""
    images = _images(files, folder)
    labels = _labels(files, folder, split)
    own = set(labels.values()) if labels else set()
    images = {name: path for name, path in images.items() if path not in own}
    if not images:
        raise ValueError(
            f"data.images and data.labels must mean different files, but {files.images!r} and {files.labels!r} mean "
            f"the same; make them differ, for example {ID}.jpg and {ID}_mask.png"
        )
    pairs = [_pair(files, folder, name, path, labels) for name, path in images.items()]
    return Located(list(images), pairs, notes=_alone(files, images, labels or {}))


def _alone(files: Files, images: Mapping[str, Path], labels: Mapping[str, Path]) -> tuple[str, ...]:
    """A note on labels without an image, where images and labels are of the same split."""
    alone = [path for name, path in labels.items() if name not in images]
    if not alone or (SPLIT in files.images and SPLIT not in files.labels):
        return ()
    return (f"every label should have an image, but {len(alone)} have none, first {alone[0]}; they are not used",)


def _images(files: Files, folder: str) -> dict[str, Path]:
    if not files.images:
        raise ValueError(
            "data.images must say where the images are, but is not set; name a folder or a pattern such as "
            f"images/{SPLIT}/{ID}.jpg, or list images with their labels: split: {{lists: ...}}"
        )
    return find(files.root, with_split(files.images, folder), IMAGE_SUFFIXES, what="images")


def _labels(files: Files, folder: str, split: Split) -> dict[str, Path] | None:
    """Label files by id; None of a test split that has none."""
    if not files.labels:
        raise ValueError(
            "data.labels must say where the labels are, but is not set; name a folder or a pattern such as "
            f"labels/{SPLIT}/{ID}.png"
        )
    try:
        return find(files.root, with_split(files.labels, folder), LABEL_SUFFIXES, what="labels")
    except SplitMissingError as error:
        if split == "test":
            return None
        raise ValueError(str(error)) from None


def _pair(files: Files, folder: str, name: str, image: Path, labels: Mapping[str, Path] | None) -> Pair:
    """An image and the label of its name, or the path where that should be; none of a split without labels."""
    if labels is None:
        return Pair(image, None)
    return Pair(image, labels.get(name) or expected(files.root, with_split(files.labels, folder), name))


def _listed(files: Files, split: Split) -> Located:
    """The images that a list names, with the labels it names or those that fit the pattern."""
    folder = files.split.folders.get(split, split)
    listing = files.root / _list_name(files.split.lists, split, folder)
    lines = read_lines(listing)
    images = _images(files, folder) if files.images else {}
    index = ImageIndex(files.root, images)
    named = [index.find(line) for line in lines]
    labels = _labels(files, folder, split) if any(named) else None
    found = [
        (name, _pair(files, folder, name, images[name], labels)) if name else _of_paths(line, files.root)
        for line, name in zip(lines, named, strict=True)
    ]
    _refuse_elsewhere(files.root, listing, [pair for _, pair in found])
    return Located([name for name, _ in found], [pair for _, pair in found], listing)


def _list_name(lists: Mapping[Split, str] | str, split: Split, folder: str) -> str:
    if isinstance(lists, str):
        if SPLIT not in lists:
            raise ValueError(
                f"data.split.lists must name a list for each split, but got {lists!r}; put {SPLIT} into it, or write "
                "lists: {train: train.txt, val: val.txt}"
            )
        return with_split(lists, folder)
    if split not in lists:
        raise SplitMissingError(
            f"data.split.lists must name a list of {split} images, but names none; add {split}: FILE"
        )
    return lists[split]


def _of_paths(line: Line, root: Path) -> tuple[str, Pair]:
    """The name of a line's image, and the files that it names."""
    if len(line.words) != 2:
        raise ValueError(
            f"{line.where} must name an image and its label, or an image that fits data.images, but is {line.text!r}; "
            "correct it, or set data.images and data.labels; put a tab between names that hold blanks"
        )
    image, label = (root / word for word in line.words)
    return _name(root, image), Pair(image, label)


def _name(root: Path, image: Path) -> str:
    """A listed image's name: its path below the root, without its ending."""
    below = image.relative_to(root) if image.is_relative_to(root) else image.relative_to(image.anchor)
    return "/".join(part for part in below.parts if part != "..").removesuffix(image.suffix)


def _refuse_elsewhere(root: Path, listing: Path, pairs: Sequence[Pair]) -> None:
    """A list whose first image is not there was most likely written for another folder."""
    first = pairs[0].image
    if not first.exists() and not any(pair.image.exists() for pair in pairs[:: max(1, len(pairs) // 16)]):
        raise FilesMissingError(
            [first],
            0,
            listing,
            remedy=f"paths in lists are relative to data.root, {root}, or absolute; correct the list, or data.root",
        )


def _share(files: Files, split: Split) -> Located:
    """The images of a split that is a share of all."""
    every = _patterned(files, "", "train")
    kept = set(shared(every.names, files.split, files.group, split))
    chosen = [place for place, name in enumerate(every.names) if name in kept]
    return Located(
        [every.names[place] for place in chosen], [every.pairs[place] for place in chosen], notes=every.notes
    )


def shared(names: Sequence[str], how: SplitConfig, group: Callable[[str], str], split: Split) -> list[str]:
    """The names that are in a split of seeded shares.

    Raises:
        SplitMissingError: it has no share.
        ValueError: the shares leave a split without an image.
    """
    members: dict[str, list[str]] = {}
    for name in sorted(names):
        members.setdefault(group(name), []).append(name)
    left = sorted(members, key=lambda name: _drawn(how.seed, name))
    parts: dict[Split, list[str]] = {}
    for part in SHARED:
        parts[part] = _taken(left, members, how.shares.get(part, 0.0) * len(names))
        left = [name for name in left if name not in parts[part]]
    parts["train"] = left
    if split != "train" and not how.shares.get(split):
        raise SplitMissingError(f"data.split.shares must give {split} a share, but gives it none; add {split}: 0.2")
    if not parts[split]:
        raise ValueError(
            f"data.split.shares must leave images in every split, but {len(names)} images in {len(members)} groups "
            f"leave {split} none; change the shares, or take more images"
        )
    return [name for key in parts[split] for name in members[key]]


def _drawn(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()


def _taken(order: Sequence[str], members: Mapping[str, Sequence[str]], wanted: float) -> list[str]:
    """The groups in this order that come nearest to so many images, at least one where any are wanted."""
    taken: list[str] = []
    count = 0
    for name in order:
        size = len(members[name])
        if count + size / 2 <= wanted:
            taken.append(name)
            count += size
    if not taken and wanted and order:
        taken = [min(order, key=lambda name: len(members[name]))]
    return taken
