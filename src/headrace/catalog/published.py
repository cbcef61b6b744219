"""Files that the data plane reads, so that it goes on when the control plane is down.

`data/schemas/<table>.json` is the msgspec JSON of a `Table`, `data/dims/<name>.csv` a dim as applied. Each is replaced atomically and only when its
bytes differ, because readers look at the modification time. The store is the truth: `publish` at start repairs what a crash left.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from headrace.catalog.tables import Dim
from headrace.core.errors import Invalid, Place, Unavailable
from headrace.core.home import Home
from headrace.core.schema import Table

DIM_ROWS_MAX = 100_000  # dims are held in memory by every process of the data plane: 100,000 rows of 50 B are 5 MB


def publish(home: Home, tables: Iterable[Table], dims: Iterable[Dim]) -> int:
    """Write what changed; returns how many files.

    Raises:
        Unavailable: the disk refuses.
    """
    files = {home.data / "schemas" / f"{table.name}.json": msgspec.json.encode(table) for table in tables}
    files.update({home.data / "dims" / f"{dim.name}.csv": dim.text.encode() for dim in dims})
    return sum(_replace(path, data) for path, data in files.items())


def check_dim(dim: Dim, *, file: str) -> Dim:
    """Refuse a dim that readers could not use: no header, names missing or repeated, rows of another width.

    Raises:
        Invalid: with file and line.
    """
    reader = csv.reader(io.StringIO(dim.text), strict=True)
    try:
        header = next(reader, [])
        if not header or not all(name.isidentifier() for name in header) or len(set(header)) != len(header):
            raise Invalid(
                "a dim starts with a header of distinct column names",
                place=Place(file, 1),
                hint="first line, for example: `cdn,hosts,price`",
            )
        for row in reader:
            if row and len(row) != len(header):
                raise Invalid(
                    "row has another number of fields than the header",
                    place=Place(file, reader.line_num),
                    context={"fields": len(row), "header": len(header)},
                    hint="quote a field that holds a comma",
                )
            if reader.line_num > DIM_ROWS_MAX:
                raise Invalid("dim has too many rows", place=Place(file), context={"limit": DIM_ROWS_MAX})
    except csv.Error as error:
        raise Invalid(f"not CSV: {error}", place=Place(file, reader.line_num), hint="check the quotes") from error
    return dim


def _replace(path: Path, data: bytes) -> bool:
    try:
        if path.is_file() and path.read_bytes() == data:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        with part.open("wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    except OSError as error:
        raise Unavailable(
            f"cannot write for the data plane: {error.strerror}", context={"path": path}, hint="check space and rights"
        ) from error
    return True
