"""Kafka: the topic `<layer>.<name>`, JSON values, exactly-once append or keyed upsert.

Append (the default): rows go out in Kafka transactions that commit with Flink's checkpoints and are read with `read_committed`, so a row
is visible once, one checkpoint later. Upsert (`'changelog' = 'upsert'` with a primary key): each change is written at once, keyed, in a
compacted topic; a replay after a failure writes the same key again, so the newest value per key is right without a transaction's delay.

The transactional id is `headrace-<job>-<table>`: two jobs never fence one another, and a restarted job finds and aborts what its last run left open.
"""

from __future__ import annotations

from headrace.connectors.external import Externals, TopicSpec
from headrace.connectors.model import (
    Capabilities,
    OptionSpec,
    RenderContext,
    System,
    option_values,
    split_columns,
)
from headrace.core.errors import Invalid, Place
from headrace.core.schema import Table
from headrace.core.units import parse_duration_ms

DLQ_PREFIX = "dlq."
DLQ_RETENTION_MS = 7 * 86_400_000
# The broker's own upper bound (transaction.max.timeout.ms, 15 min): a job that is down for longer than this loses what it had
# pre-committed, so no smaller value is safe; a job that restarts aborts its old transactions at once and does not wait for it.
TRANSACTION_TIMEOUT_MS = 900_000
# Of every client. Flink reads a client's metrics itself; registering them with JMX and asking the broker which it would like made a producer take 60 to
# 94 ms to start instead of 10, and a restarted job starts two for each subtask of a sink before it runs.
CLIENT = {"properties.metric.reporters": "", "properties.enable.metrics.push": "false"}
# How long a client goes on asking a broker that does not answer, instead of one and two minutes. A task that gives up fails, cannot abort its transaction either, and
# Flink then ends the whole TaskManager: brokers that were away for two and a half minutes cost every TaskManager of the failure lab (`kafka_away`).
PATIENCE_MS = 300_000
PATIENT_SOURCE = {"properties.default.api.timeout.ms": str(PATIENCE_MS)}
PATIENT_SINK = {"properties.max.block.ms": str(PATIENCE_MS), "properties.delivery.timeout.ms": str(PATIENCE_MS)}
# A restarted job begins its transactions when the broker has aborted those of its last run; the client asks again after this long, doubling up to a second.
# A writer took 0.1 s for that instead of 0.23 with the default of 100 ms (bench/NOTES.md).
TRANSACTION = {"properties.transaction.timeout.ms": str(TRANSACTION_TIMEOUT_MS), "properties.retry.backoff.ms": "20"}

OPTIONS = (
    OptionSpec(name="key", form="columns", doc="columns of the message key, hence of the partition; none: round robin"),
    OptionSpec(
        name="partitions", form="int", default="4", maximum=1000, doc="more read in parallel, fewer cost less memory"
    ),
    OptionSpec(
        name="changelog",
        form="choice",
        choices=("append", "upsert"),
        default="append",
        doc="upsert keeps the newest row per primary key in a compacted topic",
    ),
    OptionSpec(
        name="delivery",
        form="choice",
        choices=("exactly-once", "at-least-once"),
        doc="of the sink; default: exactly-once for append, at-least-once (idempotent by key) for upsert",
    ),
    OptionSpec(
        name="startup",
        form="choice",
        choices=("earliest", "latest", "committed"),
        default="earliest",
        doc="where a job without a savepoint starts to read",
    ),
    OptionSpec(
        name="idle-timeout",
        form="duration",
        default="10 s",
        doc="a partition without rows for this long stops holding back the watermark",
    ),
    OptionSpec(
        name="buffer-flush",
        form="duration",
        doc="upsert only: keep changes of a key this long and write the last; less traffic, more latency",
    ),
)
_STARTUP = {"earliest": "earliest-offset", "latest": "latest-offset", "committed": "group-offsets"}
FETCH_MIN_BYTES, FETCH_WAIT_MS = "16384", "50"  # what a fetch waits for, and how long at most
FETCH_BYTES = "131072"  # about 400 rows: 8 ms of work at 50,000 rows/s
_BUFFER_ROWS = "10000"  # rows held by `buffer-flush`; about 4 MB at 400 B a row
_FAST_JSON = (
    "headrace-json"  # java/connectors: Flink's json, and flat rows read in a third of the time (bench/NOTES.md)
)
_STRING_TYPES = ("STRING", "VARCHAR", "CHAR")


def topic_of(table: Table) -> str:
    """The topic that holds the table."""
    return f"{table.layer}.{table.name}"


def check(table: Table, place: Place | None) -> None:
    """Refuse an upsert without a primary key, and buffering where rows are not keyed."""
    options = option_values(OPTIONS, table)
    if options["changelog"] == "upsert" and not table.primary_key:
        raise Invalid(
            "an upsert table needs a primary key",
            place=place,
            context={"table": table.name},
            hint="add `PRIMARY KEY (…) NOT ENFORCED`, or drop 'changelog'",
        )
    if options["changelog"] == "append" and table.primary_key:
        raise Invalid(
            "an append table has no primary key",
            place=place,
            context={"table": table.name},
            hint="add 'changelog' = 'upsert', or drop the primary key and set 'key'",
        )
    if options["buffer-flush"] and options["changelog"] != "upsert":
        raise Invalid(
            "only an upsert table can buffer", place=place, context={"table": table.name}, hint="drop 'buffer-flush'"
        )
    if options["key"] and options["changelog"] == "upsert":
        raise Invalid(
            "the key of an upsert table is its primary key",
            place=place,
            context={"table": table.name},
            hint="drop 'key'",
        )


