"""A study from Python; running one is tests/e2e's."""

from pathlib import Path

import pytest

import study
from analysis.queries import best
from study.configuration.loading import load as load_study
from tests.analysis.searches import search, write_search


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_search(tmp_path_factory.mktemp("api") / "search", search())


def test_a_study_is_read_as_the_commands_read_it(folder: Path, tmp_path: Path) -> None:
    found = study.read(folder)
    assert isinstance(found, study.Study) and found.folder == folder
    assert found.best(top=2) == best(folder, top=2)
    assert set(found.trials["arm"].to_pylist()) == {arm["arm"] for arm in found.best()["arms"]}
    assert found.table("trials").num_rows >= found.trials.num_rows > 0
    assert found.trials.to_pandas()["arm"].tolist() == found.trials["arm"].to_pylist()
    assert found.class_iou.num_rows and found.reports.num_rows
    assert found.verdict().answer
    assert found.report(tmp_path / "r.html") == tmp_path / "r.html"


def test_what_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must be a study's folder"):
        study.read(tmp_path)
    with pytest.raises(ValueError, match=r"did you mean 'quickstart'"):
        study.load("quikstart")
    with pytest.raises(ValueError, match=r"must be a study's folder"):
        study.resume(tmp_path)
    with pytest.raises(AttributeError, match="no attribute 'rum'"):
        study.rum  # noqa: B018


def test_load_is_what_validate_checks() -> None:
    sets = ["train.iterations=48", "train.evaluate_every=12"]
    assert study.load("quickstart", sets=sets) == load_study("quickstart", sets=sets)
    assert {"load", "read", "resume", "run", "Study"} <= set(dir(study))
