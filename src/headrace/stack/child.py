"""One supervised process: start, readiness, log, crash and restart with back-off, orderly stop.

A child leads its own session, gets SIGTERM when the supervisor dies, and is waited for through a pidfd, so that the
supervisor needs no threads (it forks, and a fork with threads may hang in the child).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import tempfile
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from headrace.core.clock import Clock
from headrace.core.log import get_logger
from headrace.stack import archive, orphans
from headrace.stack.backoff import HISTORY_LIMIT, Crash, decide_restart
from headrace.stack.logs import LogWriter
from headrace.stack.messages import ProcessStatus
from headrace.stack.meter import Usage
from headrace.stack.options import StackOptions
from headrace.stack.probes import is_ready, probe_files
from headrace.stack.specs import ProcessSpec

log = get_logger("headrace.stack.child")
PROBE_EVERY_S = 0.1
PROBE_SELDOM_S = 1.0
EAGER_S = 30.0  # a process that is not ready by then is not about to be: asking costs it and us CPU
READ_BYTES = 65_536
PREPARE_TIMEOUT_S = 60.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


class Child:
    """Runs one `ProcessSpec` until it is told to stop."""

    def __init__(self, spec: ProcessSpec, *, options: StackOptions, run: Path, logs: Path, clock: Clock) -> None:
        self.spec = spec
        self.state = "waiting"
        self.ready = asyncio.Event()
        self._options = options
        self._run = run
        self._clock = clock
        self._log_path = logs / f"{spec.name}.log"
        self._log = LogWriter(self._log_path, limit_bytes=options.log_file_bytes, keep=options.log_files)
        self._process: subprocess.Popen[bytes] | None = None
        self._record: orphans.PidRecord | None = None
        self._exited = asyncio.Event()
        self._wake = asyncio.Event()
        self._stopping = False
        self._planned_restart = False
        self._crashes: deque[Crash] = deque(maxlen=HISTORY_LIMIT)
        self._restarts = 0
        self._looping = False
        self._started_at_ms = 0
        self._started_s = 0.0
        self._ready_at_ms = 0

    @property
    def pid(self) -> int:
        """Pid of the running process, 0 when there is none."""
        return self._process.pid if self._process else 0

    async def live(self, dependencies: list[Child]) -> None:
        """Start once the dependencies are ready, and again after each crash, until `stop`."""
        for dependency in dependencies:
            await dependency.ready.wait()
        while not self._stopping:
            code = await self._run_once()
            if not self._stopping:
                await self._back_off(code)
        self.state = "stopped"

    async def stop(self) -> None:
        """SIGTERM to the session, SIGKILL after the spec's patience; returns when nothing of it lives."""
        self._stopping = True
        self._wake.set()
        await self._end_process()
        self.state = "stopped"

    async def restart(self) -> None:
        """Stop in order and start again at once; not counted as a crash."""
        self._planned_restart = True
        self._wake.set()
        await self._end_process()

    def kill(self) -> int:
        """SIGKILL to the whole session, as a crash would be; returns the pid that was hit, 0 if it did not run."""
        if self._process is None or self._record is None:
            return 0
        orphans.signal_members([self._record], signal.SIGKILL)
        return self._process.pid

    def status(self, usage: Mapping[int, Usage] | None = None) -> ProcessStatus:
        """What `headrace status` shows; `usage` by pid of the session's leader."""
        used = (usage or {}).get(self.pid, Usage())
        return ProcessStatus(
            name=self.spec.name,
            state=self.state,
            pid=self.pid,
            started_at_ms=self._started_at_ms,
            ready_at_ms=self._ready_at_ms,
            start_ms=self._ready_at_ms - self._started_at_ms if self._ready_at_ms else 0,
            restarts=self._restarts,
            looping=self._looping,
            cpu_percent=used.cpu_percent,
            rss_bytes=used.rss_bytes,
            endpoint=self.spec.endpoint,
            log=str(self._log_path),
            log_problem=self._log.problem,
            crashes=tuple(self._crashes),
        )

    async def _run_once(self) -> int:
        code = await self._prepare()
        if code or self._stopping:
            return code
        try:
            pid = self._spawn()
        except OSError as error:
            self._log.write(f"headrace: cannot start: {error}\n".encode())
            return 127
        watcher = asyncio.create_task(self._watch_ready())
        try:
            await _wait_exit(pid)
        finally:
            watcher.cancel()
        await self._end_session()
        code = self._reap()
        self._exited.set()
        return code

    async def _prepare(self) -> int:
        prepare = self.spec.prepare
        if prepare is None or Path(prepare.marker).exists():
            return 0
        self.state = "preparing"
        with tempfile.TemporaryFile(dir=self._run) as output:
            process = self._popen(prepare.argv, cwd=str(self._run), stdout=output.fileno())
            try:
                async with asyncio.timeout(PREPARE_TIMEOUT_S):
                    await _wait_exit(process.pid)
            finally:
                process.kill()
                process.wait()
            output.seek(0)
            self._log.write(output.read())
        return process.returncode

    def _popen(self, argv: tuple[str, ...], *, cwd: str, stdout: int) -> subprocess.Popen[bytes]:
        supervisor = os.getpid()
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=os.environ | self.spec.env,
            start_new_session=True,
            preexec_fn=lambda: bind_to(supervisor),
        )

    def _spawn(self) -> int:
        for leftover in probe_files(self.spec.probe):
            leftover.unlink(missing_ok=True)
        for folder in (self.spec.cwd, self.spec.env.get("TMPDIR", self.spec.cwd)):
            Path(folder).mkdir(parents=True, exist_ok=True)
        self.state = "starting"
        self._exited.clear()
        self._started_at_ms, self._ready_at_ms = self._clock.now_ms(), 0
        self._started_s = self._clock.monotonic_s()
        process = self._popen(self.spec.argv, cwd=self.spec.cwd, stdout=subprocess.PIPE)
        self._process = process
        self._record = orphans.write_pid(self._run, self.spec.name, process.pid)
        if process.stdout is not None:
            os.set_blocking(process.stdout.fileno(), False)
            asyncio.get_running_loop().add_reader(process.stdout.fileno(), self._on_output)
        log.info("process_started", name=self.spec.name, pid=process.pid)
        return process.pid

    def _on_output(self) -> None:
        if self._process is None or self._process.stdout is None:
            return
        data = b""
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._process.stdout.fileno(), READ_BYTES)
            if not data:
                asyncio.get_running_loop().remove_reader(self._process.stdout.fileno())
        if data:
            self._log.write(data)

    async def _watch_ready(self) -> None:
        while True:
            if await is_ready(self.spec.probe, alive_s=self._clock.monotonic_s() - self._started_s):
                break
            slow = self._clock.monotonic_s() - self._started_s > EAGER_S
            await self._clock.sleep_async(PROBE_SELDOM_S if slow else PROBE_EVERY_S)
        self._ready_at_ms = self._clock.now_ms()
        self.state = "ready"
        self.ready.set()
        log.info("process_ready", name=self.spec.name, start_ms=self._ready_at_ms - self._started_at_ms)

    async def _end_session(self) -> None:
        """Kill what an ended process left running and wait until it is gone: a large JVM needs a while to die of SIGKILL."""
        if self._process is None or self._record is None:
            return
        self._process.wait()
        deadline = self._clock.monotonic_s() + orphans.KILL_S
        while orphans.signal_members([self._record], signal.SIGKILL):
            if self._clock.monotonic_s() > deadline:
                log.warning("process_cannot_be_killed", name=self.spec.name, after_s=orphans.KILL_S)
                return
            await self._clock.sleep_async(orphans.POLL_S)

    def _reap(self) -> int:
        """Collect the exit code and the last output."""
        process = self._process
        if process is None or self._record is None:
            return 0
        code = process.wait()
        if process.stdout is not None:
            self._on_output()
            asyncio.get_running_loop().remove_reader(process.stdout.fileno())
            process.stdout.close()
        if self.spec.class_archive:
            archive.adopt_archive(self.spec.class_archive, self.spec.argv, complete=self._ready_at_ms > 0)
        self.ready.clear()
        self._process = self._record = None
        self._ready_at_ms = 0
        (self._run / f"{self.spec.name}.pid").unlink(missing_ok=True)
        return code

    async def _back_off(self, code: int) -> None:
        if self._planned_restart:
            self._planned_restart = False
            self._wake.clear()
            return
        ran_ms = int((self._clock.monotonic_s() - self._started_s) * 1000) if self._started_s else 0
        options = self._options
        decision = decide_restart(
            list(self._crashes),
            ran_ms=ran_ms,
            initial_ms=options.restart_backoff_ms,
            max_ms=options.restart_backoff_max_ms,
        )
        self._crashes.append(Crash(self._clock.now_ms(), code, ran_ms, decision.delay_ms))
        self._restarts += 1
        self._looping = decision.looping
        self.state = "backoff"
        log.warning("process_crashed", name=self.spec.name, exit_code=code, ran_ms=ran_ms, backoff_ms=decision.delay_ms)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), decision.delay_ms / 1000)
        self._wake.clear()

    async def _end_process(self) -> None:
        record = self._record
        if self._process is None or record is None:
            return
        self.state = "stopping"
        orphans.announce_stop(self._run, record)
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._exited.wait(), self._patience_s())
        except TimeoutError:
            log.warning("process_stop_forced", name=self.spec.name, after_s=self._patience_s())
            orphans.signal_members([record], signal.SIGKILL)
            await self._exited.wait()

    def _patience_s(self) -> float:
        writes_archive = any(word.startswith("-XX:ArchiveClassesAtExit") for word in self.spec.argv)
        return self.spec.stop_timeout_s + (30.0 if writes_archive else 0.0)


async def _wait_exit(pid: int) -> None:
    """Wait for a direct child without reaping it."""
    loop, exited = asyncio.get_running_loop(), asyncio.Event()
    descriptor = os.pidfd_open(pid)
    loop.add_reader(descriptor, exited.set)
    try:
        await exited.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def bind_to(supervisor: int) -> None:
    """In the child, before exec: die with the supervisor, and allow as many open files as the system does."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != supervisor:
        os._exit(1)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
