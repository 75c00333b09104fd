"""TrialConfig: everything that affects the numbers of one trial, and nothing else.

Reading is strict: unknown keys, wrong types and values out of range are refused, all at once, each with its path.
Nothing is inherited or interpolated; what a file says is what runs. Where files lie is part of the configuration too,
but not of its hash, so that a moved dataset or teacher is still the same trial. A field that came later is left out of
the hash at its default, so that trials and teachers from before it keep theirs.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import ValidationError

from trainers.addresses import is_url
from trainers.plugins.content import Plugin
from trainers.registry import OneOf, SomeOf, adapter, config_class, implementation, nearest

T = TypeVar("T")

StoredPrecision = Literal["float32", "float16"]
"""What a teacher's file keeps its weights in; statistics of batch normalisation are always float32."""
EvaluationSplit = Literal["val", "test", "holdout"]

LATER = {"later": True}
"""Metadata of a field that came after trials had been hashed without it."""
NEUTRAL = {"neutral": True}
"""Metadata of a field that changes no number of any trial but its time and peak memory."""


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
        version: 1 scales the whole image and cuts the crop out of it; 2 computes the crop's pixels alone, which takes a
            fraction of the time. Both draw the same crops: labels are equal, images within one grey level.
    """

    crop: tuple[Annotated[int, Ge(16)], Annotated[int, Ge(16)]]
    scale: tuple[Annotated[float, Gt(0), Le(8)], Annotated[float, Gt(0), Le(8)]] = (0.5, 2.0)
    flip: bool = True
    jitter: JitterConfig = field(default_factory=JitterConfig)
    version: Literal[1, 2] = field(default=1, metadata=LATER)


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
        channels_last: memory format of images and weights; None for channels last on GPUs and not on CPUs.
        freeze_batch_norm: normalise by the stored statistics in training too.
        compile: run student, methods and task loss through torch.compile, which rounds otherwise; evaluations do not.
        probe_every: steps between those that compare the gradients of the loss's terms, for the table `gradients`; 0
            for none. It changes no number of a trial but its time and peak memory.
    """

    iterations: Annotated[int, Ge(1)]
    batch: Annotated[int, Ge(1)]
    evaluate_every: Annotated[int, Ge(1)]
    workers: Annotated[int, Ge(1)] = 1
    threads: Annotated[int, Ge(1)] = 1
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    precision: Literal["float32", "float64", "bfloat16", "float16"] = "float32"
    channels_last: bool | None = field(default=None, metadata={"unset_as": False})
    freeze_batch_norm: bool = False
    compile: bool = field(default=False, metadata=LATER)
    probe_every: Annotated[int, Ge(0)] = field(default=0, metadata=NEUTRAL)

    def is_channels_last(self, *, on_gpu: bool) -> bool:
        """The memory format on such a device."""
        return on_gpu if self.channels_last is None else self.channels_last

    def refuse_single_images(self, *, workers: int, on_gpus: bool) -> None:
        """Hold the batch against batch normalisation, whose variance over one image of 1x1 maps does not exist.

        Args:
            workers: ranks that share the batch.
            on_gpus: whether they run on GPUs, where batch statistics are those of all ranks together.

        Raises:
            ValueError: statistics would be taken over fewer than two images, and are not frozen.
        """
        normalised = self.batch if on_gpus else self.batch // workers
        if normalised < 2 and not self.freeze_batch_norm:
            raise ValueError(
                f"batch normalisation needs two images per worker, but got batch={self.batch} and workers={workers}; "
                "raise train.batch or set train.freeze_batch_norm"
            )

    def refuse_compiled_probe(self) -> None:
        """Hold the probes against compilation.

        Raises:
            ValueError: steps are compiled, and their inner gradients would be compared.
        """
        if self.probe_every and self.compile:
            raise ValueError(
                "train.probe_every takes gradients inside of a step, which a compiled step does not give, but got "
                f"probe_every={self.probe_every} and compile=true; leave one of them out"
            )


