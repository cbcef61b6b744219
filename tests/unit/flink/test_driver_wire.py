"""Client and server over a real Unix socket, with a fake instead of the JVM."""

from __future__ import annotations

import asyncio
import signal
import socket
import struct
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from driver import server as driver_server
from driver.server import EXIT_HUNG, EXIT_JVM_LOST, Server
from driver.ticket import JvmLost, Ticket

from headrace.core.clock import SystemClock
from headrace.core.errors import Conflict, HeadraceError, Internal, Invalid, NotFound, Throttled, Unavailable
from headrace.flink.driver_client import AsyncDriverClient, DriverClient
from headrace.flink.protocol import (
    FRAME_BYTES_MAX,
    Answer,
    ParseTable,
    Ping,
    Pong,
    Query,
    Request,
    Response,
    Rows,
    Script,
    Validate,
    decode_body,
)

PONG = Pong(flink_version="2.3.0", pid=1, jvm_pid=2, uptime_ms=3, requests=4)


class FakeHandler:
    """Answers pings; other requests do what the test put into `actions`; blocked ones wait for `release`."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.started = threading.Semaphore(0)
        self.cancelled = threading.Event()
        self.actions: dict[type, Callable[[], Response]] = {}

    def handle(self, request: Request, ticket: Ticket) -> Response:
        """See the class."""
        ticket.cancel = self.cancelled.set
        if type(request) in self.actions:
            return self.actions[type(request)]()
        return PONG

    def block(self) -> Response:
        """Hang until released."""
        self.started.release()
        self.release.wait(30)
        return PONG


@pytest.fixture
def path() -> Iterator[Path]:
    """A short path: a Unix socket's name has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="hr-") as folder:
        yield Path(folder) / "run" / "d.sock"


def serve(
    path: Path, handler: FakeHandler, steps: Callable[[], Awaitable[None]], *, alive: Callable[[], bool] = lambda: True
) -> int:
    """Serve while `steps` run, then send SIGTERM; returns the exit code."""

    async def main() -> int:
        server = Server(handler, path, clock=SystemClock(), jvm_alive=alive)
        task = asyncio.create_task(server.serve())
        while not _listening(path):
            if task.done():
                return task.result()
            await asyncio.wait([task], timeout=0.01)
        try:
            await steps()
        finally:
            handler.release.set()
            if not task.done():
                signal.raise_signal(signal.SIGTERM)
        return await asyncio.wait_for(task, 10)

    return asyncio.run(main())


