"""The dataset that a study's trials are trained on, as the ledger keeps it: one that has changed is not gone on with.

The ledger has one checksum of all files; the checksum of each lies in a note in the study's folder, for workers on
every machine and for naming the file that differs.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from study.configuration.config import StudyConfig
from study.ledger.ledger import ArmLedger
from trainers.data import Split
from trainers.data.fingerprint import NOTE, Fingerprint, difference, digest, fingerprint, read_note, write_note

RECORDED = "dataset"
"""User attribute of an arm's Optuna study: the checksum of all files; and what stood there before, if anything did."""


def splits_of(config: StudyConfig) -> list[Split]:
    """The splits that trials of a study, or its teacher, look at."""
    used = {"train", "val", config.evaluate_on}
    return [split for split in get_args(Split) if split in used]


def dataset_of(config: StudyConfig) -> Fingerprint:
    """The fingerprint of a study's dataset as it is on this machine.

    Raises:
        ValueError: the dataset is not there.
    """
    return fingerprint(config.data, splits_of(config))


def hold_dataset(
    config: StudyConfig, folder: Path, arms: Mapping[str, ArmLedger], found: Fingerprint, *, accept: bool
) -> str | None:
    """Hold the dataset against what the ledger has of it; record it where that has nothing.

    Args:
        config: the study.
        folder: the study's.
        arms: the ledger of every arm.
        found: what `dataset_of` gives.
        accept: whether one that has changed is recorded in the place of the former.

    Returns:
        What was recorded, in a line; None where nothing was.

    Raises:
        ValueError: it has changed.
    """
    recorded = {arm.study.user_attrs[RECORDED]["sha256"] for arm in arms.values() if RECORDED in arm.study.user_attrs}
    if not found and not recorded:
        return None
    now = digest(found)
    differs = bool(recorded - {now})
    if differs and not accept:
        raise ValueError(_refusal(folder, recorded, found))
    for arm in arms.values():
        _record(arm, now)
    write_note(folder / NOTE, splits_of(config), found)
    if differs:
        return (
            f"warning: the dataset has changed, and trials from before and after do not compare; recorded: {now[:12]}"
        )
    return None if recorded else f"dataset: {len(found)} files, checksum {now[:12]}"


def _record(arm: ArmLedger, now: str) -> None:
    before = arm.study.user_attrs.get(RECORDED)
    if before is None or before["sha256"] != now:
        earlier = [*before["before"], before["sha256"]] if before else []
        arm.study.set_user_attr(RECORDED, {"sha256": now, "before": earlier})


def _refusal(folder: Path, recorded: set[str], found: Fingerprint) -> str:
    kept = read_note(folder / NOTE)
    # the note may be damaged, or be another's
    differs = difference(kept, found) if digest(kept) in recorded else None
    return (
        f"a study's dataset must stay as it was at its start, but {differs or 'its files differ'}; put it "
        f"back, or go on with what is there now: kdstudy resume {folder} --accept-data"
    )
