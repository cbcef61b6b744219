"""One request's own TableEnvironment.

Isolation is by construction: every request gets a new environment (20 ms warm), so nothing of a request can reach
another. What is kept between requests is only the unresolved form of tables parsed before, by their text; it belongs
to no environment. Only tables whose name occurs in the script are registered, the others are known by name for hints.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from py4j.protocol import Py4JError, Py4JNetworkError

from driver.jvm import Jvm
from headrace.core.errors import HeadraceError, Internal, Invalid, Place, Unsupported
from headrace.flink.protocol import Script, Statement, TableDef
from headrace.flink.sql_errors import JavaCause, Known, explain_failure, refine, unknown_name
from headrace.flink.statements import SqlStatement, split_statements

# 2,000 parsed tables of about 20 KiB are 40 MiB of the JVM's heap.
PARSED_TABLES_MAX = 2_000
STATEMENTS_MAX = 1_000
_CATALOG, _DATABASE = "default_catalog", "default_database"
_SCAN = re.compile(r"table=\[\[([^\]]+)\]")
_KINDS = (
    ("StatementSetOperation", "statement_set"),
    ("SetOperation", "set"),
    ("CreateViewOperation", "view"),
    ("CreateTableOperation", "table"),
    ("FunctionOperation", "function"),
    ("SinkModifyOperation", "insert"),
    ("PlannerQueryOperation", "query"),
)
# The platform sets these; a script that does would run elsewhere, block, or escape its checkpoints' settings.
_PROTECTED = (
    "execution.target",
    "execution.attached",
    "execution.runtime-mode",
    "rest.",
    "pipeline.name",
    "table.dml-sync",
    "python.executable",
    "python.client.executable",
    "execution.state-recovery.",
    "$internal.",
    "pipeline.jars",
    "pipeline.classpaths",
    "jobmanager.",
)

# Statements that Flink would check, and find fault with, before it is seen that they are none of a table's.
_NO_TABLE = ("INSERT", "SELECT", "EXECUTE", "WITH", "SET")

T = TypeVar("T")


@dataclass
class Insert:
    """One INSERT: Flink's operation, its sink, its sources, and where it stands."""

    operation: Any
    sink: str
    sources: frozenset[str]
    place: Place


@dataclass
class Outcome:
    """What has been read of a script so far."""

    statements: list[Statement] = field(default_factory=list)
    inserts: list[Insert] = field(default_factory=list)
    queries: list[tuple[Any, Place]] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    problems: list[HeadraceError] = field(default_factory=list)

    @property
    def sources(self) -> tuple[str, ...]:
        """All tables read, sorted."""
        return tuple(sorted(frozenset().union(*(insert.sources for insert in self.inserts))))

    @property
    def sinks(self) -> tuple[str, ...]:
        """All tables written, sorted."""
        return tuple(sorted({insert.sink for insert in self.inserts}))


