"""What the values and colours of label files stand for: a class that is trained, or nothing that counts.

Label files hold sources (see `trainers.data.folders.sources`). A source stands for the class of its own name, unless it
is mapped to another one or ignored; one that does neither is refused, so that no pixel is misread in silence.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from trainers.data import IGNORE
from trainers.data.folders.sources import Colour, Source, read_sources
from trainers.data.voc import colour as made_up_colour
from trainers.registry import nearest

K = TypeVar("K", int, Colour)

MAX_CLASSES = 254
"""A label's 255 is IGNORE and its 254 stands for what is unknown."""
MAX_VALUE = 2**16 - 1


@dataclass(frozen=True)
class Meaning:
    """What label files hold.

    Attributes:
        names: of the classes that are trained, in order.
        palette: a colour of each, for pictures.
        ids: the lowest value of each that label files hold; its place where a class has none, or one above 255.
        values: class or IGNORE by value, of labels of one channel.
        colours: class or IGNORE by colour; empty where there is no colour table.
        sources: the colour table's classes, or the classes themselves.
    """

    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    ids: tuple[int, ...]
    values: Mapping[int, int]
    colours: Mapping[Colour, int]
    sources: tuple[Source, ...]


Palette = tuple[Colour, ...] | Mapping[str, Colour] | str | None


def read_meaning(
    root: Path,
    *,
    classes: Sequence[str] | str,
    palette: Palette,
    mapped: Mapping[str, str],
    ignore: Sequence[int | str | Colour],
) -> Meaning:
    """Hold what a configuration says of label files together.

    Args:
        root: the folder that files are relative to.
        classes: their names, or the file that names them.
        palette: their colours in order, colours by name, or a file; None for the colours in the classes' file.
        mapped: class names by a value, in digits, or by a source's name.
        ignore: values, names of sources and colours that count for nothing.

    Raises:
        ValueError: they contradict each other, or a file cannot be read.
    """
    listed = _listed(root, classes)
    sources = _sources(root, listed, palette)
    numbers = {int(key): name for key, name in mapped.items() if key.isdecimal()}
    renamed = {key: name for key, name in mapped.items() if not key.isdecimal()}
    left_out = {entry for entry in ignore if isinstance(entry, str)}
    _refuse_unknown(sources, [*renamed, *left_out])
    names = _trained(listed, [*renamed, *left_out] if isinstance(classes, str) else [])
    index = {name: place for place, name in enumerate(names)}
    of_source = {source.name: _class(source.name, index, renamed, left_out) for source in sources}
    values = _values(sources, of_source, numbers, index)
    colours = _colours(sources, of_source)
    _refuse_unreached(names, {*values.values(), *colours.values()})
    values.update(_ignored(values, names, [entry for entry in ignore if isinstance(entry, int)]))
    colours.update(_ignored(colours, names, [entry for entry in ignore if isinstance(entry, tuple)]))
    _refuse_outside(values)
    return Meaning(names, _pictured(names, sources, of_source), _ids(names, values), values, colours, sources)


def _listed(root: Path, classes: Sequence[str] | str) -> tuple[Source, ...]:
    if isinstance(classes, str):
        if not root.is_dir():
            raise ValueError(
                f"data.root must be the folder that holds {classes}, but got {str(root)!r}, which is none; set it to "
                "where the data lies"
            )
        return read_sources(root / classes)
    if not classes:
        raise ValueError(
            "data.classes must name the classes, but got none; write them as a list in the order of their values, or "
            "name a file: class_dict.csv, .json or .txt"
        )
    return tuple(Source(name, place) for place, name in enumerate(classes))


def _sources(root: Path, listed: Sequence[Source], palette: Palette) -> tuple[Source, ...]:
    """What label files hold: the colour table's classes, where there is one of its own."""
    if palette is None:
        return tuple(listed)
    if isinstance(palette, str):
        return read_sources(root / palette)
    if isinstance(palette, Mapping):
        # of a mapping the order is lost as it is written down, and so says nothing
        places = {source.name: source.value for source in listed}
        return tuple(Source(name, places.get(name), colour) for name, colour in sorted(palette.items()))
    if len(palette) != len(listed):
        raise ValueError(
            f"data.palette must have one colour for each class, but has {len(palette)} for {len(listed)} classes; "
            "write colours by name where they are more: palette: {road: [128, 64, 128], ...}"
        )
    return tuple(source._replace(colour=colour) for source, colour in zip(listed, palette, strict=True))


def _refuse_unknown(sources: Sequence[Source], names: Sequence[str]) -> None:
    known = [source.name for source in sources]
    if unknown := [name for name in names if name not in known]:
        raise ValueError(
            f"data.map and data.ignore must name values, or classes of the label files, but got {unknown[0]!r}; "
            f"{nearest(unknown[0], known)}"
        )


