"""The supervisor: one process per stack that starts, watches, restarts and stops the others.

Start: take the home's lock, clean up after a killed predecessor, choose ports, write configurations, publish `stack.json`,
start everything at once (a process waits only for those its spec names). Then serve JSON lines on a Unix socket. Stop, on
request or SIGTERM: services first, then the driver, Flink, and at last the stores; then remove pid files, sockets and tmp.
A start that fails leaves its reason in `run/failed.json` for `up` to print.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import msgspec

from headrace.core.clock import Clock, SystemClock
from headrace.core.errors import HeadraceError, Internal, Invalid, NotFound, Unavailable, nearest
from headrace.core.home import Home, StackInfo
from headrace.core.log import get_logger, setup_logging
from headrace.stack import flinkhome, kafka, orphans
from headrace.stack.assets import find_assets
from headrace.stack.child import Child
from headrace.stack.context import StackContext
from headrace.stack.jdk import choose_jdk, system_jdks
from headrace.stack.messages import LINE_LIMIT, Answer, Launch, Phase, Request, StackStatus
from headrace.stack.meter import UsageMeter
from headrace.stack.ports import check_ports, load_or_plan_ports
from headrace.stack.specs import STOP_GROUPS, ProcessSpec, build_specs, process_names

log = get_logger("headrace.stack.supervisor")
LAUNCH_FILE, FAILED_FILE, PORTS_FILE = "launch.json", "failed.json", "ports.json"
POLL_S = 0.05


class Supervisor:
    """Owns the children of one stack."""

    def __init__(self, home: Home, launch: Launch, *, clock: Clock) -> None:
        self._home = home
        self._launch = launch
        self._clock = clock
        self._children: dict[str, Child] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stop_asked = asyncio.Event()
        self._stopped = asyncio.Event()
        self._timeline: list[Phase] = []
        self._started_at_ms = clock.now_ms()
        self._context: StackContext | None = None
        self._meter = UsageMeter(clock)

    async def run(self) -> None:
        """Serve until asked to stop."""
        self._context = context = prepare(self._home, self._launch)
        specs = self._plan(context, self._launch.names)
        self._note("prepare", self._started_at_ms)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop_asked.set)
        self._home.supervisor_socket.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._serve, str(self._home.supervisor_socket), limit=LINE_LIMIT)
        try:
            self._publish(context)
            spawn_at_ms = self._clock.now_ms()
            self._start(context, specs)
            self._note("spawn", spawn_at_ms)
            await self._stop_asked.wait()
        finally:
            await self._stop_children()
            clear_run(self._home)
            self._stopped.set()
            await self._clock.sleep_async(POLL_S)  # lets the answer to `stop` out
            server.close()

    def _note(self, phase: str, since_ms: int) -> None:
        self._timeline.append(Phase(phase, since_ms, self._clock.now_ms() - since_ms))

    def _publish(self, context: StackContext) -> None:
        info = StackInfo(
            home=str(self._home.root),
            supervisor_pid=os.getpid(),
            started_at_ms=self._started_at_ms,
            endpoints=context.endpoints(),
        )
        temporary = self._home.stack_file.with_suffix(".tmp")
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(info)))
        temporary.replace(self._home.stack_file)

    def _plan(self, context: StackContext, names: Sequence[str]) -> list[ProcessSpec]:
        """The specs of processes that do not run yet; refuses when one of their ports is taken."""
        specs = [spec for spec in build_specs(context, names) if spec.name not in self._children]
        ports = [port for spec in specs for port in spec.port_names]
        check_ports(context.ports, path=self._home.data / PORTS_FILE, names=ports)
        return specs

    def _start(self, context: StackContext, specs: Sequence[ProcessSpec]) -> None:
        for spec in specs:
            self._children[spec.name] = Child(
                spec, options=context.options, run=self._home.run, logs=self._home.logs, clock=self._clock
            )
        for spec in specs:
            dependencies = [self._children[name] for name in spec.after if name in self._children]
            task = asyncio.create_task(self._children[spec.name].live(dependencies), name=spec.name)
            task.add_done_callback(self._on_task_done)
            self._tasks[spec.name] = task

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("child_task_failed", name=task.get_name(), exc=error)
            self._stop_asked.set()

    async def _stop_children(self) -> None:
        for group in STOP_GROUPS:
            chosen = [child for name, child in self._children.items() if name.startswith(group)]
            await asyncio.gather(*(child.stop() for child in chosen if child.state != "stopped"))
        for name, task in self._tasks.items():
            if self._children[name].pid == 0:  # waits for a dependency that will not come
                task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(msgspec.json.encode(await self._answer(line)) + b"\n")
                await writer.drain()
        except (OSError, ValueError):
            log.warning("control_connection_broken")
        except asyncio.CancelledError:
            log.debug(
                "control_connection_cancelled"
            )  # the loop ends; asyncio would log a cancelled handler as an error
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> Answer:
        try:
            request = msgspec.json.decode(line, type=Request)
            return await self._handle(request)
        except msgspec.MsgspecError as error:
            return Answer(False, Invalid(f"bad request: {error}").body())
        except HeadraceError as error:
            return Answer(False, error.body())

    async def _handle(self, request: Request) -> Answer:
        match request.op:
            case "status":
                pass
            case "start":
                if self._context is not None:
                    self._start(self._context, self._plan(self._context, request.names))
            case "kill":
                for child in self._named(request.names):
                    log.warning("process_killed_on_request", name=child.spec.name, pid=child.kill())
            case "restart":
                await asyncio.gather(*(child.restart() for child in self._named(request.names)))
            case "wait-ready":
                await self._wait_ready(request)
            case "stop":
                self._stop_asked.set()
                await self._stopped.wait()
            case _:
                raise Invalid("unknown operation", context={"op": request.op})
        return Answer(True, status=self._status())

    async def _wait_ready(self, request: Request) -> None:
        children = self._named(request.names)
        try:
            async with asyncio.timeout(request.timeout_s):
                await asyncio.gather(*(child.ready.wait() for child in children))
        except TimeoutError:
            names = ", ".join(child.spec.name for child in children if not child.ready.is_set())
            raise Unavailable(
                "processes are not ready",
                context={"names": names, "timeout_s": request.timeout_s},
                hint=f"look at `headrace logs {names.split(',')[0]}`",
            ) from None

    def _named(self, names: Sequence[str]) -> list[Child]:
        for name in names:
            if name not in self._children:
                known = process_names(self._launch.options)
                raise NotFound(
                    "no such process in this stack",
                    context={"name": name},
                    hint=f"did you mean: {', '.join(nearest(name, known)) or ', '.join(self._children)}",
                )
        return [self._children[name] for name in names] if names else list(self._children.values())

    def _status(self) -> StackStatus:
        context = self._context
        if context is None:
            raise Internal("supervisor has not been prepared")
        order = {name: index for index, name in enumerate(process_names(context.options))}
        usage = self._meter.measure([child.pid for child in self._children.values() if child.pid])
        processes = sorted((child.status(usage) for child in self._children.values()), key=lambda row: order[row.name])
        return StackStatus(
            home=str(self._home.root),
            supervisor_pid=os.getpid(),
            started_at_ms=self._started_at_ms,
            at_ms=self._clock.now_ms(),
            ready=bool(processes) and all(row.state == "ready" for row in processes),
            processes=tuple(processes),
            timeline=tuple(self._timeline),
            endpoints=context.endpoints(),
        )


def prepare(home: Home, launch: Launch) -> StackContext:
    """Make the home's folders and configurations; everything that may refuse to start a stack does it here."""
    for folder in (home.run, home.logs, home.data, home.tmp):
        folder.mkdir(parents=True, exist_ok=True)
    assets = find_assets()
    assets.check()
    context = StackContext(
        home=home,
        assets=assets,
        jdk=choose_jdk(launch.options.java_home, env=os.environ, installed=system_jdks()),
        ports=load_or_plan_ports(home.data / PORTS_FILE, home.root, base=launch.options.port_base),
        options=launch.options,
        flink_settings=launch.flink_settings,
    )
    flinkhome.write_flink_home(context)
    kafka.write_config(context)
    return context


