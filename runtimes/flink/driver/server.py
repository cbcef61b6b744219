"""The Unix socket in front of `Operations`: frames, limits, time-outs, orderly end.

One asyncio loop reads frames; planning runs in one small thread pool (the JVM's planner is the bottleneck), what waits
for the cluster in another, so that a slow query does not hold up a validation. Both have a bound on what may wait:
beyond it a call is answered `Throttled`. A call that runs out of time is answered `Unavailable`; if its worker does not
come back soon after (a hung JVM call cannot be interrupted), the whole process ends and the supervisor starts a new
one. Running jobs do not notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from driver.ticket import JvmLost, Ticket
from headrace.core.clock import Clock
from headrace.core.errors import Conflict, HeadraceError, Internal, Invalid, Throttled, Unavailable
from headrace.core.log import get_logger
from headrace.flink.protocol import (
    ANSWER_BYTES_MAX,
    FRAME_BYTES_MAX,
    FRAME_HEADER,
    Answer,
    BlockNodes,
    Call,
    Compile,
    Disconnect,
    Explain,
    ListTaskManagers,
    ParseTable,
    Ping,
    Query,
    Request,
    Response,
    RevokeLeader,
    Submit,
    Validate,
    check_frame_size,
    decode_body,
    encode_frame,
)

log = get_logger("headrace.driver")

CONNECTIONS_MAX = 64
PLAN_WORKERS, PLAN_WAITING_MAX = 2, 32
CLUSTER_WORKERS, CLUSTER_WAITING_MAX = 4, 8
# What Hawk asks must not wait behind a plan or a job's submission.
GUARD_WORKERS, GUARD_WAITING_MAX = 3, 32
# Far above what a loaded machine of two cores was seen to need (`quality`: compile 12 s, submit 18 s), queueing included.
TIMEOUT_S: dict[type, float] = {
    Ping: 5.0,
    ParseTable: 15.0,
    Validate: 30.0,
    Explain: 60.0,
    Compile: 60.0,
    Submit: 120.0,
    Query: 300.0,
    # Twice: look the leader up, connect, ask; each may take its whole time-out (driver.resource_manager).
    ListTaskManagers: 16.0,
    Disconnect: 16.0,
    BlockNodes: 16.0,
    RevokeLeader: 16.0,
}
TIMEOUT_S_MAX = 900.0
# How long a worker may go on after its call ran out of time, before the process gives up on it.
HUNG_GRACE_S = 20.0
JVM_WATCH_S = 0.5
UNIX_PATH_BYTES_MAX = 107
EXIT_HUNG, EXIT_JVM_LOST = 70, 71


class Handler(Protocol):
    """What answers requests: `driver.operations.Operations`."""

    def handle(self, request: Request, ticket: Ticket) -> Response:
        """Answer, or raise the error to be sent."""
        ...


class Lane:
    """A thread pool with a bound on what waits for it."""

    def __init__(self, name: str, *, workers: int, waiting_max: int) -> None:
        self.name = name
        self._limit = workers + waiting_max
        self._taken = 0
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=f"driver-{name}")

    def start(self, action: Callable[[], Response]) -> Future[Response]:
        """Queue `action`; called from the loop only.

        Raises:
            Throttled: too much is waiting.
        """
        if self._taken >= self._limit:
            raise Throttled(
                "driver is busy", context={"lane": self.name, "waiting": self._taken}, hint="try again in a moment"
            )
        self._taken += 1
        loop = asyncio.get_running_loop()
        future = self._pool.submit(action)
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._release))
        return future

    def _release(self) -> None:
        self._taken -= 1

    def close(self) -> None:
        """Forget what waits; do not wait for what runs."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Server:
    """Serves one `Handler` on a Unix socket until it is told to stop or its JVM is lost."""

    def __init__(self, handler: Handler, path: Path, *, clock: Clock, jvm_alive: Callable[[], bool]) -> None:
        self._handler = handler
        self._path = path
        self._clock = clock
        self._jvm_alive = jvm_alive
        self._plan = Lane("plan", workers=PLAN_WORKERS, waiting_max=PLAN_WAITING_MAX)
        self._cluster = Lane("cluster", workers=CLUSTER_WORKERS, waiting_max=CLUSTER_WAITING_MAX)
        self._guard = Lane("guard", workers=GUARD_WORKERS, waiting_max=GUARD_WAITING_MAX)
        self._connections: set[asyncio.Task[None]] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._end: asyncio.Future[int] | None = None

    async def serve(self) -> int:
        """Serve; the socket file appears when calls can be made. Returns the exit code.

        Raises:
            Conflict: another driver answers on this socket.
            Invalid: the path is too long for a Unix socket.
        """
        self._end = asyncio.get_running_loop().create_future()
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        _claim(self._path, fresh)
        server = await asyncio.start_unix_server(self._accept, path=str(fresh))
        fresh.chmod(0o600)
        fresh.rename(self._path)
        for sign in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(sign, self._stop, 0)
        self._spawn(self._watch_jvm())
        log.info("driver_ready", socket=str(self._path), pid=os.getpid())
        try:
            return await self._end
        finally:
            self._path.unlink(missing_ok=True)
            server.close()
            for task in [*self._connections, *self._background]:
                task.cancel()
            self._plan.close()
            self._cluster.close()
            self._guard.close()

    def _stop(self, code: int) -> None:
        if self._end and not self._end.done():
            self._end.set_result(code)

    def _spawn(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _watch_jvm(self) -> None:
        while self._jvm_alive():
            await self._clock.sleep_async(JVM_WATCH_S)
        log.error("jvm_lost")
        self._stop(EXIT_JVM_LOST)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= CONNECTIONS_MAX:
            error: HeadraceError = Throttled("driver has too many connections", context={"limit": CONNECTIONS_MAX})
            await _send(writer, Answer(id=0, error=error.body()))
            writer.close()
            return
        self._connections.add(task)
        try:
            while await self._serve_one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError) as lost:
            log.debug("connection_lost", reason=str(lost))
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read and answer one call; False when the connection is to be closed."""
        header = await reader.read(FRAME_HEADER.size)
        if not header:
            return False
        if len(header) < FRAME_HEADER.size:
            header += await reader.readexactly(FRAME_HEADER.size - len(header))
        try:
            size = check_frame_size(FRAME_HEADER.unpack(header)[0], limit_bytes=FRAME_BYTES_MAX)
            call = decode_body(await reader.readexactly(size), Call)
        except Invalid as error:
            log.warning("frame_refused", reason=error.message)
            await _send(writer, Answer(id=0, error=error.body()))
            return False
        await _send(writer, await self._answer(call))
        return True

    async def _answer(self, call: Call) -> Answer:
        begin = self._clock.monotonic_s()
        response, failure = None, None
        try:
            response = await self._work(call)
        except HeadraceError as error:
            failure = error.body()
        elapsed_ms = (self._clock.monotonic_s() - begin) * 1000
        # Hawk asks once a second; that is no news.
        say = log.debug if isinstance(call.request, ListTaskManagers) and failure is None else log.info
        say(
            "call_answered",
            op=type(call.request).__name__,
            elapsed_ms=round(elapsed_ms, 1),
            error=failure.kind if failure else "",
        )
        return Answer(id=call.id, response=response, error=failure, elapsed_ms=elapsed_ms)

    def _lane(self, request: Request) -> Lane:
        match request:
            case Submit() | Query():
                return self._cluster
            case ListTaskManagers() | Disconnect() | BlockNodes() | RevokeLeader():
                return self._guard
            case _:
                return self._plan

    async def _work(self, call: Call) -> Response:
        timeout_s = min(call.timeout_s if call.timeout_s > 0 else TIMEOUT_S[type(call.request)], TIMEOUT_S_MAX)
        lane = self._lane(call.request)
        ticket = Ticket()
        future = lane.start(lambda: self._handler.handle(call.request, ticket))
        waiter = asyncio.wrap_future(future)
        try:
            return await asyncio.wait_for(asyncio.shield(waiter), timeout_s)
        except TimeoutError:
            if not future.cancel():
                waiter.add_done_callback(lambda done: done.cancelled() or done.exception())
                self._spawn(self._await_hung(waiter, ticket))
            raise Unavailable(
                "driver did not finish in time",
                context={"op": type(call.request).__name__, "timeout_s": timeout_s},
                hint="try again; if it stays so, see the driver's log: `headrace logs driver`",
            ) from None
        except HeadraceError:
            raise
        except JvmLost:
            self._stop(EXIT_JVM_LOST)
            raise Unavailable("planner's JVM was lost", hint="the driver restarts by itself; try again") from None
        except Exception as error:
            log.error("call_failed", exc=error, op=type(call.request).__name__)
            raise Internal(f"driver failed: {error}", operation=type(call.request).__name__) from error

    async def _await_hung(self, waiter: asyncio.Future[Response], ticket: Ticket) -> None:
        """Give a worker that ran out of time the chance to end; without it, end the process."""
        if ticket.cancel:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(ticket.cancel)
        done, _ = await asyncio.wait([waiter], timeout=HUNG_GRACE_S)
        if not done:
            log.error("worker_hung", grace_s=HUNG_GRACE_S)
            self._stop(EXIT_HUNG)


def _claim(path: Path, fresh: Path) -> None:
    """Make sure that the socket's name is free: a dead driver's file is removed, a living one is left alone."""
    if len(os.fsencode(fresh)) > UNIX_PATH_BYTES_MAX:
        raise Invalid(
            "socket path is too long",
            context={"path": path, "limit_bytes": UNIX_PATH_BYTES_MAX},
            hint="use a home with a shorter path: `--home`",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
        else:
            raise Conflict("another driver serves this socket", context={"path": path}, hint="`headrace down` first")


async def _send(writer: asyncio.StreamWriter, answer: Answer) -> None:
    try:
        frame = encode_frame(answer, limit_bytes=ANSWER_BYTES_MAX)
    except Invalid as error:
        error.hint = "ask for fewer rows or columns"
        frame = encode_frame(Answer(id=answer.id, error=error.body()))
    writer.write(frame)
    await writer.drain()
