"""What agents and observers count, as `GET /metrics` in Prometheus' text format (version 0.0.4), on the selector that they turn on.

The server is made for processes that must stay small and must never wait: non-blocking, one short answer a connection, few connections
at once, and whoever is slow is cut off. It serves no other path and reads no more than a request's head. It listens only when `--metrics` says where.
"""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence

from headrace.core.errors import Unavailable

AGENT, OBSERVER = "headrace_hawk_agent_", "headrace_hawk_observer_"
KINDS = ("counter", "gauge")
HELP: dict[str, tuple[str, str]] = {
    AGENT + "heartbeats_total": ("counter", "Heartbeats sent; each goes to all observers."),
    AGENT + "acknowledgements_total": ("counter", "Heartbeats that an observer acknowledged, by its number."),
    AGENT + "lease_age_ms": (
        "gauge",
        "Age of the lease at each observer, ms; two above fence-after-ms stop the TaskManagers.",
    ),
    AGENT + "fence_state": ("gauge", "1 for what the TaskManagers shall do now: run, hold or kill."),
    AGENT + "holds_total": ("counter", "How often the TaskManagers were stopped because the lease was lost."),
    AGENT + "kills_total": ("counter", "How often they were killed for a verdict, or a lease lost for long."),
    AGENT + "processes": ("gauge", "Processes that run and are watched."),
    AGENT + "gray": ("gauge", "1 for each class that self-checks show: slow_disk, full_disk, …"),
    AGENT + "dependency_unreachable": ("gauge", "1 for each dependency that does not answer this host, 0 for one that does."),
    AGENT + "rejected_datagrams_total": ("counter", "Datagrams that were no answers to this agent, by reason."),
    AGENT + "rss_bytes": ("gauge", "Resident memory of the process."),
    AGENT + "cpu_s": ("counter", "CPU time of the process, s."),
    OBSERVER + "hosts": ("gauge", "Hosts by what this observer thinks of them."),
    OBSERVER + "silence_ms": ("gauge", "Silence of hosts that are not alive, ms of the observer's awake clock."),
    OBSERVER + "heartbeats_total": ("counter", "Heartbeats of agents that were taken."),
    OBSERVER + "verdicts_total": ("counter", "Verdicts, by class of failure."),
    OBSERVER + "verdicts_told_total": ("counter", "Verdicts that Flink has taken from this observer."),
    OBSERVER + "verdicts_dropped_total": ("counter", "Verdicts that were too old, or did not hold any more, to be told."),
    OBSERVER + "held_hosts": ("gauge", "Hosts whose verdict the brake holds now."),
    OBSERVER + "link_fault_hosts": ("gauge", "Hosts that one observer alone cannot reach."),
    OBSERVER + "sick_observers": ("gauge", "Observers whose votes are left out."),
    OBSERVER + "blocked_hosts": ("gauge", "Hosts on probation: they get no work for a while."),
    OBSERVER + "retired_hosts": ("gauge", "Hosts that get no work until an operator re-admits them."),
    OBSERVER + "gray_hosts": ("gauge", "Hosts that are ill but not dead, by class."),
    OBSERVER + "dependency_unreachable_hosts": ("gauge", "Hosts that a dependency does not answer, by its name."),
    OBSERVER + "spare_slots": ("gauge", "Free slots of TaskManagers that may get work; only where a driver is asked."),
    OBSERVER + "exposed_nodes": ("gauge", "Nodes whose loss would leave tasks without a slot; only where a driver is asked."),
    OBSERVER + "rejected_datagrams_total": ("counter", "Datagrams that were not believed, by reason."),
    OBSERVER + "rss_bytes": ("gauge", "Resident memory of the process."),
    OBSERVER + "cpu_s": ("counter", "CPU time of the process, s."),
}  # fmt: skip
SERIES_MAX = 50  # of one metric: hosts that are silent; beyond, how many there are is in another
CONNECTIONS_MAX = 4
REQUEST_BYTES_MAX = 4096
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

Series = Sequence[tuple[Mapping[str, str], float]]


def plain(value: float) -> Series:
    """A metric without labels."""
    return [({}, value)]


