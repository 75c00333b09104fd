"""Damaged tables: what ledger and checkpoints know comes back, and what does not is named by every reader."""

import json
import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.leaderboard import print_leaderboard
from analysis.queries import best
from analysis.report import report as write_report
from analysis.studies.study import open_study
from analysis.verdict.verdict import verdict
from study import tables
from study.configuration.config import StudyConfig
from study.execution.recording import recorder
from study.execution.recording.study_tables import StudyTables, finish
from study.folder import create_study
from study.ledger.ledger import open_arms
from study.tables import TableWriter
from study.tables.gaps import GAPS, Gap, Gaps, note_gaps, noted_gaps
from tests.study.execution.recording.test_recorder import MASKS, Driver, probes, report
from trainers.checkpoints.base import KEEP
from trainers.context import LocalContext
from trainers.data import streets

Reader = Callable[..., StudyConfig]
ONE_ARM = {"baseline": {"trials": 2, "space": "optimizer"}}
EVALUATIONS = range(2, 13, 2)
IOUS = {f"eval/iou_percent/{name}": 10.0 + place for place, name in enumerate(streets.Dataset.class_names)}
UNCOUNTED = ("mask_shares", "gradients")
COUNTED = ("reports", "class_iou", *UNCOUNTED)


class DiedError(Exception):
    """The end of a driver."""


def evaluation(trial: Any, iteration: int) -> dict[str, Any]:
    score = trial.config["number"] + iteration / 16
    return report(
        iteration, **{"eval/miou_percent": score, "train/loss": 1 / iteration, **IOUS, **MASKS, **probes(iteration - 1)}
    )


def run_study(config: StudyConfig, folder: Path) -> Driver:
    """Two trials of the baseline that ended, reported and kept checkpoints as their processes do; tables still open."""
    create_study(config, folder)
    driver = Driver(config, folder)
    for trial in (driver.start(), driver.start()):
        context = LocalContext(Path(trial.config["folder"]))
        arm, number = driver.arms[trial.config["arm"]], trial.config["number"]
        for iteration in EVALUATIONS:
            told = evaluation(trial, iteration)
            context.write(told, {"metrics.json": json.dumps(told).encode()})
            context.report(told)
            arm.report(number, iteration, told["eval/miou_percent"])
            trial.last_result = told
            driver.recorder.on_trial_result(0, [], trial, told)
        trial.last_result = {**told, "final": True}
        driver.recorder.on_trial_complete(0, [], trial)
    return driver


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "release", lambda _: None)


@pytest.fixture
def driver(config: Reader, tmp_path: Path) -> Driver:
    return run_study(config(arms=ONE_ARM), tmp_path / "run")


def resume(driver: Driver) -> list[str]:
    """What the next driver does with the tables; what it says of them."""
    arms = open_arms(driver.config, driver.folder, with_teacher=False)
    return finish(StudyTables(driver.config, driver.folder, arms), driver.config, driver.folder, arms)


def rows(driver: Driver, name: str) -> list[str]:
    """Without what is not known of a row that is put back from a checkpoint; metrics hold tuples."""
    stored = ({**row, "time": None} for row in driver.rows(name))
    return sorted(map(repr, stored))


def flip(path: Path, place: int) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])


def only_file(driver: Driver, name: str) -> Path:
    (path,) = (path for path in (driver.folder / "tables" / name).iterdir() if path.suffix != ".damaged")
    return path


@pytest.mark.parametrize("name", COUNTED)
@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_whatever_is_damaged_nothing_differs_in_silence(driver: Driver, name: str, sealed: bool, seed: int) -> None:
    """Every row is what it was, or is named as a gap, or both the ledger's score and its gap are there."""
    if sealed:
        assert driver.tables.close()
    before = {table: driver.rows(table) for table in COUNTED}
    path = only_file(driver, name)
    size, drawn = path.stat().st_size, random.Random(seed)
    for place in drawn.sample(range(size), 2):
        flip(path, place)
    if drawn.random() < 0.5:
        path.write_bytes(path.read_bytes()[: drawn.randrange(size)])
    with warnings.catch_warnings(action="ignore", category=tables.TableWarning):
        assert tables.gaps(driver.folder / "tables"), "a reader is told before any driver was there"
        said = resume(driver)
        assert resume(driver) == said, "and of what remains whenever it is looked at again"
    noted = {
        (gap.table, gap.trial, i): gap.kept for gap in noted_gaps(driver.folder / "tables").rows for i in gap.iterations
    }
    for table, expected in before.items():
        found = driver.rows(table)
        told = {(row["trial"], row["iteration"]): row for row in found}
        for row in expected:
            key = (table, row["trial"], row["iteration"])
            if key in noted:
                assert noted[key] == "" or told[key[1:]]["miou_percent"] == row["miou_percent"]
            elif table not in UNCOUNTED or key[1:] in told:
                same = [{**other, "time": None} for other in found if (other["trial"], other["iteration"]) == key[1:]]
                assert {**row, "time": None} in same
    for table in UNCOUNTED:
        if rows(driver, table) != sorted(repr({**row, "time": None}) for row in before[table]):
            assert any(table in line for line in said)
    assert list((driver.folder / "tables" / name).glob("*.damaged"))


