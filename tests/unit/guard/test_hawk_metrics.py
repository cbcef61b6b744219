"""Metrics of agents and observers: a text that Prometheus reads, from a server that never makes a heartbeat wait."""

from __future__ import annotations

import re
import selectors
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.waiting import wait_until

from headrace.core.clock import BootClock
from headrace.core.errors import Unavailable
from headrace.guard.hawk.agent import Agent, AgentSetup
from headrace.guard.hawk.keys import host_key
from headrace.guard.hawk.metrics import (
    AGENT,
    CONNECTIONS_MAX,
    HELP,
    OBSERVER,
    REQUEST_BYTES_MAX,
    SERIES_MAX,
    EventCounts,
    MetricsServer,
    by,
    plain,
    render,
)
from headrace.guard.hawk.observer import Observer, ObserverSetup

KEY = b"k" * 32
LINE = re.compile(r'^(# (HELP|TYPE) \w+ .+|\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? -?[0-9.e+]+)$')
Turn = Callable[[], None]


def values(text: str) -> dict[str, float]:
    """Name with labels → value; every line must be of the format."""
    lines = text.splitlines()
    assert all(LINE.match(line) for line in lines), text
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


@pytest.fixture
def served() -> Iterator[tuple[MetricsServer, Turn]]:
    """A server of one metric, and a turn of its selector."""
    selector = selectors.DefaultSelector()
    server = MetricsServer(("127.0.0.1", 0), selector, lambda: render({AGENT + "processes": plain(3)}))

    def turn() -> None:
        for key, _ in selector.select(0.01):
            key.data(key.fileobj)

    yield server, turn
    server.close()


def ask(server: MetricsServer, turn: Turn, request: bytes) -> bytes:
    """The answer to a request, with the server's turns in between."""
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(request)
        sock.setblocking(False)
        answer = b""

        def ended() -> bool:
            nonlocal answer
            turn()
            try:
                data = sock.recv(65_536)
            except BlockingIOError:
                return False
            answer += data
            return not data

        wait_until(ended, timeout_s=60, what="the answer")
        return answer


def test_metrics_are_served_and_nothing_else(served: tuple[MetricsServer, Turn]) -> None:
    """With the type that Prometheus wants; other paths and other methods are not found."""
    server, turn = served
    head, _, body = ask(server, turn, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert b"text/plain; version=0.0.4" in head
    assert values(body.decode()) == {"headrace_hawk_agent_processes": 3}
    for request in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"x" * REQUEST_BYTES_MAX,
    ):
        assert ask(server, turn, request).startswith(b"HTTP/1.1 404")


def test_a_request_may_come_in_pieces(served: tuple[MetricsServer, Turn]) -> None:
    """As slow networks bring it."""
    server, turn = served
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        for piece in (b"GET /met", b"rics HTTP/1.0\r\n", b"\r\n"):
            sock.sendall(piece)
            turn()
        sock.settimeout(0.01)

        def answered() -> bytes:
            turn()
            try:
                return sock.recv(4096)
            except TimeoutError:
                return b""

        assert b"200 OK" in wait_until(answered, timeout_s=60, what="the answer")


def test_silent_connections_cost_no_more_than_a_few_sockets(served: tuple[MetricsServer, Turn]) -> None:
    """Whoever connects and says nothing is cut off when others come; those are answered."""
    server, turn = served
    silent = []
    for _ in range(CONNECTIONS_MAX * 2):
        silent.append(socket.create_connection(("127.0.0.1", server.port)))
        turn()
    assert b"200 OK" in ask(server, turn, b"GET /metrics HTTP/1.1\r\n\r\n")
    assert len(server._open) <= CONNECTIONS_MAX
    for sock in silent:
        sock.close()


def test_a_port_that_is_taken_is_said() -> None:
    """At the start, with what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        address = ("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(Unavailable, match="metrics cannot be served"):
            MetricsServer(address, selectors.DefaultSelector(), str)


def test_labels_are_escaped_and_series_bounded() -> None:
    """A rack of 10,000 silent hosts makes no page of 10,000 lines."""
    text = render({OBSERVER + "silence_ms": by("host", {f"h{n}": n for n in range(1000)})})
    assert len(values(text)) == SERIES_MAX
    assert 'class="a\\"b\\\\c"' in render({AGENT + "gray": by("class", {'a"b\\c': 1})})


def test_events_are_counted() -> None:
    """Verdicts by class; what holds now is a gauge."""
    counts = EventCounts()
    for event, fields in (
        ("verdict", {"failure": "host_lost"}),
        ("verdict", {"failure": "host_lost"}),
        ("verdict_told", {}),
        ("verdict_dropped", {}),
        ("held", {"names": ["a", "b"]}),
        ("held", {"names": ["a"]}),
        ("spares_short", {"nodes": ["n"]}),
        ("sick_observers", {"names": ["o1"]}),
        ("link_faults", {"names": []}),
    ):
        counts.hear(event, fields)
    assert (counts.verdicts, counts.told, counts.dropped) == ({"host_lost": 2}, 1, 1)
    assert (counts.held, counts.exposed, counts.sick, counts.link_faults) == (1, 1, 1, 0)


def test_an_agent_and_its_observer_count_the_same_heartbeats(tmp_path: Path) -> None:
    """The real ones over loopback: what one sends the other takes, and every metric that is rendered is in the reference."""
    clock = BootClock()
    observer = Observer(ObserverSetup("o1", KEY, ("127.0.0.1", 0), {}), clock=clock)
    address = observer._socket.getsockname()
    agent = Agent(AgentSetup("h1", host_key(KEY, "h1"), (address,), tmp_path), clock=clock)

    def joined() -> bool:
        agent.turn()
        observer.turn()
        return values(observer.metrics_text())[OBSERVER + "heartbeats_total"] >= 5

    wait_until(joined, timeout_s=60, what="five heartbeats")
    sent, seen = values(agent.metrics_text()), values(observer.metrics_text())
    acknowledged = sent[AGENT + f'acknowledgements_total{{observer="127.0.0.1:{address[1]}"}}']
    assert acknowledged <= seen[OBSERVER + "heartbeats_total"] <= sent[AGENT + "heartbeats_total"]
    assert seen[OBSERVER + 'hosts{view="alive"}'] == 1
    assert sent[AGENT + 'fence_state{state="run"}'] == 1
    assert sent[AGENT + "rss_bytes"] > 1 << 20
    assert sent[AGENT + "cpu_s"] > 0
    assert {name.partition("{")[0] for name in (*sent, *seen)} <= set(HELP)
