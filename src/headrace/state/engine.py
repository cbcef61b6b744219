"""The state engine inside this process: what Flink's operators have, for Python.

    with open_engine(budget_bytes=256 << 20) as engine:
        engine.put(b"key", b"value")
        engine.checkpoint("checkpoints/mine")

The engine is native (crates/slimbase, crates/slimbase-py). Keys and values are bytes; a state (0 to 1023) holds values or
lists. Memory is outside the Python heap and bounded by the budget: a full engine raises `Throttled` and keeps what it has.
Checkpoints are incremental, durable when the call returns, and restored whole or by key groups. One call runs at a time;
long ones (checkpoint, restore, put_many, get_many) let other Python threads run.
"""

from __future__ import annotations

import importlib
from os import PathLike
from types import ModuleType
from typing import TYPE_CHECKING

from headrace.core.errors import Unsupported

if TYPE_CHECKING:
    from headrace.state._slimbase import Engine, SegmentFile


def _native() -> ModuleType:
    try:
        return importlib.import_module("headrace.state._slimbase")
    except ImportError as error:
        raise Unsupported(
            "the native state engine is not there",
            hint="install cargo 1.85 or newer (Debian 12: `cargo-web`), then run `make setup`",
            context={"cause": error},
        ) from error


def is_available() -> bool:
    """Whether the native engine was built for this installation."""
    try:
        _native()
    except Unsupported:
        return False
    return True


def open_engine(
    *, budget_bytes: int, key_groups: int = 128, first_key_group: int = 0, key_group_count: int | None = None
) -> Engine:
    """Open an empty engine.

    Args:
        budget_bytes: memory for records and index, never exceeded.
        key_groups: the unit of rescaling, 1 to 32,768, fixed for the life of the state's checkpoints.
        first_key_group: the first one that this engine holds.
        key_group_count: how many it holds; all from the first on when None.

    Raises:
        Unsupported: the native module was not built.
        Invalid: key groups out of range.
    """
    engine: Engine = _native().Engine.open(
        budget_bytes=budget_bytes,
        key_groups=key_groups,
        first_key_group=first_key_group,
        key_group_count=key_group_count,
    )
    return engine


def open_segment(source: str | PathLike[str] | bytes) -> SegmentFile:
    """Open one `.slim` file, given by its path or its bytes.

    Raises:
        Unsupported: the native module was not built, or the file is of a newer version.
        Corrupt: the file is damaged; names the block and both checksums.
        NotFound: there is no such file.
    """
    segment: SegmentFile = _native().SegmentFile.open(source)
    return segment