def test_a_report_comes_back_whole_from_a_checkpoint_and_else_with_its_score(driver: Driver) -> None:
    driver.tables.close()
    before = driver.rows("reports")
    shutil.rmtree(driver.folder / "tables" / "reports")
    said = resume(driver)
    after = sorted(driver.rows("reports"), key=lambda row: (row["trial"], row["iteration"]))
    kept = EVALUATIONS[-KEEP:]  # by checkpoints
    assert [{**row, "time": None} for row in before if row["iteration"] in kept] == [
        row for row in after if row["iteration"] in kept
    ]
    scores = [(row["trial"], row["iteration"], row["miou_percent"]) for row in before]
    assert [(row["trial"], row["iteration"], row["miou_percent"]) for row in after] == scores
    assert any("the table reports has only the mIoU of" in line and "baseline 0 at" in line for line in said)


def test_gaps_are_named_by_best_verdict_and_report(driver: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    driver.tables.close()
    whole = "the table class_iou lacks"
    assert not any(whole in gap for gap in best(driver.folder)["studies"][0]["gaps"])
    shutil.rmtree(driver.folder / "tables" / "class_iou")
    resume(driver)
    answer = best(driver.folder)
    assert any(gap.startswith(f"{whole} 8 evaluations of 2 trials") for gap in answer["studies"][0]["gaps"])
    print_leaderboard(answer)
    assert whole in capsys.readouterr().out.replace("\n", " ")
    assert any(whole in line for line in verdict(open_study(driver.folder)).missing)
    assert whole in write_report([driver.folder]).read_text()


@pytest.mark.parametrize("name", COUNTED)
def test_a_driver_that_dies_between_two_tables_leaves_nothing_out(
    driver: Driver, config: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It dies at the last evaluation, of which there is a checkpoint, before that is written into one of the tables."""
    append = TableWriter.append

    def dying(writer: TableWriter, new: Any) -> None:
        if writer._place.name == name and (new[0]["trial"], new[0]["iteration"]) in ((1, 11), (1, 12)):
            raise DiedError
        append(writer, new)

    with monkeypatch.context() as death:
        death.setattr(TableWriter, "append", dying)
        with pytest.raises(DiedError):
            run_study(config(arms=ONE_ARM), tmp_path / "again")
    assert len(tables.read(tmp_path / "again" / "tables", name)) < len(driver.rows(name))
    arms = open_arms(driver.config, tmp_path / "again", with_teacher=False)
    StudyTables(driver.config, tmp_path / "again", arms).complete(arms)
    for table in COUNTED:
        found = tables.read(tmp_path / "again" / "tables", table).to_pylist()
        assert sorted(repr({**row, "time": None}) for row in found) == rows(driver, table)


def test_a_trial_that_runs_is_left_to_report_again(config: Reader, tmp_path: Path) -> None:
    driver = Driver(config(arms=ONE_ARM), tmp_path)
    trial = driver.start()
    driver.arms["baseline"].report(trial.config["number"], 2, 20.0)  # the driver dies before the row
    assert resume(driver) == [] and driver.rows("reports") == []
    following = Driver(driver.config, tmp_path)
    again = following.start()
    following.result(again, iteration=2)
    (row,) = following.rows("reports")
    assert row["loss"] == 1.5


def test_damage_met_as_the_tables_are_closed_is_mended_at_once(driver: Driver) -> None:
    before = rows(driver, "class_iou")
    path = only_file(driver, "class_iou")
    flip(path, path.stat().st_size - 20)  # the last evaluation, of which there is a checkpoint
    arms = open_arms(driver.config, driver.folder, with_teacher=False)
    with pytest.warns(tables.TableWarning, match=r"kept as live-000001\.arrows\.damaged"):
        finish(driver.tables, driver.config, driver.folder, arms)
    assert rows(driver, "class_iou") == before


def test_gaps_that_cannot_be_read_are_said(driver: Driver) -> None:
    place = driver.folder / "tables"
    (place / GAPS).write_text("{")
    (told,) = tables.gaps(place)
    assert GAPS in told and "kdstudy resume writes it anew" in told
    assert any(GAPS in line for line in resume(driver))


def test_gaps_are_sentences(tmp_path: Path) -> None:
    rows = [Gap("reports", "kd", n, (2,), "mIoU") for n in range(7)]
    gaps = Gaps((*rows, Gap("trials", "rdd", 3, ()), Gap("class_iou", "kd", 1, tuple(range(8)))), ("environment: x",))
    note_gaps(tmp_path, gaps)
    assert noted_gaps(tmp_path) == gaps
    assert tables.gaps(tmp_path) == [
        "the table class_iou lacks 8 evaluations of 1 trials: kd 1 at 0, 1, 2, 3, 4, ...",
        "the table reports has only the mIoU of 7 evaluations of 7 trials: kd 0 at 2, kd 1 at 2, kd 2 at 2, kd 3 at 2, "
        "kd 4 at 2 and 2 more",
        "the table trials lacks the rows of 1 trials: rdd 3",
        "environment: x",
    ]
    note_gaps(tmp_path, Gaps())
    assert noted_gaps(tmp_path) == Gaps() and not (tmp_path / GAPS).exists()