def _trained(listed: Sequence[Source], dropped: Sequence[str]) -> tuple[str, ...]:
    """The names of what is trained; of a file's classes, those that are neither mapped to others nor ignored."""
    names = tuple(dict.fromkeys(source.name for source in listed if source.name not in dropped))
    every = [source.name for source in listed]
    if len(set(every)) != len(every):
        twice = next(name for name in every if every.count(name) > 1)
        raise ValueError(f"data.classes must be different names, but {twice!r} stands twice; rename or drop one")
    if not 2 <= len(names) <= MAX_CLASSES:
        raise ValueError(
            f"data.classes must be 2 to {MAX_CLASSES} that are trained, but got {len(names)}; a single class needs a "
            "second one for everything else, such as background"
        )
    return names


def _class(name: str, index: Mapping[str, int], renamed: Mapping[str, str], left_out: set[str]) -> int:
    """The class that a source stands for, or IGNORE."""
    if name in left_out:
        if name in index or name in renamed:
            raise ValueError(
                f"data.ignore must name what is not trained, but {name!r} is a class or mapped to one; take it out of "
                "one of the two"
            )
        return IGNORE
    meant = renamed.get(name, name)
    if meant not in index:
        law = "data.map must map to classes" if name in renamed else "the label files' classes must all mean something"
        raise ValueError(
            f"{law}, but {meant!r} is none of data.classes; {nearest(meant, index)}; add it to data.classes, map it "
            f"(map: {{{name}: CLASS}}) or ignore it (ignore: [{name}])"
        )
    return index[meant]


def _values(
    sources: Sequence[Source], of_source: Mapping[str, int], numbers: Mapping[int, str], index: Mapping[str, int]
) -> dict[int, int]:
    """Classes by value: what `map` says, and nothing else, where it names values."""
    if unknown := [name for name in numbers.values() if name not in index]:
        raise ValueError(
            f"data.map must map to classes, but {unknown[0]!r} is none of data.classes; {nearest(unknown[0], index)}"
        )
    if numbers:
        return {value: index[name] for value, name in numbers.items()}
    found: dict[int, int] = {}
    for source in sources:
        place = of_source[source.name]
        if source.value is not None and found.setdefault(source.value, place) != place:
            raise ValueError(f"a value must stand for one class, but {source.value} does for two; correct the file")
    return found


def _colours(sources: Sequence[Source], of_source: Mapping[str, int]) -> dict[Colour, int]:
    found: dict[Colour, int] = {}
    for source in sources:
        place = of_source[source.name]
        if source.colour and found.setdefault(source.colour, place) != place:
            raise ValueError(
                f"a colour must stand for one class, but RGB {source.colour} does for {source.name!r} and another; "
                "correct data.palette"
            )
    return found


def _refuse_unreached(names: Sequence[str], reached: Collection[int]) -> None:
    if lost := [name for place, name in enumerate(names) if place not in reached]:
        raise ValueError(
            f"every class must have a value or a colour, but {', '.join(lost)} has none; where data.map names values "
            f"it must name those of all classes: map: {{VALUE: {lost[0]}}}, and a colour table the colours of all"
        )


def _ignored(known: Mapping[K, int], names: Sequence[str], ignore: Sequence[K]) -> Iterator[tuple[K, int]]:
    """What is ignored, which must stand for nothing else."""
    for entry in ignore:
        if known.get(entry, IGNORE) != IGNORE:
            raise ValueError(
                f"data.ignore must hold what stands for no class, but {entry} stands for {names[known[entry]]!r}; a "
                "list of classes counts from 0, so write map: {1: ..., 2: ...} where the values are others"
            )
        yield entry, IGNORE


def _refuse_outside(values: Mapping[int, int]) -> None:
    if wrong := [value for value in values if not 0 <= value <= MAX_VALUE]:
        raise ValueError(f"values of label files must be in 0..{MAX_VALUE}, but got {wrong[0]}; correct map and ignore")


def _pictured(names: Sequence[str], sources: Sequence[Source], of_source: Mapping[str, int]) -> tuple[Colour, ...]:
    """A colour of each class: its own, else that of one that is mapped to it, else one that is made up."""
    own = {source.name: source.colour for source in sources if source.colour}
    merged = {of_source[source.name]: source.colour for source in reversed(sources) if source.colour}
    return tuple(own.get(name) or merged.get(place) or made_up_colour(place) for place, name in enumerate(names))


def _ids(names: Sequence[str], values: Mapping[int, int]) -> tuple[int, ...]:
    first = {values[value]: value for value in sorted(values, reverse=True)}
    found = tuple(first.get(place, MAX_VALUE) for place in range(len(names)))
    return found if max(found) <= IGNORE else tuple(range(len(names)))
