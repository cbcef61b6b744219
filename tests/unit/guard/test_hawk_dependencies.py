"""What jobs need from elsewhere: who answers, who does not, and whose fault it is."""

from __future__ import annotations

import selectors
import socket
import struct
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.guard.hawk_world import RUNNING, World
from tests.waiting import wait_until

from headrace.core.errors import Invalid
from headrace.guard.hawk.dependencies import (
    BAD_CHECKS,
    DEPENDENCIES_MAX,
    GOOD_CHECKS,
    NAME_BYTES_MAX,
    PATIENCE_MS,
    Dependency,
    DependencyWatch,
    Reach,
    api_versions_request,
    decide_down,
    follow,
    parse_dependencies,
    parse_dependency,
)

EVERY_S = 3


@given(st.lists(st.booleans(), max_size=40))
def test_a_change_is_told_after_so_many_checks_in_a_row(answers: list[bool]) -> None:
    """Against the plain definition: what is told changes when the last checks all say the opposite."""
    reach, told, since = Reach(), False, 0
    for at, answered in enumerate(answers, 1):
        reach = follow(reach, answered=answered)
        needed = GOOD_CHECKS if told else BAD_CHECKS
        last = answers[max(since, at - needed) : at]
        if len(last) == needed and all(each is told for each in last):
            told, since = not told, at
        assert reach.unreachable is told


class Broker:
    """A listening socket; whoever holds it answers, or does not."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.address = self.listener.getsockname()
        self.requests: list[bytes] = []

    def answer(self) -> None:
        """Take what has come so far and answer it as a broker would: a length and some bytes."""
        while True:
            try:
                connection, _ = self.listener.accept()
            except BlockingIOError:
                return
            with connection:
                connection.settimeout(5)
                self.requests.append(connection.recv(100))
                connection.sendall(struct.pack(">iih", 6, 1, 0))


@pytest.fixture
def broker() -> Iterator[Broker]:
    """One that listens."""
    made = Broker()
    yield made
    made.listener.close()


class Watch:
    """A watch with a clock of its own."""

    def __init__(self, *dependencies: Dependency) -> None:
        self.selector = selectors.DefaultSelector()
        self.watch = DependencyWatch(dependencies, self.selector, every_s=EVERY_S)
        self.now_ms = 1000

    def turn(self) -> bool:
        """Read what there is, then see to what is due; returns whether something is still open."""
        for key, _ in self.selector.select(0):
            key.data(key.fileobj)
        self.watch.turn(self.now_ms)
        return bool(self.selector.get_map())

    def check(self, broker: Broker | None = None) -> tuple[str, ...]:
        """One whole check; a broker that is given answers."""
        self.turn()
        if broker is not None:
            seen = len(broker.requests)

            def served() -> bool:
                self.turn()
                broker.answer()
                return len(broker.requests) > seen and not self.turn()

            wait_until(served, timeout_s=10, what="the answer")
        self.now_ms += PATIENCE_MS
        self.turn()
        self.now_ms += EVERY_S * 1000 - PATIENCE_MS
        return self.watch.unreachable


def test_a_broker_that_stands_still_is_told_though_its_kernel_accepts(broker: Broker) -> None:
    """After two checks, and that it answers again after two more; the request is Kafka's, and nothing stays open."""
    watch = Watch(Dependency("kafka", "kafka", (broker.address,)))
    assert watch.check(broker) == ()
    assert broker.requests == [api_versions_request()]
    assert [watch.check() for _ in range(2)] == [(), ("kafka",)]
    broker.answer()  # of the connections that were given up
    assert [watch.check(broker) for _ in range(2)] == [("kafka",), ()]
    watch.watch.close()
    assert not watch.selector.get_map()


def test_one_address_that_answers_is_enough(broker: Broker) -> None:
    """The others may be down; a port that nobody listens on is no answer."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        closed = nobody.getsockname()
        both = Watch(Dependency("kafka", "kafka", (closed, broker.address)))
        alone = Watch(Dependency("store", "tcp", (closed,)))
        assert [both.check(broker) for _ in range(3)] == [()] * 3
        assert [alone.check() for _ in range(2)] == [(), ("store",)]


def test_a_port_that_accepts_is_enough_for_tcp(broker: Broker) -> None:
    """Nothing is sent."""
    watch = Watch(Dependency("store", "tcp", (broker.address,)))
    for _ in range(3):
        watch.turn()
        wait_until(lambda: not watch.turn(), timeout_s=10, what="the connection")
        assert watch.check() == ()
        watch.now_ms += EVERY_S * 1000


def test_what_most_hosts_cannot_reach_is_down() -> None:
    """Of a single host nothing can be concluded, and half of them are not most."""
    assert decide_down({"kafka": 3, "store": 2}, 4) == ("kafka",)
    assert decide_down({"kafka": 1}, 1) == ()
    assert decide_down({"kafka": 2}, 2) == ("kafka",)


def test_hosts_tell_what_they_cannot_reach_and_are_not_convicted() -> None:
    """One host first, then most of them; a dead one's last word does not count, and the end is told, too."""
    world = World(4)
    world.run(2000)

    def told(event: str) -> list[object]:
        return [
            (fields.get("host"), fields["names"])
            for _, who, each, fields in world.events
            if (who, each) == ("o1", event)
        ]

    deaf = msgspec.structs.replace(RUNNING, unreachable=("kafka",))
    world.machines["h1"].report = deaf
    world.run(500)
    assert told("dependency_unreachable") == [("h1", ["kafka"])]
    assert world.observers["o1"].unreachable_from.counts == {"kafka": 1}
    for name in ("h2", "h3"):
        world.machines[name].report = deaf
    world.run(500)
    assert told("dependency_down") == [(None, ["kafka"])]
    world.machines["h1"].up = False
    world.run(3000)
    assert world.observers["o1"].unreachable_from.counts == {"kafka": 2}
    assert told("dependency_unreachable")[-1] == ("h1", [])
    for name in ("h2", "h3"):
        world.machines[name].report = RUNNING
    world.run(500)
    assert told("dependency_down") == [(None, ["kafka"]), (None, [])]
    assert set(world.convicted()) == {"h1"}


def test_dependencies_are_named_once_and_well() -> None:
    """With several addresses in one; whatever is wrong is said before anything starts."""
    assert parse_dependency("kafka=kafka://127.0.0.1:1,127.0.0.2:2") == Dependency(
        "kafka", "kafka", (("127.0.0.1", 1), ("127.0.0.2", 2))
    )
    for text in (
        "kafka",
        "=tcp://127.0.0.1:1",
        "kafka=127.0.0.1:1",
        "kafka=http://127.0.0.1:1",
        "kafka=tcp://127.0.0.1",
    ):
        with pytest.raises(Invalid):
            parse_dependency(text)
    with pytest.raises(Invalid, match="too long"):
        parse_dependency("k" * (NAME_BYTES_MAX + 1) + "=tcp://127.0.0.1:1")
    with pytest.raises(Invalid, match="too many addresses"):
        parse_dependency("kafka=kafka://" + ",".join(["127.0.0.1:1"] * 6))
    with pytest.raises(Invalid, match="given twice"):
        parse_dependencies(["kafka=tcp://127.0.0.1:1", "kafka=tcp://127.0.0.1:2"])
    with pytest.raises(Invalid, match="too many dependencies"):
        parse_dependencies([f"d{number}=tcp://127.0.0.1:1" for number in range(DEPENDENCIES_MAX + 1)])
