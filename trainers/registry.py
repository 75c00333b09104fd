"""A folder is a registry: each module of a package that has a `Config` is one implementation.

There is no decorator and no list to edit. A dataset, a model, a method or a weighting is one file with a frozen
dataclass `Config`; the file's name is the implementation's name. `OneOf` and `SomeOf` tell pydantic how to read a
choice of implementations: `{<tag>: <module name>, ...fields of its Config}` or `{<module name>: {...}, ...}`.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import PydanticCustomError, core_schema


@cache
def implementations(package: str) -> dict[str, ModuleType]:
    """All modules of `package` that have a `Config`, by name."""
    folder = importlib.import_module(package)
    modules = {
        info.name: importlib.import_module(f"{package}.{info.name}") for info in pkgutil.iter_modules(folder.__path__)
    }
    return {name: module for name, module in modules.items() if hasattr(module, "Config")}


def implementation(package: str, name: str) -> ModuleType:
    """The module `name` of `package`.

    Raises:
        ValueError: there is none of this name that has a `Config`.
    """
    found = implementations(package)
    if name not in found:
        raise ValueError(f"{package.replace('.', '/')} has no {name!r}; {nearest(name, found)}")
    return found[name]


def module_of(config: object) -> ModuleType:
    """The module that defines the class of `config`, where its implementation stands beside it."""
    return importlib.import_module(type(config).__module__)


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or all the known names where none is near."""
    known = sorted(known)
    match = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {match[0]!r}?" if match else f"known: {', '.join(known)}"


@dataclass(frozen=True)
class OneOf:
    """Pydantic annotation: exactly one implementation of `package`, chosen by the key `tag`."""

    package: str
    tag: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        found = implementations(self.package)
        choices = {name: handler.generate_schema(module.Config) for name, module in found.items()}

        def known(value: Any) -> Any:
            if isinstance(value, dict) and self.tag in value and (name := str(value[self.tag])) not in found:
                raise PydanticCustomError(
                    "unknown_name",
                    "{tag} must name one of {package}, but got {name}; {hint}",
                    {
                        "tag": self.tag,
                        "package": self.package,
                        "name": repr(name),
                        "hint": nearest(name, found),
                    },
                )
            return value

        union = core_schema.tagged_union_schema(choices, discriminator=self.tag)
        return core_schema.no_info_before_validator_function(known, union)


@dataclass(frozen=True)
class SomeOf:
    """Pydantic annotation: a mapping from names of `package` to their Configs; may be empty."""

    package: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        fields = {
            name: core_schema.typed_dict_field(handler.generate_schema(module.Config), required=False)
            for name, module in implementations(self.package).items()
        }
        return core_schema.typed_dict_schema(fields, extra_behavior="forbid")
