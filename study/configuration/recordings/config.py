"""What a study says about the recording of its teacher's outputs."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from annotated_types import Gt
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError


@dataclass(frozen=True, kw_only=True)
class RecordConfig:
    """Which outputs of the teacher are recorded by the first trial that computes them, for others to read.

    It changes no number of a trial. In a file `auto` stands for the defaults and `off` for no taps.

    Attributes:
        taps: the teacher's taps that may be recorded; None for all that the study's arms read.
        max_gib: of all recordings in the folder together, in GiB; None for a tenth of the disk that is free there.
        folder: where recordings lie; None for `recordings` in `teacher.folder`, so that other studies find them, or in
            the study's folder where that cannot be written.
    """

    taps: tuple[str, ...] | None = None
    max_gib: Annotated[float, Gt(0)] | None = None
    folder: str | None = field(default=None, metadata={"location": True})

    @property
    def on(self) -> bool:
        """Whether anything may be recorded."""
        return self.taps != ()


def _read(value: Any) -> Any:
    if value == "auto":
        return {}
    if value == "off" or value is False:  # YAML reads a bare off as false
        return {"taps": ()}
    if isinstance(value, dict | RecordConfig):
        return value
    raise PydanticCustomError("record", "must be auto, off, or a mapping of taps, max_gib and folder")


Record = Annotated[RecordConfig, BeforeValidator(_read)]