def clear_run(home: Home) -> None:
    """Remove what only a running stack needs: tmp, sockets, pid files, rendered files, `stack.json`; not the lock."""
    shutil.rmtree(home.tmp, ignore_errors=True)
    home.stack_file.unlink(missing_ok=True)
    for entry in home.run.glob("*") if home.run.is_dir() else ():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != orphans.LOCK_FILE:
            entry.unlink(missing_ok=True)


def take_lock(home: Home) -> int | None:
    """Become the home's only supervisor until this process ends; `None` if there is one already."""
    home.run.mkdir(parents=True, exist_ok=True)
    return orphans.lock_folder(home.run)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of `python -m headrace.stack.supervisor --home H`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", required=True, type=Path)
    home = Home(parser.parse_args(arguments).home)
    setup_logging()
    lock = take_lock(home)
    if lock is None:
        log.warning("supervisor_exists", home=home.root)
        return 1
    clock = SystemClock()
    (home.run / FAILED_FILE).unlink(missing_ok=True)
    try:
        launch = msgspec.json.decode((home.run / LAUNCH_FILE).read_bytes(), type=Launch)
        cleaned = orphans.clean_orphans(home.run, clock=clock)
        if cleaned:
            log.warning("orphans_cleaned", names=cleaned)
        asyncio.run(Supervisor(home, launch, clock=clock).run())
    except HeadraceError as error:
        clear_run(home)
        (home.run / FAILED_FILE).write_bytes(msgspec.json.encode(error.body()))
        log.error("supervisor_failed", error=str(error))
        return 1
    return 0  # the lock goes with the process, so that whoever takes it next knows this one is gone


if __name__ == "__main__":
    raise SystemExit(main())
