"""A look is a new set of finished seeds, each later one is stricter, and the same data give the same answer."""

import json
import os
from pathlib import Path

import pytest

from analysis.studies.study import open_study
from analysis.verdict.looks import look
from analysis.verdict.verdict import Verdict, verdict
from study.tables import LOOKS
from tests.analysis.small import Trial, replicated, write_study


def seeds(number: int) -> dict[str, list[tuple[int | None, int | None]]]:
    return {name: [(1000 + n, 1000 + n) for n in reversed(range(number))] for name in ("baseline", "kd-0")}


def test_each_look_after_the_planned_one_is_stricter_and_all_add_up_to_five_percent(tmp_path: Path) -> None:
    found = [look(tmp_path, "val", seeds(number), interim=number < 5) for number in range(2, 30)]
    assert [one.level for one in found[:6]] == [0.04, 0.04, 0.04, 0.04, 0.005, 0.0025]
    assert [(one.interim, one.later) for one in found[2:6]] == [(True, 0), (False, 0), (False, 1), (False, 2)]
    assert sum(one.level for one in found if not one.interim) <= 0.05
    lines = [json.loads(line) for line in (tmp_path / LOOKS).read_text().splitlines()]
    assert [len(line["finished"]["kd-0"]) for line in lines] == list(range(2, 30))


def test_the_same_seeds_are_the_same_look(tmp_path: Path) -> None:
    first = look(tmp_path, "val", seeds(5), interim=False)
    second = look(tmp_path, "val", seeds(6), interim=False)
    # in another order, and after another look
    again = look(tmp_path, "val", {name: pairs[::-1] for name, pairs in reversed(seeds(5).items())}, interim=False)
    assert again == first and first != second
    assert look(tmp_path, "val", seeds(6), interim=False) == second
    assert len((tmp_path / LOOKS).read_text().splitlines()) == 2


def test_another_split_is_another_question(tmp_path: Path) -> None:
    look(tmp_path, "val", seeds(5), interim=False)
    assert look(tmp_path, "test", seeds(5), interim=False).level == 0.04
    assert look(tmp_path, "val", seeds(6), interim=False).level == 0.005


def test_a_line_that_a_kill_tore_is_passed_over(tmp_path: Path) -> None:
    look(tmp_path, "val", seeds(5), interim=False)
    with (tmp_path / LOOKS).open("a") as file:
        file.write('{"split": "val", "inter')
    assert look(tmp_path, "val", seeds(6), interim=False).level == 0.005
    assert look(tmp_path, "val", seeds(7), interim=False).level == 0.0025


def judged(folder: Path, number: int) -> Verdict:
    trials: list[Trial] = [*replicated("baseline", [0.0] * number), *replicated("kd", [5.0] * number)]
    return verdict(open_study(write_study(folder, trials, planned_seeds=3)))


def test_a_verdict_is_a_look_and_says_which(tmp_path: Path) -> None:
    first = judged(tmp_path, 3)
    assert first.look is not None and (first.look.level, first.look.later) == (0.04, 0)
    assert verdict(open_study(tmp_path)) == first  # same data, same answer
    assert "these intervals hold together in 96 % of studies" in first.answer
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / LOOKS).write_text((tmp_path / LOOKS).read_text())
    second = judged(tmp_path / "more", 4)
    assert "these intervals hold together in 99.5 % of studies" in second.answer
    assert any(
        line.startswith("the first look: this is look 1 after it, at a level of 0.005") for line in second.missing
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser writes everywhere")
def test_a_folder_that_cannot_be_written_is_said_to_forget(tmp_path: Path) -> None:
    judged(tmp_path, 3)
    (tmp_path / LOOKS).unlink()
    tmp_path.chmod(0o500)
    try:
        found = verdict(open_study(tmp_path))
    finally:
        tmp_path.chmod(0o700)
    assert found.look is not None and not found.look.recorded
    assert any(line.startswith("a record of this look") for line in found.missing)


def test_a_look_that_cannot_be_written_is_unrecorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise OSError("Read-only file system")

    monkeypatch.setattr(Path, "open", refuse)
    found = look(tmp_path, "val", seeds(5), interim=False)
    assert (found.recorded, found.level) == (False, 0.04)
