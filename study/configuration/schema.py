"""The keys of a study's YAML as a JSON Schema: types, ranges, defaults from dataclasses, meanings from docstrings.

Editors check and complete a YAML by it, and `kdstudy options` prints it. Choices of an implementation are read from the
packages, so every method, network and dataset that is there is in it.
"""

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import docstring_parser
from pydantic import TypeAdapter

from study.configuration.config import StudyConfig
from trainers.registry import OneOf, SomeOf, implementations

Schema = dict[str, Any]

FILLED_IN = {
    "StudyConfig": ("spaces", "replicates", "planned_seeds", "tuning_rules"),
    "ArmConfig": ("search_of",),
}
"""Fields that kdstudy fills in itself when a study begins, by class: no key of a file."""
IMPLEMENTATIONS = "x-implementations"
"""Keyword of an object whose keys are names of implementations, of which a file has some."""
TITLE = "A study of kdstudy"


def study_schema() -> Schema:
    """The JSON Schema, draft 2020-12, of a study's YAML file."""
    schema = _dataclass(StudyConfig)
    space = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    arm = schema["properties"]["arms"]["additionalProperties"]["properties"]["space"]
    arm |= space  # a file may name one space without a list
    del arm["type"], arm["items"]
    execution = schema["properties"]["execution"]["properties"]
    execution["trackers"] = {**_or_list(execution["trackers"]), "description": execution["trackers"]["description"]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": TITLE, **schema}


def _or_list(trackers: Schema) -> Schema:
    """The schema of trackers, which a file may name in a list, each alone or with its keys."""
    names = list(trackers["properties"])
    one = {"anyOf": [{"enum": names}, {**trackers, "required": [], "minProperties": 1, "maxProperties": 1}]}
    return {"anyOf": [trackers, {"type": "array", "items": one}]}


def _dataclass(kind: Any, tag: tuple[str, str] | None = None) -> Schema:
    """An object with the fields of a dataclass.

    Args:
        kind: the dataclass.
        tag: a further key that must have this value, of an implementation.
    """
    types, meanings = get_type_hints(kind, include_extras=True), _meanings(kind)
    properties: Schema = {}
    required = []
    if tag is not None:
        properties[tag[0]] = {"const": tag[1]}
        required.append(tag[0])
    for field in dataclasses.fields(kind):
        if field.name in FILLED_IN.get(kind.__name__, ()) or not field.init:
            continue
        default = _default(field)
        properties[field.name] = {**_schema(types[field.name]), **default}
        if meaning := meanings.get(field.name):
            properties[field.name]["description"] = meaning
        if not default:
            required.append(field.name)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _default(field: "dataclasses.Field[Any]") -> Schema:
    if field.default is not dataclasses.MISSING:
        return {"default": _plain(field.default)}
    if field.default_factory is not dataclasses.MISSING:
        return {"default": _plain(field.default_factory())}
    return {}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return dict(value) if isinstance(value, Mapping) else value


def _schema(annotation: Any) -> Schema:
    """The schema of a field by its annotation."""
    for choice in getattr(annotation, "__metadata__", ()):
        if isinstance(choice, OneOf):
            return {"oneOf": list(_alternatives(choice))}
        if isinstance(choice, SomeOf):
            found = implementations(choice.package).items()
            properties = {name: _dataclass(module.Config) for name, module in found}
            return {"type": "object", "properties": properties, "additionalProperties": False, IMPLEMENTATIONS: True}
    if dataclasses.is_dataclass(annotation):
        return _dataclass(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated and _holds_objects(arguments[0]):
        return _schema(arguments[0])
    if _is_union(annotation) and any(map(_holds_objects, arguments)):
        return {"anyOf": [{"type": "null"} if one is type(None) else _schema(one) for one in arguments]}
    if inspect.isclass(origin) and issubclass(origin, Mapping) and _holds_objects(arguments[1]):
        return {"type": "object", "additionalProperties": _schema(arguments[1])}
    return TypeAdapter(annotation).json_schema()


def _alternatives(choice: OneOf) -> Iterator[Schema]:
    for name, module in implementations(choice.package).items():
        yield {"title": name, **_dataclass(module.Config, tag=(choice.tag, name))}


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) is Union or type(annotation).__name__ == "UnionType"


def _holds_objects(annotation: Any) -> bool:
    """Whether a dataclass, or a choice of implementations, is somewhere in an annotation."""
    chosen = any(isinstance(one, OneOf | SomeOf) for one in getattr(annotation, "__metadata__", ()))
    return chosen or dataclasses.is_dataclass(annotation) or any(map(_holds_objects, get_args(annotation)))


def _meanings(kind: Any) -> dict[str, str]:
    """What the docstrings of a class and its bases say of its attributes, on one line each."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        for one in docstring_parser.parse(inspect.cleandoc(base.__doc__ or "")).params:
            found[one.arg_name] = " ".join((one.description or "").split())
    return found
