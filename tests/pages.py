"""The pages that people read: the README, those of docs/ and the one for contributors."""

import re

from tests.conftest import ROOT

PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))
TEXT = "\n".join(page.read_text() for page in PAGES)


def blocks(language: str) -> list[str]:
    """The code blocks of a language, of all pages."""
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
