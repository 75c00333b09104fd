import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
"""Reference cases and real data that may lie beside a checkout; no test needs them to exist."""


def golden(*methods: str) -> list[Any]:
    """pytest parameters, one per reference case of these methods; one skipped one where there are none."""
    manifest = SHARED / "golden" / "losses" / "manifest.json"
    if not manifest.exists():
        reason = f"the reference cases are not here: {manifest}"
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason))]
    cases = json.loads(manifest.read_text())["fixtures"]
    return [pytest.param(case, id=case["file"]) for case in cases if case["method"] in methods]


def arrays(case: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of one reference case."""
    with np.load(SHARED / "golden" / "losses" / case["file"]) as stored:
        return dict(stored)
