"""The checkpoints of a trial, in a folder and in a store: what is kept, what is passed over, what a reader gets."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.stores import Bucket, changed, s3_bucket, there
from tests.trainers import small
from tests.trainers.stops import ending, equal, reproducible, stopped
from trainers.addresses import joined, redacted
from trainers.checkpoints import store
from trainers.checkpoints.base import KEEP, Checkpoints, DamagedError
from trainers.checkpoints.folder import WRITING, FolderCheckpoints
from trainers.checkpoints.manifest import MANIFEST, METRICS, READERS
from trainers.checkpoints.places import checkpoints_at, damage, opened, refuse_taken
from trainers.checkpoints.reading import read_metrics
from trainers.checkpoints.store import StoredCheckpoints, UnreachableError, refuse_url
from trainers.context import LocalContext
from trainers.loop import train
from trainers.worker import attempt

FILES = {name: f"what {name} holds".encode() for name in READERS}
WHOLE = {*READERS, MANIFEST}


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with s3_bucket() as made:
        yield made


@pytest.fixture
def url(bucket: Bucket, tmp_path: Path) -> str:
    """An address of its own for a trial."""
    return f"{bucket.url}/{tmp_path.parent.name}/{tmp_path.name}"


@pytest.fixture(params=["folder", "store"])
def place(request: pytest.FixtureRequest, tmp_path: Path, url: str) -> str:
    return str(tmp_path / "trial") if request.param == "folder" else url


def placed(checkpoints: Checkpoints, iterations: list[int], *, best: int) -> None:
    for iteration in iterations:
        checkpoints.write(FILES, iteration=iteration, best=best)
        checkpoints.add(iteration=iteration, best=best)


def latest(checkpoints: Checkpoints) -> tuple[str | None, str | None]:
    """The name of the newest whole one, whose files are read; and what is told."""
    with checkpoints.latest() as (folder, said):
        assert folder is None or {name: (folder / name).read_bytes() for name in FILES} == FILES
        return folder and folder.name, said


def test_a_checkpoint_is_one_once_it_is_written_to_its_end(place: str) -> None:
    checkpoints = checkpoints_at(place)
    assert isinstance(checkpoints, StoredCheckpoints if "://" in place else FolderCheckpoints)
    assert latest(checkpoints) == (None, None)
    placed(checkpoints, [2, 4], best=2)
    assert there(checkpoints) == {f"checkpoint_00000000{number}": WHOLE for number in (2, 4)}
    assert checkpoints.all() == [checkpoints.of(2), checkpoints.of(4)] == list(reversed(list(checkpoints.whole())))
    assert latest(checkpoints) == ("checkpoint_000000004", None)


@pytest.mark.parametrize(("damaged", "found"), [([6], 4), ([4, 6], 2), ([4], 6)])
def test_the_newest_whole_checkpoint_is_found_and_newer_ones_are_told_of(
    place: str, damaged: list[int], found: int
) -> None:
    checkpoints = checkpoints_at(place, keep=3)
    placed(checkpoints, [2, 4, 6], best=2)
    for iteration in damaged:
        changed(checkpoints.of(iteration), "state.pt", b"what stat")
    name, said = latest(checkpoints)
    assert name == f"checkpoint_{found:09d}"
    passed = [iteration for iteration in damaged if iteration > found]
    assert (said is None) == (not passed)
    for iteration in passed:
        assert said is not None and f"{checkpoints.of(iteration)}/state.pt must have 19 bytes, but has 9" in said
        assert said.endswith(f"the trial goes on from checkpoint_{found:09d}")
        assert there(checkpoints)[f"damaged_checkpoint_{iteration:09d}"] == WHOLE
    assert latest(checkpoints) == (name, None)
    # what comes after is kept although the damaged ones were newer
    placed(checkpoints, [found + 1], best=2)
    assert latest(checkpoints) == (f"checkpoint_{found + 1:09d}", None)


def test_where_none_is_whole_the_trial_starts_anew_and_says_so(place: str) -> None:
    checkpoints = checkpoints_at(place)
    placed(checkpoints, [2, 4], best=2)
    for address in checkpoints.all():
        changed(address, "trial.json", None)
    name, said = latest(checkpoints)
    assert name is None
    assert said is not None and said.count("trial.json cannot be read: No such file or directory") == 2
    assert said.endswith("; no checkpoint is left, so the trial starts anew")
    assert list(checkpoints.whole()) == [] and latest(checkpoints) == (None, None)


@pytest.mark.parametrize(
    ("best", "kept"),
    [([2, 2, 2, 2], [2, 6, 8]), ([2, 4, 4, 4], [4, 6, 8]), ([2, 4, 6, 8], [6, 8]), ([2, 2, 6, 6], [6, 8])],
)
def test_the_newest_are_kept_and_the_best(place: str, best: list[int], kept: list[int]) -> None:
    checkpoints = checkpoints_at(place)
    for iteration, best_so_far in zip([2, 4, 6, 8], best, strict=True):
        placed(checkpoints, [iteration], best=best_so_far)
    assert there(checkpoints) == {f"checkpoint_{iteration:09d}": WHOLE for iteration in kept}
    assert KEEP == 2


def interim(checkpoints: Checkpoints, iteration: int) -> None:
    checkpoints.write_interim(FILES, iteration=iteration)


def test_one_interim_checkpoint_is_gone_on_from_and_no_reader_sees_it(place: str) -> None:
    checkpoints = checkpoints_at(place)
    interim(checkpoints, 1)
    assert latest(checkpoints) == ("interim_000000001", None) and checkpoints.newest_iteration() == 1
    placed(checkpoints, [2, 4], best=2)
    assert there(checkpoints).keys() == {"checkpoint_000000002", "checkpoint_000000004"}
    for iteration in (5, 6):
        interim(checkpoints, iteration)
    kept = {"checkpoint_000000002", "checkpoint_000000004", "interim_000000006"}
    assert there(checkpoints) == dict.fromkeys(kept, WHOLE)
    assert latest(checkpoints) == ("interim_000000006", None) and checkpoints.newest_iteration() == 6
    assert checkpoints.all() == [checkpoints.of(2), checkpoints.of(4)] == list(reversed(list(checkpoints.whole())))
    placed(checkpoints, [8], best=2)
    assert there(checkpoints).keys() == {"checkpoint_000000002", "checkpoint_000000004", "checkpoint_000000008"}


def test_an_interim_checkpoint_stays_until_the_evaluation_after_it_is_reported(place: str) -> None:
    checkpoints = checkpoints_at(place)
    interim(checkpoints, 3)
    checkpoints.write(FILES, iteration=4, best=4)
    checkpoints.drop()
    assert there(checkpoints) == {"interim_000000003": WHOLE}


def test_a_damaged_interim_checkpoint_is_passed_over(place: str) -> None:
    checkpoints = checkpoints_at(place)
    placed(checkpoints, [2], best=2)
    interim(checkpoints, 3)
    changed(joined(place, "interim_000000003"), "state.pt", b"what stat")
    name, said = latest(checkpoints)
    assert name == "checkpoint_000000002"
    assert said is not None and "interim_000000003/state.pt must have 19 bytes, but has 9" in said
    assert there(checkpoints).keys() == {"checkpoint_000000002", "damaged_interim_000000003"}
    interim(checkpoints, 3)
    assert latest(checkpoints) == ("interim_000000003", None)


def test_an_interim_checkpoint_that_was_not_written_to_its_end_is_removed(place: str) -> None:
    checkpoints = checkpoints_at(place)
    interim(checkpoints, 3)
    half = joined(place, "interim_000000005" if "://" in place else WRITING)
    if "://" not in place:
        Path(half).mkdir()
    changed(half, "trial.json", b"half")
    assert latest(checkpoints) == ("interim_000000003", None)
    assert there(checkpoints).keys() == {"interim_000000003"}


@pytest.mark.parametrize("written", [["trial.json"], list(READERS)])
def test_what_a_killed_attempt_was_writing_is_removed(place: str, written: list[str]) -> None:
    checkpoints = checkpoints_at(place)
    placed(checkpoints, [2, 4], best=2)
    half = joined(place, "checkpoint_000000006" if "://" in place else WRITING)
    if "://" not in place:
        Path(half).mkdir()
    for name in written:
        changed(half, name, b"half")
    assert checkpoints.names() == ["checkpoint_000000002", "checkpoint_000000004"]
    assert latest(checkpoints) == ("checkpoint_000000004", None)
    assert there(checkpoints).keys() == {"checkpoint_000000002", "checkpoint_000000004"}


def test_a_checkpoint_may_come_again(place: str) -> None:
    checkpoints = checkpoints_at(place)
    placed(checkpoints, [4, 6], best=4)
    changed(checkpoints.of(6), "state.pt", b"")
    placed(checkpoints, [6], best=4)
    assert damage(checkpoints.of(6)) is None
    assert there(checkpoints).keys() == {"checkpoint_000000004", "checkpoint_000000006"}


def test_what_is_dropped_is_gone_and_what_was_added_stays(place: str) -> None:
    checkpoints = checkpoints_at(place)
    placed(checkpoints, [2], best=2)
    checkpoints.write(FILES, iteration=4, best=2)
    for _ in range(2):
        checkpoints.drop()
        assert there(checkpoints) == {"checkpoint_000000002": WHOLE}


def test_a_reader_gets_the_files_it_asks_for_and_only_if_they_are_whole(place: str) -> None:
    checkpoints = checkpoints_at(place)
    placed(checkpoints, [2], best=2)
    address = checkpoints.of(2)
    changed(address, "state.pt", b"other")
    with opened(address, (METRICS,)) as folder:
        assert (folder / METRICS).read_bytes() == FILES[METRICS]
    assert folder.exists() != ("://" in place)
    with pytest.raises(DamagedError, match=r"state\.pt must have 19 bytes, but has 5"), opened(address):
        pass
    assert list(checkpoints.whole((METRICS,))) == [address] and list(checkpoints.whole()) == []


def test_the_place_of_a_new_study_is_its_own(place: str) -> None:
    refuse_taken(place)
    assert there(checkpoints_at(place)) == {}
    placed(checkpoints_at(joined(place, "baseline-00000")), [2], best=2)
    with pytest.raises(ValueError, match=r"must have a place of their own, but .* holds files; remove them, or choose"):
        refuse_taken(place)


# what only a store has


def test_without_its_manifest_nothing_is_a_checkpoint(url: str) -> None:
    checkpoints = checkpoints_at(url)
    placed(checkpoints, [2], best=2)
    changed(checkpoints.of(2), MANIFEST, None)
    said = damage(checkpoints.of(2))
    assert said == f"{checkpoints.of(2)} has no manifest.json: it is no checkpoint, or not written to its end"


@pytest.mark.parametrize(
    "url",
    [
        "s3://key:topsecret@bucket/x",
        "s3://bucket/x?secret_key=topsecret",
        "s3://bucket/x?access_key=topsecret&a=b",
        "abfs://:topsecret@account/x",
        "abfs://container@account/x?sig=topsecret",
        "gs://b/x?accessToken=topsecret",
    ],
)
def test_a_url_with_a_secret_is_refused_and_not_repeated(url: str) -> None:
    for refused in (refuse_url, checkpoints_at, refuse_taken):
        with pytest.raises(ValueError, match="a URL must hold no credentials") as raised:
            refused(url)
        assert "topsecret" not in str(raised.value) and "topsecret" not in redacted(url)


@pytest.mark.parametrize("url", ["file:///tmp/x", "mock://x/y", "http://host/x", "s3://", "weird://a/b"])
def test_a_url_of_no_store_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="checkpoints must lie in a folder or at a URL of s3, gs, "):
        refuse_url(url)


def test_a_url_that_the_store_does_not_take_is_refused_with_its_reason(bucket: Bucket) -> None:
    with pytest.raises(ValueError, match=r"but s3://bucket/x is none: Unexpected query parameter .*'nonsense'; mend"):
        refuse_taken("s3://bucket/x?nonsense=1")
    with pytest.raises(UnreachableError, match=r"at s3://nobucket/x/probe, but the last of 1 tries .*NO_SUCH_BUCKET"):
        refuse_taken("s3://nobucket/x")


def test_parameters_of_a_url_stay_with_it(bucket: Bucket, url: str) -> None:
    query = f"?scheme=http&endpoint_override={bucket.environment['AWS_ENDPOINT_URL'].removeprefix('http://')}"
    checkpoints = checkpoints_at(url + query)
    placed(checkpoints, [2], best=2)
    assert checkpoints.all() == [f"{url}/checkpoint_000000002{query}"]
    assert latest(checkpoints) == latest(checkpoints_at(url)) == ("checkpoint_000000002", None)
    changed(checkpoints.of(2), "state.pt", b"")
    assert damage(checkpoints.of(2)) == f"{url}/checkpoint_000000002/state.pt must have 19 bytes, but has 0"


class Failing:
    """A network over which the writing of a state.pt fails so many times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
        self.left, self.waited = times, list[float]()
        below = store._below
        monkeypatch.setattr(store, "_below", lambda url: FailingFiles(below(url), self))
        monkeypatch.setattr(store, "time", SimpleNamespace(sleep=self.waited.append))  # not for other threads


