"""A study whose checkpoints lie in a store is the study that it is with them on disk, whatever dies on the way."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load

from study import tables
from tests.e2e.test_study import (
    ENVIRONMENT,
    INLINE,
    LONG,
    assert_consistent,
    driver,
    eventually,
    kdstudy,
    outcomes,
    trial_rows,
    weights,
)
from tests.stores import KEY, Bucket, names, s3_bucket
from tests.study.conftest import tiny, write_study

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1500)]
RDD: dict[str, Any] = {"rdd": tiny(arms__rdd__trials=2)["arms"]["rdd"]}
STORE = "s3://bucket/studies"


def stored_weights(bucket: Bucket, study: str, trial: str) -> dict[str, torch.Tensor]:
    """Of a trial's last checkpoint."""
    last = max(name for name in names(f"{STORE}/{study}/{trial}") if name.endswith("weights.safetensors"))
    read: dict[str, torch.Tensor] = load(bucket.read(f"{STORE}/{study}/{trial}/{last}"))
    return read


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(tensor.equal(other[name]) for name, tensor in one.items())


def counts(folder: Path) -> list[dict[str, Any]]:
    found = tables.read(folder / "tables", "image_confusion").to_pylist()
    return sorted((row for row in found if row["arm"] != "teacher"), key=str)


def test_killed_and_resumed_with_checkpoints_in_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = write_study(tmp_path, tiny(arms=RDD, execution=INLINE, **LONG), "local.yaml")
    with s3_bucket() as bucket:
        for name, value in bucket.environment.items():
            monkeypatch.setitem(ENVIRONMENT, name, value)
        stored = write_study(tmp_path, tiny(arms=RDD, execution={**INLINE, "checkpoints": STORE}, **LONG))
        folder = tmp_path / "stored"
        started = driver("run", stored, "--out", folder, cwd=tmp_path)

        # the teacher's training is done, and its file made from the store
        def reported() -> list[str]:
            return names(f"{STORE}/tiny/rdd-00000")

        eventually(lambda: reported() or started.poll() is not None, seconds=480, what="no report")
        assert reported(), started.communicate()[1]
        started.kill()
        started.wait()
        done = kdstudy("resume", folder, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "warning" not in done.stderr
        assert_consistent(folder)
        assert not list(folder.rglob("checkpoint_*"))

        done = kdstudy("run", local, "--out", "local", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert outcomes(folder) == outcomes(tmp_path / "local")
        assert counts(folder) == counts(tmp_path / "local")
        for trial in ("rdd-00000", "rdd-00001"):
            assert same(stored_weights(bucket, "tiny", trial), weights(tmp_path / "local", trial))
            kept = {name.partition("/")[0] for name in names(f"{STORE}/tiny/{trial}")}
            assert 2 <= len(kept) <= 3

        # Ray Train's workers reach the store too
        first = {"rdd": {**RDD["rdd"], "trials": 1}}
        trained = tiny(name="trained", arms=first, execution={"engine": "train", "checkpoints": STORE}, **LONG)
        done = kdstudy("run", write_study(tmp_path, trained), "--out", "trained", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert outcomes(tmp_path / "trained") == outcomes(folder)[:1]
        assert same(stored_weights(bucket, "trained", "rdd-00000"), weights(tmp_path / "local", "rdd-00000"))

        best = json.loads(kdstudy("best", folder, "--json", cwd=tmp_path).stdout)
        assert best["arms"][0]["best"][0]["last_miou_percent"] == max(
            row["last_miou_percent"] for row in trial_rows(folder) if row["arm"] == "rdd"
        )
        assert kdstudy("export", folder, cwd=tmp_path).returncode == 0
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert written and not any(KEY.encode() in path.read_bytes() for path in written)