@dataclass(frozen=True, kw_only=True)
class TeacherFile:
    """A teacher's file, and how it is run.

    Attributes:
        path: where the file lies; no part of its identity.
        sha256: of the file, which is.
        fold_batch_norm: fold its batch normalisations into the convolutions before them, which rounds otherwise.
        compile: run it through torch.compile, which rounds otherwise.
    """

    path: Annotated[str, MinLen(1)] = field(metadata={"location": True})
    sha256: str | None = None
    fold_batch_norm: bool = field(default=False, metadata=LATER)
    compile: bool = field(default=False, metadata=LATER)


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """One trial as a value.

    Attributes:
        data: a dataset of trainers/data, chosen by `name`.
        student: a network of trainers/models, chosen by `architecture`.
        task: the weighting of the task loss, of trainers/difficulty, chosen by `weighting`.
        methods: distillation methods of trainers/methods, by name.
        teacher: needed by every method and by weightings that read the teacher's outputs.
        data_seed: order, crop, scale and flip of the samples; shared by trials that are compared.
        init_seed: initial weights and dropout; differs between replicates.
        evaluate_on: the images that the trial is judged on; its metrics are called `eval/...` whichever they are.
        holdout: share of the training images that are left out of training, by their names; "holdout" judges on them.
        plugins: the user's own files whose parts it uses, by name; what they hold is part of its hash.
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
    plugins: Mapping[str, Plugin] = field(default_factory=dict, metadata=LATER)


class ConfigError(ValueError):
    """All faults of a configuration, one `path: what is wrong` a line."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def parse(kind: type[T], values: object) -> T:
    """Read plain values (as from YAML or JSON) into the dataclass `kind`.

    Raises:
        ConfigError: with every fault and its path.
    """
    try:
        read: T = adapter(kind).validate_python(values)  # type: ignore[arg-type]
    except ValidationError as error:
        raise ConfigError([_fault(kind, values, fault) for fault in error.errors()]) from None
    return read


def _fault(kind: Any, values: Any, fault: Any) -> str:
    """One line: the path as the file spells it, what is wrong, the value, the nearest valid key."""
    # pydantic marks the keys of mappings that are wrong themselves
    path = [str(part) for part in fault["loc"] if part != "[key]"]
    where = ".".join(path) or "the file"
    if fault["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{where}: no such key; {nearest(path[-1], _keys(kind, values, path))}"
    if fault["type"] in ("missing", "missing_argument"):
        return f"{where}: is required"
    if fault["type"] == "unknown_name":
        return f"{where}: {fault['msg']}"
    return f"{where}: {fault['msg'][0].lower()}{fault['msg'][1:]}, but got {fault['input']!r}"


def _keys(annotation: Any, values: Any, path: Sequence[str]) -> Iterable[str]:
    """The keys that are valid beside the last one of `path`, which leads into `values` of the annotated type."""
    first, *rest = path
    kind = _kind(annotation, values)
    if isinstance(kind, SomeOf):
        if not rest:
            return kind.names
        return _keys(config_class(kind.package, implementation(kind.package, first)), values[first], rest)
    if not dataclasses.is_dataclass(kind):  # a mapping from names, of arms say: the type of its values
        return _keys(get_args(kind)[1], values[first], rest)
    fields = get_type_hints(kind, include_extras=True)
    return _keys(fields[first], values[first], rest) if rest else fields


def _kind(annotation: Any, values: Any) -> Any:
    """What an annotation says that its values are: a dataclass, the chosen one of a `OneOf`, `SomeOf`, or a mapping."""
    for choice in getattr(annotation, "__metadata__", ()):
        if isinstance(choice, OneOf):
            return choice.config(values)
        if isinstance(choice, SomeOf):
            return choice
    if dataclasses.is_dataclass(annotation) or get_origin(annotation) is Mapping:
        return annotation
    return next((found for part in get_args(annotation) if (found := _kind(part, values))), None)


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
    """As `plain`, without fields that change no number or only say where something lies, and later ones at defaults."""
    if dataclasses.is_dataclass(config):
        kept = [f for f in dataclasses.fields(config) if not _is_apart(f) and not _unset(config, f)]
        return {f.name: identity(_set(getattr(config, f.name), f)) for f in kept}
    if isinstance(config, Mapping):
        return {key: identity(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [identity(value) for value in config]
    return config


def _set(value: Any, of: "dataclasses.Field[Any]") -> Any:
    """A value; in place of None what hashes had there before the field could be left to the device."""
    return of.metadata["unset_as"] if value is None and "unset_as" in of.metadata else value


def _is_apart(of: "dataclasses.Field[Any]") -> bool:
    return bool(of.metadata.get("location") or of.metadata.get("neutral"))


def _unset(config: object, later: "dataclasses.Field[Any]") -> bool:
    if not later.metadata.get("later"):
        return False
    made = later.default_factory
    return bool(getattr(config, later.name) == (later.default if made is dataclasses.MISSING else made()))


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