def _listening(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def raw(path: Path, data: bytes, *, close_early: bool = False) -> Answer | None:
    """Send bytes as they are; read one answer and the end of the connection."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(data)
        if close_early:
            return None
        parts = b""
        while piece := connection.recv(65536):
            parts += piece
    (size,) = struct.unpack(">I", parts[:4])
    assert len(parts) == 4 + size
    return decode_body(parts[4:], Answer)


def test_calls_are_answered_and_errors_keep_their_kind(path: Path) -> None:
    """A response is typed, an error comes back as the same kind with its hint, and SIGTERM ends orderly."""
    handler = FakeHandler()

    def fail() -> Response:
        raise NotFound("unknown table `x`", hint="nearest: y", context={"a": 1})

    handler.actions[Validate] = fail

    async def steps() -> None:
        with DriverClient(path) as client:
            assert await asyncio.to_thread(client.ping) == PONG
            assert await AsyncDriverClient(client).ping() == PONG
            with pytest.raises(NotFound) as caught:
                await asyncio.to_thread(client.validate, Validate(script=Script("x")))
            assert (caught.value.hint, caught.value.context) == ("nearest: y", {"a": "1"})

    assert serve(path, handler, steps) == 0
    assert not path.exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (struct.pack(">I", 0), "frame is empty"),
        (struct.pack(">I", FRAME_BYTES_MAX + 1), "frame is too big"),
        (b"GET / HTTP/1.1\r\n\r\n", "frame is too big"),
        (struct.pack(">I", 5) + b"\xff\xfe\x00ab", "frame is not a call"),
        (struct.pack(">I", 3) + b"\x93\x01\x02\x03"[:3], "frame is not a call"),
    ],
    ids=["empty", "too_big", "http", "garbage", "truncated_msgpack"],
)
def test_bad_frames_get_an_error_and_the_connection_ends(path: Path, data: bytes, message: str) -> None:
    """A malformed frame is answered with id 0 and closed; the next connection works."""

    async def steps() -> None:
        answer = await asyncio.to_thread(raw, path, data)
        assert answer is not None
        assert answer.id == 0
        assert answer.error is not None
        assert answer.error.kind == "Invalid"
        assert answer.error.message.startswith(message)
        with DriverClient(path) as client:
            assert await asyncio.to_thread(client.ping) == PONG

    assert serve(path, FakeHandler(), steps) == 0


@pytest.mark.parametrize("data", [b"\x00\x00", struct.pack(">I", 100) + b"abc"], ids=["header", "body"])
def test_a_caller_that_leaves_in_mid_frame_harms_nobody(path: Path, data: bytes) -> None:
    """A truncated frame ends its own connection only."""

    async def steps() -> None:
        await asyncio.to_thread(raw, path, data, close_early=True)
        with DriverClient(path) as client:
            assert await asyncio.to_thread(client.ping) == PONG

    assert serve(path, FakeHandler(), steps) == 0


def test_beyond_the_bound_calls_are_throttled(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the workers busy and the queue full, the next call is answered at once, and later calls work again."""
    monkeypatch.setattr(driver_server, "CLUSTER_WAITING_MAX", 0)
    monkeypatch.setattr(driver_server, "CLUSTER_WORKERS", 1)
    handler = FakeHandler()
    handler.actions[Query] = handler.block

    async def steps() -> None:
        with DriverClient(path) as client:
            query = Query(script=Script("SELECT 1"))
            first = asyncio.create_task(asyncio.to_thread(client.call, query))
            await asyncio.to_thread(handler.started.acquire)
            with pytest.raises(Throttled, match="driver is busy"):
                await asyncio.to_thread(client.query, query)
            assert await asyncio.to_thread(client.ping) == PONG, "planning does not wait for queries"
            handler.release.set()
            assert (await first).response == PONG

    assert serve(path, handler, steps) == 0


def test_a_call_out_of_time_is_unavailable_and_cancelled(path: Path) -> None:
    """The caller hears about it in time, and the operation is told to stop."""
    handler = FakeHandler()
    handler.actions[Query] = handler.block

    async def steps() -> None:
        with DriverClient(path) as client:
            with pytest.raises(Unavailable, match="did not finish in time"):
                await asyncio.to_thread(client.query, Query(script=Script("SELECT 1")), timeout_s=0.1)
            assert await asyncio.to_thread(handler.cancelled.wait, 5)
            handler.release.set()
            assert await asyncio.to_thread(client.ping) == PONG

    assert serve(path, handler, steps) == 0


def test_a_hung_worker_ends_the_process(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that does not come back makes the driver exit, so that the supervisor starts a new one."""
    monkeypatch.setattr(driver_server, "HUNG_GRACE_S", 0.1)
    handler = FakeHandler()
    handler.actions[Validate] = handler.block

    async def steps() -> None:
        with DriverClient(path) as client, pytest.raises(Unavailable):
            await asyncio.to_thread(client.validate, Validate(script=Script("x")), timeout_s=0.1)
        await _gone(path)

    assert serve(path, handler, steps) == EXIT_HUNG


def test_a_lost_jvm_ends_the_process(path: Path) -> None:
    """Whether the watch or a call notices first, the caller gets Unavailable and the driver exits."""
    handler = FakeHandler()

    def lose() -> Response:
        raise JvmLost("connection lost")

    handler.actions[ParseTable] = lose

    async def steps() -> None:
        with DriverClient(path) as client, pytest.raises(Unavailable):
            await asyncio.to_thread(client.parse_table, ParseTable(Script("x")))

        await _gone(path)

    assert serve(path, handler, steps) == EXIT_JVM_LOST


def test_a_dead_jvm_is_noticed_without_a_call(path: Path) -> None:
    """The watch ends the driver by itself."""
    dead = threading.Event()

    async def steps() -> None:
        dead.set()
        await _gone(path)

    assert serve(path, FakeHandler(), steps, alive=lambda: not dead.is_set()) == EXIT_JVM_LOST


async def _gone(path: Path) -> None:
    while path.exists():
        await asyncio.wait([asyncio.create_task(asyncio.to_thread(path.exists))])


def test_a_bug_is_internal_and_the_driver_lives_on(path: Path) -> None:
    """An unexpected failure is reported as ours and does not end the process."""
    handler = FakeHandler()

    def fail() -> Response:
        raise ZeroDivisionError("oops")

    handler.actions[Validate] = fail

    async def steps() -> None:
        with DriverClient(path) as client:
            with pytest.raises(Internal, match="driver failed: oops"):
                await asyncio.to_thread(client.validate, Validate(script=Script("x")))
            assert await asyncio.to_thread(client.ping) == PONG

    assert serve(path, handler, steps) == 0


def test_an_answer_too_big_is_said_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows beyond the frame's bound become an error with a hint, not a broken connection."""
    monkeypatch.setattr(driver_server, "ANSWER_BYTES_MAX", 1000)
    handler = FakeHandler()
    handler.actions[Query] = lambda: Rows(columns=(), rows=[["x" * 2000]])

    async def steps() -> None:
        with DriverClient(path) as client:
            with pytest.raises(Invalid) as caught:
                await asyncio.to_thread(client.query, Query(script=Script("x")))
            assert caught.value.hint == "ask for fewer rows or columns"

    assert serve(path, handler, steps) == 0


def test_no_driver_is_unavailable_with_a_hint(path: Path) -> None:
    """Without a socket the client says what to look at."""
    with DriverClient(path) as client, pytest.raises(Unavailable) as caught:
        client.ping()
    assert caught.value.message == "driver is not running"
    assert "headrace status" in caught.value.hint


def test_the_client_finds_a_restarted_driver(path: Path) -> None:
    """An idle connection to the driver before does not spoil the next call."""
    client = DriverClient(path)

    async def steps() -> None:
        assert await asyncio.to_thread(client.ping) == PONG

    assert serve(path, FakeHandler(), steps) == 0
    with pytest.raises(Unavailable):
        client.ping()
    assert serve(path, FakeHandler(), steps) == 0
    client.close()


def test_a_driver_that_dies_in_mid_call_is_unavailable(path: Path) -> None:
    """A cut connection is told apart from an error of the call."""
    path.parent.mkdir()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def answer_half() -> None:
        connection, _ = listener.accept()
        connection.recv(65536)
        connection.sendall(b"\x00\x00\x01\x00half")
        connection.close()

    thread = threading.Thread(target=answer_half)
    thread.start()
    with DriverClient(path) as client, pytest.raises(Unavailable, match="driver went away"):
        client.ping()
    thread.join()
    listener.close()


def test_two_drivers_do_not_share_a_socket(path: Path) -> None:
    """The second one refuses to start; a dead driver's file is replaced."""

    async def steps() -> None:
        with pytest.raises(Conflict, match="another driver"):
            await Server(FakeHandler(), path, clock=SystemClock(), jvm_alive=lambda: True).serve()

    assert serve(path, FakeHandler(), steps) == 0
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.exists()

    async def ping() -> None:
        with DriverClient(path) as client:
            assert await asyncio.to_thread(client.ping) == PONG

    assert serve(path, FakeHandler(), ping) == 0


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    """Both ends say that the home's path is too long, instead of the kernel's `AF_UNIX path too long`."""
    long = tmp_path / ("x" * 100) / "driver.sock"
    with pytest.raises(HeadraceError, match="too long"):
        asyncio.run(Server(FakeHandler(), long, clock=SystemClock(), jvm_alive=lambda: True).serve())
    with DriverClient(long) as client, pytest.raises(Invalid, match="too long"):
        client.call(Ping())
