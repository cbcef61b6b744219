"""Agents and observers with a network between them, all in one process, with time moved by hand.

The cores are the real ones, with real datagrams; only sockets, kernels and clocks are played. Randomness is seeded by the test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from headrace.guard.hawk.agent_core import AgentCore
from headrace.guard.hawk.fence import Fence
from headrace.guard.hawk.keys import host_key
from headrace.guard.hawk.model import HostReport, ProcessReport, Verdict
from headrace.guard.hawk.observer_core import ObserverCore
from headrace.guard.hawk.options import HawkOptions

CLUSTER_KEY = b"k" * 32
STEP_MS = 10
OBSERVER_TURN_MS = 20
NAMES = ("o1", "o2", "o3")
RUNNING = HostReport(processes=(ProcessReport("tm", 7),))


@dataclass
class Machine:
    """A host with its agent and what a test does to it."""

    core: AgentCore
    boot: int
    up: bool = True  # the kernel answers and the network works
    running: bool = True  # the agent gets CPU
    listens: int = 0  # port at which its TaskManager runs and answers
    report: HostReport = RUNNING
    fence: Fence = Fence.RUN
    fences: list[tuple[int, Fence]] = field(default_factory=list)
    waiting: list[tuple[int, bytes]] = field(default_factory=list)  # in the socket


class World:
    """Three observers and some hosts."""

    def __init__(self, hosts: int = 4, *, seed: int = 1, options: HawkOptions | None = None) -> None:
        self.options = options or HawkOptions()
        self.random = Random(seed)
        self.now_ms = 1_000_000
        self.events: list[tuple[int, str, str, dict[str, object]]] = []
        self.verdicts: list[tuple[int, str, Verdict]] = []
        self.asleep: set[str] = set()  # observers that get no CPU
        self.gone: set[str] = set()  # observers whose process has ended; their kernels answer
        self.cut: Callable[[str, str], bool] = lambda sender, receiver: False
        self.traffic: list[tuple[str, str, bytes]] = []
        self.inbox: dict[str, list[tuple[bytes, str]]] = {name: [] for name in NAMES}
        self.observers = {name: self._observer(name, number) for number, name in enumerate(NAMES, 1)}
        self.machines = {f"h{number}": self.machine(f"h{number}", number) for number in range(hosts)}

    def machine(self, name: str, boot: int, key: bytes | None = None) -> Machine:
        """A host whose agent has just started."""
        core = AgentCore(name, key or host_key(CLUSTER_KEY, name), len(NAMES), boot=1000 + boot, options=self.options)
        return Machine(core, boot)

    def _observer(self, name: str, boot: int) -> ObserverCore:
        def tell(event: str, **fields: object) -> None:
            self.events.append((self.now_ms, name, event, fields))

        peers = {peer: (peer, 1) for peer in NAMES if peer != name}
        return ObserverCore(
            name, CLUSTER_KEY, peers, boot=boot, secret=f"{name}{boot}".encode() * 8, options=self.options, tell=tell
        )

    def run(self, duration_ms: int) -> None:
        """Let time pass."""
        for _ in range(duration_ms // STEP_MS):
            self.now_ms += STEP_MS
            for name in self.machines:
                self._turn_agent(name)
            if self.now_ms % OBSERVER_TURN_MS == 0:
                for name in NAMES:
                    self._turn_observer(name)

    def start_observer(self, name: str) -> None:
        """A fresh process of an observer."""
        self.gone.discard(name)
        self.observers[name] = self._observer(name, self.random.randrange(1 << 32))
        self.inbox[name] = []

    def convicted(self) -> dict[str, int]:
        """Host → when it was first convicted; processes are left out."""
        found: dict[str, int] = {}
        for at_ms, _, verdict in self.verdicts:
            if not verdict.process:
                found.setdefault(verdict.host, at_ms)
        return found

    def reaches(self, sender: str, receiver: str) -> bool:
        """Whether a packet gets from one machine to the other now."""
        dead = any(name in self.machines and not self.machines[name].up for name in (sender, receiver))
        return not dead and not self.cut(sender, receiver)

    def send(self, sender: str, receiver: str, data: bytes) -> None:
        """A datagram on its way; arrives at once or not at all."""
        self.traffic.append((sender, receiver, data))
        if not self.reaches(sender, receiver):
            return
        if receiver in self.inbox:
            if receiver not in self.gone:
                self.inbox[receiver].append((data, sender))
        elif receiver in self.machines:
            self.machines[receiver].waiting.append((NAMES.index(sender), data))

    def _turn_agent(self, name: str) -> None:
        machine = self.machines[name]
        if not machine.up or not machine.running:
            return
        core = machine.core
        # As the agent does: the fence is decided before anything that waits is read or sent.
        self._fence(machine, core.fence(self.now_ms))
        for index, data in machine.waiting:
            core.hear(index, data, self.now_ms)
        machine.waiting.clear()
        for index in core.late_observers(self.now_ms):
            if self.reaches(name, NAMES[index]) and self.reaches(NAMES[index], name):
                core.hear_kernel(index, self.now_ms)
        self._fence(machine, core.fence(self.now_ms))
        report = HostReport(
            self.now_ms,
            machine.report.rack,
            machine.report.processes,
            machine.report.gray,
            unreachable=machine.report.unreachable,
            holding=machine.fence is Fence.HOLD,
            fenced=core.fenced,
        )
        for index, data in core.beat(report, self.now_ms):
            self.send(name, NAMES[index], data)

    def _fence(self, machine: Machine, fence: Fence) -> None:
        if fence is not machine.fence:
            machine.fences.append((self.now_ms, fence))
        machine.fence = fence

    def _turn_observer(self, name: str) -> None:
        if name in self.asleep or name in self.gone:
            return
        core = self.observers[name]
        for data, sender in self.inbox[name]:
            answer = core.receive(data, (sender, 1), self.now_ms, self.now_ms)
            if answer is not None:
                self.send(name, sender, answer)
        self.inbox[name].clear()
        turn = core.turn(self.now_ms)
        for data, address in turn.datagrams:
            self.send(name, address[0], data)
        for host, address in turn.probes:
            if self.reaches(name, address) and self.reaches(address, name):
                core.kernel_answered(host)
        for host, address, port in turn.asks:
            if self.reaches(name, address) and self.reaches(address, name) and self.machines[host].listens == port:
                core.process_answered(host)
        self.verdicts += [(self.now_ms, name, verdict) for verdict in turn.decision.verdicts]