class ParsedTables:
    """Tables that were parsed before, by their DDL text, shared by all requests; the oldest are dropped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[str, Any]] = OrderedDict()

    def get(self, ddl: str) -> tuple[str, Any] | None:
        """(name, unresolved CatalogTable) or None."""
        with self._lock:
            found = self._known.get(ddl)
            if found:
                self._known.move_to_end(ddl)
            return found

    def put(self, ddl: str, name: str, table: Any) -> None:
        """Remember a parsed table."""
        with self._lock:
            self._known[ddl] = (name, table)
            while len(self._known) > PARSED_TABLES_MAX:
                self._known.popitem(last=False)


class Session:
    """A TableEnvironment of one request, with its tables."""

    def __init__(
        self, jvm: Jvm, parsed: ParsedTables, *, config: Mapping[str, str], batch: bool, operation: str
    ) -> None:
        self._jvm = jvm
        self._parsed = parsed
        self._operation = operation
        self._tables: dict[str, TableDef] = {}
        self._columns: list[str] = []
        self._registered: set[str] = set()
        view = jvm.view
        settings = view.org.apache.flink.table.api.EnvironmentSettings.newInstance()
        settings = settings.inBatchMode() if batch else settings.inStreamingMode()
        configuration = view.org.apache.flink.configuration.Configuration.fromMap(dict(config))
        self.env = self.guarded(
            lambda: view.org.apache.flink.table.api.TableEnvironment.create(
                settings.withConfiguration(configuration).build()
            ),
            Place("<config>"),
        )
        if not batch:
            jvm.read_joins_by_range(self.env)
        self._parser = self.env.getPlanner().getParser()

    def guarded(self, action: Callable[[], T], place: Place) -> T:
        """Run `action`; a Java exception becomes the error that a user should see.

        Raises:
            HeadraceError: of the kind that fits; JVM loss passes through as Py4JNetworkError.
        """
        try:
            return action()
        except (HeadraceError, Py4JNetworkError):
            raise
        except Exception as error:
            causes = java_causes(error)
            if not causes:
                raise Internal(
                    f"planner call failed: {str(error).partition(chr(10))[0]}", operation=self._operation, place=place
                ) from error
            missing = unknown_name(causes)
            known = self._known_names(missing[0]) if missing else Known()
            raise explain_failure(causes, start=place, known=known, operation=self._operation) from None

    def parse(self, statement: SqlStatement, place: Place) -> Any:
        """Flink's operation for one statement."""
        try:
            return self.guarded(lambda: self._parser.parse(statement.padded).get(0), place)
        except HeadraceError as error:
            raise refine(error, statement) from None

    def parse_table(self, script: Script) -> tuple[str, Any]:
        """(name, ResolvedCatalogTable) of a file with one CREATE TABLE.

        Raises:
            Invalid: not exactly one CREATE TABLE, or Flink refuses it.
        """
        statements = split_statements(script.text, file=script.file)
        hint = "a table file holds one CREATE TABLE … WITH (…) statement"
        if not statements:
            raise Invalid("file holds no statement", operation=self._operation, place=Place(script.file), hint=hint)
        if len(statements) > 1:
            extra = Place(script.file, statements[1].line, statements[1].column)
            raise Invalid("file holds more than one statement", operation=self._operation, place=extra, hint=hint)
        place = Place(script.file, statements[0].line, statements[0].column)
        other = Invalid("statement is not a CREATE TABLE", operation=self._operation, place=place, hint=hint)
        if statements[0].words(1)[0] in _NO_TABLE:
            raise other
        operation = self.parse(statements[0], place)
        if class_of(operation) != "CreateTableOperation" or operation.isTemporary():
            raise other
        name = operation.getTableIdentifier().getObjectName()
        table = operation.getCatalogTable()
        self._parsed.put(script.text, name, table.getOrigin())
        return name, table

    def register(self, tables: Iterable[TableDef], *, mentioned: frozenset[str]) -> None:
        """Make `tables` known, and those in `mentioned` usable, with their options replaced.

        Raises:
            Invalid: a DDL does not parse, or names another table than its definition.
        """
        view = self._jvm.view
        catalog = self.env.getCatalog(_CATALOG).get()
        for table in tables:
            self._tables[table.name] = table
            if table.name not in mentioned or table.name in self._registered:
                continue
            file = table.file or f"tables/{table.name}.sql"
            known = self._parsed.get(table.ddl)
            if known is None:
                name, resolved = self.parse_table(Script(table.ddl, file))
                known = (name, resolved.getOrigin())
            if known[0] != table.name:
                raise Invalid(
                    f"file declares table `{known[0]}`, not `{table.name}`",
                    operation=self._operation,
                    place=Place(file, 1, 1),
                )
            origin = known[1].copy(dict(table.options)) if table.options else known[1]
            path = view.org.apache.flink.table.catalog.ObjectPath(_DATABASE, table.name)
            self.guarded(lambda c=catalog, p=path, o=origin: c.createTable(p, o, False), Place(file, 1, 1))  # type: ignore[misc]
            self._registered.add(table.name)

    def run(self, script: Script, tables: Iterable[TableDef], *, kinds: Container[str] | None = None) -> Outcome:
        """Read a script statement by statement: settings, views and functions take effect, INSERTs are collected.

        A statement with an error is noted in `problems`, and reading goes on, so that a user sees all of them; what
        follows only from an earlier problem is left out. With `kinds` (set, view, table, function), all others are passed over.
        """
        outcome = Outcome()
        try:
            statements = split_statements(script.text, file=script.file)
            self.register(tables, mentioned=frozenset().union(*(s.names() for s in statements)))
        except HeadraceError as error:
            outcome.problems.append(error)
            return outcome
        if len(statements) > STATEMENTS_MAX:
            outcome.problems.append(
                Invalid("script has too many statements", context={"limit": STATEMENTS_MAX}, place=Place(script.file))
            )
            return outcome
        broken: set[str] = set()
        for statement in statements:
            if kinds is not None and statement.kind not in kinds:
                continue
            place = Place(script.file, statement.line, statement.column)
            try:
                self._take(statement, place, outcome)
            except HeadraceError as error:
                if not any(error.message == f"unknown table `{name}`" for name in broken):
                    outcome.problems.append(error)
                broken.add(statement.defines())
        return outcome

    def place_sink_error(self, error: HeadraceError, inserts: list[Insert]) -> HeadraceError:
        """Planning many INSERTs names no place: point at the INSERT whose sink the message names."""
        for insert in inserts:
            if f"{insert.sink}'" in error.message or f"{insert.sink}`" in error.message:
                error.place = insert.place
        return error

    def _take(self, statement: SqlStatement, place: Place, outcome: Outcome) -> None:
        operation = self.parse(statement, place)
        class_name = class_of(operation)
        kind = next((kind for suffix, kind in _KINDS if class_name.endswith(suffix)), "")
        kind = "" if kind == "set" and class_name != "SetOperation" else kind
        name = statement.defines()
        if class_name.startswith("Drop") or class_name.startswith("Alter") or not kind:
            raise Unsupported(
                f"a script cannot run `{' '.join(statement.words(2))}`",
                operation=self._operation,
                place=place,
                hint="allowed: SET, CREATE VIEW, CREATE TABLE, CREATE FUNCTION, INSERT, EXECUTE STATEMENT SET",
            )
        if kind == "set":
            name = self._set(operation, place, outcome)
        elif kind in ("view", "table", "function"):
            self.guarded(lambda: self.env.executeInternal(operation), place)
            self._tables.setdefault(name, TableDef(name=name, ddl=""))
        elif kind == "insert":
            name = self._insert(operation, place, outcome)
        elif kind == "statement_set" and class_name == "StatementSetOperation":
            name = ", ".join(self._insert(each, place, outcome) for each in operation.getOperations())
        elif kind == "query":
            outcome.queries.append((operation, place))
        outcome.statements.append(Statement(kind, place.line, place.column, name))

    def _set(self, operation: Any, place: Place, outcome: Outcome) -> str:
        key, value = operation.getKey(), operation.getValue()
        if not (key.isPresent() and value.isPresent()):
            raise Invalid(
                "SET needs a key and a value", operation=self._operation, place=place, hint="SET 'key' = 'value'"
            )
        name = str(key.get())
        if name.startswith(_PROTECTED):
            raise Invalid(
                f"option `{name}` belongs to the platform",
                operation=self._operation,
                place=place,
                hint="leave it out; job options stand in the comment head of the pipeline",
            )
        self.guarded(lambda: self.env.getConfig().set(name, value.get()), place)
        outcome.settings[name] = str(value.get())
        return name

    def _insert(self, operation: Any, place: Place, outcome: Outcome) -> str:
        if class_of(operation) != "SinkModifyOperation":
            raise Unsupported("a statement set holds INSERTs only", operation=self._operation, place=place)
        sink = plain_name(operation.getContextResolvedTable().getIdentifier().toList())
        tree = self.guarded(lambda: operation.getChild().getCalciteTree().explain(), place)
        sources = frozenset(plain_name(match.split(", ")) for match in _SCAN.findall(tree))
        outcome.inserts.append(Insert(operation, sink, sources, place))
        return sink

    def _known_names(self, kind: str) -> Known:
        if kind == "table":
            return Known(tables=list(self._tables))
        if kind == "function":
            return Known(functions=[str(name) for name in self.env.listFunctions()])
        return Known(columns=self._column_names())

    def _column_names(self) -> list[str]:
        names: dict[str, None] = {}
        for table in self._registered:
            known = self._parsed.get(self._tables[table].ddl)
            if known:
                names.update({str(c.getName()): None for c in known[1].getUnresolvedSchema().getColumns()})
        return list(names)


def java_causes(error: BaseException) -> list[JavaCause]:
    """The chain of Java exceptions behind a Python one, outermost first; empty if there is none."""
    java: Any = getattr(error, "java_exception", None)
    causes: list[JavaCause] = []
    try:
        while java is not None and len(causes) < 20:
            causes.append(JavaCause(str(java.getClass().getName()), str(java.getMessage() or "")))
            java = java.getCause()
    except Py4JError:
        return causes
    return causes


def class_of(operation: Any) -> str:
    """The simple class name of a Java object."""
    return str(operation.getClass().getSimpleName())


def plain_name(path: Iterable[object]) -> str:
    """A table's name without the default catalog and database."""
    parts = [str(part) for part in path]
    return parts[-1] if parts[:2] == [_CATALOG, _DATABASE] else ".".join(parts)
