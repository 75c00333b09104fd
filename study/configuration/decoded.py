"""What a study says about decoded images: where they are kept for all trials of a node, and how many."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from annotated_types import Ge
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError


@dataclass(frozen=True, kw_only=True)
class DecodedConfig:
    """A copy of the dataset at its working size that trials read in place of decoding files again.

    It changes no number of a trial. In a file `auto` stands for the defaults and `off` for `max_gib: 0`.

    Attributes:
        folder: of the copies of all studies that name it, at best on a disk of the node's own; None for `decoded` in
            `teacher.folder`.
        max_gib: what all copies in the folder may take together; None for a tenth of the disk that is free there. A
            copy that would take more is not begun.
    """

    folder: str | None = field(default=None, metadata={"location": True})
    max_gib: Annotated[float, Ge(0)] | None = None


def _read(value: Any) -> Any:
    if value == "auto":
        return {}
    if value == "off" or value is False:  # YAML reads a bare off as false
        return {"max_gib": 0}
    if isinstance(value, dict | DecodedConfig):
        return value
    raise PydanticCustomError("decoded_images", "must be auto, off, or a mapping of folder and max_gib")


DecodedImages = Annotated[DecodedConfig, BeforeValidator(_read)]
