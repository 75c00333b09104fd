"""Parts of a user's own on two workers of Ray Train: from a file beside the study, and from an installed package."""

import json
from pathlib import Path

import pytest

from tests.e2e.drivers import ENOUGH_S, ENVIRONMENT, driver, kdstudy, wait_while_alive
from tests.e2e.studies import assert_consistent, rows_of, trial_rows
from tests.own_parts import install, write, write_shown
from tests.study.test_own_packages import shadow

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800)]
SETS = (
    "arms.baseline.trials=1",
    "arms.baseline.fixed={train/workers: 1}",
    "arms.mylab.trials=1",
    "arms.mylab.methods={mylab: {}, soft: {}}",
    "arms.mylab.fixed={train/iterations: 40}",
    "compares=[train/iterations]",
    "execution.loader_workers=1",
)


def test_they_survive_a_kill_and_a_stranger_may_look_at_them(tmp_path: Path) -> None:
    packages, home, folder = tmp_path / "packages", tmp_path / "home", tmp_path / "study"
    write(packages / "soft_kd" / "soft.py")
    write(packages / "soft_kd" / "__init__.py", "")
    install(packages, "soft-kd", "[trainers.methods]\nsoft = soft_kd.soft\n")
    home.mkdir()
    study = write_shown(home)
    shadow(home, "analysis.py", "search_spaces", "trainers")
    environment = {**ENVIRONMENT, "PYTHONPATH": f"{ENVIRONMENT['PYTHONPATH']}:{packages}"}

    sets = [f"--set={setting}" for setting in SETS]
    started = driver("run", study, "--out", folder, *sets, cwd=home, environment=environment)
    reached = lambda: list(folder.glob("trials/mylab-00000/checkpoint_[0-9]*"))  # noqa: E731
    assert wait_while_alive(started, reached), started.communicate()
    started.kill()
    assert "Traceback" not in started.communicate()[1]
    (home / "mylab.py").write_text("raise AssertionError('the study has its own copy')\n")

    again = driver("resume", folder, cwd=home, environment=environment)
    _, said = again.communicate(timeout=ENOUGH_S)
    assert again.returncode == 0, said
    assert_consistent(folder)
    rows = {row["arm"]: row for row in trial_rows(folder)}
    assert {row["state"] for row in rows.values()} == {"COMPLETE"} and rows["mylab"]["attempts"] == 2
    trial = json.loads(rows["mylab"]["config"])
    assert [*trial["plugins"]] == ["mylab"] and trial["train"]["workers"] == 2
    (first, second) = (dict(row["plugins"]) for row in rows_of(folder, "environment"))
    assert first == second == {"soft-kd": "1.5", "mylab": f"sha256 {trial['plugins']['mylab']['sha256']}"}

    stranger = tmp_path / "stranger"
    folder.rename(stranger)
    (copy,) = (stranger / "plugins" / "kdstudy_plugins").glob("*.py")
    copy.write_text("raise AssertionError('whoever only looks runs nothing')\n")
    for command in ("report", "best", "verdict", "status"):
        done = kdstudy(command, stranger, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    refused = kdstudy("resume", stranger, cwd=tmp_path)
    assert refused.returncode == 2 and "plugins.mylab must stay what it was as the study began" in refused.stderr
