"""The agent of a host: `python -m headrace.guard.hawk.agent`, one small process per host.

One thread, one selector: heartbeats on time, process descriptors, probes of the observers' kernels. Order of a turn: decide the
fence from what is known *before* reading anything, so that an agent that stood still stops its TaskManagers first; then read;
decide again; then send. It imports little and sleeps between heartbeats (answers wait in the socket until the next one), since
it has to stay small (40 MB) and idle (1 % of a core): no asyncio, no HTTP.

Exit codes: 0 after SIGTERM (it tells the observers that it leaves), 1 when it cannot start or another agent has its name.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import secrets
import selectors
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from headrace.core.clock import BootClock, Clock
from headrace.core.config import load_options, read_toml
from headrace.core.errors import HeadraceError, Invalid
from headrace.core.log import get_logger, setup_logging
from headrace.guard.hawk.addresses import parse_address
from headrace.guard.hawk.agent_core import AgentCore, describe
from headrace.guard.hawk.dependencies import Dependency, DependencyWatch, parse_dependencies
from headrace.guard.hawk.fence import Fence
from headrace.guard.hawk.gray import Streak, classify, find_proven, follow, shown
from headrace.guard.hawk.keys import read_key
from headrace.guard.hawk.metrics import AGENT, MetricsServer, by, own_cpu_s, own_rss_bytes, plain, render
from headrace.guard.hawk.model import FailureClass, HostReport
from headrace.guard.hawk.options import OBSERVERS, HawkOptions
from headrace.guard.hawk.probes import Prober
from headrace.guard.hawk.processes import TASK_AND_JOB_MANAGERS, TASK_MANAGERS, ProcessWatch
from headrace.guard.hawk.self_check import SelfChecker
from headrace.guard.hawk.wire import DATAGRAM_BYTES_MAX

log = get_logger("headrace.guard.hawk.agent")
REFRESH_MS = 200
PROBE_EVERY_MS = 100
COLLECT_MS = 1000  # between two looks at whether a self-check has ended
REPEATS, REPEAT_EVERY_MS = 4, 20  # of news: one lost packet must not cost a heartbeat's interval
DATAGRAMS_A_TURN = 64
_MCL_ALL_ON_FAULT = 1 | 2 | 4


class AgentSetup(NamedTuple):
    """What an agent is started with."""

    host: str
    key: bytes
    observers: tuple[tuple[str, int], ...]
    pid_folder: Path
    disks: tuple[Path, ...] = ()
    rack: str = ""
    options: HawkOptions = HawkOptions()
    job_managers: bool = False
    metrics: tuple[str, int] | None = None
    dependencies: tuple[Dependency, ...] = ()


class Agent:
    """The edges around `AgentCore`."""

    def __init__(self, setup: AgentSetup, *, clock: Clock) -> None:
        self._setup = setup
        self._clock = clock
        self._options = setup.options
        self._selector = selectors.DefaultSelector()
        # The key is the host's own; 63 bits of randomness name this incarnation.
        self._core = AgentCore(
            setup.host, setup.key, len(setup.observers), boot=secrets.randbits(63), options=setup.options
        )
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._index = {address: index for index, address in enumerate(setup.observers)}
        self._names = {str(index): index for index in self._index.values()}
        self._prober = Prober(self._selector, self._on_kernel, port=setup.options.probe_port)
        self._processes = ProcessWatch(
            setup.pid_folder,
            self._selector,
            options=setup.options,
            tell=log.warning,
            now=self.now_ms,
            prefixes=TASK_AND_JOB_MANAGERS if setup.job_managers else TASK_MANAGERS,
        )
        self._checker = SelfChecker(setup.disks, clock=clock)
        self._streaks: dict[FailureClass, Streak] = {}
        self._dependencies = DependencyWatch(
            setup.dependencies, self._selector, every_s=setup.options.dependency_check_s
        )
        self._unreachable: tuple[str, ...] = ()
        self._fence = Fence.RUN
        self._refresh_due_ms = self._check_due_ms = self._collect_due_ms = self._probe_due_ms = 0
        self._repeats, self._repeat_due_ms = 0, 0
        self._holds = self._kills = 0
        self._metrics = (
            MetricsServer(setup.metrics, self._selector, self.metrics_text) if setup.metrics is not None else None
        )
        self._stopping = False

    def metrics_text(self) -> str:
        """All metrics of this agent."""
        now_ms = self.now_ms()
        observers = [f"{ip}:{port}" for ip, port in self._setup.observers]
        ages = {
            observer: float(now_ms - lease.acked_ms)
            for observer, lease in zip(observers, self._core.leases, strict=True)
            if lease.acked_ms is not None
        }
        acknowledged = dict(zip(observers, map(float, self._core.acknowledged), strict=True))
        metrics = {
            "heartbeats_total": plain(self._core.heartbeats),
            "acknowledgements_total": by("observer", acknowledged),
            "lease_age_ms": by("observer", ages),
            "fence_state": by("state", {state: float(state is self._fence) for state in Fence}),
            "holds_total": plain(self._holds),
            "kills_total": plain(self._kills),
            "processes": plain(sum(each.pid != 0 for each in self._processes.reports(now_ms))),
            "gray": by("class", dict.fromkeys(shown(self._streaks), 1.0)),
            "dependency_unreachable": by(
                "dependency",
                {each.name: float(each.name in self._unreachable) for each in self._setup.dependencies},
            ),
            "rejected_datagrams_total": by("reason", self._core.rejected),
            "rss_bytes": plain(own_rss_bytes()),
            "cpu_s": plain(own_cpu_s()),
        }
        return render({AGENT + name: series for name, series in metrics.items()})

    def now_ms(self) -> int:
        """Monotonic ms that go on while the machine is suspended."""
        return round(self._clock.monotonic_s() * 1000)

    def stop(self) -> None:
        """End after telling the observers."""
        self._stopping = True

    def run(self) -> None:
        """Beat until told to stop.

        Raises:
            Conflict: another agent runs under this name.
        """
        while not self._stopping:
            self.turn()
        for _ in range(REPEATS):
            self._send(self._core.beat(self._report(self.now_ms(), leaving=True), self.now_ms(), at_once=True))
        self._processes.close()
        self._prober.close()
        self._dependencies.close()
        if self._metrics is not None:
            self._metrics.close()

    def turn(self) -> None:
        """Wait for what is due or comes first, and see to it."""
        now_ms = self.now_ms()
        wait_ms = self._core.due_in_ms(now_ms)
        if self._repeats:
            wait_ms = min(wait_ms, max(0, self._repeat_due_ms - now_ms))
        events = self._processes.wait(wait_ms)
        self._apply_fence()
        for key, _ in events:
            key.data(key.fileobj)
        self._read_answers()
        now_ms = self.now_ms()
        self._look_around(now_ms)
        self._apply_fence()
        at_once = self._has_news(now_ms)
        if at_once or self._core.due_in_ms(now_ms) == 0:
            self._send(self._core.beat(self._report(now_ms), now_ms, at_once=at_once))

    def _apply_fence(self) -> None:
        now_ms = self.now_ms()
        fence = self._core.fence(now_ms)
        if fence is not self._fence:
            log.warning("fence_decided", fence=fence, leases=describe(self._core.leases, now_ms))
            self._holds += fence is Fence.HOLD
            self._kills += fence is Fence.KILL
        self._fence = fence
        self._processes.apply(fence)

    def _look_around(self, now_ms: int) -> None:
        if now_ms >= self._refresh_due_ms:
            self._refresh_due_ms = now_ms + REFRESH_MS
            self._processes.refresh(now_ms)
            self._prober.expire(now_ms)
            self._watch_dependencies(now_ms)
        if now_ms >= self._collect_due_ms:
            self._collect_due_ms = now_ms + COLLECT_MS
            self._check_itself(now_ms)
        if now_ms >= self._probe_due_ms:
            late = self._core.late_observers(now_ms)
            self._probe_due_ms = now_ms + PROBE_EVERY_MS
            for index in late:
                self._prober.probe(str(index), self._setup.observers[index][0], now_ms)

    def _watch_dependencies(self, now_ms: int) -> None:
        self._dependencies.turn(now_ms)
        before, self._unreachable = self._unreachable, self._dependencies.unreachable
        if self._unreachable != before:
            log.warning("dependencies_unreachable", names=list(self._unreachable))

    def _check_itself(self, now_ms: int) -> None:
        begin = now_ms >= self._check_due_ms
        if begin:
            self._check_due_ms = now_ms + self._options.self_check_s * 1000
        check = self._checker.poll(slow_ms=self._options.disk_slow_ms, begin=begin)
        if check is None:
            return
        before, seen = shown(self._streaks), classify(check, self._options)
        self._streaks = follow(self._streaks, seen, self._options, proven=find_proven(check))
        if shown(self._streaks) != before:
            log.warning("gray_changed", classes=list(shown(self._streaks)))

    def _has_news(self, now_ms: int) -> bool:
        if self._processes.news:
            self._processes.news = False
            self._repeats, self._repeat_due_ms = REPEATS, now_ms
        if self._repeats and now_ms >= self._repeat_due_ms:
            self._repeats -= 1
            self._repeat_due_ms = now_ms + REPEAT_EVERY_MS
            return True
        return False

    def _report(self, now_ms: int, *, leaving: bool = False) -> HostReport:
        return HostReport(
            wall_ms=self._clock.now_ms(),
            rack=self._setup.rack,
            processes=self._processes.reports(now_ms),
            gray=shown(self._streaks),
            holding=self._fence is Fence.HOLD,
            fenced=self._core.fenced,
            leaving=leaving,
            unreachable=self._unreachable,
        )

    def _send(self, datagrams: Sequence[tuple[int, bytes]]) -> None:
        for index, data in datagrams:
            # No route, no buffer: the same as a packet that the network lost.
            with contextlib.suppress(OSError):
                self._socket.sendto(data, self._setup.observers[index])

    def _read_answers(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            for _turn in range(DATAGRAMS_A_TURN):
                data, address = self._socket.recvfrom(DATAGRAM_BYTES_MAX + 1)
                index = self._index.get(address)
                if index is not None:
                    self._core.hear(index, data, self.now_ms())

    def _on_kernel(self, name: str) -> None:
        self._core.hear_kernel(self._names[name], self.now_ms())


def hold_memory(log_problem: Callable[..., None] = log.info) -> None:
    """Keep pages in memory and run before others, where the system allows: a starved or swapped host must still beat."""
    if ctypes.CDLL(None, use_errno=True).mlockall(_MCL_ALL_ON_FAULT) != 0:
        log_problem("memory_not_locked", errno=ctypes.get_errno())
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError as error:
        log_problem("priority_not_raised", reason=str(error))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of the agent's process."""
    parser = argparse.ArgumentParser(prog="headrace agent", description="The Hawk agent of this host.")
    parser.add_argument("--host", required=True, help="name of this host")
    parser.add_argument("--observers", required=True, help="host:port of each observer, separated by commas")
    parser.add_argument("--key-file", required=True, type=Path, help="this host's key")
    parser.add_argument("--pid-folder", required=True, type=Path, help="where the TaskManagers' pid files lie")
    parser.add_argument("--disk", action="append", default=[], type=Path, help="folder to write to in self-checks")
    parser.add_argument(
        "--job-managers",
        action="store_true",
        help="watch and fence JobManagers, too; only where another one can lead (high availability)",
    )
    parser.add_argument(
        "--dependency",
        action="append",
        default=[],
        help="what the jobs of this host need: NAME=kafka://HOST:PORT[,…] or NAME=tcp://HOST:PORT",
    )
    parser.add_argument("--rack", default="")
    parser.add_argument("--metrics", help="host:port to serve GET /metrics on")
    parser.add_argument("--config", type=Path)
    chosen = parser.parse_args(arguments)
    setup_logging()
    try:
        observers = tuple(parse_address(each.strip()) for each in chosen.observers.split(","))
        if len(set(observers)) != len(observers) or len(observers) > OBSERVERS:
            raise Invalid("observers must be different and at most three", context={"observers": chosen.observers})
        document = read_toml(chosen.config) if chosen.config else {}
        setup = AgentSetup(
            chosen.host,
            read_key(chosen.key_file),
            observers,
            chosen.pid_folder,
            tuple(chosen.disk),
            chosen.rack,
            load_options(HawkOptions, document=document, env=os.environ).check(),
            chosen.job_managers,
            parse_address(chosen.metrics) if chosen.metrics else None,
            parse_dependencies(chosen.dependency),
        )
        agent = Agent(setup, clock=BootClock())
        signal.signal(signal.SIGTERM, lambda *_: agent.stop())
        signal.signal(signal.SIGINT, lambda *_: agent.stop())
        hold_memory()
        log.info("agent_started", host=setup.host, observers=[f"{ip}:{port}" for ip, port in observers])
        agent.run()
    except HeadraceError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
