"""The journal's newest entries as lines of the feed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headrace.catalog.journal import FAILED, JournalEntry
from headrace.console import live_model as m

EVENTS_MAX = 60
INCIDENT_PREFIX = "incident"


class JournalCollector:
    """The journal's newest entries, from the daemon's own store."""

    name = "journal"

    def __init__(self, newest: Callable[[int], Sequence[JournalEntry]]) -> None:
        self._newest = newest

    def collect(self) -> Sequence[JournalEntry]:
        """The newest entries first."""
        return self._newest(EVENTS_MAX)

    def close(self) -> None:
        """Nothing is kept open here."""


def render_event(entry: JournalEntry) -> m.Event:
    """A journal entry as a line of the feed; actions that begin with `incident` mark injected trouble."""
    incident = entry.action.startswith(INCIDENT_PREFIX)
    parts = [entry.target, entry.cause, entry.measured]
    return m.Event(
        at_ms=entry.at_ms,
        kind=entry.action,
        text=(entry.cause or entry.target) if incident else " · ".join(part for part in parts if part),
        severity="error" if entry.outcome == FAILED or incident else "info",
        subject=entry.target,
        incident=incident,
    )
