"""The platform's end of the driver's socket.

`DriverClient` is blocking and may be shared by threads: each call takes an idle connection or opens one, and gives it
back when the answer was read whole; a connection on which anything went wrong is thrown away, so the next call starts
clean and a driver that was restarted is found without further ado. `AsyncDriverClient` runs the same calls in threads.

Nothing is sent twice by itself: a call that was cut off may have been done. For `submit`, choose the job id and look it
up (`headrace.flink.rest`) before sending again.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import threading
from pathlib import Path
from typing import TypeVar

from headrace.core.errors import HeadraceError, Internal, Invalid, Unavailable, from_body
from headrace.flink.protocol import (
    ANSWER_BYTES_MAX,
    FRAME_HEADER,
    Answer,
    BlockNodes,
    Call,
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
    Submit,
    Submitted,
    TaskManagers,
    Validate,
    Validated,
    check_frame_size,
    decode_body,
    encode_frame,
)

T = TypeVar("T")

CONNECT_TIMEOUT_S = 2.0
# How much longer than the driver's own time-out the client waits: the answer that says so must still arrive.
ANSWER_MARGIN_S = 5.0
DEFAULT_TIMEOUT_S: dict[type, float] = {
    Submit: 120.0,
    Query: 300.0,
    Explain: 60.0,
    Compile: 60.0,
    ListTaskManagers: 16.0,
    Disconnect: 16.0,
    BlockNodes: 16.0,
    RevokeLeader: 16.0,
}
OTHER_TIMEOUT_S = 30.0
IDLE_CONNECTIONS_MAX = 4
UNIX_PATH_BYTES_MAX = 107
_READ_BYTES = 1 << 16


class DriverClient:
    """Blocking calls to the driver at `path`; closing it closes the idle connections."""

    def __init__(self, path: Path | str) -> None:
        self._path = str(path)
        self._idle: list[socket.socket] = []
        self._lock = threading.Lock()
        self._ids = itertools.count(1)

    def __enter__(self) -> DriverClient:
        """Nothing is connected before the first call."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close idle connections; the client can still be used and opens new ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def ping(self, *, timeout_s: float = 0.0) -> Pong:
        """Ask who is there."""
        return self._expect(Ping(), Pong, timeout_s)

    def parse_table(self, request: ParseTable, *, timeout_s: float = 0.0) -> ParsedTable:
        """Parse one CREATE TABLE; raises Invalid with a place."""
        return self._expect(request, ParsedTable, timeout_s)

    def validate(self, request: Validate, *, timeout_s: float = 0.0) -> Validated:
        """Check a script; problems are in the answer (`Validated.check` raises the first)."""
        return self._expect(request, Validated, timeout_s)

    def explain(self, request: Explain, *, timeout_s: float = 0.0) -> Explained:
        """Plan a script."""
        return self._expect(request, Explained, timeout_s)

    def compile(self, request: Compile, *, timeout_s: float = 0.0) -> Compiled:
        """Compile a script into a stable plan."""
        return self._expect(request, Compiled, timeout_s)

    def submit(self, request: Submit, *, timeout_s: float = 0.0) -> Submitted:
        """Start a script as one job."""
        return self._expect(request, Submitted, timeout_s)

    def query(self, request: Query, *, timeout_s: float = 0.0) -> Rows:
        """Run a SELECT and fetch its rows."""
        return self._expect(request, Rows, timeout_s)

    def list_task_managers(self, request: ListTaskManagers, *, timeout_s: float = 0.0) -> TaskManagers:
        """The TaskManagers that the leading ResourceManager knows."""
        return self._expect(request, TaskManagers, timeout_s)

    def disconnect(self, request: Disconnect, *, timeout_s: float = 0.0) -> Disconnected:
        """Tell Flink that TaskManagers are lost."""
        return self._expect(request, Disconnected, timeout_s)

    def block_nodes(self, request: BlockNodes, *, timeout_s: float = 0.0) -> NodesBlocked:
        """Keep work off nodes for a while."""
        return self._expect(request, NodesBlocked, timeout_s)

    def revoke_leader(self, request: RevokeLeader, *, timeout_s: float = 0.0) -> LeaderRevoked:
        """Let the next JobManager lead."""
        return self._expect(request, LeaderRevoked, timeout_s)

    def call(self, request: Request, *, timeout_s: float = 0.0) -> Answer:
        """Send one request and return the answer as it came, error or not; `elapsed_ms` is the driver's time.

        Raises:
            Unavailable: the driver is not there, went away, or did not answer in time; the call may have been done.
            Invalid: the request is larger than a frame may be.
        """
        wait_s = (timeout_s or DEFAULT_TIMEOUT_S.get(type(request), OTHER_TIMEOUT_S)) + ANSWER_MARGIN_S
        call = Call(next(self._ids), request, timeout_s)
        frame = encode_frame(call)
        connection = self._connect()
        try:
            connection.settimeout(wait_s)
            try:
                connection.sendall(frame)
            except (BrokenPipeError, ConnectionResetError):
                # The idle connection was from before a restart; nothing was taken in, so a fresh one may try.
                connection.close()
                connection = self._open()
                connection.settimeout(wait_s)
                connection.sendall(frame)
            answer = _read_answer(connection)
        except TimeoutError as error:
            connection.close()
            raise _unavailable("driver did not answer in time", self._path, timeout_s=wait_s) from error
        except OSError as error:
            connection.close()
            raise _unavailable(f"driver went away: {error}", self._path) from error
        except HeadraceError:
            connection.close()
            raise
        if answer.id != call.id:
            connection.close()
            if answer.error:
                raise from_body(answer.error)
            raise Internal("driver answered another call", context={"sent": call.id, "got": answer.id})
        self._give_back(connection)
        return answer

    def _expect(self, request: Request, kind: type[T], timeout_s: float) -> T:
        answer = self.call(request, timeout_s=timeout_s)
        if answer.error:
            raise from_body(answer.error)
        if not isinstance(answer.response, kind):
            raise Internal("driver answered something else", context={"expected": kind.__name__})
        return answer.response

    def _connect(self) -> socket.socket:
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return self._open()
            if not _is_stale(connection):
                return connection
            connection.close()

    def _open(self) -> socket.socket:
        if len(os.fsencode(self._path)) > UNIX_PATH_BYTES_MAX:
            raise Invalid(
                "socket path is too long", context={"path": self._path}, hint="use a home with a shorter path: `--home`"
            )
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(CONNECT_TIMEOUT_S)
        try:
            connection.connect(self._path)
        except OSError as error:
            connection.close()
            raise _unavailable("driver is not running", self._path) from error
        return connection

    def _give_back(self, connection: socket.socket) -> None:
        with self._lock:
            if len(self._idle) < IDLE_CONNECTIONS_MAX:
                self._idle.append(connection)
                return
        connection.close()


