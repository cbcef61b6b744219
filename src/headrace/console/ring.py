"""Bounded histories: named values over one time axis, the newest `limit` points.

A point is a dict by name; writing a time again replaces values (late corrections), so the same data may arrive twice. Points may
come out of order within the bound. `series` hands out columns, with `None` where a name has no value.
"""

from __future__ import annotations

from collections.abc import Mapping

from headrace.console.live_model import Series

NAMES_MAX = 256  # 256 names x 600 points x 8 B = 1.2 MB, far above what a board draws


class Ring:
    """A history with at most `limit` points and `NAMES_MAX` names."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._points: dict[int, dict[str, float | None]] = {}
        self._names: dict[str, None] = {}

    def __len__(self) -> int:
        """How many points are held."""
        return len(self._points)

    def put(self, at_ms: int, values: Mapping[str, float | None]) -> None:
        """Write values of one time; the oldest points fall out, names beyond `NAMES_MAX` are not taken."""
        known = {name: value for name, value in values.items() if self._admit(name)}
        self._points.setdefault(at_ms, {}).update(known)
        while len(self._points) > self._limit:
            del self._points[min(self._points)]

    def series(self, *, since_ms: int = 0) -> Series:
        """The points from `since_ms` on, ascending."""
        axis = sorted(at for at in self._points if at >= since_ms)
        points = [self._points[at] for at in axis]
        return Series(axis, {name: [point.get(name) for point in points] for name in self._names})

    def _admit(self, name: str) -> bool:
        if name in self._names:
            return True
        if len(self._names) >= NAMES_MAX:
            return False
        self._names[name] = None
        return True
