"""A network as one line of text: `espnet`, `deeplabv3(resnet34)`, `pspnet_skd(resnet18, width=0.5)`.

An architecture of this folder, in brackets its backbone, and after it any other fields of its Config as Python values.
"""

import ast
from typing import Any

from trainers.config import ConfigError, parse
from trainers.registry import config_class, find, unknown


def named(text: str) -> Any:
    """The Config that `text` names.

    Args:
        text: such as `pspnet(convnextv2_tiny, output_stride=16)`; timm's names may have a tag (`resnet50.a1_in1k`).

    Raises:
        ValueError: text of another form, an unknown architecture, a backbone for one that has none, a field that it
            does not have or a value out of range. Whether timm knows the backbone is found out by building.
    """
    architecture, fields = _parts(text)
    module = find("trainers.models", architecture)
    if module is None:
        raise ValueError(
            f"the architecture must be one of trainers/models, but got {architecture!r} in {text!r}; "
            f"{unknown('trainers.models', architecture)}"
        )
    try:
        return parse(config_class("trainers.models", module), fields)
    except ConfigError as error:
        raise ValueError(f"{text!r} names no network: {error}") from None


def _parts(text: str) -> tuple[str, dict[str, Any]]:
    """The architecture and the fields that are given."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        tree = None
    if isinstance(tree, ast.Name):
        return tree.id, {}
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
        given = [("backbone", part) for part in tree.args] + [(part.arg, part.value) for part in tree.keywords]
        fields = {name: _value(part) for name, part in given if name is not None}
        if len(fields) == len(given):
            return tree.func.id, fields
    raise ValueError(
        f"a network must be named as ARCHITECTURE or ARCHITECTURE(BACKBONE, option=value), but got {text!r}; "
        "write for example espnet or deeplabv3(resnet18, aux=False)"
    )


def _value(tree: ast.expr) -> Any:
    """A Python literal, or else the text itself, so that names and tags need no quotes."""
    try:
        return ast.literal_eval(tree)
    except ValueError:
        return ast.unparse(tree)
