"""What the pixels of a decoded split depend on: two splits with one key have the same copy, and no others do.

That is the dataset's options, the content of its files, the code that reads or draws them, and the libraries and the
processor that this code runs on. Where the files lie is no part of it.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trainers.config import canonical_json, identity
from trainers.data import SegmentationDataset, Split
from trainers.data.fingerprint import checksums, digest, files_of, is_known
from trainers.plugins.content import PACKAGE
from trainers.registry import installed, module_of, owner

Key = Mapping[str, Any]


def key(data: Any, split: Split, dataset: SegmentationDataset) -> Key | None:
    """The key of an opened split; None of one whose content nothing tells of: it is in no files and not drawn.

    Args:
        data: the dataset's configuration.
        split: of it.
        dataset: what it opens.

    Raises:
        ValueError: a file cannot be read.
    """
    if not is_known(dataset):
        return None
    return {
        "data": identity(data),
        "split": split,
        "content": digest(checksums(files_of(dataset))),
        "code": _code(Path(str(module_of(data).__file__))),
        **_foreign(data),
        **environment(),
    }


def _foreign(data: Any) -> dict[str, str]:
    """The code of others, of which one file need not be all: a plugin by content, an installed package by version."""
    module, entries = module_of(data).__name__, installed("trainers.data")
    theirs = [owner(entry) for entry in entries if entry.name == data.name]
    # the name of a plugin's module holds the hash of its content
    found = module.split(".")[1:2] if module.startswith(f"{PACKAGE}.") else theirs
    return {"foreign": found[0]} if found else {}


def environment() -> dict[str, str]:
    """The libraries that decode, resize and draw, and the processor, on which the last bit of a float may depend."""
    return {"opencv": cv2.__version__, "numpy": np.__version__, "processor": cv2.getCPUFeaturesLine()}


def name_of(found: Key) -> str:
    """A folder's name: for people first, then for the key."""
    short = hashlib.sha256(canonical_json(found).encode()).hexdigest()[:16]
    return f"{found['data'].get('name', 'images')}-{found['split']}-{short}"


@cache
def _code(module: Path) -> str:
    """One checksum of the code of all datasets here, and of the module that a dataset is defined in."""
    package = Path(__file__).parents[1]
    sources = sorted({*package.rglob("*.py"), module})
    whole = hashlib.sha256()
    for source in sources:
        whole.update(source.read_bytes())
    return whole.hexdigest()