def by(label: str, values: Mapping[str, float]) -> Series:
    """A metric with one label."""
    return [({label: name}, value) for name, value in values.items()]


def render(metrics: Mapping[str, Series]) -> str:
    """The text of some metrics, each with its help and kind; those that are not in HELP are a bug."""
    lines: list[str] = []
    for name, series in metrics.items():
        kind, text = HELP[name]
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
        lines += [f"{name}{_labels(labels)} {value:.12g}" for labels, value in series[:SERIES_MAX]]
    return "\n".join([*lines, ""])


def own_cpu_s() -> float:
    """CPU time of this process, all threads, s."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def own_rss_bytes() -> int:
    """Resident memory of this process; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


class MetricsServer:
    """Answers `GET /metrics` on somebody's selector."""

    def __init__(self, address: tuple[str, int], selector: selectors.BaseSelector, text: Callable[[], str]) -> None:
        """Listen.

        Raises:
            Unavailable: the address cannot be listened on.
        """
        self._selector = selector
        self._text = text
        self._open: dict[socket.socket, bytes] = {}  # in the order in which they came
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.setblocking(False)
        try:
            self._listener.bind(address)
            self._listener.listen(CONNECTIONS_MAX)
        except OSError as error:
            self._listener.close()
            raise Unavailable(
                f"metrics cannot be served: {error.strerror or error}",
                context={"address": f"{address[0]}:{address[1]}"},
                hint="choose another port with `--metrics`",
            ) from error
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        """Stop listening and cut off who is connected."""
        for sock in list(self._open):
            self._drop(sock)
        self._selector.unregister(self._listener)
        self._listener.close()

    def _accept(self, _: object) -> None:
        with contextlib.suppress(OSError):
            sock, _address = self._listener.accept()
            sock.setblocking(False)
            while len(self._open) >= CONNECTIONS_MAX:
                self._drop(next(iter(self._open)))  # the oldest: it has said nothing for longest
            self._open[sock] = b""
            self._selector.register(sock, selectors.EVENT_READ, lambda _: self._read(sock))

    def _read(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(REQUEST_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        request = self._open[sock] + data
        self._open[sock] = request
        if data and b"\r\n\r\n" not in request and len(request) < REQUEST_BYTES_MAX:
            return
        if data:
            # What the socket's buffer has no room for is not sent: some KiB always fit into an empty one.
            with contextlib.suppress(OSError):
                sock.send(self._answer(request))
        self._drop(sock)

    def _answer(self, request: bytes) -> bytes:
        words = request.split(b" ", 2)
        found = len(words) == 3 and words[0] == b"GET" and words[1].split(b"?")[0] == b"/metrics"
        body = self._text().encode() if found else b"not found: GET /metrics\n"
        status = "200 OK" if found else "404 Not Found"
        head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        return head.encode() + body

    def _drop(self, sock: socket.socket) -> None:
        del self._open[sock]
        self._selector.unregister(sock)
        sock.close()


class EventCounts:
    """Counts of the events that an observer tells; `hear` is called from several threads, one line each under the interpreter's lock."""

    def __init__(self) -> None:
        self.verdicts: dict[str, int] = {}
        self.told = 0
        self.dropped = 0
        self.exposed = 0
        self.held = 0
        self.link_faults = 0
        self.sick = 0

    def hear(self, event: str, fields: Mapping[str, object]) -> None:
        """One event."""
        match event:
            case "verdict":
                failure = str(fields.get("failure", ""))
                self.verdicts[failure] = self.verdicts.get(failure, 0) + 1
            case "verdict_told":
                self.told += 1
            case "verdict_dropped":
                self.dropped += 1
            case "spares_short" | "spares_enough":
                self.exposed = _length(fields.get("nodes"))
            case "held":
                self.held = _length(fields.get("names"))
            case "link_faults":
                self.link_faults = _length(fields.get("names"))
            case "sick_observers":
                self.sick = _length(fields.get("names"))


def count_by(names: Iterable[str]) -> dict[str, float]:
    """How often each name comes."""
    counts: dict[str, float] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts


def _length(value: object) -> int:
    return len(value) if isinstance(value, Sequence) else 0


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_escape(value)}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
