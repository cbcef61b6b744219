"""An observer: `python -m headrace.guard.hawk.observer`, three of them on different hosts, one beside each JobManager.

One thread turns every 20 ms: reads all datagrams that wait, then judges (`observer_core`). With `--driver` it also acts on
verdicts (`realize`, threads of its own). Everything that happens is one JSON line in the event file, with wall and monotonic
time: the timeline of a failure is made from it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import queue
import secrets
import selectors
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from headrace.core.clock import BootClock, Clock
from headrace.core.config import load_options, read_toml
from headrace.core.errors import HeadraceError, Invalid
from headrace.core.log import get_logger, setup_logging
from headrace.flink.driver_client import DriverClient
from headrace.guard.hawk.addresses import parse_address
from headrace.guard.hawk.agent import hold_memory
from headrace.guard.hawk.events import EventLog
from headrace.guard.hawk.keys import read_key
from headrace.guard.hawk.metrics import (
    OBSERVER,
    EventCounts,
    MetricsServer,
    by,
    count_by,
    own_cpu_s,
    own_rss_bytes,
    plain,
    render,
)
from headrace.guard.hawk.model import Verdict, View, is_job_manager
from headrace.guard.hawk.observer_core import ObserverCore
from headrace.guard.hawk.options import HawkOptions
from headrace.guard.hawk.probes import Prober
from headrace.guard.hawk.realize import KeptOff, Order, Realizer, ResourceManager
from headrace.guard.hawk.roster import Roster
from headrace.guard.hawk.signs import FlinkHeard
from headrace.guard.hawk.wire import DATAGRAM_BYTES_MAX

log = get_logger("headrace.guard.hawk.observer")
TURN_S = 0.02
DATAGRAMS_A_TURN = 20_000  # 10,000 hosts that were silent for two beats while we were away
RECEIVE_BYTES = 8 << 20  # 5,000 datagrams with the kernel's overhead: half a second of 1,000 hosts


class ObserverSetup(NamedTuple):
    """What an observer is started with."""

    name: str
    key: bytes
    bind: tuple[str, int]
    peers: dict[str, tuple[str, int]]
    events: Path | None = None
    options: HawkOptions = HawkOptions()
    metrics: tuple[str, int] | None = None
    hosts_file: Path | None = None


class Observer:
    """The edges around `ObserverCore`."""

    def __init__(self, setup: ObserverSetup, *, clock: Clock, flink: ResourceManager | None = None) -> None:
        self._setup = setup
        self._clock = clock
        self._events = EventLog(setup.events, setup.name, clock=clock) if setup.events else None
        self._counts = EventCounts()
        self._roster = (
            Roster(setup.hosts_file, options=setup.options, clock=clock, tell=self.tell) if setup.hosts_file else None
        )
        self._core = ObserverCore(
            setup.name,
            setup.key,
            setup.peers,
            boot=secrets.randbits(63),
            secret=secrets.token_bytes(32),
            options=setup.options,
            tell=self.tell,
        )
        self._selector = selectors.DefaultSelector()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        self._socket.bind(setup.bind)
        self._prober = Prober(
            self._selector,
            self._core.kernel_answered,
            port=setup.options.probe_port,
            process_answered=self._core.process_answered,
        )
        self._flink_heard: queue.SimpleQueue[dict[str, FlinkHeard]] = queue.SimpleQueue()
        self._realizer = (
            Realizer(flink, clock=clock, tell=self.tell, still_holds=self._still_holds, heard=self._flink_heard.put)
            if flink
            else None
        )
        self._metrics = (
            MetricsServer(setup.metrics, self._selector, self.metrics_text) if setup.metrics is not None else None
        )
        self._ill: frozenset[str] = frozenset()
        self._kept_off: frozenset[str] = frozenset()
        self._stopping = False

    def metrics_text(self) -> str:
        """All metrics of this observer."""
        core, counts = self._core, self._counts
        awake_ms = core.awake_ms
        silence = {
            name: float(awake_ms - known.evidence.heartbeat_ms)
            for name, known in core.hosts.items()
            if known.view is not View.ALIVE
        }
        gray = count_by(failure for known in core.hosts.values() for failure in known.report.gray)
        metrics = {
            "hosts": by("view", dict.fromkeys(View, 0.0) | count_by(known.view for known in core.hosts.values())),
            "silence_ms": by("host", silence),
            "heartbeats_total": plain(core.heartbeats),
            "verdicts_total": by("class", counts.verdicts),
            "verdicts_told_total": plain(counts.told),
            "verdicts_dropped_total": plain(counts.dropped),
            "held_hosts": plain(counts.held),
            "link_fault_hosts": plain(counts.link_faults),
            "sick_observers": plain(counts.sick),
            "blocked_hosts": plain(len(core.blocks(self._now_ms()))),
            "retired_hosts": plain(len(self._roster.retired) if self._roster is not None else 0),
            "gray_hosts": by("class", gray),
            "dependency_unreachable_hosts": by("dependency", core.unreachable_from.counts),
            "rejected_datagrams_total": by("reason", core.rejected),
            "rss_bytes": plain(own_rss_bytes()),
            "cpu_s": plain(own_cpu_s()),
        }
        if self._realizer is not None:
            spare = self._realizer.spare_slots
            metrics["spare_slots"] = plain(spare) if spare is not None else ()
            metrics["exposed_nodes"] = plain(counts.exposed)
        return render({OBSERVER + name: series for name, series in metrics.items()})

    def stop(self) -> None:
        """End after this turn."""
        self._stopping = True

    def tell(self, event: str, **fields: object) -> None:
        """One event: a line of log and a line of the event file; called from several threads."""
        log.info(event, observer=self._setup.name, **fields)
        self._counts.hear(event, fields)
        if self._roster is not None:
            self._roster.hear(event, fields)
        if self._events is not None:
            self._events.write(event, fields)

    def run(self) -> None:
        """Observe until told to stop."""
        self.tell("observer_started", bind=f"{self._setup.bind[0]}:{self._setup.bind[1]}")
        if self._realizer:
            self._realizer.start()
        due_s = self._clock.monotonic_s()
        while not self._stopping:
            # Turns are on a grid; when one was missed the next begins at once and the grid starts anew.
            due_s = max(due_s + TURN_S, self._clock.monotonic_s())
            self._wait_until(due_s)
            self.turn()
        if self._realizer:
            self._realizer.stop()
        self._prober.close()
        if self._metrics is not None:
            self._metrics.close()
        self.tell("observer_stopped", rejected=self._core.rejected)

    def turn(self) -> None:
        """Read everything, then judge."""
        self._read()
        now_ms = self._now_ms()
        with contextlib.suppress(queue.Empty):
            while True:
                self._core.flink_heard(self._flink_heard.get_nowait())
        self._prober.expire(now_ms)
        turn = self._core.turn(now_ms)
        for data, address in turn.datagrams:
            with contextlib.suppress(OSError):
                self._socket.sendto(data, address)
        for host, address_ip in turn.probes:
            self._prober.probe(host, address_ip, now_ms)
        for host, address_ip, port in turn.asks:
            self._prober.ask(host, address_ip, port, now_ms)
        if self._roster is not None:
            self._roster.turn(self._core.living, now_ms)
        if self._realizer:
            self._keep_off(self._realizer, now_ms)
            self._realizer.eager = bool(turn.probes)
            for verdict in turn.decision.verdicts:
                self._realizer.order(self._order(verdict, now_ms))

    def _keep_off(self, realizer: Realizer, now_ms: int) -> None:
        """Hosts that are retired, and those whose disk takes no writes, for Flink."""
        ill = self._core.kept_off(now_ms)
        if ill.keys() != self._ill:
            self._ill = frozenset(ill)
            self.tell("kept_off", names=sorted(ill))
        reasons = ill | {
            host: f"retired, {why}" for host, why in (self._roster.retired if self._roster else {}).items()
        }
        known = {host: self._core.hosts[host] for host in reasons if host in self._core.hosts}
        if known or self._kept_off:
            self._kept_off = frozenset(known)
            realizer.keep_off(
                {
                    host: KeptOff(self._core.task_managers(host), each.address[0], reasons[host])
                    for host, each in known.items()
                }
            )

    def _order(self, verdict: Verdict, now_ms: int) -> Order:
        host, one = verdict.host, (verdict.process,)
        names = self._core.task_managers(host)
        leaders = self._core.job_managers(host)
        if verdict.process:
            names, leaders = ((), one) if is_job_manager(verdict.process) else (one, ())
        blocked_ms = next((each.until_ms - now_ms for each in self._core.blocks(now_ms) if each.host == host), 0)
        address = self._core.hosts[host].address[0]
        return Order(verdict, names, self._clock.monotonic_s(), address, blocked_ms / 1000, leaders)

    def _still_holds(self, order: Order) -> bool:
        """Whether nothing newer is known: the process has not been replaced, the host has not come back. From a thread; reads only."""
        known = self._core.hosts.get(order.verdict.host)
        if known is None:
            return True
        if order.verdict.process:
            return all(each.pid == 0 for each in known.report.processes if each.name == order.verdict.process)
        return known.view is not View.ALIVE or known.report.holding

    def _wait_until(self, due_s: float) -> None:
        while (left_s := due_s - self._clock.monotonic_s()) > 0:
            for key, _ in self._selector.select(left_s):
                key.data(key.fileobj)
        for key, _ in self._selector.select(0):
            key.data(key.fileobj)

    def _read(self) -> None:
        now_ms, wall_ms = self._now_ms(), self._clock.now_ms()
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            for _ in range(DATAGRAMS_A_TURN):
                data, address = self._socket.recvfrom(DATAGRAM_BYTES_MAX + 1)
                answer = self._core.receive(data, address, now_ms, wall_ms)
                if answer is not None:
                    with contextlib.suppress(OSError):
                        self._socket.sendto(answer, address)

    def _now_ms(self) -> int:
        return round(self._clock.monotonic_s() * 1000)


def parse_peers(text: str) -> dict[str, tuple[str, int]]:
    """`name=host:port` pairs, separated by commas.

    Raises:
        Invalid: not of that form.
    """
    peers = {}
    for part in filter(None, text.split(",")):
        name, equals, address = part.strip().partition("=")
        if not equals or not name:
            raise Invalid("peer is not name=host:port", context={"peer": part}, hint="for instance o2=10.0.0.2:7946")
        peers[name] = parse_address(address)
    return peers


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of an observer's process."""
    parser = argparse.ArgumentParser(prog="headrace hawk observe", description="A Hawk observer.")
    parser.add_argument("--name", required=True)
    parser.add_argument("--bind", required=True, help="host:port to listen on")
    parser.add_argument("--peers", default="", help="name=host:port of the other observers, separated by commas")
    parser.add_argument("--key-file", required=True, type=Path, help="the cluster's key")
    parser.add_argument(
        "--driver", type=Path, help="socket of the Flink driver; with it this observer acts on verdicts"
    )
    parser.add_argument("--events", type=Path, help="file for events, one JSON object a line")
    parser.add_argument("--hosts-file", type=Path, help="file of strikes and retired hosts")
    parser.add_argument("--metrics", help="host:port to serve GET /metrics on")
    parser.add_argument("--config", type=Path)
    chosen = parser.parse_args(arguments)
    setup_logging()
    try:
        document = read_toml(chosen.config) if chosen.config else {}
        setup = ObserverSetup(
            chosen.name,
            read_key(chosen.key_file),
            parse_address(chosen.bind),
            parse_peers(chosen.peers),
            chosen.events,
            load_options(HawkOptions, document=document, env=os.environ).check(),
            parse_address(chosen.metrics) if chosen.metrics else None,
            chosen.hosts_file,
        )
        flink = DriverClient(chosen.driver) if chosen.driver else None
        observer = Observer(setup, clock=BootClock(), flink=flink)
        signal.signal(signal.SIGTERM, lambda *_: observer.stop())
        signal.signal(signal.SIGINT, lambda *_: observer.stop())
        hold_memory()
        observer.run()
    except HeadraceError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"error: observer cannot start: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