def render(table: Table, context: RenderContext) -> dict[str, str]:
    """Physical options of the topic as source and sink."""
    options = option_values(OPTIONS, table)
    rendered = {
        "topic": topic_of(table),
        "properties.bootstrap.servers": context.endpoints.kafka,
        "properties.group.id": f"headrace-{context.job}",
        "properties.isolation.level": "read_committed",
        "properties.allow.auto.create.topics": "false",
        **CLIENT,
        **(_upsert(options) if options["changelog"] == "upsert" else _append(table, options)),
    }
    if context.mode == "batch":
        return rendered | {"scan.bounded.mode": "latest-offset"}
    # A reader that catches up empties one partition's fetched bytes before it looks at the next. With the client's default of 1 MiB
    # (3,000 rows) the next partition looked idle, stopped holding back the watermark, and its rows came too late: 8,927 of 51,444
    # intervals after a TaskManager was killed. Small fetches take turns, and idle means idle.
    rendered["properties.max.partition.fetch.bytes"] = FETCH_BYTES
    # Without these a reader fetches whenever a row is there: hundreds of requests a second for some hundred bytes each.
    rendered["properties.fetch.min.bytes"] = FETCH_MIN_BYTES
    rendered["properties.fetch.max.wait.ms"] = FETCH_WAIT_MS
    rendered["scan.watermark.idle-timeout"] = options["idle-timeout"]
    rendered |= PATIENT_SOURCE
    return rendered | _delivery(table, options, context)


def _json(prefix: str, form: str = "json") -> dict[str, str]:
    return {
        f"{prefix}.format": form,
        f"{prefix}.{form}.timestamp-format.standard": "ISO-8601",
        f"{prefix}.{form}.encode.decimal-as-plain-number": "true",
    }


def _append(table: Table, options: dict[str, str]) -> dict[str, str]:
    rendered = {
        "connector": "kafka",
        **_json("value", _FAST_JSON),
        # Absent fields are null and null fields are left out: what the gateway writes, and half the bytes.
        f"value.{_FAST_JSON}.encode.ignore-null-fields": "true",
        "scan.startup.mode": _STARTUP[options["startup"]],
        "properties.auto.offset.reset": "earliest",
    }
    key = split_columns(options["key"])
    if key:
        rendered |= {"key.fields": ";".join(key), "value.fields-include": "ALL", **_key_format(table, key)}
    return rendered


def _key_format(table: Table, key: tuple[str, ...]) -> dict[str, str]:
    types = {column.name: column.type for column in table.physical}
    if len(key) == 1 and types[key[0]].startswith(_STRING_TYPES):
        return {"key.format": "raw"}  # the plain text, as the gateway writes it
    return _json("key")


def _upsert(options: dict[str, str]) -> dict[str, str]:
    rendered = {"connector": "upsert-kafka", **_json("key"), **_json("value")}
    if options["buffer-flush"]:
        rendered |= {
            "sink.buffer-flush.interval": options["buffer-flush"],
            "sink.buffer-flush.max-rows": _BUFFER_ROWS,
        }
    return rendered


def _delivery(table: Table, options: dict[str, str], context: RenderContext) -> dict[str, str]:
    upsert = options["changelog"] == "upsert"
    guarantee = options["delivery"] or ("at-least-once" if upsert else "exactly-once")
    if guarantee == "at-least-once":
        return {"sink.delivery-guarantee": guarantee, **PATIENT_SINK}
    return {
        "sink.delivery-guarantee": guarantee,
        **PATIENT_SINK,
        "sink.transactional-id-prefix": f"headrace-{context.job}-{table.name}",
        **TRANSACTION,
    }


def plan_topics(table: Table) -> list[TopicSpec]:
    """The topics a table needs: its own, and for ODS the dead letters of its stream.

    Pure.
    """
    options = option_values(OPTIONS, table)
    config = {"cleanup.policy": "delete", "retention.ms": "-1"}
    if table.retention:
        config["retention.ms"] = str(parse_duration_ms(table.retention, what="retention"))
    if options["changelog"] == "upsert":
        config["cleanup.policy"] = "compact,delete" if table.retention else "compact"
    topics = [TopicSpec(topic_of(table), int(options["partitions"]), config)]
    if table.layer == "ods":
        dead = {"cleanup.policy": "delete", "retention.ms": str(DLQ_RETENTION_MS)}
        topics.append(TopicSpec(DLQ_PREFIX + table.name, 1, dead))
    return topics


def ensure(table: Table, externals: Externals) -> list[str]:
    """Create or adjust the table's topics; returns one sentence per change."""
    done = [(spec.name, externals.topics.ensure(spec)) for spec in plan_topics(table)]
    return [f"topic {name} {what}" for name, what in done if what != "unchanged"]


SYSTEM = System(
    name="kafka",
    options=OPTIONS,
    capabilities=Capabilities(source=True, sink=True, upsert=True, bounded_read=True, guarantee="exactly-once"),
    render=render,
    check=check,
    ensure=ensure,
)
