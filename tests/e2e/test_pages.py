"""The commands of the pages, run one after the other as a reader would, on a study that trains in seconds."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.e2e.drivers import ENOUGH_S, ENVIRONMENT
from tests.e2e.studies import SMALL_NETWORK
from tests.pages import commands

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800)]
READ = ("tutorial", "tuning", "statistics", "resuming", "clusters")
"""The pages, in the order in which a newcomer meets them."""
CHEAPER = {
    "whole_trials=20": "whole_trials=2",
    "searches=3": "searches=2",
    "--seeds 5": "--seeds 3",
    "--seeds 8": "--seeds 4",
    "STUDY": "mine.yaml",
    "runs/mine --time-limit 2h": "runs/limited --time-limit 2h",
}
"""What is asked for here in the place of what stands there."""
ELSEWHERE = ("camvid", "--split", "--version", "holdout", "quickstart", "--data folder")
"""In lines that need a real dataset, labels of another split or hours; tests of those presets and options have them."""
REFUSED = "resume runs/mine --trials 40 --arm kd"
"""The page says of which studies this holds; here cost limits the arms."""
SCRIPT = """
import sys
from study.__main__ import main
for line in sys.stdin.read().splitlines():
    print("$", line, flush=True)
    try:
        code = main(line.split("\\t"))
    except SystemExit as exit:
        code = exit.code
    print("exit code", code, flush=True)
"""


def run_all(lines: list[str], folder: Path) -> list[tuple[str, int, str]]:
    """Each line, its exit code and its output; one process, which imports everything once."""
    typed = "\n".join("\t".join(shlex.split(line)) for line in lines)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=typed,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=ENVIRONMENT,
        timeout=3 * ENOUGH_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    parts = [part.rpartition("exit code ") for part in done.stdout.split("$ ")[1:]]
    return [(line, int(code), said) for line, (said, _, code) in zip(lines, parts, strict=True)]


def shrink(study: Path) -> None:
    """Leave a study as it is, but for what it costs."""
    values = yaml.safe_load(study.read_text())
    values["data"] |= {"size": [32, 48], "train_images": 8, "val_images": 4}
    values["augment"]["crop"] = [32, 48]
    values["student"] = values["teacher"]["model"] = SMALL_NETWORK
    values["train"] |= {"iterations": 6, "batch": 2, "evaluate_every": 2}
    values["teacher"]["train"] |= {"iterations": 4, "batch": 2, "evaluate_every": 2}
    values["budget"]["whole_trials"] = 1
    values["execution"]["concurrent"] = 1
    study.write_text(yaml.safe_dump(values))


def test_the_commands_of_the_pages_do_what_the_pages_say(tmp_path: Path) -> None:
    lines = [line for page in READ for line in commands(ROOT / f"docs/{page}.md")]
    lines = [line for line in dict.fromkeys(lines) if not any(word in line for word in ELSEWHERE)]
    for there, here in CHEAPER.items():
        lines = [line.replace(there, here) for line in lines]
    assert lines[0] == "init mine.yaml" and len(lines) > 20
    ((_, code, said),) = run_all(lines[:1], tmp_path)
    assert code == 0, said
    shrink(tmp_path / "mine.yaml")
    for line, code, said in run_all(lines[1:], tmp_path):
        assert code == (2 if line == REFUSED else 0), f"{line}\n{said}"
        assert "Traceback" not in said
    assert (tmp_path / "runs/mine/report.html").exists()
