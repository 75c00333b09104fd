"""Which chunks a rank has: what was there when it was last looked, without those that could not be read."""

from collections.abc import Collection
from pathlib import Path

from trainers.teachers.recordings import files
from trainers.teachers.recordings.files import Chunk


class ChunkIndex:
    """The chunks in a rank's folder.

    Args:
        folder: of the rank; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._whole: list[Chunk] = []
        self._left_out: set[Path] = set()

    def look(self) -> None:
        """See which chunks there are now."""
        found = [chunk for path in files.paths(self._folder) if (chunk := Chunk.of(path)) is not None]
        self._whole = [chunk for chunk in found if chunk.path not in self._left_out]

    def find(self, tap: str, iteration: int) -> Chunk | None:
        """The chunk with this tap at this iteration that goes on longest; None where none was seen."""
        covering = [chunk for chunk in self._whole if chunk.covers(tap, iteration)]
        return max(covering, key=lambda chunk: chunk.stop, default=None)

    def leave_out(self, chunk: Chunk) -> None:
        """Find a chunk no more: it is gone, or cannot be read."""
        self._left_out.add(chunk.path)
        self._whole = [kept for kept in self._whole if kept.path != chunk.path]

    def unrecorded(self, taps: Collection[str], iteration: int) -> frozenset[str]:
        """Those of the taps that no chunk has at this iteration, neither a whole one nor one that is being written.

        Removes what dead writers have left.
        """
        self.look()
        missing = {tap for tap in taps if self.find(tap, iteration) is None}
        for path in files.paths(self._folder):
            begun = Chunk.being_written(path)
            if begun is not None and not files.remove_abandoned(path):
                missing -= {tap for tap in missing if begun.covers(tap, iteration)}
        return frozenset(missing)
