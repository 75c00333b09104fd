"""A study whose checkpoints lie in a store is the study that it is with them on disk, whatever dies on the way."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from tests.e2e.drivers import ENVIRONMENT, driver, kdstudy, wait_while_alive
from tests.e2e.studies import WHOLE, assert_same_study, trial_rows, weights
from tests.stores import KEY, Bucket, names, s3_bucket
from tests.study.conftest import write_study

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800), pytest.mark.xdist_group("undisturbed")]
STORE = "s3://bucket/studies"


def stored_weights(bucket: Bucket, study: str, trial: str) -> dict[str, torch.Tensor]:
    """Of a trial's last checkpoint."""
    last = max(name for name in names(f"{STORE}/{study}/{trial}") if name.endswith("weights.safetensors"))
    read: dict[str, torch.Tensor] = load(bucket.read(f"{STORE}/{study}/{trial}/{last}"))
    return read


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(tensor.equal(other[name]) for name, tensor in one.items())


def test_killed_and_resumed_with_checkpoints_in_a_store(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_bucket() as bucket:
        for name, value in bucket.environment.items():
            monkeypatch.setitem(ENVIRONMENT, name, value)
        # the teacher's is a Ray Train run, its other trials are not: both reach the store
        execution = {**WHOLE["execution"], "engine": "auto", "checkpoints": STORE}
        stored = write_study(tmp_path, {**WHOLE, "execution": execution})
        folder = tmp_path / "stored"
        started = driver("run", stored, "--out", folder, cwd=tmp_path)
        # the teacher's training is done, and its file made from the store
        assert wait_while_alive(started, lambda: names(f"{STORE}/tiny/rdd-00000")), started.communicate()
        started.kill()
        started.wait()
        done = kdstudy("resume", folder, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        # the kill may have torn a table's last batch; no checkpoint of a store may be found damaged
        assert not [line for line in done.stderr.splitlines() if "warning" in line and "checkpoint" in line]
        assert_same_study(folder, undisturbed)
        assert not list(folder.rglob("checkpoint_*"))
        for row in trial_rows(folder):
            trial = f"{row['arm']}-{row['trial']:05}"
            assert same(stored_weights(bucket, "tiny", trial), weights(undisturbed, trial))
            kept = {name.partition("/")[0] for name in names(f"{STORE}/tiny/{trial}")}
            assert 1 <= len(kept) <= 3

        best = json.loads(kdstudy("best", folder, "--json", cwd=tmp_path).stdout)
        (rdd,) = (arm for arm in best["arms"] if arm["arm"] == "rdd")
        complete = [row for row in trial_rows(folder) if (row["arm"], row["state"]) == ("rdd", "COMPLETE")]
        assert rdd["best"][0]["last_miou_percent"] == max(row["last_miou_percent"] for row in complete)
        assert kdstudy("export", folder, cwd=tmp_path).returncode == 0
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert written and not any(KEY.encode() in path.read_bytes() for path in written)
