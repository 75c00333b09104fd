"""Where decoded images are kept, and how much of the disk they may take; changes no number of a trial."""

from dataclasses import dataclass

FREE_SHARE = 0.1
"""Share of the free disk that all copies in a folder may take where no quota is named."""


@dataclass(frozen=True, kw_only=True)
class DecodedPlan:
    """Copies of decoded images.

    Attributes:
        folder: of all copies, each in a folder of its own below it; an absolute path.
        max_gib: what they may take together; None for a tenth of the disk's free space.
    """

    folder: str
    max_gib: float | None = None
