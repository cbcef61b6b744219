"""Streamed rows against recounted rows, table by table.

A stream is never finished: its last minutes and open sessions are still to be corrected when the traffic ends. `complete_until`
are therefore the rules that say from the row alone whether it was final at that moment; only such rows are compared, from both
sides, so that a row missing on either side is a difference.

Rows of an earlier run in the same folder are left out. Its sessions were cut off when the stack was stopped: a job that comes back after more
than its state's time to live knows nothing of them, and a batch job, whose state does not expire, does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition

from headrace.core.errors import Unavailable
from headrace.serve.olap_client import OlapClient

SLOT_MS = 5_000
SILENCE_MS = 20_000  # a session has ended after three empty heartbeat slots (apps/live-quality/README.md)
MINUTE_MS = 60_000
POLL_TIMEOUT_S = 5.0
EMPTY_POLLS_MAX = 6

Row = Mapping[str, Any]


class TableRule(msgspec.Struct, frozen=True):
    """How one table is compared: where its rows are, its key, the column that says when a row begins (ms), and when a row is final."""

    name: str
    job: str
    key: tuple[str, ...]
    where: str
    time: str
    final: Callable[[Row, int], bool]


def session_final(last_ms: int, until_ms: int) -> bool:
    """Whether a session whose last known beat was at `last_ms` had ended and been summed up.

    Between two totals a row does not show the beats since, so that a session that goes on looks like one that ended: a further beat
    would have come within the silence, and the minute that it fell into must have been summed up too.
    """
    heard_ms = last_ms + SILENCE_MS
    return heard_ms - heard_ms % MINUTE_MS + MINUTE_MS < until_ms


def _interval(row: Row, until_ms: int) -> bool:
    return int(row["to_ms"]) // SLOT_MS * SLOT_MS + SLOT_MS <= until_ms  # written when its slot is complete


def _session(row: Row, until_ms: int) -> bool:
    return session_final(int(row["last_ms"]), until_ms)


def _minute(row: Row, until_ms: int) -> bool:
    return int(row["window_start_ms"]) + MINUTE_MS + SILENCE_MS < until_ms


def _second(row: Row, until_ms: int) -> bool:
    return int(row["sec_ms"]) + 1000 < until_ms


RULES = (
    TableRule("play_interval", "quality", ("sid", "from_ms", "to_ms"), "kafka", "from_ms", _interval),
    TableRule("play_session", "quality", ("sid", "session_ms"), "olap", "session_ms", _session),
    TableRule(
        "qoe_1m", "quality", ("window_start_ms", "region", "isp", "cdn", "cid"), "olap", "window_start_ms", _minute
    ),
    TableRule("cell_1s", "cells", ("sec_ms", "region", "isp", "cdn"), "olap", "sec_ms", _second),
)
OLAP_NAMES = {"cell_1s": "cell_1s_olap"}


class Difference(msgspec.Struct, frozen=True):
    """The comparison of one table: rows compared, rows that differ, and an example."""

    table: str
    rows: int
    different: int
    example: str = ""


def compare(
    rule: TableRule, streamed: Iterable[Row], recounted: Iterable[Row], *, until_ms: int, since_ms: int = 0
) -> Difference:
    """Compare final rows that begin at `since_ms` or later, as multisets of whole rows. Pure."""

    def chosen(rows: Iterable[Row]) -> Counter[tuple[tuple[str, Any], ...]]:
        return Counter(_frozen(row) for row in rows if int(row[rule.time]) >= since_ms and rule.final(row, until_ms))

    ours, theirs = chosen(streamed), chosen(recounted)
    lost, extra = theirs - ours, ours - theirs
    example = ""
    if lost or extra:
        first = next(iter(lost or extra))
        key = {name: dict(first).get(name) for name in rule.key}
        other = next(
            (row for row in (extra if lost else lost) if all(dict(row).get(name) == key[name] for name in rule.key)), ()
        )
        example = (
            f"{key}: recount {_changed(first, other)}, stream {_changed(other, first)}"
            if lost
            else f"only in the stream: {dict(first)}"
        )
    return Difference(rule.name, max(ours.total(), theirs.total()), max(lost.total(), extra.total()), example[:600])


def _frozen(row: Row) -> tuple[tuple[str, Any], ...]:
    # A null field is left out by Kafka's JSON and written by the others; types are the tables' own on both sides.
    return tuple(sorted((name, value) for name, value in row.items() if value is not None and not name.startswith("_")))


def _changed(row: Sequence[tuple[str, Any]], other: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    return dict(set(row) - set(other))


def olap_rows(olap: OlapClient, table: str, *, columns: Sequence[str]) -> list[dict[str, Any]]:
    """All rows of an OLAP table, the newest of each key, only the declared columns."""
    return olap.query(
        f"SELECT {', '.join(columns)} FROM {table} FINAL SETTINGS output_format_json_quote_64bit_integers=0"
    )


def kafka_rows(bootstrap: str, topic: str) -> list[tuple[dict[str, Any], int]]:
    """All committed rows of a topic, each with the ms when it was written.

    Raises:
        Unavailable: Kafka does not answer.
    """
    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": "headrace-compare",
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
    }
    consumer = Consumer(settings)
    try:
        partitions = consumer.list_topics(topic, timeout=POLL_TIMEOUT_S).topics[topic].partitions
        ends = {
            number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=POLL_TIMEOUT_S)
            for number in partitions
        }
        consumer.assign([TopicPartition(topic, number, low) for number, (low, _) in ends.items()])
        return _read(consumer, {number: high for number, (low, high) in ends.items() if high > low})
    except KafkaException as error:
        raise Unavailable(f"cannot read the topic: {error}", context={"topic": topic}) from error
    finally:
        consumer.close()


def topic_end(bootstrap: str, topic: str) -> int:
    """Rows ever written to a topic without transactions: the sum of its end offsets; 0 when there is no such topic."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "headrace-count"})
    try:
        found = consumer.list_topics(topic, timeout=POLL_TIMEOUT_S).topics[topic].partitions
        return sum(
            consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=POLL_TIMEOUT_S)[1] for number in found
        )
    finally:
        consumer.close()


def _read(consumer: Consumer, ends: Mapping[int, int]) -> list[tuple[dict[str, Any], int]]:
    rows: list[tuple[dict[str, Any], int]] = []
    waiting = set(ends)
    empty = 0
    while waiting and empty < EMPTY_POLLS_MAX:
        messages = consumer.consume(10_000, timeout=1.0)
        empty = 0 if messages else empty + 1
        for message in messages:
            value, offset, partition = message.value(), message.offset(), message.partition()
            if message.error() is None and value is not None:
                rows.append((msgspec.json.decode(value), message.timestamp()[1]))
            # The last offset before the end may be a transaction marker, which is never delivered: hence the empty polls.
            if offset is not None and partition is not None and offset + 1 >= ends.get(partition, 0):
                waiting.discard(partition)
    return rows
