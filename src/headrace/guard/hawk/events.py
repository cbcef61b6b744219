"""Hawk's event log: one JSON object a line, bounded; timelines of failures are made from it.

    at_ms     wall ms
    mono_ms   monotonic ms of the machine; distances between lines of one file
    observer  who tells
    event     its name; what else is in the line depends on it (docs/guide/hawk.md)

A full or broken disk costs lines and nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import msgspec

from headrace.core.clock import Clock
from headrace.stack.logs import LogWriter

EVENTS_BYTES = 16 << 20  # and one older file: some 200,000 events


class HawkEvent(msgspec.Struct, frozen=True):
    """A line of the log, as those who make timelines of it read it; other fields are left out, and one that the line lacks is empty."""

    at_ms: int
    event: str
    host: str = ""
    view: str = ""
    failure: str = ""
    process: str = ""
    classes: tuple[str, ...] = ()
    votes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    reason: str = ""
    outcome: str = ""
    skewed: bool = False
    for_s: float = 0


class EventLog:
    """Appends events to a file; from any thread."""

    def __init__(self, path: Path, observer: str, *, clock: Clock) -> None:
        self._writer = LogWriter(path, limit_bytes=EVENTS_BYTES, keep=1)
        self._observer = observer
        self._clock = clock
        self._lock = threading.Lock()

    def write(self, event: str, fields: Mapping[str, object]) -> None:
        """One line; never raises for a full or broken disk."""
        head = {
            "at_ms": self._clock.now_ms(),
            "mono_ms": round(self._clock.monotonic_s() * 1000),
            "observer": self._observer,
            "event": event,
        }
        line = msgspec.json.encode(head | dict(fields), enc_hook=str) + b"\n"
        with self._lock:
            self._writer.write(line)
