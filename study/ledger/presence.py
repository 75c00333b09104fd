"""Whether the ledger still has every trial that the tables have: other programs can delete what they show."""

import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from study import tables
from study.configuration.outline import StudyOutline
from study.ledger.ledger import trials_by_arm


def refuse_missing(config: StudyOutline, folder: Path) -> None:
    """Hold the ledger against the trials in the tables.

    Raises:
        ValueError: an arm, or trials of one, are missing in the ledger; names them.
    """
    rows = _ended(folder)
    if not rows:
        return
    held = trials_by_arm(config, folder)
    missing = {arm: [n for n in numbers if n >= len(held[arm])] for arm, numbers in rows.items() if arm in held}
    named = [_named(arm, numbers, whole=not held[arm]) for arm, numbers in missing.items() if numbers]
    if named:
        raise ValueError(
            f"the ledger must have every trial that the tables have, but it lacks {', '.join(named)}; put "
            f"{'study.journal' if config.storage == 'journal' else 'its database'} of {folder} back from a copy, or "
            "start another study"
        )


def _ended(folder: Path) -> Mapping[str, Sequence[int]]:
    """The numbers of the trials in the tables, by arm."""
    found: dict[str, list[int]] = defaultdict(list)
    with warnings.catch_warnings(action="ignore", category=tables.TableWarning):  # whoever writes them says it
        try:
            rows = tables.read(folder / "tables", "trials", ["arm", "trial"])
        except FileNotFoundError:
            return found
    for arm, number in zip(*(column.to_pylist() for column in rows.columns), strict=True):
        found[arm].append(number)
    return found


def _named(arm: str, numbers: Sequence[int], *, whole: bool) -> str:
    if whole:
        return f"the whole arm {arm} ({len(numbers)} trials)"
    return f"{arm} {', '.join(map(str, sorted(numbers)))}"
