"""Topics: how many records they hold, how fast they grow, and how far behind their readers are.

One round asks the broker for its topics, the first and last offsets of all partitions and what the consumer groups have committed.
Flink commits when a checkpoint completes, so a job's lag moves in the rhythm of its checkpoints.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping

import msgspec
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from headrace.console.live_model import Topic
from headrace.core.clock import Clock
from headrace.core.errors import Unavailable

CALL_S = 2.0
RATE_WINDOW_S = 3.0
TOPICS_MAX = 100  # the page lists tables of one stack; more would be unreadable
GROUPS_MAX = 32
GROUPS_EVERY = 3  # rounds; commits come with checkpoints, seconds apart

Partition = tuple[str, int]


class Offsets(msgspec.Struct, frozen=True, kw_only=True):
    """What the broker said in one round."""

    at_s: float
    first: dict[Partition, int]
    last: dict[Partition, int]
    committed: dict[str, dict[Partition, int]]


class KafkaCollector:
    """Asks the broker; keeps the rounds of the last seconds, for rates."""

    name = "kafka"

    def __init__(self, endpoint: Callable[[], str], *, clock: Clock) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._admin: AdminClient | None = None
        self._rounds: deque[Offsets] = deque(maxlen=16)
        self._committed: dict[str, dict[Partition, int]] = {}
        self._round = 0

    def collect(self) -> list[Topic]:
        """All topics but internal ones; raises `Unavailable` when the broker does not answer."""
        try:
            self._rounds.append(self._ask(self._admin or self._open()))
        except KafkaException as error:
            raise Unavailable(f"broker does not answer: {error.args[0].str()}", operation="kafka.offsets") from error
        return render_topics(list(self._rounds))

    def close(self) -> None:
        """Forget the connection and the old rounds."""
        self._admin = None
        self._rounds.clear()

    def _open(self) -> AdminClient:
        self._admin = AdminClient(
            {"bootstrap.servers": self._endpoint(), "socket.connection.setup.timeout.ms": 2000, "log_level": 0}
        )
        return self._admin

    def _ask(self, admin: AdminClient) -> Offsets:
        topics = admin.list_topics(timeout=CALL_S).topics
        names = [name for name in sorted(topics) if not name.startswith("_")][:TOPICS_MAX]
        partitions = [(name, partition) for name in names for partition in topics[name].partitions]
        if self._round % GROUPS_EVERY == 0:
            self._committed = self._ask_groups(admin)
        self._round += 1
        return Offsets(
            at_s=self._clock.monotonic_s(),
            first=_list_offsets(admin, partitions, OffsetSpec.earliest()),  # type: ignore[no-untyped-call]
            last=_list_offsets(admin, partitions, OffsetSpec.latest()),  # type: ignore[no-untyped-call]
            committed=self._committed,
        )

    def _ask_groups(self, admin: AdminClient) -> dict[str, dict[Partition, int]]:
        listing = admin.list_consumer_groups(request_timeout=CALL_S).result()
        names = sorted(group.group_id for group in listing.valid)[:GROUPS_MAX]
        committed: dict[str, dict[Partition, int]] = {}
        for name in names:
            asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)], request_timeout=CALL_S)
            found = asked[name].result().topic_partitions
            committed[name] = {(one.topic, one.partition): one.offset for one in found if one.offset >= 0}
        return committed


def _list_offsets(admin: AdminClient, partitions: Iterable[Partition], spec: OffsetSpec) -> dict[Partition, int]:
    wanted = {TopicPartition(*partition): spec for partition in partitions}
    if not wanted:
        return {}
    futures = admin.list_offsets(wanted, request_timeout=CALL_S)
    return {(asked.topic, asked.partition): future.result().offset for asked, future in futures.items()}


def render_topics(rounds: list[Offsets]) -> list[Topic]:
    """Topics of the newest round; rates over the rounds of the last `RATE_WINDOW_S`. Pure.

    Args:
        rounds: n >= 1, ascending by time.
    """
    newest = rounds[-1]
    base = next((one for one in rounds if newest.at_s - one.at_s <= RATE_WINDOW_S), newest)
    passed_s = newest.at_s - base.at_s
    topics: dict[str, list[Partition]] = {}
    for partition in newest.last:
        topics.setdefault(partition[0], []).append(partition)
    return [_topic(name, parts, newest, base, passed_s) for name, parts in sorted(topics.items())]


def _topic(name: str, parts: list[Partition], newest: Offsets, base: Offsets, passed_s: float) -> Topic:
    grown = sum(newest.last[part] - base.last.get(part, newest.last[part]) for part in parts)
    lags = {
        group: lag for group, offsets in newest.committed.items() if (lag := _lag(parts, newest, offsets)) is not None
    }
    worst = max(lags, key=lambda group: lags[group], default="")
    return Topic(
        name=name,
        partitions=len(parts),
        records=sum(newest.last[part] - newest.first.get(part, 0) for part in parts),
        rate_records_per_s=grown / passed_s if passed_s > 0 else None,
        lag_records=lags.get(worst),
        lag_group=worst,
    )


def _lag(parts: list[Partition], newest: Offsets, committed: Mapping[Partition, int]) -> int | None:
    known = [part for part in parts if part in committed]
    return sum(max(newest.last[part] - committed[part], 0) for part in known) if known else None
