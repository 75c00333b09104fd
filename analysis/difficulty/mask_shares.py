"""What share of each class's pixels a mask keeps: in a training as it went on, and of the images of `difficulty`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table

from analysis.studies.study import Study
from analysis.table_export import FORMATS

SCHEMA = pa.schema(
    [
        ("mask", pa.string()),
        ("threshold", pa.float64()),
        ("class", pa.string()),
        ("kept_pixels", pa.float64()),
        ("valid_pixels", pa.int64()),
        ("share_percent", pa.float64()),
    ]
)
"""Of the table of `difficulty`: `threshold` is null for "tfe", whose `kept_pixels` are the sum of the weights."""
ALL = "all classes"


def mask_shares(study: Study, arm: str, trial: int) -> pa.Table:
    """What the task loss of a trial let count of each class, by iteration.

    Args:
        study: it may still be running.
        arm: of the trial.
        trial: its number.

    Returns:
        Columns iteration, mask ("tfe", "tse" or "ohem"), class, kept_pixels, valid_pixels and share_percent, in the
        order of iterations; `share_percent` of "tfe" is the mean weight.

    Raises:
        ValueError: nothing of the kind was stored of this trial.
    """
    law = f"mask shares are stored of a trial that weighs its task loss by rdd or ohem, but of {arm} {trial}"
    try:
        mine = (pc.field("arm") == arm) & (pc.field("trial") == trial)
        rows = study.table("mask_shares", where=mine)
    except FileNotFoundError as missing:
        raise ValueError(f"{law} there are none ({missing}); a study of an older kdstudy has none") from None
    if not rows.num_rows:
        raise ValueError(f"{law} there are none in {study.folder}; name such a trial that has reported")
    return rows.drop_columns(["arm", "trial"]).sort_by("iteration")


def shares_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The rows of `difficulty`, in the columns of SCHEMA."""
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def write(table: pa.Table, folder: Path) -> list[Path]:
    """Write it as `mask_shares.csv` and `mask_shares.arrow`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {form: folder / f"mask_shares.{form}" for form in ("csv", "arrow")}
    for form, path in paths.items():
        FORMATS[form](table, path)
    return list(paths.values())


def print_shares(table: pa.Table, threshold: float, console: Console | None = None) -> None:
    """Print the shares at one threshold in percent, a row for each class and one for all of them."""
    console = console or Console()
    at = table.filter(pc.is_null(pc.field("threshold")) | (pc.field("threshold") == threshold)).to_pylist()
    if not at:
        console.print("no pixel of these images is labelled, so no mask keeps a share")
        return
    masks = list(dict.fromkeys(row["mask"] for row in at))
    classes = list(dict.fromkeys(row["class"] for row in at))
    printed = Table(box=None, pad_edge=False)
    printed.add_column("class", no_wrap=True)
    printed.add_column("pixels", justify="right")
    for mask in masks:
        printed.add_column(mask.replace("_", " "), justify="right")
    for name in [*classes, ALL]:
        mine = [row for row in at if name in (row["class"], ALL)]
        kept = {mask: sum(row["kept_pixels"] for row in mine if row["mask"] == mask) for mask in masks}
        pixels = sum(row["valid_pixels"] for row in mine if row["mask"] == masks[0])
        printed.add_row(name, f"{pixels}", *(f"{100 * value / pixels:.1f}" for value in kept.values()))
    console.print(printed)
