"""TrialConfig: everything that affects the numbers of one trial, and nothing else.

Reading is strict: unknown keys, wrong types and values out of range are refused, all at once, each with its path.
Nothing is inherited or interpolated; what a file says is what runs. Where files lie is part of the configuration too,
but not of its hash, so that a moved dataset or teacher is still the same trial. A field that came later is left out of
the hash at its default, so that trials and teachers from before it keep theirs.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import ConfigDict, TypeAdapter, ValidationError

from trainers.addresses import is_url
from trainers.registry import OneOf, SomeOf, nearest

T = TypeVar("T")

EvaluationSplit = Literal["val", "test", "holdout"]

LATER = {"later": True}
"""Metadata of a field that came after trials had been hashed without it."""


@dataclass(frozen=True, kw_only=True)
class JitterConfig:
    """Photometric jitter, off by default. A strength x draws a factor uniform in [1 - x, 1 + x].

    Attributes:
        brightness: the factor multiplies all channels.
        contrast: the factor multiplies differences from the sample's mean grey.
        saturation: the factor multiplies differences from each pixel's own grey.
        hue: hues move by a shift uniform in [-hue, hue] turns of the colour circle.
    """

    brightness: Annotated[float, Ge(0), Le(1)] = 0.0
    contrast: Annotated[float, Ge(0), Le(1)] = 0.0
    saturation: Annotated[float, Ge(0), Le(1)] = 0.0
    hue: Annotated[float, Ge(0), Le(0.5)] = 0.0


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How a training sample is drawn from an image: scale, crop, jitter, flip.

    Attributes:
        crop: height and width of the crop in pixels.
        scale: lowest and highest factor of the random scale, uniform; (1, 1) for none.
        flip: whether half of the samples are mirrored.
        jitter: of brightness, contrast, saturation and hue.
    """

    crop: tuple[Annotated[int, Ge(16)], Annotated[int, Ge(16)]]
    scale: tuple[Annotated[float, Gt(0), Le(8)], Annotated[float, Gt(0), Le(8)]] = (0.5, 2.0)
    flip: bool = True
    jitter: JitterConfig = field(default_factory=JitterConfig)


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """SGD or AdamW under the poly schedule lr * (1 - iteration / iterations) ** power."""

    name: Literal["sgd", "adamw"] = "sgd"
    lr: Annotated[float, Gt(0)] = 0.02
    momentum: Annotated[float, Ge(0), Le(1)] = 0.9
    weight_decay: Annotated[float, Ge(0)] = 5e-4
    power: Annotated[float, Ge(0)] = 0.9


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The training loop.

    Attributes:
        iterations: optimizer steps, the full horizon of every schedule.
        batch: images per step over all ranks.
        evaluate_every: steps between evaluations, each followed by a report and a checkpoint.
        workers: data-parallel ranks. On the CPU each rank normalises by its own batch statistics.
        threads: CPU threads of each rank. One and two threads do not give the same bits.
        precision: float32 and float64 compute plainly; bfloat16 and float16 autocast, float16 with a loss scaler.
        channels_last: memory format of images and weights.
        freeze_batch_norm: normalise by the stored statistics in training too.
    """

    iterations: Annotated[int, Ge(1)]
    batch: Annotated[int, Ge(1)]
    evaluate_every: Annotated[int, Ge(1)]
    workers: Annotated[int, Ge(1)] = 1
    threads: Annotated[int, Ge(1)] = 1
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    precision: Literal["float32", "float64", "bfloat16", "float16"] = "float32"
    channels_last: bool = False
    freeze_batch_norm: bool = False


@dataclass(frozen=True, kw_only=True)
class TeacherFile:
    """A teacher's file; `sha256` is its identity, `path` only where it lies."""

    path: Annotated[str, MinLen(1)] = field(metadata={"location": True})
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """One trial as a value.

    Attributes:
        data: a dataset of trainers/data, chosen by `name`.
        student: a network of trainers/models, chosen by `architecture`.
        task: the weighting of the task loss, of trainers/difficulty, chosen by `weighting`.
        methods: distillation methods of trainers/methods, by name.
        teacher: needed by every method and by weightings that look at the teacher.
        data_seed: order, crop, scale and flip of the samples; shared by trials that are compared.
        init_seed: initial weights and dropout; differs between replicates.
        evaluate_on: the images that the trial is judged on; its metrics are called `val/...` whichever they are.
        holdout: share of the training images that are left out of training, by their names; "holdout" judges on them.
    """

    data: Annotated[Any, OneOf("trainers.data", "name")]
    augment: AugmentConfig
    student: Annotated[Any, OneOf("trainers.models", "architecture")]
    train: TrainConfig
    task: Annotated[Any, OneOf("trainers.difficulty", "weighting")]
    methods: Annotated[Mapping[str, Any], SomeOf("trainers.methods")] = field(default_factory=dict)
    teacher: TeacherFile | None = None
    data_seed: Annotated[int, Ge(0)] = 0
    init_seed: Annotated[int, Ge(0)] = 0
    evaluate_on: EvaluationSplit = field(default="val", metadata=LATER)
    holdout: Annotated[float, Ge(0), Le(0.5)] = field(default=0.0, metadata=LATER)


