"""What the platform and the Flink driver say to each other: every operation, its answer, and the frame around both.

The driver (`runtimes/flink/driver`) listens on a Unix socket. A frame is a length (4 bytes, big-endian, of what
follows) and one MessagePack value: the client sends a `Call`, the driver answers it with one `Answer` that repeats its
id. One call at a time on a connection; open more connections for more calls. Both ends import this module, the driver
through PYTHONPATH, so it needs nothing but msgspec and `headrace.core`.

A malformed frame is answered by an error with id 0 and the connection is closed, because nothing after it can be
trusted to start at a frame's border.
"""

from __future__ import annotations

import struct
from enum import StrEnum
from typing import Protocol, Self, TypeVar

import msgspec

from headrace.core.errors import ErrorBody, Invalid, from_body
from headrace.core.schema import Column

PROTOCOL_VERSION = 1
FRAME_HEADER = struct.Struct(">I")
# A project of 500 tables of 8 KiB each is 4 MiB; twice that is the bound, and it keeps a wrong length from eating memory.
FRAME_BYTES_MAX = 8 * 1024 * 1024
# An answer holds rows of a query (at most QUERY_ROWS_MAX) or a plan.
ANSWER_BYTES_MAX = 64 * 1024 * 1024
QUERY_ROWS_MAX = 200_000

T = TypeVar("T")


class Script(msgspec.Struct, frozen=True):
    """A user's SQL file: `file` is only used in places of errors, as the user knows it."""

    text: str
    file: str = "<sql>"


class TableDef(msgspec.Struct, frozen=True, kw_only=True):
    """A table to register for one request.

    Args:
        name: the name under which the script finds it (the name in the DDL must be the same).
        ddl: the user's CREATE TABLE, unchanged.
        options: the physical WITH options, which replace the declared ones.
        file: where the DDL stands, for places of errors.
    """

    name: str
    ddl: str
    options: dict[str, str] = {}
    file: str = ""


class Ping(msgspec.Struct, frozen=True, tag="ping", tag_field="op"):
    """Does the driver answer? Answer: `Pong`."""


class ParseTable(msgspec.Struct, frozen=True, tag="parse_table", tag_field="op"):
    """Parse one CREATE TABLE statement. Answer: `ParsedTable`. Invalid with a place when it is not one."""

    script: Script


class _Scripted(msgspec.Struct, frozen=True, kw_only=True):
    """Fields shared by the operations on a script.

    Args:
        script: SET, CREATE VIEW, CREATE TABLE, CREATE FUNCTION, INSERT and EXECUTE STATEMENT SET statements.
        tables: what the script may name.
        config: table and job configuration of this request; the script's SET statements win over it.
        batch: plan in batch mode instead of streaming.
    """

    script: Script
    tables: tuple[TableDef, ...] = ()
    config: dict[str, str] = {}
    batch: bool = False


class Validate(_Scripted, frozen=True, tag="validate", tag_field="op"):
    """Check a script; with `plan`, the optimizer also runs (changelog modes, connector options). Answer: `Validated`."""

    plan: bool = False


class Explain(_Scripted, frozen=True, tag="explain", tag_field="op"):
    """Plan the INSERTs of a script as one job. Answer: `Explained`."""


class Compile(_Scripted, frozen=True, tag="compile", tag_field="op"):
    """Compile the INSERTs of a script into Flink's stable plan (streaming only). Answer: `Compiled`.

    The plan holds names and schemas of tables, not their options: those are the ones that come with its submission.
    """


class Submit(_Scripted, frozen=True, tag="submit", tag_field="op"):
    """Start the INSERTs of a script as one job on the session cluster. Answer: `Submitted`.

    Args:
        job_name: shown by Flink.
        cluster: REST address `http://host:port`; empty means the one in the home's `stack.json`.
        job_id: 32 hexadecimal digits chosen by the caller, so that a submission whose answer was lost can be looked
            up instead of repeated; empty lets Flink choose.
        savepoint_path: savepoint or retained checkpoint to start from.
        allow_non_restored: state in the savepoint that the job no longer has is dropped instead of refused.
        plan: the script's compiled plan, which is then not planned again: its operators keep their ids, and so their state.
    """

    job_name: str
    cluster: str = ""
    job_id: str = ""
    savepoint_path: str = ""
    allow_non_restored: bool = False
    plan: str = ""


class Query(_Scripted, frozen=True, tag="query", tag_field="op"):
    """Run one SELECT (SETs and views may precede it) in batch mode on the cluster. Answer: `Rows`; at most `limit` rows."""

    cluster: str = ""
    limit: int = 1000


class ListTaskManagers(msgspec.Struct, frozen=True, tag="list_task_managers", tag_field="op"):
    """Ask the leading ResourceManager for its TaskManagers. Answer: `TaskManagers`. Unavailable when there is no leader."""


