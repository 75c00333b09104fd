"""TensorBoard: Ray's own callback, whose tags begin with `ray/tune/`; the verdict is a text."""

from pathlib import Path

from ray.tune.logger import TBXLoggerCallback


class TensorBoard(TBXLoggerCallback):  # type: ignore[misc]
    """Event files, of each trial in a folder of its own.

    Args:
        folder: of them all.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def log_verdict(self, text: str) -> None:
        """Write it beside the trials, in fixed width."""
        with self._summary_writer_cls(str(self._folder / "study")) as writer:
            writer.add_text("verdict", "\n".join(f"    {line}" for line in text.splitlines()))