class ConfigError(ValueError):
    """All faults of a configuration, one `path: what is wrong` a line."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    # pydantic hands this down to every dataclass inside
    kind.__pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)
    return TypeAdapter(kind)


def parse(kind: type[T], values: object) -> T:
    """Read plain values (as from YAML or JSON) into the dataclass `kind`.

    Raises:
        ConfigError: with every fault and its path.
    """
    try:
        read: T = _adapter(kind).validate_python(values)  # type: ignore[arg-type]
    except ValidationError as error:
        raise ConfigError([_fault(kind, fault) for fault in error.errors()]) from None
    return read


def _fault(kind: type[Any], fault: Any) -> str:
    """One line: the path as the file spells it, what is wrong, the value, the nearest valid key."""
    path = [str(part) for part in fault["loc"]]
    where = ".".join(_spelled(path)) or "the file"
    if fault["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{where}: no such key; {nearest(path[-1], _siblings(kind, path))}"
    if fault["type"] in ("missing", "missing_argument"):
        return f"{where}: is required"
    if fault["type"] == "unknown_name":
        return f"{where}: {fault['msg']}"
    return f"{where}: {fault['msg'][0].lower()}{fault['msg'][1:]}, but got {fault['input']!r}"


def _spelled(path: list[str]) -> list[str]:
    """Drop what pydantic adds to a path: the chosen implementation after a tagged key, and dict-key marks."""
    tagged = {"data", "student", "task", "model"}
    return [
        part
        for position, part in enumerate(path)
        if not (position and path[position - 1] in tagged and _is_choice(part)) and part != "[key]"
    ]


def _is_choice(part: str) -> bool:
    from trainers.registry import implementations

    folders = ("trainers.data", "trainers.models", "trainers.difficulty")
    return any(part in implementations(folder) for folder in folders)


def _siblings(kind: type[Any], path: list[str]) -> list[str]:
    """The keys that would have been valid at the last part of `path`."""
    from trainers.registry import implementations

    here: Any = kind
    for part in path[:-1]:
        here = _step(here, part)
    if here == "methods":
        return list(implementations("trainers.methods"))
    return [f.name for f in dataclasses.fields(here)] if dataclasses.is_dataclass(here) else []


def _step(here: Any, part: str) -> Any:
    from trainers.registry import implementations

    if part == "methods":
        return "methods"
    if here == "methods":
        return implementations("trainers.methods")[part].Config
    if here in ("trainers.data", "trainers.models", "trainers.difficulty"):
        return implementations(here)[part].Config
    for f in dataclasses.fields(here) if dataclasses.is_dataclass(here) else ():
        if f.name == part:
            return _inside(f.type)
    return here


def _inside(annotation: Any) -> Any:
    """The dataclass or the registry folder behind a field's annotation."""
    for extra in getattr(annotation, "__metadata__", ()):
        if isinstance(extra, OneOf):
            return extra.package
    if dataclasses.is_dataclass(annotation):
        return annotation
    inside = (_inside(argument) for argument in getattr(annotation, "__args__", ()))
    return next((found for found in inside if found), None)


def plain(config: object) -> Any:
    """The configuration as dicts, lists, strings and numbers; `parse` reads it back."""
    if dataclasses.is_dataclass(config):
        return {f.name: plain(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, Mapping):
        return {key: plain(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [plain(value) for value in config]
    return config


def canonical_json(config: object) -> str:
    """The same text for the same configuration."""
    return json.dumps(plain(config), sort_keys=True, separators=(",", ":"))


def content_hash(config: object) -> str:
    """SHA-256 of the canonical JSON of `identity`."""
    text = json.dumps(identity(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def identity(config: object) -> Any:
    """As `plain`, without the fields that only say where something lies, and without later ones at their defaults."""
    if dataclasses.is_dataclass(config):
        kept = [f for f in dataclasses.fields(config) if not f.metadata.get("location") and not _unset(config, f)]
        return {f.name: identity(getattr(config, f.name)) for f in kept}
    if isinstance(config, Mapping):
        return {key: identity(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [identity(value) for value in config]
    return config


def _unset(config: object, later: "dataclasses.Field[Any]") -> bool:
    return bool(later.metadata.get("later")) and getattr(config, later.name) == later.default


def absolute(config: T) -> T:
    """The configuration with every relative path in it made absolute, because workers run in folders of their own."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        return config
    changed: dict[str, Any] = {}
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        is_place = (f.metadata.get("location") or f.metadata.get("path")) and value not in (None, "", "none", "timm")
        is_path = is_place and not is_url(value)
        changed[f.name] = str(Path(value).absolute()) if is_path else absolute(value)
    return dataclasses.replace(config, **changed)


def replaced(values: Mapping[str, Any], path: str, value: Any, *, separator: str = "/") -> dict[str, Any]:
    """A copy of nested `values` in which `path` holds `value`; missing levels are made."""
    first, _, rest = path.partition(separator)
    below = values.get(first)
    if not rest:
        return {**values, first: value}
    nested = below if isinstance(below, Mapping) else {}
    return {**values, first: replaced(nested, rest, value, separator=separator)}


def leaf(values: Mapping[str, Any], path: str, *, separator: str = "/") -> Any:
    """The value at `path` of nested `values`; KeyError where there is none."""
    here: Any = values
    for part in path.split(separator):
        here = here[part]
    return here
