"""Write rows as Arrow or Parquet.

Types are taken from the values, batch by batch, then unified; a column that cannot be unified is refused with the way out. Decimals get 38
digits whatever the values are, so that the files of two days have one schema. Batches bound
what is in memory as Python objects to `BATCH_ROWS`; the columns themselves are kept until the file is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as parquet

from headrace.core.errors import Invalid, Unsupported

DECIMAL_DIGITS = 38  # the most that Flink's SQL has
BATCH_ROWS = 20_000  # about 20 MB of small rows as dicts
ENDINGS = (".parquet", ".arrow")


def check_target(target: Path) -> None:
    """Refuse a file name whose format is not known, before anything is read.

    Raises:
        Invalid: the ending is neither `.parquet` nor `.arrow`, or the folder is missing.
    """
    if target.suffix not in ENDINGS:
        raise Invalid(f"unknown format of {target.name}", hint=f"end the name in {' or '.join(ENDINGS)}")
    if not target.parent.is_dir():
        raise Invalid(f"no such folder: {target.parent}", hint="make it first")


def write_rows(records: Iterable[dict[str, Any]], target: Path) -> int:
    """Write records to `target`, whole or not at all; gives their number.

    Raises:
        Invalid: as `check_target`.
        Unsupported: a column has values of types that do not go together.
    """
    check_target(target)
    try:
        table = pa.concat_tables(list(_tables(records)), promote_options="permissive")
        table = table.cast(pa.schema([field.with_type(_steady(field.type)) for field in table.schema]))
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise Unsupported(
            f"a column has values of several types: {error}", hint="write JSON lines with `--json` instead"
        ) from error
    temporary = target.with_name(f".{target.name}.part")
    try:
        if target.suffix == ".parquet":
            parquet.write_table(table, temporary)
        else:
            feather.write_feather(table, temporary, compression="uncompressed")
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return int(table.num_rows)


def _tables(records: Iterable[dict[str, Any]]) -> Iterator[Any]:
    any_rows = False
    iterator = iter(records)
    while batch := list(islice(iterator, BATCH_ROWS)):
        any_rows = True
        yield pa.Table.from_pylist(batch)
    if not any_rows:
        yield pa.table({"key_group": pa.array([], pa.int64())})


def _steady(type_: Any) -> Any:
    """The type that does not depend on how large the values happen to be."""
    if pa.types.is_decimal(type_):
        return pa.decimal128(DECIMAL_DIGITS, type_.scale)
    if pa.types.is_struct(type_):
        return pa.struct([field.with_type(_steady(field.type)) for field in type_])
    return pa.list_(_steady(type_.value_type)) if pa.types.is_list(type_) else type_
