"""Kafka tables: options for append, upsert and batch, topics, refused declarations."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from tests.unit.connectors.tables import context, table

from headrace.connectors.external import TopicSpec
from headrace.connectors.kafka import plan_topics
from headrace.connectors.registry import check_table, render_options
from headrace.core.errors import Invalid
from headrace.core.schema import Table


def test_an_append_table_is_exactly_once() -> None:
    """Transactions under an id of job and table, read committed, plain key, null fields left out, idle partitions passed over."""
    assert render_options(table("kafka", message_key="sid"), context()) == {
        "connector": "kafka",
        "topic": "dwd.t",
        "properties.bootstrap.servers": "127.0.0.1:9092",
        "properties.group.id": "headrace-j",
        "properties.isolation.level": "read_committed",
        "properties.allow.auto.create.topics": "false",
        "properties.auto.offset.reset": "earliest",
        "properties.transaction.timeout.ms": "900000",
        "properties.max.block.ms": "300000",
        "properties.delivery.timeout.ms": "300000",
        "properties.default.api.timeout.ms": "300000",
        "properties.retry.backoff.ms": "20",
        "properties.metric.reporters": "",
        "properties.enable.metrics.push": "false",
        "scan.startup.mode": "earliest-offset",
        "properties.max.partition.fetch.bytes": "131072",
        "properties.fetch.min.bytes": "16384",
        "properties.fetch.max.wait.ms": "50",
        "scan.watermark.idle-timeout": "10 s",
        "key.fields": "sid",
        "key.format": "raw",
        "value.fields-include": "ALL",
        "value.format": "headrace-json",
        "value.headrace-json.timestamp-format.standard": "ISO-8601",
        "value.headrace-json.encode.decimal-as-plain-number": "true",
        "value.headrace-json.encode.ignore-null-fields": "true",
        "sink.delivery-guarantee": "exactly-once",
        "sink.transactional-id-prefix": "headrace-j-t",
    }


def test_a_key_of_several_columns_is_json() -> None:
    """Only one text column can be a raw key."""
    rendered = render_options(table("kafka", message_key="sid, n"), context())
    assert (rendered["key.fields"], rendered["key.format"]) == ("sid;n", "json")


def test_an_upsert_table_is_idempotent_and_immediate() -> None:
    """The upsert connector, at least once, no transaction to wait for; buffering only when asked for."""
    rendered = render_options(table("kafka", key=("sid",), changelog="upsert"), context())
    assert (rendered["connector"], rendered["sink.delivery-guarantee"]) == ("upsert-kafka", "at-least-once")
    patience = [rendered[f"properties.{name}.ms"] for name in ("max.block", "delivery.timeout", "default.api.timeout")]
    assert patience == ["300000"] * 3
    assert not {"key.fields", "sink.transactional-id-prefix", "scan.startup.mode", "sink.buffer-flush.interval"} & set(
        rendered
    )
    buffered = render_options(table("kafka", key=("sid",), changelog="upsert", buffer_flush="200 ms"), context())
    assert (buffered["sink.buffer-flush.interval"], buffered["sink.buffer-flush.max-rows"]) == ("200 ms", "10000")


@pytest.mark.parametrize("declared", [table("kafka"), table("kafka", key=("sid",), changelog="upsert")])
def test_batch_is_bounded_and_writes_nothing(declared: Table) -> None:
    """A recount reads what is committed now and ends."""
    rendered = render_options(declared, context("batch"))
    assert rendered["scan.bounded.mode"] == "latest-offset"
    assert not [key for key in rendered if key.startswith("sink.") or "idle-timeout" in key]


def test_topics_follow_retention_and_changelog() -> None:
    """Append deletes by age, upsert compacts; ODS tables get a dead-letter topic."""
    assert plan_topics(table("kafka", retention="1 d", partitions="8")) == [
        TopicSpec("dwd.t", 8, {"cleanup.policy": "delete", "retention.ms": "86400000"})
    ]
    (upsert,) = plan_topics(table("kafka", key=("sid",), changelog="upsert"))
    assert upsert.config == {"cleanup.policy": "compact", "retention.ms": "-1"}
    ods = msgspec.structs.replace(table("kafka"), layer="ods")
    assert [topic.name for topic in plan_topics(ods)] == ["ods.t", "dlq.t"]


@pytest.mark.parametrize(
    ("declare", "says"),
    [
        (lambda: table("kafka", changelog="upsert"), "needs a primary key"),
        (lambda: table("kafka", key=("sid",)), "has no primary key"),
        (lambda: table("kafka", key=("sid",), changelog="upsert", partitions="0"), "bad option value"),
        (lambda: table("kafka", changelog="upsrt"), "bad option value"),
        (lambda: table("kafka", buffer_flush="1 s"), "only an upsert table can buffer"),
        (lambda: table("kafka", idle_timeout="now"), "idle-timeout is not a duration"),
        (lambda: table("kafka", message_key="sidd"), "names a column that is not stored"),
        (lambda: table("kafka", message_key="ts"), "names a column that is not stored"),
        (lambda: table("kafka", topic="x"), "unknown option of a kafka table"),
    ],
)
def test_wrong_declarations_are_refused(declare: Callable[[], Table], says: str) -> None:
    """Each with one sentence; names are offered where one was misspelt."""
    with pytest.raises(Invalid, match=says):
        check_table(declare())
