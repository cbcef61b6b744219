"""Fetch a query's rows in bulk: Flink writes Arrow batches in the JVM, one Py4J call brings a batch over.

Row by row through PyFlink costs a call per row and per nested value; a batch of 10,000 rows costs one.
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

# 10,000 rows of 30 columns of 50 bytes are 15 MiB in flight, well inside the JVM's heap.
BATCH_ROWS = 10_000


def read_rows(view: Any, table: Any, *, instants: Sequence[bool]) -> list[list[object]]:
    """All rows of a Flink table (bounded; the caller has set a limit), as plain values.

    Arrow's timestamps come without a zone; `instants` says which columns are points in time in UTC and get their `Z`.
    """
    batches = view.org.apache.flink.table.runtime.arrow.ArrowUtils.collectAsPandasDataFrame(table, BATCH_ROWS)
    pieces: list[bytes] = []
    while batches.hasNext():
        pieces.append(bytes(batches.next()))
    if not pieces:
        return []
    rows: list[list[object]] = []
    with pa.ipc.open_stream(pa.BufferReader(b"".join(pieces))) as stream:
        for batch in stream:
            columns = [
                [_in_utc(value) if utc else plain_value(value) for value in column.to_pylist()]
                for column, utc in zip(batch.columns, instants, strict=True)
            ]
            rows.extend(list(row) for row in zip(*columns, strict=True))
    return rows


def _in_utc(value: object) -> object:
    text = plain_value(value)
    return f"{text}Z" if isinstance(text, str) and not text.endswith("Z") else text


def plain_value(value: object) -> object:
    """A value that MessagePack and JSON can carry; DECIMAL and times become text as SQL prints them."""
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, datetime.datetime):
        text = value.replace(tzinfo=None).isoformat(
            sep=" ", timespec="milliseconds" if value.microsecond % 1000 == 0 else "microseconds"
        )
        return f"{text}Z" if value.tzinfo else text
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, list) and value and all(isinstance(each, tuple) for each in value):
        return {str(key): plain_value(each) for key, each in value}  # a MAP, as Arrow gives it
    if isinstance(value, list):
        return [plain_value(each) for each in value]
    if isinstance(value, dict):
        return {str(key): plain_value(each) for key, each in value.items()}
    return value
