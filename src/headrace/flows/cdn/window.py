"""The last seconds of `cell_1s`, bounded: collect's memory.

Rows are upserts by (second, region, isp, cdn): a later row for the same key replaces the earlier one, whatever the order
within the window. Seconds older than `span_s` before the newest fall out; rows older than that, or from the future beyond
`FUTURE_MAX_MS` (a clock that is wrong must not freeze the window), are refused and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from headrace.flows.cdn.model import CellKey, CellRow

FUTURE_MAX_MS = 5_000
CELLS_MAX = 4_096  # cells of (region, isp, cdn); 4,096 x 16 s x ~300 B = 20 MB


class Second(msgspec.Struct, frozen=True):
    """One second of one CDN in one cell, cleaned: no nulls, nothing negative, parts not above the whole."""

    sessions: int
    stalled: int
    stall_starts: int
    inflight: int
    errors: int
    inflight_age_ms: int

    @property
    def bad(self) -> int:
        """Sessions in trouble: stalled, waiting for a fetch too long, or with an error; at least the largest of these."""
        return max(self.stalled, self.inflight, self.errors)

    @property
    def bad_new(self) -> int:
        """The same without those that only sit in a stall, which they may have brought from another CDN."""
        return max(self.stall_starts, self.inflight, self.errors)


Path = tuple[CellKey, str]


class Window:
    """Rows of the last `span_s` seconds per cell and CDN."""

    def __init__(self, *, span_s: int) -> None:
        self._span_ms = span_s * 1_000
        self._rows: dict[Path, dict[int, Second]] = {}
        self._last_seen: dict[Path, int] = {}
        self.newest_ms = 0
        self.refused = 0

    def add(self, row: CellRow, *, now_ms: int) -> bool:
        """Take a row; False if it is too old, from the future, lacks its key, or would exceed `CELLS_MAX`."""
        path = (CellKey(row.region or "unknown", row.isp or "unknown"), row.cdn or "")
        too_old = row.sec_ms <= self.newest_ms - self._span_ms
        if not path[1] or too_old or row.sec_ms > now_ms + FUTURE_MAX_MS or not self._has_room(path):
            self.refused += 1
            return False
        self._rows.setdefault(path, {})[row.sec_ms] = _clean(row)
        self._last_seen[path] = max(row.sec_ms, self._last_seen.get(path, 0))
        if row.sec_ms > self.newest_ms:
            self.newest_ms = row.sec_ms
            self._trim()
        return True

    def _has_room(self, path: Path) -> bool:
        return path in self._rows or len(self._rows) < CELLS_MAX

    def _trim(self) -> None:
        oldest = self.newest_ms - self._span_ms
        for path in [path for path, last in self._last_seen.items() if last <= oldest]:
            del self._rows[path], self._last_seen[path]
        for seconds in self._rows.values():
            for second in [second for second in seconds if second <= oldest]:
                del seconds[second]

    def cells(self) -> set[CellKey]:
        """Cells with a row in the window."""
        return {cell for cell, _ in self._rows}

    def snapshot(self) -> Mapping[Path, Mapping[int, Second]]:
        """Rows by cell and CDN, then by second; a view, valid until the next `add`."""
        return self._rows

    def extend(self, rows: Iterable[CellRow], *, now_ms: int) -> int:
        """Take many rows; returns how many were taken."""
        return sum(self.add(row, now_ms=now_ms) for row in rows)


def _clean(row: CellRow) -> Second:
    whole = max(row.sessions or 0, 0)

    def part(count: int | None) -> int:
        return min(max(count or 0, 0), whole)

    return Second(
        whole,
        part(row.stalled),
        part(row.stall_starts),
        part(row.inflight),
        part(row.errors),
        max(row.inflight_age_ms_max or 0, 0),
    )
