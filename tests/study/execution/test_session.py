"""What a driver does before it speaks to a cluster: where a submitted one may write, whose token it has."""

import warnings
from pathlib import Path

import pytest

from study.execution import session
from study.execution.submission import default_address, refuse_copies, refuse_foreign_packages
from tests.conftest import ROOT

JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"


def test_a_submitted_driver_joins_its_cluster_and_keeps_nothing_in_its_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(JOB, raising=False)
    assert default_address() == "local"
    refuse_copies({"--out": None})
    monkeypatch.setenv(JOB, "{}")
    assert default_address() == "auto"
    for place in (None, Path("runs/x"), tmp_path / "x"):
        with pytest.raises(ValueError, match="--out must be an absolute path on storage that all nodes see"):
            refuse_copies({"--out": place})
    refuse_copies({"--out": Path("/shared/x"), "teacher.folder": Path("/shared/teachers")})
    with pytest.raises(ValueError, match=r"teacher\.folder must be .* for example /shared/teachers"):
        refuse_copies({"--out": Path("/shared/x"), "teacher.folder": tmp_path / "runs" / "teachers"})


def test_a_token_that_others_can_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "token"
    token.write_text("0" * 64)
    token.chmod(0o644)
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    with pytest.warns(UserWarning, match=f"others can read {token}.*chmod 600 {token}"):
        session._warn_of_readers()
    token.chmod(0o600)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        session._warn_of_readers()


def test_the_token_of_ones_own_clusters_is_private_and_one() -> None:
    token = Path(session._own_token())
    assert session._own_token() == str(token)
    assert (token.stat().st_mode & 0o777, token.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert len(token.read_text()) == 64


def test_ray_starts_among_our_packages_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it finds in the working directory comes first in every worker."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "trainers.py").write_text("raise AssertionError('the user has another one')\n")
    monkeypatch.chdir(tmp_path / "mine")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with session._among_own_packages(scratch):
        assert {path.name for path in Path.cwd().iterdir()} == {"analysis", "search_spaces", "study", "trainers"}
        assert (Path.cwd() / "trainers" / "loop.py").samefile(ROOT / "trainers" / "loop.py")
        assert not Path.cwd().is_relative_to(ROOT)
    assert Path.cwd() == tmp_path / "mine"


@pytest.mark.parametrize("name", ["trainers/__init__.py", "study.py"])
def test_a_job_that_is_sent_with_other_packages_of_our_names_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study").mkdir()  # of YAML files, which hides nothing
    found = tmp_path / name
    found.parent.mkdir(exist_ok=True)
    found.touch()
    monkeypatch.delenv(JOB, raising=False)
    refuse_foreign_packages()
    monkeypatch.setenv(JOB, "{}")
    with pytest.raises(ValueError, match=rf"must hold nothing that .* but there is {name}; rename it, or submit"):
        refuse_foreign_packages()
    found.unlink()
    refuse_foreign_packages()
    monkeypatch.chdir(ROOT)
    refuse_foreign_packages()
