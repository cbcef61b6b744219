"""Applying a project's tables: parse with Flink, check, create outside, store, publish. All of them or none.

Steps: 1. every file is parsed by the driver and checked by the connector's rules, errors carrying the user's place; 2. names are compared with one another and
with other projects'; 3. topics and OLAP tables are created (idempotent and additive, so a failure here leaves nothing to undo); 4. one transaction;
5. files for the data plane. A crash after 4 is repaired by `publish_all` at the next start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from headrace.catalog.journal import Act, Journal
from headrace.catalog.published import check_dim, publish
from headrace.catalog.tables import Change, Dim, Entry, TableCatalog, new_entry
from headrace.connectors.external import Externals
from headrace.connectors.registry import check_table, ensure_resource
from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError, Invalid, NotFound, Place
from headrace.core.home import Home
from headrace.core.log import get_logger
from headrace.core.schema import Table
from headrace.flink.protocol import DriverFace, ParsedTable, ParseTable, Script
from headrace.sql.project import DimFile, Project, SourceFile

log = get_logger("headrace.sql")
_OURS = ("layer", "owner", "system", "retention")


class Applied(msgspec.Struct, frozen=True):
    """What an apply did: one change per table and dim, and one sentence per resource created outside."""

    project: str
    changes: tuple[Change, ...]
    resources: tuple[str, ...]


@dataclass(frozen=True)
class TableApplier:
    """The parts that an apply works with."""

    driver: DriverFace
    catalog: TableCatalog
    journal: Journal
    externals: Externals
    home: Home
    clock: Clock

    def apply(self, project: Project, dim_files: Sequence[DimFile], *, actor: str) -> Applied:
        """Apply all tables and dims of a project.

        Raises:
            Invalid, Unsupported: a table or dim is wrong; nothing was changed.
            Conflict: a name belongs to another project, or an outside resource cannot be adapted.
            Unavailable: driver, broker or OLAP engine do not answer; the catalog was not changed.
        """
        entries = self._parse_all(project)
        dims = _checked_dims(project, dim_files)
        self.catalog.plan(entries, dims)
        act = Act(actor, "table.apply", project.name, "asked by a user", f"{len(entries)} tables, {len(dims)} dims")
        with self.journal.recording(act) as effect:
            resources = [done for entry in entries for done in self._ensure(entry)]
            changes = self.catalog.store(entries, dims, project=project.name, now_ms=self.clock.now_ms())
            self.publish_all()
            counts = {word: sum(change.action == word for change in changes) for word in ("created", "changed")}
            effect.measured = f"{counts['created']} created, {counts['changed']} changed; {len(resources)} resources"
        return Applied(project.name, tuple(changes), tuple(resources))

    def publish_all(self) -> int:
        """Make the data plane's files agree with the store; returns how many were written."""
        tables = [entry.table for entry in self.catalog.entries()]
        written = publish(self.home, tables, self.catalog.dims())
        log.info("schemas_published", tables=len(tables), files_written=written)
        return written

    def ensure_all(self) -> list[str]:
        """Create outside resources that a fresh broker or engine lacks; returns one sentence per change."""
        return [done for entry in self.catalog.entries() for done in self._ensure(entry)]

    def _parse_all(self, project: Project) -> list[Entry]:
        entries: list[Entry] = []
        seen: dict[str, str] = {}
        for file in project.tables:
            parsed = self.driver.parse_table(ParseTable(Script(file.text, file.path)))
            place = place_of_name(file, parsed.name)
            if parsed.name in seen:
                raise Invalid(
                    "two files declare one table",
                    place=place,
                    context={"table": parsed.name, "other": seen[parsed.name]},
                    hint="rename one of them",
                )
            seen[parsed.name] = file.path
            table = table_of(parsed, ddl=file.text)
            check_table(table, place=place)
            entries.append(new_entry(table, project=project.name, file=file.path))
        return entries

    def _ensure(self, entry: Entry) -> list[str]:
        try:
            return ensure_resource(entry.table, self.externals)
        except HeadraceError as error:
            error.place = error.place or Place(entry.file)
            raise error.with_context("table.ensure", table=entry.table.name) from error


def table_of(parsed: ParsedTable, *, ddl: str) -> Table:
    """The logical table in a parsed declaration: our four options lifted out of WITH, the rest kept as declared."""
    options: Mapping[str, str] = parsed.options
    return Table(
        name=parsed.name,
        layer=options.get("layer", ""),
        system=options.get("system", ""),
        owner=options.get("owner", ""),
        retention=options.get("retention", ""),
        comment=parsed.comment,
        columns=parsed.columns,
        primary_key=parsed.primary_key,
        watermark=parsed.watermark,
        partitioned_by=parsed.partitioned_by,
        options={key: value for key, value in options.items() if key not in _OURS},
        ddl=ddl,
    )


def place_of_name(file: SourceFile, name: str) -> Place:
    """The line that declares the table: where its name first stands outside a comment."""
    for number, line in enumerate(file.text.splitlines(), start=1):
        code = line.split("--")[0]
        if name in code:
            return Place(file.path, number, code.index(name) + 1)
    return Place(file.path)


def _checked_dims(project: Project, dim_files: Sequence[DimFile]) -> list[Dim]:
    by_name = {dim.name: dim for dim in dim_files}
    for name in by_name:
        if name not in project.dim_paths:
            raise Invalid("a dim that the project does not name", context={"dim": name}, hint="add it to `[dims]`")
    dims = []
    for name, path in project.dim_paths.items():
        if name not in by_name:
            raise NotFound("a dim of the project was not sent", context={"dim": name, "path": path})
        dims.append(check_dim(Dim(name, by_name[name].text), file=path))
    return dims
