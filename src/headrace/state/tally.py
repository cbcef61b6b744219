"""Count what snapshots hold, by state and by key group. Pure, apart from reading the snapshots it is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from headrace.state.cells import Cell
from headrace.state.slimstate import TIMERS, SlimSnapshot

BARS = 32  # of a skew's histogram: what fits in a terminal beside the names


class Skew(msgspec.Struct, frozen=True):
    """How evenly keys are spread over the key groups.

    Args:
        filled: key groups with any key, of `key_groups`.
        mean: keys per key group, empty ones included.
        ratio: the largest key group's keys over the mean: 1 is even.
        bars: keys of at most 32 runs of neighbouring key groups.
    """

    key_groups: int
    filled: int
    mean: float
    max: int
    max_key_group: int
    ratio: float
    bars: tuple[int, ...]


@dataclass(slots=True)
class StateTally:
    """The counts of one state."""

    keys: int = 0
    entries: int = 0
    size_bytes: int = 0
    tombstones: int = 0
    key_groups: Counter[int] = field(default_factory=Counter)


class Tally:
    """The counts of one operator."""

    def __init__(self) -> None:
        self.by_state: dict[str, StateTally] = {}
        self.key_groups: Counter[int] = Counter()
        self.is_complete = False
        self._files: set[str] = set()

    def add_cells(self, cells: Iterable[Cell]) -> None:
        """Count cells: exact. The cells of one key stand together in every format."""
        self.is_complete = True
        last: tuple[str, int, bytes, bytes] | None = None
        for cell in cells:
            counts = self.by_state.setdefault(cell.state.name, StateTally())
            counts.entries += 1
            counts.size_bytes += cell.size_bytes
            this = (cell.state.name, cell.key_group, cell.key, cell.namespace)
            if this != last:
                last = this
                counts.keys += 1
                counts.key_groups[cell.key_group] += 1
                self.key_groups[cell.key_group] += 1

    def add_files(self, snapshot: SlimSnapshot, *, entries: bool) -> None:
        """Take the tombstones from the files' footers, and with `entries` everything: then a key counts once per file.

        A file that several subtasks share is taken once.
        """
        names = {state.state_id: state.name for state in snapshot.manifest.states}
        for listed, file in snapshot.files():
            if listed.name in self._files and listed.name != TIMERS:
                continue
            self._files.add(listed.name)
            for state in file.states:
                counts = self.by_state.setdefault(names.get(state.state_id, f"#{state.state_id}"), StateTally())
                counts.tombstones += state.tombstones
                if entries:
                    live = state.entries - state.tombstones
                    counts.entries += live
                    counts.keys += 0 if state.aux else live
                    counts.size_bytes += state.raw_bytes
            for extent in file.extents if entries else ():
                self.key_groups[extent.key_group] += extent.entries


def skew_of(counts: Mapping[int, int], key_groups: int) -> Skew | None:
    """How evenly `counts` are spread over the `key_groups`; None when there is nothing."""
    total = sum(counts.values())
    if not total or key_groups <= 0:
        return None
    fullest = max(counts, key=lambda group: (counts[group], -group))
    width = -(-key_groups // BARS)
    bars = [0] * -(-key_groups // width)
    for group, count in counts.items():
        bars[min(group // width, len(bars) - 1)] += count
    mean = total / key_groups
    return Skew(
        key_groups=key_groups,
        filled=sum(1 for count in counts.values() if count),
        mean=round(mean, 3),
        max=counts[fullest],
        max_key_group=fullest,
        ratio=round(counts[fullest] / mean, 2),
        bars=tuple(bars),
    )
