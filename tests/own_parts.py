"""The plugin, the study and the tests that docs/own-methods.md shows; and small plugins with what a test needs."""

import re
from pathlib import Path

from tests.conftest import ROOT
from trainers.plugins import loading
from trainers.registry import forget

PAGE = (ROOT / "docs" / "own-methods.md").read_text()
PLUGIN, TESTS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(STUDY,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)

METHOD = """
from dataclasses import dataclass

from trainers.methods import kd


@dataclass(frozen=True, kw_only=True)
class Config(kd.Config):
    pass


class Method(kd.Method):
    pass
"""


def write_shown(folder: Path, study: str = STUDY) -> Path:
    """The page's plugin and study; the study's file."""
    (folder / "mylab.py").write_text(PLUGIN)
    (folder / "own.yaml").write_text(study)
    return folder / "own.yaml"


def write(path: Path, text: str = METHOD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def install(folder: Path, package: str, entry_points: str, version: str = "1.5") -> None:
    """Write into a folder of Python's path what pip leaves there of a package: its metadata."""
    place = folder / f"{package}-{version}.dist-info"
    write(place / "METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    write(place / "entry_points.txt", entry_points)


def unload() -> None:
    """Let no plugin be loaded, as in a new process."""
    for name in [*loading._loaded]:
        forget(f"plugin {name}")
        del loading._loaded[name]
