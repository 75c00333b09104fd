"""What the README and the pages of docs/ show works as it stands there."""

import ast
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from study.__main__ import main
from study.commands import COMMANDS
from study.commands.parser import command_parser
from study.configuration.loading import load, presets
from tests.conftest import ROOT
from tests.pages import PAGES, TEXT, blocks, commands

STREETS = ("data={name: streets, size: [48, 64]}", "augment.crop=[48, 64]")
"""Settings that let a study of files be checked where the files are not."""
OURS = r"`((?:analysis|docs|search_spaces|study|tests|trainers)/[\w./-]*)`"
"""A folder or file of this repository, named in a text."""
ZENSICAL = Path(sys.executable).with_name("zensical")
COMMAND_LINES = sorted({line for page in PAGES for line in commands(page)})
"""What the pages have people type after `kdstudy`."""


def words(line: str) -> list[str]:
    """The arguments that a shell would hand over; what follows is another program's."""
    found = shlex.split(line)
    ends = [index for index, word in enumerate(found) if word in ("|", ">", "&&")]
    return found[: min(ends, default=len(found))]


def anchors(page: Path) -> set[str]:
    """What GitHub lets a link name in a page: its headings in small letters, with hyphens for spaces."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def complete_studies() -> list[str]:
    """Those blocks that are whole studies; others show a few keys. For those with plugins see test_own_methods.py."""
    found = [(block, set(yaml.safe_load(block))) for block in blocks("yaml")]
    return [block for block, keys in found if {"name", "arms", "data"} <= keys and "plugins" not in keys]


def test_the_studies_that_the_pages_show_are_well(tmp_path: Path) -> None:
    assert complete_studies()
    for study in complete_studies():
        file = tmp_path / "study.yaml"
        file.write_text(study)
        config = load(str(file), STREETS)
        assert set(config.arms) == set(yaml.safe_load(study)["arms"])


@pytest.mark.parametrize("preset", sorted(presets()))
def test_every_preset_is_well_and_named_in_a_page(preset: str) -> None:
    assert load(preset, STREETS).name == preset
    assert preset in TEXT


def test_the_trial_by_hand_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (by_hand,) = (block for block in blocks("python") if "TrialConfig," in block)
    exec(by_hand, {})
    assert 0 < float(capsys.readouterr().out) < 100


def test_all_python_of_the_pages_is_python() -> None:
    for block in blocks("python"):
        ast.parse(block)


def test_every_command_is_described_and_exists(capsys: pytest.CaptureFixture) -> None:
    named = set(re.findall(r"^\| `kdstudy ([\w-]+)", (ROOT / "docs/commands.md").read_text(), re.MULTILINE))
    assert named == set(COMMANDS)
    for command in COMMANDS:
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_and_paths_of_a_page_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    for link in [*links, *re.findall(r'<img src="([^"]+)"', text)]:
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
    missing = [path for path in re.findall(OURS, text) if not (ROOT / path).exists()]
    assert not missing


def test_every_page_is_linked_from_the_readme_and_stands_in_the_site() -> None:
    readme, places = (ROOT / "README.md").read_text(), str(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")]
    assert not [page for page in pages if f"'{page}'" not in places]
    linked = [page for page in pages if not (ROOT / "docs" / page).is_symlink() and page != "index.md"]
    assert not [page for page in linked if f"](docs/{page})" not in readme]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= 14_000


def test_the_reference_is_what_the_code_says() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    written = {page.name: page.read_text() for page in (ROOT / "docs/reference").glob("*.md")}
    assert written == generate.pages(), "run: make docs"


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_a_command_of_the_pages_can_be_called_like_that(line: str) -> None:
    arguments = words(line)
    if arguments == ["--version"]:
        return
    command_parser(arguments).parse_args(arguments)


def test_the_site_builds_without_a_warning_or_a_network(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    done = subprocess.run([ZENSICAL, "build", "--strict"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    loaded = r"""<(?:script|link|img)[^>]+(?:src|href)=["']?https?://"""
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 20
    assert not [page for page in pages if re.search(loaded, page.read_text())]
