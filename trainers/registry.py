"""A folder is a registry: each module of a package that has a `Config` is one implementation.

There is no decorator and no list to edit. A dataset, a model, a method or a weighting is one file with a frozen
dataclass `Config`; the file's name is the implementation's name. `OneOf` and `SomeOf` tell pydantic how to read a
choice of implementations: `{<tag>: <module name>, ...fields of its Config}` or `{<module name>: {...}, ...}`.

An installed package adds implementations by entry points, whose group is the name of the package here that they would
lie in (`trainers.methods`); a file of the user's own does so through `trainers.plugins`. No name stands for two.

A choice is read lazily: only the module that is named is imported, when a value names it. So a study without a method
does not pay for that method's imports, and a part that cannot be imported breaks only the studies that name it. A
Config stands beside its implementation, so reading one imports what the implementation needs, PyTorch mostly; whoever
needs no part of a study but its arms and budgets reads `study.configuration.outline` instead.
"""

import difflib
import importlib
import pkgutil
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

from pydantic import ConfigDict, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError, PydanticKnownError, SchemaValidator, core_schema

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """Pydantic's reader of the dataclass `kind`; it refuses unknown keys, NaN and infinities.

    A class that has a `__pydantic_config__` of its own keeps it.
    """
    if "__pydantic_config__" not in vars(kind):
        # pydantic hands this down to every dataclass inside
        kind.__pydantic_config__ = STRICT
    return TypeAdapter(kind)


KINDS: Mapping[str, str] = {
    "trainers.data": "Dataset",
    "trainers.difficulty": "Weighting",
    "trainers.methods": "Method",
    "trainers.models": "Network",
}
"""The class that stands beside the `Config` of an implementation, by the package that it would lie in."""


@dataclass(frozen=True)
class Part:
    """A module that may be an implementation, not imported yet.

    Attributes:
        module: its name, to be imported by.
        owner: who has added it, for messages.
    """

    module: str
    owner: str


_plugins: dict[str, dict[str, Part]] = {}
"""Parts that `trainers.plugins` has loaded, by package and by the name of the implementation."""


@cache
def _module_names(package: str) -> tuple[str, ...]:
    return tuple(info.name for info in pkgutil.iter_modules(importlib.import_module(package).__path__))


