"""The page in a browser: it draws without an error, fits a phone and asks nothing of the network."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from analysis.report import report
from tests.analysis.searches import search, write_search

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PHONE, DESK = 390, 1280
FRAME = """<!DOCTYPE html><iframe src="{page}" style="border: 0; width: {width}px; height: 900px"></iframe>
<pre id="found"></pre>
<script>
const frame = document.querySelector("iframe");
frame.onload = () => setTimeout(() => {{
  const inside = frame.contentDocument, plots = [...inside.querySelectorAll(".plot")];
  const spilled = box => box.scrollWidth > box.clientWidth + 1;
  document.querySelector("#found").textContent = JSON.stringify({{
    width: inside.documentElement.clientWidth,
    content: inside.documentElement.scrollWidth,
    plots: plots.length,
    drawn: plots.filter(plot => plot.querySelector("svg.main-svg")).length,
    spilled: plots.filter(spilled).length,
    asked: frame.contentWindow.performance.getEntriesByType("resource").map(entry => entry.name),
  }});
}}, 3000);
</script>"""
"""A window of Chromium's cannot be as narrow as a phone; a frame can."""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    return report([write_search(folder / "study", search())], folder / "report.html")


def look(page: Path, width: int, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """What a script found in the page at a width, and what the console said."""
    frame = folder / "frame.html"
    frame.write_text(FRAME.format(page=page.as_uri(), width=width))
    command = [
        str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
        "--allow-file-access-from-files", "--window-size=1400,1000", "--virtual-time-budget=20000",
        "--enable-logging=stderr", "--v=0", "--dump-dom", frame.as_uri(),
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    found = re.search(r'<pre id="found">(.+?)</pre>', ran.stdout)
    assert found, ran.stderr
    return json.loads(found[1].replace("&gt;", ">")), [line for line in ran.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_page_draws_fits_and_needs_no_network(page: Path, width: int, tmp_path: Path) -> None:
    found, console = look(page, width, tmp_path)
    assert console == []
    assert found["asked"] == []
    assert found["drawn"] == found["plots"] == 19
    assert found["content"] <= found["width"] <= width
    assert found["spilled"] == 0


def test_an_error_in_the_page_would_be_seen(page: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    broken.write_text(page.read_text().replace("</main>", "<div class='plot'>no figure</div></main>"))
    _, console = look(broken, PHONE, tmp_path)
    assert any("SyntaxError" in line for line in console)
