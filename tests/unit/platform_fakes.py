"""Fakes of what the control plane talks to: a driver that understands a toy of SQL, a cluster, a broker, an OLAP engine.

They keep the real ones' contracts where the control plane relies on them: a submission may arrive although its answer is lost, a stopped job leaves
a savepoint folder, a cluster that restarts forgets its jobs but not the files.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headrace.connectors.external import TopicSpec
from headrace.core.errors import ErrorBody, Invalid, NotFound, Place, Unavailable, nearest
from headrace.core.home import Home
from headrace.core.schema import Column
from headrace.flink.protocol import (
    Compile,
    Compiled,
    Explain,
    Explained,
    ParsedTable,
    ParseTable,
    Pong,
    Query,
    Rows,
    Submit,
    Submitted,
    Validate,
    Validated,
)
from headrace.jobs.cluster import Health
from headrace.jobs.model import ObservedJob

MAGIC = (0x4960672D).to_bytes(4, "big")
INCOMPATIBLE = "java.lang.IllegalStateException: Cannot map checkpoint/savepoint state for operator ab"


class Crash(BaseException):
    """The process dies here; not an Exception, so that no handler takes it for a failure."""


class FakeCluster:
    """Jobs by id; `incompatible` names the scripts' words that refuse any earlier state."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.seen: dict[str, ObservedJob] = {}
        self.failures: dict[str, str] = {}
        self.down = False
        self.crash_after_stop = False
        self.savepoints_fail = False
        self.canonical: list[bool] = []
        self._savepoint = 0
        self.restored: dict[str, str] = {}

    def jobs(self) -> dict[str, ObservedJob]:
        """As the seam says."""
        self._check()
        return dict(self.seen)

    def health(self, flink_job_id: str) -> Health:
        """As the seam says."""
        self._check()
        job = self.seen.get(flink_job_id)
        if job is None:
            raise NotFound("no such job on the cluster")
        failure = self.failures.get(flink_job_id, "")
        return Health(
            status=job.status, tasks_running=int(job.status == "RUNNING"), tasks_total=1, failure=failure, stack=failure
        )

    def stop_with_savepoint(self, flink_job_id: str, folder: Path, *, canonical: bool) -> str:
        """As the seam says."""
        self._check()
        self.canonical.append(canonical)
        if self.savepoints_fail:
            raise Unavailable("savepoint failed: no space left on device")
        self._savepoint += 1
        path = folder / f"savepoint-{flink_job_id[:6]}-{self._savepoint:06d}"
        write_metadata(path)
        self.set(flink_job_id, "FINISHED")
        if self.crash_after_stop:
            self.crash_after_stop = False
            raise Crash
        return path.as_uri()

    def cancel(self, flink_job_id: str) -> None:
        """As the seam says."""
        self._check()
        if flink_job_id in self.seen and self.seen[flink_job_id].alive:
            self.set(flink_job_id, "CANCELED")

    def set(self, flink_job_id: str, status: str) -> None:
        """Move a job to a status."""
        self.seen[flink_job_id] = ObservedJob(flink_job_id, self.seen[flink_job_id].name, status)

    def checkpoint(self, flink_job_id: str, number: int) -> Path:
        """Leave a retained checkpoint of a job."""
        path = self.home.checkpoints / flink_job_id / f"chk-{number}"
        write_metadata(path)
        return path

    def restart(self) -> None:
        """The JobManager comes back: it knows no jobs."""
        self.seen.clear()

    def alive(self, name: str) -> list[str]:
        """Ids of the live jobs of a name."""
        return [job.flink_job_id for job in self.seen.values() if job.name == name and job.alive]

    def _check(self) -> None:
        if self.down:
            raise Unavailable("the JobManager does not answer")


