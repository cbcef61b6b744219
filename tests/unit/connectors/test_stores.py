"""ClickHouse, Redis and files tables: types, statements, options, refused declarations."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.unit.connectors.tables import context, table
from tests.unit.platform_fakes import FakeOlap, FakeTopics

from headrace.connectors.clickhouse import column_type, ensure, plan_ddl
from headrace.connectors.external import Externals
from headrace.connectors.registry import check_table, render_options
from headrace.core.errors import Conflict, HeadraceError, Invalid, Unsupported
from headrace.core.schema import Column, Table


@pytest.mark.parametrize(
    ("flink", "nullable", "clickhouse"),
    [
        ("STRING", False, "String"),
        ("STRING", True, "Nullable(String)"),
        ("STRING NOT NULL", True, "String"),
        ("VARCHAR(12)", False, "String"),
        ("BOOLEAN", False, "Bool"),
        ("INT", True, "Nullable(Int32)"),
        ("BIGINT", False, "Int64"),
        ("DECIMAL(10, 2)", False, "Decimal(10, 2)"),
        ("TIMESTAMP(3)", False, "DateTime64(3, 'UTC')"),
        ("TIMESTAMP_LTZ(3)", False, "DateTime64(3, 'UTC')"),
        ("TIMESTAMP(6) WITH LOCAL TIME ZONE", False, "DateTime64(6, 'UTC')"),
        ("DATE", True, "Nullable(Date32)"),
        ("ARRAY<INT NOT NULL>", True, "Array(Int32)"),
        ("MAP<STRING, DOUBLE>", True, "Map(String, Nullable(Float64))"),
    ],
)
def test_types_have_their_counterpart(flink: str, nullable: bool, clickhouse: str) -> None:
    """Widths, signs and nullability are kept; arrays and maps are never Nullable themselves."""
    assert column_type(flink, nullable=nullable) == clickhouse


@pytest.mark.parametrize("flink", ["RAW('x', '…')", "INTERVAL DAY", "ROW<a INT>", "BITMAP"])
def test_types_without_counterpart_are_refused(flink: str) -> None:
    """Rather refused than stored as something else."""
    with pytest.raises(Unsupported, match="no ClickHouse type"):
        column_type(flink, nullable=True)


def test_a_keyed_table_replaces_and_expires() -> None:
    """Sorted by the key, TTL from the time column, computed columns are not stored."""
    assert plan_ddl(table("clickhouse", key=("sid",), retention="7 d"), {}) == [
        "CREATE TABLE IF NOT EXISTS `default`.`t` (`sid` String, `n` Nullable(Int64), `at_ms` Int64) "
        "ENGINE = ReplacingMergeTree ORDER BY (`sid`) TTL toDateTime(intDiv(`at_ms`, 1000)) + toIntervalSecond(604800)"
    ]


def test_a_table_without_key_keeps_every_row() -> None:
    """A plain MergeTree, in the declared order or none."""
    assert plan_ddl(table("clickhouse"), {})[0].endswith("ENGINE = MergeTree ORDER BY tuple()")
    assert plan_ddl(table("clickhouse", order_by="at_ms, sid"), {})[0].endswith("ORDER BY (`at_ms`, `sid`)")


def test_a_present_table_is_widened_never_dropped() -> None:
    """A new column is added; another type is a conflict that names both."""
    declared = table("clickhouse", key=("sid",))
    assert plan_ddl(declared, {"sid": "String", "at_ms": "Int64"}) == [
        "ALTER TABLE `default`.`t` ADD COLUMN IF NOT EXISTS `n` Nullable(Int64)"
    ]
    with pytest.raises(Conflict) as caught:
        plan_ddl(declared, {"sid": "Int64"})
    assert (caught.value.context["present"], caught.value.context["declared"]) == ("Int64", "String")


def test_ensuring_twice_creates_once() -> None:
    """The second time everything is there."""
    externals = Externals(FakeTopics(), FakeOlap())
    assert ensure(table("clickhouse", key=("sid",)), externals) == ["OLAP table t created"]
    assert ensure(table("clickhouse", key=("sid",)), externals) == []


def test_stores_render_the_options_of_our_sinks() -> None:
    """Addresses come from the stack, keys from the template, life time from retention."""
    assert render_options(table("clickhouse", key=("sid",)), context()) == {
        "connector": "clickhouse",
        "url": "http://127.0.0.1:8123",
        "database": "default",
        "table": "t",
        "sink.flush-interval": "500 ms",
        "sink.flush-rows": "2000",
    }
    assert render_options(table("redis", key=("sid",), retention="1 h", version_column="at_ms"), context()) == {
        "connector": "redis",
        "host": "127.0.0.1",
        "port": "6379",
        "key-template": "t:{sid}",
        "sink.flush-interval": "100 ms",
        "sink.flush-rows": "500",
        "version-column": "at_ms",
        "ttl": "3600000 ms",
    }


def test_files_are_parquet_below_the_archive() -> None:
    """A source watches the folder only in a streaming job that asked for it."""
    watched = table("files", watch="5 s")
    assert render_options(watched, context()) == {
        "connector": "filesystem",
        "path": "file:///home/data/archive/t",
        "format": "parquet",
        "parquet.compression": "SNAPPY",
        "parquet.utc-timezone": "true",
        "source.monitor-interval": "5 s",
    }
    assert "source.monitor-interval" not in render_options(watched, context("batch"))


@pytest.mark.parametrize(
    ("declare", "says"),
    [
        (lambda: table("redis"), "all rows would have one Redis key"),
        (lambda: table("redis", key_template="cell:{sid}"), "a Redis table needs a primary key"),
        (lambda: table("redis", key=("sid",), key_template="cell:{sidd}"), "names a column that is not stored"),
        (lambda: table("redis", key=("sid",), key_template="cell"), "all rows would have one Redis key"),
        (lambda: table("files", key=("sid",)), "a files table has no primary key"),
        (lambda: table("clickhouse", time_column="n, at_ms"), "one time column"),
        (lambda: table("hbase"), "unknown system"),
    ],
)
def test_wrong_declarations_are_refused(declare: Callable[[], Table], says: str) -> None:
    """Each with one sentence."""
    with pytest.raises(Invalid, match=says):
        check_table(declare())


def test_errors_of_columns_name_table_and_column() -> None:
    """The user sees which column has no counterpart."""
    odd = table("clickhouse")
    broken = Table(
        name="t", layer="dwd", system="clickhouse", columns=(*odd.columns[:1], _interval()), ddl="CREATE TABLE t"
    )
    with pytest.raises(HeadraceError) as caught:
        check_table(broken)
    assert (caught.value.context["table"], caught.value.context["column"]) == ("t", "span")


def _interval() -> Column:
    return Column("span", "INTERVAL DAY")