class Disconnect(msgspec.Struct, frozen=True, kw_only=True, tag="disconnect", tag_field="op"):
    """Tell the leading ResourceManager, and through it every job, that TaskManagers are lost. Answer: `Disconnected`.

    Args:
        ids: Flink's resource ids; one that is not registered is no error.
        cause: shown by Flink as the failure's reason.
    """

    ids: tuple[str, ...]
    cause: str


class NodeBlock(msgspec.Struct, frozen=True, kw_only=True):
    """No work for a node until `until_ms` (wall time of the JobManager); `node` is the host that its TaskManagers registered with."""

    node: str
    cause: str
    until_ms: int


class BlockNodes(msgspec.Struct, frozen=True, kw_only=True, tag="block_nodes", tag_field="op"):
    """Add nodes to the ResourceManager's blocklist, which has to be switched on in the cluster. Answer: `NodesBlocked`."""

    blocks: tuple[NodeBlock, ...]


class RevokeLeader(msgspec.Struct, frozen=True, kw_only=True, tag="revoke_leader", tag_field="op"):
    """Let the next JobManager lead if the leader ran on a host that is lost. Answer: `LeaderRevoked`.

    Unavailable while ZooKeeper cannot be reached, and while the leader still answers: nothing is done then.

    Args:
        hosts: addresses and names of the lost host.
        cause: for the log.
    """

    hosts: tuple[str, ...]
    cause: str


Request = (
    Ping
    | ParseTable
    | Validate
    | Explain
    | Compile
    | Submit
    | Query
    | ListTaskManagers
    | Disconnect
    | BlockNodes
    | RevokeLeader
)


class Pong(msgspec.Struct, frozen=True, kw_only=True, tag="pong", tag_field="op"):
    """The driver answers; `warm` once its warm-up has ended (until then a first call may take seconds)."""

    version: int = PROTOCOL_VERSION
    flink_version: str
    pid: int
    jvm_pid: int
    uptime_ms: int
    requests: int
    warm: bool = False


class ParsedTable(msgspec.Struct, frozen=True, kw_only=True, tag="parsed_table", tag_field="op"):
    """A CREATE TABLE as Flink's parser understood it; types as Flink prints them, `watermark` = (column, expression)."""

    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    watermark: tuple[str, str] | None = None
    partitioned_by: tuple[str, ...] = ()
    options: dict[str, str] = {}
    comment: str = ""


class Statement(msgspec.Struct, frozen=True):
    """One statement of a script: `kind` is set, view, table, function, insert, statement_set or query."""

    kind: str
    line: int
    column: int
    name: str = ""


class _Read(msgspec.Struct, frozen=True, kw_only=True):
    """What a script does and what is wrong with it; names are sorted, `problems` in the order of the file.

    Args:
        settings: the script's SET statements.
    """

    statements: tuple[Statement, ...] = ()
    sources: tuple[str, ...] = ()
    sinks: tuple[str, ...] = ()
    settings: dict[str, str] = {}
    problems: tuple[ErrorBody, ...] = ()

    def check(self) -> Self:
        """This value, if there are no problems.

        Raises:
            Invalid: the first problem; how many more there are is in its context.
        """
        if not self.problems:
            return self
        error = from_body(self.problems[0])
        if len(self.problems) > 1:
            error = error.with_context(more_problems=len(self.problems) - 1)
        raise error


class Validated(_Read, frozen=True, kw_only=True, tag="validated", tag_field="op"):
    """A script as the planner understood it."""


class Explained(msgspec.Struct, frozen=True, kw_only=True, tag="explained", tag_field="op"):
    """Flink's EXPLAIN: abstract syntax tree, optimized physical plan, execution plan as text and as JSON."""

    ast: str
    physical: str
    execution: str
    json_plan: str


class Compiled(_Read, frozen=True, kw_only=True, tag="compiled", tag_field="op"):
    """A script as the planner understood it and, without problems, its compiled plan as JSON text."""

    plan: str = ""


class Submitted(msgspec.Struct, frozen=True, kw_only=True, tag="submitted", tag_field="op"):
    """The job was accepted by the cluster."""

    job_id: str
    cluster: str


class Rows(msgspec.Struct, frozen=True, kw_only=True, tag="rows", tag_field="op"):
    """Rows of a query.

    Values are None, bool, int, float, str, bytes, list and dict; DECIMAL, dates and times are strings as SQL prints
    them (TIMESTAMP_LTZ in UTC with a `Z`). `truncated` says that more rows existed than were asked for.
    """

    columns: tuple[Column, ...]
    rows: list[list[object]]
    truncated: bool = False


class TaskManagerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A registered TaskManager; `node` is the host it registered with, `last_heartbeat_ms` in the JobManager's wall time.

    `data_port` is where other TaskManagers fetch data from it, 0 when it has none.
    """

    id: str
    node: str
    last_heartbeat_ms: int
    slots: int
    free_slots: int
    blocked: bool
    data_port: int = 0


class TaskManagers(msgspec.Struct, frozen=True, kw_only=True, tag="task_managers", tag_field="op"):
    """What the ResourceManager knows; `leader` is its fencing token, `node` the host that it runs on."""

    rows: tuple[TaskManagerRow, ...]
    leader: str
    node: str = ""


class Disconnected(msgspec.Struct, frozen=True, kw_only=True, tag="disconnected", tag_field="op"):
    """The ResourceManager has taken it: `gone` were registered before, `unknown` were not."""

    gone: tuple[str, ...]
    unknown: tuple[str, ...]


class Revocation(StrEnum):
    """What became of the lead of a lost host's JobManager."""

    REVOKED = "revoked"  # its latch nodes are removed, the next one leads
    ALREADY = "already"  # it has none any more
    OTHER = "other"  # a JobManager on another host leads
    NO_LEADER = "no_leader"  # nobody has published an address
    ANSWERS = "answers"  # it lives; not done
    UNSUPPORTED = "unsupported"  # not ZooKeeper: there is nothing to revoke


class LeaderRevoked(msgspec.Struct, frozen=True, kw_only=True, tag="leader_revoked", tag_field="op"):
    """The outcome, the RPC address of whoever led, and the latch nodes that were removed."""

    outcome: Revocation
    leader: str = ""
    nodes: tuple[str, ...] = ()


class NodesBlocked(msgspec.Struct, frozen=True, kw_only=True, tag="nodes_blocked", tag_field="op"):
    """The ResourceManager has taken the blocks; without effect where its blocklist is off."""

    count: int


Response = (
    Pong
    | ParsedTable
    | Validated
    | Explained
    | Compiled
    | Submitted
    | Rows
    | TaskManagers
    | Disconnected
    | NodesBlocked
    | LeaderRevoked
)


class Call(msgspec.Struct, frozen=True):
    """A request on the wire; `timeout_s` 0 means the driver's default for the operation."""

    id: int
    request: Request
    timeout_s: float = 0.0


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Exactly one of `response` and `error` is set; `elapsed_ms` is the driver's own time, queueing included."""

    id: int
    response: Response | None = None
    error: ErrorBody | None = None
    elapsed_ms: float = 0.0


_ENCODER = msgspec.msgpack.Encoder()


def encode_frame(value: Call | Answer, *, limit_bytes: int = FRAME_BYTES_MAX) -> bytes:
    """The frame that carries `value`.

    Raises:
        Invalid: the body is larger than `limit_bytes`.
    """
    body = _ENCODER.encode(value)
    check_frame_size(len(body), limit_bytes=limit_bytes)
    return FRAME_HEADER.pack(len(body)) + body


def check_frame_size(size_bytes: int, *, limit_bytes: int = FRAME_BYTES_MAX) -> int:
    """Refuse a frame before its body is read.

    Raises:
        Invalid: empty or larger than `limit_bytes`.
    """
    if 0 < size_bytes <= limit_bytes:
        return size_bytes
    raise Invalid(
        "frame is empty" if size_bytes == 0 else "frame is too big",
        operation="driver.frame",
        context={"size_bytes": size_bytes, "limit_bytes": limit_bytes},
        hint="send fewer tables or a shorter script" if size_bytes else "send a 4-byte big-endian length, then a body",
    )


def decode_body(body: bytes, kind: type[T]) -> T:
    """Decode the body of a frame.

    Raises:
        Invalid: not MessagePack, or not a `kind`.
    """
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise Invalid(
            f"frame is not a {kind.__name__.lower()}: {error}",
            operation="driver.frame",
            context={"size_bytes": len(body)},
            hint=f"both ends must speak protocol version {PROTOCOL_VERSION}: restart the stack after an update",
        ) from error


class DriverFace(Protocol):
    """What the platform asks of a driver (`headrace.flink.driver_client.DriverClient`); each raises what it answers."""

    def ping(self) -> Pong:
        """Say who answers."""
        ...

    def parse_table(self, request: ParseTable) -> ParsedTable:
        """Parse one CREATE TABLE."""
        ...

    def validate(self, request: Validate) -> Validated:
        """Check a script; problems are in the answer, not raised."""
        ...

    def explain(self, request: Explain) -> Explained:
        """Plan a script."""
        ...

    def compile(self, request: Compile) -> Compiled:
        """Compile a script into a stable plan."""
        ...

    def submit(self, request: Submit) -> Submitted:
        """Start a script as one job."""
        ...

    def query(self, request: Query) -> Rows:
        """Run a SELECT and fetch its rows."""
        ...