@cache
def installed(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of a group that installed packages have; none is imported."""
    return tuple(entry_points(group=group))


def owner(entry: EntryPoint) -> str:
    """The distribution that an entry point is of, for messages."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value


def register(package: str, name: str, part: Part) -> None:
    """Let a plugin's module stand for `name`; one of the same owner is replaced.

    Raises:
        ValueError: the name stands for another implementation already.
    """
    others = [other for other in _parts(package, name) if other.owner != part.owner]
    if others:
        raise ValueError(clash(package, name, (part.owner for part in (*others, part))))
    _plugins.setdefault(package, {})[name] = part


def forget(owner: str) -> None:
    """Let go of what a plugin has registered."""
    for parts in _plugins.values():
        for name in [name for name, part in parts.items() if part.owner == owner]:
            del parts[name]


def _parts(package: str, name: str) -> list[Part]:
    """All that has this name: ours, those of installed packages, a plugin's."""
    ours = [Part(f"{package}.{name}", "kdstudy")] if name in _module_names(package) else []
    theirs = [Part(entry.value, owner(entry)) for entry in installed(package) if entry.name == name]
    loaded = _plugins.get(package, {}).get(name)
    return [*ours, *dict.fromkeys(theirs), *([loaded] if loaded else [])]


def _added(package: str) -> set[str]:
    """The names that others have added."""
    return {*(entry.name for entry in installed(package)), *_plugins.get(package, {})}


def unknown(package: str, name: str) -> str:
    """What to do about a name that no implementation has."""
    hint = nearest(name, known(package))
    return hint if hint.startswith("did you") else f"{hint}; a file of your own has to be in `plugins`, or --plugin"


def clash(group: str, name: str, owners: Iterable[str]) -> str:
    """Why a name that several have added to a group is refused."""
    return (
        f"a name of {group} must stand for one part, but {name!r} is in {' and in '.join(owners)}; rename it in one of "
        "them, or leave one out"
    )


@cache
def implementations(package: str) -> dict[str, ModuleType]:
    """All modules of `package` itself that have a `Config`, by name; imports every module of it."""
    modules = {name: importlib.import_module(f"{package}.{name}") for name in _module_names(package)}
    return {name: module for name, module in modules.items() if config_class(package, module)}


def known(package: str) -> list[str]:
    """The names of all implementations, those that others have added among them, sorted."""
    return sorted({*implementations(package), *_added(package)})


def find(package: str, name: str) -> ModuleType | None:
    """The module `name` of `package`, and no other, imported; None where there is none that has a `Config`.

    Raises:
        ValueError: two owners have the name; or the part that someone has added cannot be imported, or is none.
    """
    parts = _parts(package, name)
    if len(parts) > 1:
        raise ValueError(clash(package, name, (part.owner for part in parts)))
    if not parts:
        return None
    if parts[0].module == f"{package}.{name}":
        module = importlib.import_module(parts[0].module)
        return module if config_class(package, module) else None
    return _foreign(package, name, parts[0])


def _foreign(package: str, name: str, part: Part) -> ModuleType:
    """The module of a part that others have added."""
    module = import_foreign(part.module, f"{name!r} of {part.owner}")
    if config_class(package, module) is None or not hasattr(module, KINDS[package]):
        raise ValueError(
            f"a part of {package} must be a module with a Config and a {KINDS[package]}, but {part.module} of "
            f"{part.owner} lacks one; write it there"
        )
    return module


def import_foreign(module: str, what: str) -> ModuleType:
    """Import a module that others have written.

    Args:
        module: its name.
        what: it is, for the message.

    Raises:
        ValueError: it cannot be imported, with the line that failed.
    """
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:  # code of others raises anything
        line = traceback.extract_tb(error.__traceback__)[-1]
        where = "" if "importlib" in line.filename else f" ({line.filename}, line {line.lineno})"
        raise ValueError(
            f"{what} must be importable, but {type(error).__name__}: {error}{where}; mend it, or do not use it"
        ) from error


def config_class(package: str, module: ModuleType) -> Any:
    """The class of a module by which an implementation of `package` is configured, None where there is none.

    It is `Config`. A module with parts of several kinds has one for each: `MethodConfig`, `WeightingConfig`,
    `NetworkConfig`, `DatasetConfig`.
    """
    for name in ("Config", f"{KINDS.get(package, '')}Config"):
        found = getattr(module, name, None)
        # a base class that a module imports is no part of it
        if isinstance(found, type) and found.__module__ == module.__name__:
            return found
    return None


def implementation(package: str, name: str) -> ModuleType:
    """The module `name` of `package`.

    Raises:
        ValueError: there is none of this name that has a `Config`.
    """
    found = find(package, name)
    if found is None:
        raise ValueError(f"{package.replace('.', '/')} has no {name!r}; {unknown(package, name)}")
    return found


def module_of(config: object) -> ModuleType:
    """The module that defines the class of `config`, where its implementation stands beside it."""
    return importlib.import_module(type(config).__module__)


NEAR = 0.6
"""Share of letters, in order, that a name has in common with one that is proposed for it."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?`, or all the known names where none is near."""
    known = sorted(map(str, known))
    # below this the two share a few letters and no meaning: a wrong hint is worse than the list
    match = difflib.get_close_matches(name, known, n=1, cutoff=NEAR)
    return f"did you mean {match[0]!r}?" if match else f"known: {', '.join(known)}"


@dataclass(frozen=True)
class OneOf:
    """Pydantic annotation: exactly one implementation of `package`, chosen by the key `tag`."""

    package: str
    tag: str

    def config(self, value: Any) -> Any:
        """The `Config` that a value's tag names.

        Raises:
            ValidationError, PydanticKnownError or PydanticCustomError: it is no mapping, or has no tag, or an unknown.
        """
        if isinstance(value, Mapping) and self.tag not in value:
            missing = InitErrorDetails(type="missing", loc=(self.tag,), input=value)
            raise ValidationError.from_exception_data(self.package, [missing])
        name = value[self.tag] if isinstance(value, Mapping) else getattr(value, self.tag, None)
        if name is None and not isinstance(value, Mapping):
            raise PydanticKnownError("dict_type")
        module = _named(self.package, str(name))
        if module is None:
            raise self._unknown(str(name))
        return config_class(self.package, module)

    def _unknown(self, name: str) -> PydanticCustomError:
        hint = unknown(self.package, name)
        return PydanticCustomError(
            "unknown_name",
            "{tag} must name one of {package}, but got {name}; {hint}",
            {"tag": self.tag, "package": self.package, "name": repr(name), "hint": hint},
        )

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        # of a ValidationError that a validator raises pydantic keeps every fault, each below the choice's own path
        return core_schema.no_info_plain_validator_function(
            lambda value: adapter(self.config(value)).validate_python(value)
        )


@dataclass(frozen=True)
class SomeOf:
    """Pydantic annotation: a mapping from names of `package` to their Configs, sorted by name; may be empty."""

    package: str

    @property
    def names(self) -> Iterable[str]:
        """The names that it may hold."""
        return known(self.package)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return core_schema.no_info_plain_validator_function(self._read)

    def _read(self, values: Any) -> Any:
        # made anew at each reading, because a plugin may have added names since the last one
        names = sorted({*_module_names(self.package), *_added(self.package)} & set(_keys(values)))
        fields = {
            name: core_schema.typed_dict_field(
                core_schema.no_info_plain_validator_function(partial(self._one, name)), required=False
            )
            for name in names
        }
        return SchemaValidator(core_schema.typed_dict_schema(fields, extra_behavior="forbid")).validate_python(values)

    def _one(self, name: str, value: Any) -> Any:
        module = _named(self.package, name)
        if module is None:
            refused = InitErrorDetails(type="extra_forbidden", input=value)
            raise ValidationError.from_exception_data(self.package, [refused])
        return adapter(config_class(self.package, module)).validate_python(value)


def _keys(values: Any) -> Iterable[Any]:
    return values if isinstance(values, Mapping) else ()


def _named(package: str, name: str) -> ModuleType | None:
    """As `find`, with its errors as pydantic has them."""
    try:
        return find(package, name)
    except ValueError as error:
        raise PydanticCustomError("unknown_name", "{message}", {"message": str(error)}) from error