class FakeDriver:
    """Understands `CREATE TABLE`, `INSERT INTO x`, `FROM x`; the word BROKEN is a syntax error."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.submits: list[Submit] = []
        self.lose_answer = False
        self.refuse = ""
        self.crash_before_submit = False
        self.crash_after_submit = False
        self.on_submit: Callable[[Submit], None] = lambda _: None

    def ping(self) -> Pong:
        """As the seam says."""
        return Pong(flink_version="2.3.0", pid=1, jvm_pid=2, uptime_ms=3, requests=4)

    def parse_table(self, request: ParseTable) -> ParsedTable:
        """As the seam says."""
        text, file = request.script.text, request.script.file
        _refuse_broken(text, file)
        code = re.sub(r"--[^\n]*", "", text)
        match = re.search(r"CREATE TABLE (\w+)\s*\((.*)\)\s*WITH\s*\((.*)\)", code, re.DOTALL)
        if match is None:
            raise Invalid("not a CREATE TABLE statement", place=Place(file, 1, 1))
        name, body, options = match.groups()
        key = re.search(r"PRIMARY KEY \(([^)]*)\)", body)
        names = re.findall(r"^\s*(\w+) ([A-Z][A-Z0-9_(),<>]*)( NOT NULL)?", body, re.MULTILINE)
        columns = tuple(
            Column(column, kind.rstrip(","), nullable=not solid)
            for column, kind, solid in names
            if column not in ("PRIMARY", "WATERMARK")
        )
        return ParsedTable(
            name=name,
            columns=columns,
            primary_key=tuple(part.strip() for part in key.group(1).split(",")) if key else (),
            options=dict(re.findall(r"'([^']+)'\s*=\s*'([^']*)'", options)),
        )

    def validate(self, request: Validate) -> Validated:
        """As the seam says."""
        text, file = request.script.text, request.script.file
        _refuse_broken(text, file)
        known = {table.name for table in request.tables}
        code = re.sub(r"--[^\n]*", "", text)
        sources, sinks = set(re.findall(r"FROM (\w+)", code)), set(re.findall(r"INSERT INTO (\w+)", code))
        problems = tuple(
            ErrorBody(
                "NotFound", "no such table", f"nearest: {', '.join(nearest(name, known))}", place=Place(file, 1, 1)
            )
            for name in sorted(sources | sinks)
            if name not in known
        )
        settings = dict(re.findall(r"SET '([^']+)' = '([^']*)'", code))
        return Validated(
            sources=tuple(sorted(sources)), sinks=tuple(sorted(sinks)), settings=settings, problems=problems
        )

    def explain(self, request: Explain) -> Explained:
        """As the seam says."""
        raise NotImplementedError

    def compile(self, request: Compile) -> Compiled:
        """As the seam says."""
        read = self.validate(Validate(script=request.script, tables=request.tables, config=request.config))
        return Compiled(
            plan='{"nodes": []}',
            sources=read.sources,
            sinks=read.sinks,
            settings=read.settings,
            problems=read.problems
            or (
                ()
                if read.sinks
                else (
                    Invalid(
                        "script writes nothing", place=Place(request.script.file, 1, 1), hint="add an INSERT INTO"
                    ).body(),
                )
            ),
        )

    def submit(self, request: Submit) -> Submitted:
        """As the seam says."""
        if self.crash_before_submit:
            self.crash_before_submit = False
            raise Crash
        if self.refuse:
            raise Invalid(self.refuse)
        self.submits.append(request)
        self.on_submit(request)
        status = "RUNNING"
        if "NEWSTATE" in request.script.text and request.savepoint_path:
            status = "FAILED"
            self.cluster.failures[request.job_id] = INCOMPATIBLE
        self.cluster.seen[request.job_id] = ObservedJob(request.job_id, request.job_name, status)
        self.cluster.restored[request.job_id] = request.savepoint_path
        if self.crash_after_submit:
            self.crash_after_submit = False
            raise Crash
        if self.lose_answer:
            self.lose_answer = False
            raise Unavailable("driver did not answer in time")
        return Submitted(job_id=request.job_id, cluster=request.cluster)

    def query(self, request: Query) -> Rows:
        """As the seam says."""
        return Rows(columns=(Column("n", "BIGINT"),), rows=[[len(request.tables)]])


class FakeTopics:
    """Topics by name; `down` makes the broker unreachable."""

    def __init__(self) -> None:
        self.specs: dict[str, TopicSpec] = {}
        self.down = False

    def ensure(self, spec: TopicSpec) -> str:
        """As the seam says."""
        if self.down:
            raise Unavailable("the broker refused", hint="is Kafka up? see `headrace status`")
        before = self.specs.get(spec.name)
        self.specs[spec.name] = spec
        return "created" if before is None else "unchanged" if before == spec else "configured"


class FakeOlap:
    """Remembers statements and the columns of what was created."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.columns: dict[str, dict[str, str]] = {}

    def execute(self, sql: str) -> None:
        """As the seam says."""
        self.statements.append(sql)
        created = re.match(r"CREATE TABLE IF NOT EXISTS `default`.`(\w+)` \((.*?)\) ENGINE", sql)
        if created:
            self.columns[created.group(1)] = dict(re.findall(r"`(\w+)` ([^`]+?)(?:, (?=`)|$)", created.group(2)))

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """As the seam says."""
        table = re.findall(r"table = '(\w+)'", sql)[0]
        return [{"name": name, "type": kind} for name, kind in self.columns.get(table, {}).items()]


def write_metadata(folder: Path) -> None:
    """A savepoint or checkpoint folder as Flink leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "_metadata").write_bytes(MAGIC + b"\0\0\0\3")


def _refuse_broken(text: str, file: str) -> None:
    for number, line in enumerate(text.splitlines(), start=1):
        if "BROKEN" in line:
            raise Invalid(
                "unexpected `BROKEN`", place=Place(file, number, line.index("BROKEN") + 1), hint="remove the word"
            )
