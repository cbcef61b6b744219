"""How far a read of keyed state is: bytes of the handles that are done, told as key groups pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from headrace.state.cells import Cell
from headrace.state.handles import KeyedHandle, size_of

Tell = Callable[[int, int], None]  # bytes that are done, bytes in all


class ReadProgress:
    """Tells how much of `total_bytes` was read; cells come by key group, so a handle counts by its key groups.

    Args:
        tell: is called at most once a key group; None: nobody listens.
    """

    def __init__(self, total_bytes: int, tell: Tell | None) -> None:
        self._total_bytes = total_bytes
        self._tell = tell
        self._before = 0

    def watch(self, handle: KeyedHandle, cells: Iterator[Cell]) -> Iterator[Cell]:
        """The same cells."""
        if self._tell is None:
            yield from cells
            return
        size, groups, last = size_of(handle), handle.key_groups, -1
        for cell in cells:
            if cell.key_group != last:
                last = cell.key_group
                passed = size * (last - groups.start) // max(1, len(groups))
                self._tell(self._before + passed, self._total_bytes)
            yield cell
        self._before += size
        self._tell(self._before, self._total_bytes)
