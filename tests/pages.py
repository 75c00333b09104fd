"""The pages that people read: the README, those of docs/ and the one for contributors."""

import re
from typing import Any

import yaml

from tests.conftest import ROOT

DOCS = tuple(page for page in sorted((ROOT / "docs").rglob("*.md")) if not page.is_symlink())
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS)
TEXT = "\n".join(page.read_text() for page in PAGES)


def blocks(language: str) -> list[str]:
    """The code blocks of a language, of all pages."""
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def described(*words: str) -> dict[str, Any]:
    """The `data` of the one study among the YAML blocks of all pages that holds all of these words."""
    (block,) = (block for block in blocks("yaml") if all(word in block for word in words))
    data: dict[str, Any] = yaml.safe_load(block)["data"]
    return data
