"""A folder is a registry: each module of a package that has a `Config` is one implementation.

There is no decorator and no list to edit. A dataset, a model, a method or a weighting is one file with a frozen
dataclass `Config`; the file's name is the implementation's name. `OneOf` and `SomeOf` tell pydantic how to read a
choice of implementations: `{<tag>: <module name>, ...fields of its Config}` or `{<module name>: {...}, ...}`.

A choice is read lazily: only the module that is named is imported, when a value names it. So a study without a method
does not pay for that method's imports, and a part that cannot be imported breaks only the studies that name it. A
Config stands beside its implementation, so reading one imports what the implementation needs, PyTorch mostly; whoever
needs no part of a study but its arms and budgets reads `study.configuration.outline` instead.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from types import ModuleType
from typing import Any

from pydantic import ConfigDict, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError, PydanticKnownError, core_schema

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


@cache
def _module_names(package: str) -> tuple[str, ...]:
    return tuple(info.name for info in pkgutil.iter_modules(importlib.import_module(package).__path__))


@cache
def implementations(package: str) -> dict[str, ModuleType]:
    """All modules of `package` that have a `Config`, by name; imports every module of it."""
    found = {name: find(package, name) for name in _module_names(package)}
    return {name: module for name, module in found.items() if module is not None}


def find(package: str, name: str) -> ModuleType | None:
    """The module `name` of `package`, and no other, imported; None where there is none that has a `Config`."""
    if name not in _module_names(package):
        return None
    module = importlib.import_module(f"{package}.{name}")
    return module if hasattr(module, "Config") else None


def implementation(package: str, name: str) -> ModuleType:
    """The module `name` of `package`.

    Raises:
        ValueError: there is none of this name that has a `Config`.
    """
    found = find(package, name)
    if found is None:
        raise ValueError(f"{package.replace('.', '/')} has no {name!r}; {nearest(name, implementations(package))}")
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
        module = find(self.package, str(name))
        if module is None:
            raise self._unknown(str(name))
        return module.Config

    def _unknown(self, name: str) -> PydanticCustomError:
        hint = nearest(name, implementations(self.package))
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
        return implementations(self.package)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        fields = {
            name: core_schema.typed_dict_field(
                core_schema.no_info_plain_validator_function(partial(self._read, name)), required=False
            )
            for name in _module_names(self.package)
        }
        return core_schema.typed_dict_schema(fields, extra_behavior="forbid")

    def _read(self, name: str, value: Any) -> Any:
        module = find(self.package, name)
        if module is None:
            refused = InitErrorDetails(type="extra_forbidden", input=value)
            raise ValidationError.from_exception_data(self.package, [refused])
        return adapter(module.Config).validate_python(value)
