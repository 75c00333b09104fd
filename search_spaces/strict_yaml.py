"""YAML as studies, spaces and trials are written in it: `1e-3` is a number, and no key stands twice.

PyYAML takes `1e-3` for a string and lets the last of two equal keys win without a word, so that an arm or a parameter
is lost. Aliases and merge keys (`<<`) mean what they mean in YAML: a key that overrides a merged one stands once.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """Safe YAML that also reads 1e-3 as a number."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


class Document(NamedTuple):
    """What a YAML text says, and its keys that stand twice, a line each; of those `value` has the last."""

    value: Any
    repeated: list[str]


def parse_yaml(text: str) -> Document:
    """Read a text with one document.

    Raises:
        yaml.YAMLError: it is no YAML, or holds several documents.
    """
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        # before the values are made, because that puts merged keys beside those that override them
        repeated = list(_repeated(loader, root, "", set())) if root is not None else []
        return Document(loader.construct_document(root) if root is not None else None, repeated)
    finally:
        loader.dispose()


def read_yaml(path: Path) -> Document:
    """Read a file with one document.

    Raises:
        ValueError: it cannot be read, or is no YAML; says where.
    """
    try:
        return parse_yaml(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} must be readable YAML, but: {' '.join(str(error).split())}") from None


def _repeated(loader: _Loader, node: yaml.Node, above: str, seen: set[int]) -> Iterator[str]:
    """Faults of a node and of all below it; a node with several aliases is looked at once."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        yield from _repeated_keys(loader, node, above)
        for key, value in node.value:
            yield from _repeated(loader, value, f"{above}{_name(key)}.", seen)
    elif isinstance(node, yaml.SequenceNode):
        for position, value in enumerate(node.value):
            yield from _repeated(loader, value, f"{above}{position}.", seen)


def _repeated_keys(loader: _Loader, node: yaml.MappingNode, above: str) -> Iterator[str]:
    lines: dict[Any, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue  # no key of ours, and refused as one
        value = key.value if key.tag == MERGE else loader.construct_object(key)
        line = key.start_mark.line + 1
        if value in lines:
            yield f"{above}{_name(key)}: stands twice, in lines {lines[value]} and {line}; keep one"
        lines.setdefault(value, line)


def _name(key: yaml.Node) -> str:
    return str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
