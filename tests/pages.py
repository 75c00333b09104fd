"""The pages that people read: the README, those of docs/ and the one for contributors."""

import re
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT

DOCS = tuple(page for page in sorted((ROOT / "docs").rglob("*.md")) if not page.is_symlink())
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS)
SHELL = re.compile(r"^(?:\S*/)?kdstudy (.*?)(?: +# .*)?$", re.MULTILINE)
TEXT = "\n".join(page.read_text() for page in PAGES)


def blocks(language: str) -> list[str]:
    """The code blocks of a language, of all pages."""
    return _blocks(language, TEXT)


def _blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(page: Path) -> list[str]:
    """What a page has people type after `kdstudy`, in its order."""
    return [line for block in _blocks("sh", page.read_text()) for line in SHELL.findall(block)]


def described(*words: str) -> dict[str, Any]:
    """The `data` of the one study among the YAML blocks of all pages that holds all of these words."""
    (block,) = (block for block in blocks("yaml") if all(word in block for word in words))
    data: dict[str, Any] = yaml.safe_load(block)["data"]
    return data