class FailingFiles:
    def __init__(self, files: Any, network: Failing) -> None:
        self.files, self.network = files, network

    def __getattr__(self, name: str) -> Any:
        return getattr(self.files, name)

    def open_output_stream(self, name: str) -> Any:
        if name.endswith("state.pt") and self.network.left:
            self.network.left -= 1
            raise OSError("the network is down\nfor now")
        return self.files.open_output_stream(name)


def test_what_fails_for_a_moment_is_tried_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Failing(monkeypatch, times=3)
    placed(checkpoints_at(url), [2], best=2)
    assert network.waited == [1, 4, 16]
    assert latest(checkpoints_at(url)) == ("checkpoint_000000002", None)


def test_a_store_that_stays_out_of_reach_fails_the_trial_and_keeps_its_last_checkpoint(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(small.trial({"train/iterations": 3}), LocalContext(tmp_path, place=url))
    with monkeypatch.context() as patch:
        Failing(patch, times=4)
        outcome = attempt(small.values(), LocalContext(tmp_path, place=url), 0)
    where = f"{url}/checkpoint_000000006/state.pt"
    assert outcome["error"] == (
        f"UnreachableError: checkpoints must be written at {where}, but the last of 4 tries failed: the network is "
        "down; see that this node reaches the store and may write there, then run it again"
    )
    checkpoints = checkpoints_at(url)
    assert checkpoints.names() == ["checkpoint_000000003"]
    assert read_metrics(checkpoints.of(3))["iteration"] == 3
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_gone_is_named(bucket: Bucket, url: str) -> None:
    checkpoints = checkpoints_at(url)
    placed(checkpoints, [2], best=2)
    bucket.stop()
    try:
        with pytest.raises(UnreachableError, match=rf"listed at {url}, but the last of 1 tries failed: .*connect"):
            refuse_taken(url)
    finally:
        bucket.start()
    assert latest(checkpoints) == ("checkpoint_000000002", None)


@pytest.mark.parametrize(("at", "loader_workers"), [(3, 0), (6, 1)])
def test_a_trial_goes_on_from_a_store_with_the_same_bits(
    url: str, tmp_path: Path, at: int, loader_workers: int
) -> None:
    undisturbed = LocalContext(tmp_path / "undisturbed")
    train(small.trial(), undisturbed)
    stopped({}, tmp_path / "trial", at=at, place=url)
    again = LocalContext(tmp_path / "trial", place=url)
    metrics = train(small.trial(), again, loader_workers=loader_workers)
    assert [report["iteration"] for report in again.reports] == [n for n in (3, 6, 7) if n > at]
    assert reproducible(metrics) == reproducible(undisturbed.reports[-1])
    assert equal(ending(url), ending(undisturbed.folder))
    assert not (tmp_path / "trial").exists()


def test_scores_of_an_earlier_version_have_the_names_of_today(tmp_path: Path) -> None:
    report = {"iteration": 3, "val/miou_percent": 20.5, "val/iou_percent/sky": 60.0, "best/miou_percent": 21.0}
    checkpoints = FolderCheckpoints(tmp_path)
    checkpoints.write({**dict.fromkeys(READERS, b""), METRICS: json.dumps(report).encode()}, iteration=3, best=3)
    checkpoints.add(iteration=3, best=3)
    assert read_metrics(checkpoints.of(3)) == {
        "iteration": 3, "eval/miou_percent": 20.5, "eval/iou_percent/sky": 60.0, "best/miou_percent": 21.0,
    }  # fmt: skip
