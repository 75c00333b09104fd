"""`kdstudy options`: every key of a study's YAML, with its type, range, default and meaning."""

import argparse
import json
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from study.configuration.schema import IMPLEMENTATIONS, study_schema
from trainers.registry import nearest

ANY = "NAME"
"""Stands in a path for a name that the file chooses: an arm's."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    parser.add_argument(
        "path", nargs="?", default="", metavar="PATH",
        help="only keys below this one, such as train.optimizer, student.deeplabv3 or arms.NAME.methods.kd",
    )  # fmt: skip


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    width = shutil.get_terminal_size().columns
    for key in keys(options.path):
        default = ", required" if key.required else f", default {key.default}" if key.default is not None else ""
        print(f"{key.path}  {key.type}{default}")
        if key.meaning:
            print(textwrap.fill(key.meaning, width, initial_indent="    ", subsequent_indent="    "))
    return 0


@dataclass(frozen=True)
class Key:
    """A key of a study's file.

    Attributes:
        path: with dots; NAME stands for a name that the file chooses.
        type: type and range in words.
        default: as JSON; None where there is none.
        required: whether a file must have it.
        meaning: "" where the code says nothing of it.
    """

    path: str
    type: str
    default: str | None
    required: bool
    meaning: str


def keys(path: str) -> list[Key]:
    """Keys below a path, or of the whole file for ""; the key itself where nothing is below it.

    Raises:
        ValueError: there is no such key.
    """
    return [
        Key(
            path=name,
            type=_type(schema),
            default=json.dumps(schema["default"]) if "default" in schema else None,
            required=required and "default" not in schema,
            meaning=schema.get("description", ""),
        )
        for name, schema, required in _below(study_schema(), path)
    ]


def _below(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Keys below a path; the key itself where nothing is below it.

    Raises:
        ValueError: there is no such key.
    """
    here, required, passed = schema, True, ""
    for part in filter(None, path.split(".")):
        children = _children(here)
        name = part if part in children or ANY not in children else ANY
        if name not in children:
            law = "PATH must be a key of a study, but"
            raise ValueError(f"{law} {passed or 'the file'} has no {part!r}; {nearest(part, children)}")
        here, required = children[name]
        passed = f"{passed}.{part}" if passed else part
    found = list(_leaves(here, passed))
    yield from found or [(passed, here, required)]


def _leaves(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any], bool]]:
    for name, (child, required) in _children(schema).items():
        below = f"{path}.{name}" if path else name
        # the implementations of a choice are listed by name; PATH shows the keys of one
        if "oneOf" in child or not _children(child) or _is_choice(schema):
            yield below, child, required
        else:
            yield from _leaves(child, below)


def _is_choice(schema: dict[str, Any]) -> bool:
    """Whether a schema's children are implementations, of which a file names some."""
    return "oneOf" in schema or bool(schema.get(IMPLEMENTATIONS))


def _children(schema: dict[str, Any]) -> dict[str, tuple[dict[str, Any], bool]]:
    """What may stand below a key, by name, and whether it has to."""
    for one in schema.get("anyOf", ()):
        if found := _children(one):
            return found
    if "oneOf" in schema:
        return {one["title"]: (one, False) for one in schema["oneOf"]}
    if isinstance(more := schema.get("additionalProperties"), dict) and "properties" in more:
        return {ANY: (more, True)}
    required = schema.get("required", ())
    return {name: (child, name in required) for name, child in schema.get("properties", {}).items()}


def _type(schema: dict[str, Any]) -> str:
    """Type and range in words."""
    if "properties" in schema:
        return "an implementation: its keys are shown by its path"
    for several in ("anyOf", "oneOf"):
        if several in schema:
            names = [one.get("title") if several == "oneOf" else _type(one) for one in schema[several]]
            return " | ".join(dict.fromkeys(map(str, names)))
    if "enum" in schema or "const" in schema:
        return " | ".join(map(str, schema.get("enum", [schema.get("const")])))
    if schema.get("type") == "array":
        return f"list of {_items(schema)}"
    return f"{schema.get('type', 'any value')}{_range(schema)}"


def _items(schema: dict[str, Any]) -> str:
    if "prefixItems" in schema:
        return ", ".join(map(_type, schema["prefixItems"]))
    return _type(schema.get("items", {}))


def _range(schema: dict[str, Any]) -> str:
    words = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{word} {schema[name]}" for name, word in words.items() if name in schema]
    return " " + ", ".join(limits) if limits else ""
