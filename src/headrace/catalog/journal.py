"""The journal: every action of a person or a loop, with cause, expected effect, measured effect and outcome.

Append-only: an entry is written when the action begins and completed once when it ends; nothing is deleted or rewritten. An entry
that is still `begun` after a restart belongs to an action that was cut off, and `close_cut_off` says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec
from sqlalchemy import select, update

from headrace.catalog.models import JournalRow
from headrace.catalog.store import Store
from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError

LIMIT_MAX = 1000
BEGUN, DONE, FAILED, CUT_OFF = "begun", "done", "failed", "cut_off"


class JournalEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One action; `ended_at_ms` is 0 while it goes on."""

    id: int
    at_ms: int
    actor: str
    action: str
    target: str
    cause: str
    expected: str
    measured: str
    outcome: str
    ended_at_ms: int


class Act(msgspec.Struct, frozen=True):
    """An action about to begin: who does what to what, why, and what should come of it."""

    actor: str
    action: str
    target: str
    cause: str
    expected: str = ""


class Effect:
    """Filled in by the action while it runs; what it measured goes into its journal entry."""

    def __init__(self) -> None:
        self.measured = ""


class Journal:
    """The journal in the store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._sessions = store.sessions
        self._clock = clock

    def newest(self, limit: int = 100) -> Sequence[JournalEntry]:
        """The newest entries first, at most `limit` (and at most `LIMIT_MAX`)."""
        with self._sessions() as session:
            newest = select(JournalRow).order_by(JournalRow.id.desc()).limit(max(1, min(limit, LIMIT_MAX)))
            return [_entry(row) for row in session.scalars(newest)]

    @contextmanager
    def recording(self, act: Act) -> Iterator[Effect]:
        """Write the entry, run the body, complete the entry; an error is recorded and passed on."""
        entry_id = self._begin(act)
        effect = Effect()
        try:
            yield effect
        except BaseException as error:
            reason = str(error) if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}"
            self._end(entry_id, measured=reason, outcome=FAILED)
            raise
        self._end(entry_id, measured=effect.measured, outcome=DONE)

    def close_cut_off(self) -> int:
        """Mark entries of a process that died in the middle; returns how many. Called once at start."""
        with self._sessions.begin() as session:
            result = session.execute(
                update(JournalRow)
                .where(JournalRow.outcome == BEGUN)
                .values(outcome=CUT_OFF, ended_at_ms=self._clock.now_ms())
            )
            return int(getattr(result, "rowcount", 0))

    def _begin(self, act: Act) -> int:
        with self._sessions.begin() as session:
            row = JournalRow(
                at_ms=self._clock.now_ms(),
                actor=act.actor,
                action=act.action,
                target=act.target,
                cause=act.cause,
                expected=act.expected,
                measured="",
                outcome=BEGUN,
                ended_at_ms=0,
            )
            session.add(row)
            session.flush()
            return row.id

    def _end(self, entry_id: int, *, measured: str, outcome: str) -> None:
        with self._sessions.begin() as session:
            session.execute(
                update(JournalRow)
                .where(JournalRow.id == entry_id)
                .values(measured=measured, outcome=outcome, ended_at_ms=self._clock.now_ms())
            )


def _entry(row: JournalRow) -> JournalEntry:
    names = [field.name for field in msgspec.structs.fields(JournalEntry)]
    return JournalEntry(**{name: getattr(row, name) for name in names})
