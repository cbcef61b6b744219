"""The Kafka sink against librdkafka's own mock cluster, and against a port where nobody is."""

import asyncio
import socket
from collections.abc import Callable

import pytest
from confluent_kafka import Producer
from tests.waiting import wait_until

from headrace.core.clock import SystemClock
from headrace.ingest.gateway import GatewayOptions, bind, producer_config
from headrace.ingest.sink import KafkaSink, Message

NORMAL = GatewayOptions()  # a broker that is only slow gets all of its time
SHORT = GatewayOptions(delivery_timeout_ms=1000)  # for a port where nobody is


@pytest.fixture(scope="module")
def mock_kafka() -> str:
    """A broker inside librdkafka; lives as long as the process."""
    owner = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "unused"})
    _owners.append(owner)
    brokers = wait_until(lambda: owner.list_topics(timeout=5).brokers, timeout_s=10, what="the mock broker")
    broker = next(iter(brokers.values()))
    return f"{broker.host}:{broker.port}"


_owners: list[Producer] = []


def free_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def batch(count: int) -> list[Message]:
    """So many messages."""
    return [{"value": b"{}", "key": f"s{number}"} for number in range(count)]


def run(
    kafka: str,
    scenario: Callable[[KafkaSink], "asyncio.Future[None] | object"],
    options: GatewayOptions = NORMAL,
    **more: object,
) -> None:
    """Run a scenario with a started sink that has the gateway's own configuration, and close it."""

    async def main() -> None:
        sink = KafkaSink({**producer_config(options, kafka=kafka), **more}, clock=SystemClock())
        sink.start()
        await scenario(sink)  # type: ignore[misc]
        await sink.close(2)

    asyncio.run(main())


def test_a_batch_is_acknowledged_as_a_whole(mock_kafka: str) -> None:
    """The future is done when all messages are in, with no failure; an empty batch is done at once."""

    async def scenario(sink: KafkaSink) -> None:
        assert await sink.send("t", []) == 0
        assert await asyncio.gather(*(sink.send("t", batch(50)) for _ in range(20))) == [0] * 20
        assert (sink.in_flight, sink.acknowledged, sink.stalled) == (0, 1000, False)

    run(mock_kafka, scenario)


def test_what_does_not_fit_the_queue_fails_and_the_rest_does_not(mock_kafka: str) -> None:
    """A full librdkafka queue fails exactly the messages that it did not take."""

    async def scenario(sink: KafkaSink) -> None:
        assert await sink.send("t", batch(15)) == 5
        assert sink.in_flight == 0

    run(mock_kafka, scenario, **{"queue.buffering.max.messages": 10})


def test_without_a_broker_batches_fail_in_time_and_only_one_tries_on() -> None:
    """Messages fail after the delivery time-out; from then on one batch at a time finds out whether Kafka is back."""

    async def scenario(sink: KafkaSink) -> None:
        assert await sink.send("t", batch(3)) == 3
        assert not sink.stalled
        probe = sink.send("t", batch(1))
        assert sink.stalled
        assert await probe == 1
        assert sink.last_error

    run(f"127.0.0.1:{free_port()}", scenario, SHORT)


def test_a_taken_port_is_named() -> None:
    """The error says which address is taken, and what to do."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(Exception, match=f"127.0.0.1:{port}") as caught:
            bind("127.0.0.1", port)
        assert "--port" in str(caught.value)
