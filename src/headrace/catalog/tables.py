"""The repository of tables and dims: what was applied, in which project, with which fingerprint.

`plan_changes` is pure and says what an apply would do; `TableCatalog.store` does it in one transaction. A name belongs to the project that
applied it first; a table that vanished from a folder stays in the catalog, because jobs may still use it. A changed table replaces the
old declaration under a new fingerprint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import select

from headrace.catalog.models import DimRow, TableRow
from headrace.catalog.store import Store
from headrace.core.errors import Conflict, NotFound, nearest
from headrace.core.schema import Table

FINGERPRINT_DIGITS = 16  # 64 bits of SHA-256: names a version to a person, is no protection


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A table as the catalog holds it; `file` is where its project declares it."""

    table: Table
    project: str
    file: str
    fingerprint: str
    created_at_ms: int = 0
    updated_at_ms: int = 0


class Dim(msgspec.Struct, frozen=True):
    """A dim as the catalog holds it."""

    name: str
    text: str


class Change(msgspec.Struct, frozen=True):
    """What an apply does to one name; `action` is created, changed or unchanged, `kind` table or dim."""

    kind: str
    name: str
    action: str
    fingerprint: str


def fingerprint_of(value: object) -> str:
    """Digits that differ when the value differs; stable between runs and machines."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:FINGERPRINT_DIGITS]


def new_entry(table: Table, *, project: str, file: str) -> Entry:
    """An entry that is not stored yet."""
    return Entry(table=table, project=project, file=file, fingerprint=fingerprint_of(table))


class TableCatalog:
    """Tables and dims in the store."""

    def __init__(self, store: Store) -> None:
        self._sessions = store.sessions

    def entries(self) -> Sequence[Entry]:
        """All tables, by name."""
        with self._sessions() as session:
            return [_entry(row) for row in session.scalars(select(TableRow).order_by(TableRow.name))]

    def get(self, name: str) -> Entry:
        """One table.

        Raises:
            NotFound: there is none; the nearest names are offered.
        """
        with self._sessions() as session:
            row = session.get(TableRow, name)
            if row is not None:
                return _entry(row)
            known = list(session.scalars(select(TableRow.name)))
        close = nearest(name, known)
        hint = f"did you mean {', '.join(close)}?" if close else "see `headrace table list`"
        raise NotFound("no such table", context={"table": name}, hint=hint)

    def dims(self) -> Sequence[Dim]:
        """All dims, by name."""
        with self._sessions() as session:
            return [Dim(row.name, row.text) for row in session.scalars(select(DimRow).order_by(DimRow.name))]

    def plan(self, entries: Iterable[Entry], dims: Iterable[Dim]) -> list[Change]:
        """What `store` would do with these, in their order.

        Raises:
            Conflict: a name belongs to another project.
        """
        with self._sessions() as session:
            tables = {row.name: (row.project, row.fingerprint) for row in session.scalars(select(TableRow))}
            stored_dims = {row.name: row.fingerprint for row in session.scalars(select(DimRow))}
        return plan_changes(entries, dims, tables=tables, dims_stored=stored_dims)

    def store(self, entries: Sequence[Entry], dims: Sequence[Dim], *, project: str, now_ms: int) -> list[Change]:
        """Store all of them in one transaction, or none.

        Raises:
            Conflict: a name belongs to another project.
        """
        with self._sessions.begin() as session:
            rows = {row.name: row for row in session.scalars(select(TableRow))}
            dim_rows = {row.name: row for row in session.scalars(select(DimRow))}
            changes = plan_changes(
                entries,
                dims,
                tables={name: (row.project, row.fingerprint) for name, row in rows.items()},
                dims_stored={name: row.fingerprint for name, row in dim_rows.items()},
            )
            changed = {(change.kind, change.name) for change in changes if change.action != "unchanged"}
            for entry in entries:
                if ("table", entry.table.name) in changed:
                    session.merge(_row(entry, rows.get(entry.table.name), now_ms=now_ms))
            for dim in dims:
                if ("dim", dim.name) in changed:
                    fingerprint = fingerprint_of(dim.text)
                    session.merge(
                        DimRow(
                            name=dim.name, project=project, fingerprint=fingerprint, text=dim.text, updated_at_ms=now_ms
                        )
                    )
        return changes


def plan_changes(
    entries: Iterable[Entry],
    dims: Iterable[Dim],
    *,
    tables: dict[str, tuple[str, str]],
    dims_stored: dict[str, str],
) -> list[Change]:
    """Compare what is declared with what is stored.

    Pure.

    Args:
        entries: tables to apply, names distinct.
        dims: dims to apply, names distinct.
        tables: stored name → (project, fingerprint).
        dims_stored: stored name → fingerprint.

    Raises:
        Conflict: a table's name belongs to another project.
    """
    changes = []
    for entry in entries:
        name = entry.table.name
        project, stored = tables.get(name, (entry.project, ""))
        if project != entry.project:
            raise Conflict(
                "the table belongs to another project",
                context={"table": name, "project": project},
                hint="choose another name; pipelines may read tables of all projects",
            )
        changes.append(Change("table", name, _action(stored, entry.fingerprint), entry.fingerprint))
    for dim in dims:
        fingerprint = fingerprint_of(dim.text)
        changes.append(Change("dim", dim.name, _action(dims_stored.get(dim.name, ""), fingerprint), fingerprint))
    return changes


def _action(stored: str, wanted: str) -> str:
    return "created" if not stored else "unchanged" if stored == wanted else "changed"


def _entry(row: TableRow) -> Entry:
    return Entry(
        table=msgspec.json.decode(row.spec, type=Table),
        project=row.project,
        file=row.file,
        fingerprint=row.fingerprint,
        created_at_ms=row.created_at_ms,
        updated_at_ms=row.updated_at_ms,
    )


def _row(entry: Entry, before: TableRow | None, *, now_ms: int) -> TableRow:
    return TableRow(
        name=entry.table.name,
        project=entry.project,
        layer=entry.table.layer,
        system=entry.table.system,
        owner=entry.table.owner,
        file=entry.file,
        fingerprint=entry.fingerprint,
        spec=msgspec.json.encode(entry.table).decode(),
        created_at_ms=before.created_at_ms if before else now_ms,
        updated_at_ms=now_ms,
    )
