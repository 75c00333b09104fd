"""Decoded images are begun on the driver's machine, which says what they take or why there are none."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from study.configuration.config import StudyConfig
from study.execution.display.view import View
from study.execution.driver import begin_copies


@pytest.fixture
def said(config: Callable[..., StudyConfig]) -> Callable[..., str]:
    """What a start says with these `execution.decoded_images`."""

    def start(decoded_images: Any) -> str:
        console = Console(file=io.StringIO(), width=1000)
        begin_copies(config(execution={"decoded_images": decoded_images}), View({}, console))
        return str(console.file.getvalue())  # type: ignore[attr-defined]

    return start


def test_the_size_of_new_copies_is_said_once(said: Callable[..., str], tmp_path: Path) -> None:
    place = {"folder": str(tmp_path / "decoded"), "max_gib": 1}
    assert said(place) == f"decoded images are kept for all trials: 0.4 MiB in {tmp_path}/decoded\n"
    assert said(place) == ""
    assert len(list((tmp_path / "decoded").glob("streets-*/copy.json"))) == 2


def test_why_there_are_none_is_one_warning(said: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place, why in (
        ({"folder": str(tmp_path / "file")}, "File exists"),
        ({"folder": str(tmp_path), "max_gib": 1e-9}, "1e-09 GiB"),
    ):
        lines = said(place).splitlines()
        assert len(lines) == 1 and lines[0].startswith("warning: decoded images") and why in lines[0]


def test_off_is_nothing(said: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert said("off") == "" and not list(tmp_path.rglob("copy.json"))