class AsyncDriverClient:
    """The same calls for asyncio: each runs in a thread, so the loop never waits."""

    def __init__(self, client: DriverClient) -> None:
        self._client = client

    async def call(self, request: Request, *, timeout_s: float = 0.0) -> Response:
        """Send one request; raises what the driver answers."""
        answer = await asyncio.to_thread(self._client.call, request, timeout_s=timeout_s)
        if answer.error:
            raise from_body(answer.error)
        if answer.response is None:
            raise Internal("driver answered nothing")
        return answer.response

    async def ping(self) -> Pong:
        """Ask who is there."""
        return await asyncio.to_thread(self._client.ping)

    async def parse_table(self, request: ParseTable) -> ParsedTable:
        """Parse one CREATE TABLE."""
        return await asyncio.to_thread(self._client.parse_table, request)

    async def validate(self, request: Validate) -> Validated:
        """Check a script."""
        return await asyncio.to_thread(self._client.validate, request)

    async def submit(self, request: Submit) -> Submitted:
        """Start a script as one job."""
        return await asyncio.to_thread(self._client.submit, request)

    async def query(self, request: Query) -> Rows:
        """Run a SELECT."""
        return await asyncio.to_thread(self._client.query, request)


def _is_stale(connection: socket.socket) -> bool:
    """Whether an idle connection has ended (or has bytes that nobody asked for): nothing may be readable."""
    connection.setblocking(False)
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _read_answer(connection: socket.socket) -> Answer:
    header = _read_exactly(connection, FRAME_HEADER.size)
    size = check_frame_size(FRAME_HEADER.unpack(header)[0], limit_bytes=ANSWER_BYTES_MAX)
    return decode_body(_read_exactly(connection, size), Answer)


def _read_exactly(connection: socket.socket, size_bytes: int) -> bytes:
    parts = bytearray()
    while len(parts) < size_bytes:
        piece = connection.recv(min(_READ_BYTES, size_bytes - len(parts)))
        if not piece:
            raise ConnectionResetError(f"connection ended after {len(parts)} of {size_bytes} bytes")
        parts += piece
    return bytes(parts)


def _unavailable(message: str, path: str, **context: object) -> Unavailable:
    return Unavailable(
        message,
        operation="driver.call",
        context={"socket": path, **context},
        hint="`headrace status` shows the driver; the supervisor starts it again by itself",
    )
