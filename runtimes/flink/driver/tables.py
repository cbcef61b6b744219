"""A table as Flink's parser understood it, brought over from the JVM in two calls.

Asking a schema column by column costs a dozen Py4J calls a column (300 for the app's ODS table, half the time of a parse).
Flink can write a resolved table as a flat map, as its own catalogs store it (`CatalogPropertiesUtil`), and the JSON writer that Flink
carries turns that into one string. The map names types by their full SQL text; `short_type` makes it what users write.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from headrace.core.schema import Column
from headrace.flink.protocol import ParsedTable

_LOCAL_TIME = re.compile(r"TIMESTAMP(\(\d\)) WITH LOCAL TIME ZONE")
_LONG = (("VARCHAR(2147483647)", "STRING"), ("VARBINARY(2147483647)", "BYTES"))
_NOT_NULL = " NOT NULL"


def describe_table(view: Any, name: str, table: Any) -> ParsedTable:
    """What `ParseTable` answers, from a ResolvedCatalogTable."""
    catalog = view.org.apache.flink.table.catalog
    sql = view.org.apache.flink.table.expressions.DefaultSqlFactory.INSTANCE
    writer = view.org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper()
    # Options and schema share one map in Flink's form; without options, none can pass for a part of the schema.
    bare = table.copy(view.java.util.HashMap())
    properties = writer.writeValueAsString(catalog.CatalogPropertiesUtil.serializeCatalogTable(bare, sql))
    options = writer.writeValueAsString(table.getOptions())
    texts = dict[str, str]
    return from_properties(
        name, msgspec.json.decode(str(properties), type=texts), msgspec.json.decode(str(options), type=texts)
    )


def from_properties(name: str, properties: Mapping[str, str], options: Mapping[str, str]) -> ParsedTable:
    """Read Flink's flat form of a table: `schema.<n>.<attribute>`, `schema.watermark.0.…`, `partition.keys.<n>.name`."""
    columns: list[Column] = []
    while f"schema.{len(columns)}.name" in properties:
        columns.append(_column(properties, f"schema.{len(columns)}."))
    partitions: list[str] = []
    while f"partition.keys.{len(partitions)}.name" in properties:
        partitions.append(properties[f"partition.keys.{len(partitions)}.name"])
    watermark = None
    if "schema.watermark.0.rowtime" in properties:
        watermark = (properties["schema.watermark.0.rowtime"], properties["schema.watermark.0.strategy.expr"])
    keys = properties.get("schema.primary-key.columns", "")
    return ParsedTable(
        name=name,
        columns=tuple(columns),
        primary_key=tuple(keys.split(",")) if keys else (),
        watermark=watermark,
        partitioned_by=tuple(partitions),
        options=dict(options),
        comment=properties.get("comment") or "",
    )


def short_type(text: str) -> tuple[str, bool]:
    """(type as users write it, nullable) of a full SQL type: `VARCHAR(2147483647) NOT NULL` is (STRING, False)."""
    for long, short in _LONG:
        text = text.replace(long, short)
    text = _LOCAL_TIME.sub(r"TIMESTAMP_LTZ\1", text)
    return text.removesuffix(_NOT_NULL), not text.endswith(_NOT_NULL)


def _column(properties: Mapping[str, str], prefix: str) -> Column:
    kind = "computed" if f"{prefix}expr" in properties else "physical"
    kind = "metadata" if f"{prefix}metadata" in properties else kind
    type_, nullable = short_type(properties[f"{prefix}data-type"])
    return Column(
        name=properties[f"{prefix}name"],
        type=type_,
        nullable=nullable,
        kind=kind,
        expression=properties.get(f"{prefix}expr") or properties.get(f"{prefix}metadata") or "",
        comment=properties.get(f"{prefix}comment") or "",
    )
