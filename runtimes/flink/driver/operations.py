"""What the driver does for each request; runs in a worker thread, knows nothing of sockets.

A submission goes through the TableEnvironment and only through it: with `execution.target=remote` it honours the
target, while `StreamExecutionEnvironment.get_execution_environment` quietly starts a MiniCluster inside this process.
A `Ticket` tells the server how to stop a query that ran out of time.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from py4j.protocol import Py4JNetworkError

from driver.jvm import Jvm
from driver.resource_manager import ResourceManagerLink
from driver.rows import read_rows
from driver.session import Insert, Outcome, ParsedTables, Session
from driver.tables import describe_table, short_type
from driver.ticket import JvmLost, Ticket
from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError, Invalid, NotFound, Place
from headrace.core.home import Home
from headrace.core.log import get_logger
from headrace.core.schema import Column
from headrace.flink.protocol import (
    QUERY_ROWS_MAX,
    BlockNodes,
    Compile,
    Compiled,
    Disconnect,
    Disconnected,
    Explain,
    Explained,
    LeaderRevoked,
    ListTaskManagers,
    NodesBlocked,
    ParsedTable,
    ParseTable,
    Ping,
    Pong,
    Query,
    Request,
    Response,
    RevokeLeader,
    Rows,
    Script,
    Submit,
    Submitted,
    TableDef,
    Validate,
    Validated,
)

log = get_logger("headrace.driver")

_HEX_ID = re.compile(r"[0-9a-f]{32}")
_SECTION = re.compile(r"^== (.+?) ==\n", re.MULTILINE)
WARM_UP_ROUNDS = 6
WARM_UP_DELAY_S = 15.0  # while a stack starts, its other processes need the machine more
WARM_UP_PAUSE_S = 0.2
_WARM_TABLE = """CREATE TABLE warm_source (k STRING NOT NULL, n BIGINT, at_ms BIGINT,
  ts AS TO_TIMESTAMP_LTZ(at_ms, 3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'datagen')"""
_WARM_SINK = "CREATE TABLE warm_sink (k STRING, w TIMESTAMP(3), n BIGINT) WITH ('connector' = 'blackhole')"
_WARM_SCRIPT = """SET 'table.exec.mini-batch.enabled' = 'false';
CREATE TEMPORARY VIEW warm_view AS SELECT k, n, ts, CASE WHEN n > 3 THEN UPPER(k) ELSE k END AS u FROM warm_source;
INSERT INTO warm_sink SELECT u, window_start, SUM(n) FROM TABLE(
  TUMBLE(TABLE warm_view, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY u, window_start, window_end;
INSERT INTO warm_sink SELECT k, CAST(MAX(ts) AS TIMESTAMP(3)), COUNT(DISTINCT n) FILTER (WHERE n > 1)
  FROM warm_source GROUP BY k"""
CANCEL_TIMEOUT_S = 5.0
# A plan knows tables by name and schema. Their options (addresses, transactional ids) are those of the stack that runs it.
_PLAN_CONFIG = {"table.plan.compile.catalog-objects": "SCHEMA", "table.plan.restore.catalog-objects": "ALL"}


class Operations:
    """Answers requests with one JVM."""

    def __init__(self, jvm: Jvm, home: Home, clock: Clock) -> None:
        self._jvm = jvm
        self._home = home
        self._clock = clock
        self._parsed = ParsedTables()
        self._local = threading.local()
        self._started_s = clock.monotonic_s()
        self._flink_version = str(jvm.view.org.apache.flink.runtime.util.EnvironmentInformation.getVersion())
        self._handlers: dict[type, Callable[[Any, Ticket], Response]] = {
            Ping: self.ping,
            ParseTable: self.parse_table,
            Validate: self.validate,
            Explain: self.explain,
            Compile: self.compile,
            Submit: self.submit,
            Query: self.query,
            ListTaskManagers: lambda _, __: self._resource_manager.list_task_managers(),
            Disconnect: self.disconnect,
            BlockNodes: self.block_nodes,
            RevokeLeader: self.revoke_leader,
        }
        self._resource_manager = ResourceManagerLink(jvm.view, jvm.configuration, clock)
        self.requests = 0
        self._running = 0
        self._warm = False

    def handle(self, request: Request, ticket: Ticket) -> Response:
        """Answer one request; raises the HeadraceError to be sent instead."""
        self.requests += 1
        self._running += 1
        try:
            return self._handlers[type(request)](request, ticket)
        except Py4JNetworkError as error:
            raise JvmLost(str(error)) from error
        finally:
            self._running -= 1

    def warm_up(self) -> None:
        """Load the planner's classes and let the JVM compile its hot paths, so that the first user does not wait.

        Runs beside the server and lets requests go first: they warm the JVM as well.
        """
        tables = (TableDef(name="warm_source", ddl=_WARM_TABLE), TableDef(name="warm_sink", ddl=_WARM_SINK))
        self._clock.sleep(WARM_UP_DELAY_S)
        begin = self._clock.monotonic_s()
        for number in range(WARM_UP_ROUNDS):
            while self._running:
                self._clock.sleep(WARM_UP_PAUSE_S)
            self.parse_table(ParseTable(Script(f"{_WARM_TABLE} -- {number}")), Ticket())
            self.validate(Validate(script=Script(_WARM_SCRIPT), tables=tables, plan=number % 2 == 0), Ticket()).check()
        self._warm = True
        log.info("driver_warm", elapsed_s=round(self._clock.monotonic_s() - begin, 1))

    def ping(self, _: Ping, __: Ticket) -> Pong:
        """Say who answers, after asking the JVM for its pid, so that a hung JVM does not look well."""
        pid = int(self._jvm.view.java.lang.ProcessHandle.current().pid())
        uptime_ms = round((self._clock.monotonic_s() - self._started_s) * 1000)
        return Pong(
            flink_version=self._flink_version,
            pid=os.getpid(),
            jvm_pid=pid,
            uptime_ms=uptime_ms,
            requests=self.requests,
            warm=self._warm,
        )

    def parse_table(self, request: ParseTable, _: Ticket) -> ParsedTable:
        """Columns, keys, watermark and options of one CREATE TABLE, from Flink's parser."""
        # Parsing leaves nothing behind in an environment, so each worker thread keeps one for it.
        session: Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = self._session({}, batch=False, operation="table.parse")
        name, table = session.parse_table(request.script)
        place = Place(request.script.file, 1, 1)
        return session.guarded(lambda: describe_table(self._jvm.view, name, table), place)

    def validate(self, request: Validate, _: Ticket) -> Validated:
        """Read a script; with `plan`, run the optimizer too."""
        session, outcome = self._run(request, "script.validate")
        if not outcome.problems and not outcome.inserts:
            outcome.problems.append(_writes_nothing(request.script))
        if request.plan and not outcome.problems:
            try:
                self._explain_text(session, outcome.inserts, request.script)
            except HeadraceError as error:
                outcome.problems.append(error)
        return Validated(
            statements=tuple(outcome.statements),
            sources=outcome.sources,
            sinks=outcome.sinks,
            settings=outcome.settings,
            problems=tuple(problem.body() for problem in outcome.problems),
        )

    def explain(self, request: Explain, _: Ticket) -> Explained:
        """Flink's EXPLAIN of all INSERTs as one job."""
        session, outcome = self._run(request, "script.explain")
        _require_inserts(outcome, request.script)
        parts = _SECTION.split(self._explain_text(session, outcome.inserts, request.script, "JSON_EXECUTION_PLAN"))
        sections = dict(zip(parts[1::2], parts[2::2], strict=True))
        return Explained(
            ast=sections.get("Abstract Syntax Tree", "").strip(),
            physical=sections.get("Optimized Physical Plan", "").strip(),
            execution=sections.get("Optimized Execution Plan", "").strip(),
            json_plan=sections.get("Physical Execution Plan", "").strip(),
        )

    def compile(self, request: Compile, _: Ticket) -> Compiled:
        """Flink's stable plan of all INSERTs as JSON."""
        if request.batch:
            raise Invalid("plans are compiled for streaming only", operation="script.compile")
        session, outcome = self._run(request, "script.compile", {**request.config, **_PLAN_CONFIG})
        if not outcome.problems and not outcome.inserts:
            outcome.problems.append(_writes_nothing(request.script))
        plan = ""
        if not outcome.problems:
            operations = [insert.operation for insert in outcome.inserts]
            try:
                plan = self._planned(
                    session, outcome.inserts, request.script, lambda: session.env.compilePlan(operations).asJsonString()
                )
            except HeadraceError as error:
                outcome.problems.append(error)
        return Compiled(
            plan=renumbered(str(plan)) if plan else "",
            statements=tuple(outcome.statements),
            sources=outcome.sources,
            sinks=outcome.sinks,
            settings=outcome.settings,
            problems=tuple(problem.body() for problem in outcome.problems),
        )

    def submit(self, request: Submit, _: Ticket) -> Submitted:
        """Start all INSERTs as one job on the cluster."""
        if request.job_id and not _HEX_ID.fullmatch(request.job_id):
            raise Invalid("job id is not 32 hexadecimal digits", operation="job.submit", context={"id": request.job_id})
        cluster = request.cluster or self._home.load_stack().endpoints.flink
        _check_savepoint(request.savepoint_path)
        config = {**request.config, **_remote(cluster), "pipeline.name": request.job_name}
        if request.job_id:
            config["$internal.pipeline.job-id"] = request.job_id
        if request.savepoint_path:
            config["execution.state-recovery.path"] = request.savepoint_path
            config["execution.state-recovery.ignore-unclaimed-state"] = str(request.allow_non_restored).lower()
        result = self._execute_plan(request, config) if request.plan else self._execute_script(request, config)
        job_id = str(result.getJobClient().get().getJobID().toString())
        log.info("job_submitted", job=request.job_name, job_id=job_id, cluster=cluster, planned=not request.plan)
        return Submitted(job_id=job_id, cluster=cluster)

    def _execute_script(self, request: Submit, config: dict[str, str]) -> Any:
        session, outcome = self._run(request, "job.submit", config)
        _require_inserts(outcome, request.script)
        operations = [insert.operation for insert in outcome.inserts]
        return self._planned(session, outcome.inserts, request.script, lambda: session.env.executeInternal(operations))

    def _execute_plan(self, request: Submit, config: dict[str, str]) -> Any:
        """The script's settings, tables and functions are needed as they were when it was compiled; its views and INSERTs are in the plan."""
        session = self._session({**config, **_PLAN_CONFIG}, batch=False, operation="job.submit")
        _raise_first(session.run(request.script, request.tables, kinds=("set", "table", "function")))
        reference = self._jvm.view.org.apache.flink.table.api.PlanReference.fromJsonString(request.plan)
        place = Place(request.script.file)
        return session.guarded(lambda: session.env.loadPlan(reference).execute(), place)

    def query(self, request: Query, ticket: Ticket) -> Rows:
        """Run one SELECT in batch mode on the cluster."""
        if not 0 < request.limit <= QUERY_ROWS_MAX:
            raise Invalid(
                "limit is out of range", operation="query.run", context={"limit": request.limit, "max": QUERY_ROWS_MAX}
            )
        cluster = request.cluster or self._home.load_stack().endpoints.flink
        config = {**request.config, **_remote(cluster)}
        config.setdefault("pipeline.name", "headrace-query")
        config.setdefault("table.local-time-zone", "UTC")
        job_id = uuid.uuid4().hex
        config["$internal.pipeline.job-id"] = job_id
        session = self._session(config, batch=True, operation="query.run")
        outcome = session.run(request.script, request.tables)
        _raise_first(outcome)
        if len(outcome.queries) != 1 or outcome.inserts:
            raise Invalid(
                "a query holds exactly one SELECT", operation="query.run", place=Place(request.script.file, 1, 1)
            )
        operation, place = outcome.queries[0]
        table = session.guarded(lambda: session.env.createTable(operation).fetch(request.limit + 1), place)
        ticket.cancel = lambda: _cancel_job(cluster, job_id)
        columns = tuple(_column(each) for each in table.getResolvedSchema().getColumns())
        zone = str(session.env.getConfig().getLocalTimeZone().getId())
        instants = [zone == "UTC" and column.type.startswith("TIMESTAMP_LTZ") for column in columns]
        rows = session.guarded(lambda: read_rows(self._jvm.view, table, instants=instants), place)
        return Rows(columns=columns, rows=rows[: request.limit], truncated=len(rows) > request.limit)

    def disconnect(self, request: Disconnect, _: Ticket) -> Disconnected:
        """Tell Flink that TaskManagers are lost."""
        return self._resource_manager.disconnect(request.ids, request.cause)

    def block_nodes(self, request: BlockNodes, _: Ticket) -> NodesBlocked:
        """Keep work off nodes for a while."""
        return self._resource_manager.block_nodes(request.blocks)

    def revoke_leader(self, request: RevokeLeader, _: Ticket) -> LeaderRevoked:
        """Let the next JobManager lead."""
        return self._resource_manager.revoke_leader(request.hosts, request.cause)

    def _session(self, config: dict[str, str], *, batch: bool, operation: str) -> Session:
        return Session(self._jvm, self._parsed, config=config, batch=batch, operation=operation)

    def _run(
        self, request: Validate | Explain | Compile | Submit, operation: str, config: dict[str, str] | None = None
    ) -> tuple[Session, Outcome]:
        session = self._session(config or dict(request.config), batch=request.batch, operation=operation)
        return session, session.run(request.script, request.tables)

    def _explain_text(self, session: Session, inserts: list[Insert], script: Script, *details: str) -> str:
        api = self._jvm.view.org.apache.flink.table.api
        wanted = self._jvm.gateway.new_array(api.ExplainDetail, len(details))
        for index, detail in enumerate(details):
            wanted[index] = getattr(api.ExplainDetail, detail)
        operations = [insert.operation for insert in inserts]
        text = self._planned(
            session, inserts, script, lambda: session.env.explainInternal(operations, api.ExplainFormat.TEXT, wanted)
        )
        return str(text)

    def _planned(self, session: Session, inserts: list[Insert], script: Script, action: Callable[[], Any]) -> Any:
        place = inserts[0].place if inserts else Place(script.file)
        try:
            return session.guarded(action, place)
        except HeadraceError as error:
            raise session.place_sink_error(error, inserts) from None


def renumbered(plan: str) -> str:
    """The plan with its nodes counted from 1 in their order; pure.

    An operator's uid, and so its state, hangs on the number of its node. Flink takes numbers from one counter of the whole JVM:
    without this the same script compiled twice could not read its own savepoint.
    """
    content = json.loads(plan)
    numbers = {node["id"]: number for number, node in enumerate(content["nodes"], start=1)}
    for node in content["nodes"]:
        node["id"] = numbers[node["id"]]
    for edge in content["edges"]:
        edge["source"], edge["target"] = numbers[edge["source"]], numbers[edge["target"]]
    return json.dumps(content, ensure_ascii=False)


def _remote(cluster: str) -> dict[str, str]:
    """Configuration that sends a job to `cluster` and gives up soon when it is not there (Flink would try for 60 s)."""
    parts = urlsplit(cluster if "//" in cluster else f"http://{cluster}")
    if not parts.hostname or not parts.port:
        raise Invalid("cluster address is not http://host:port", context={"cluster": cluster})
    return {
        "execution.target": "remote",
        "execution.attached": "false",
        "rest.address": parts.hostname,
        "rest.port": str(parts.port),
        "rest.retry.max-attempts": "4",
        "rest.retry.delay": "500 ms",
        "rest.connection-timeout": "3 s",
        "table.dml-sync": "false",
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
    }


def _check_savepoint(path: str) -> None:
    """Refuse a local savepoint that is not there: with the adaptive scheduler the job would only fail afterwards."""
    parts = urlsplit(path)
    if parts.scheme == "file" and not Path(parts.path).exists():
        raise NotFound(
            "savepoint does not exist",
            operation="job.submit",
            context={"path": path},
            hint="choose one that exists: `headrace job show`",
        )


def _cancel_job(cluster: str, job_id: str) -> None:
    request = urllib.request.Request(f"{cluster}/jobs/{job_id}?mode=cancel", method="PATCH")
    with urllib.request.urlopen(request, timeout=CANCEL_TIMEOUT_S):
        log.info("query_cancelled", job_id=job_id)


def _writes_nothing(script: Script) -> HeadraceError:
    return Invalid(
        "script writes nothing", operation="script.validate", place=Place(script.file, 1, 1), hint="add an INSERT INTO"
    )


def _raise_first(outcome: Outcome) -> None:
    if outcome.problems:
        raise outcome.problems[0]


def _require_inserts(outcome: Outcome, script: Script) -> None:
    _raise_first(outcome)
    if not outcome.inserts:
        raise _writes_nothing(script)


def _column(column: Any) -> Column:
    logical = column.getDataType().getLogicalType()
    type_, nullable = short_type(str(logical.asSerializableString()))
    return Column(name=str(column.getName()), type=type_, nullable=nullable)
