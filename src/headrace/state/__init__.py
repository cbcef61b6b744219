"""Python face of SlimBase: look into checkpoints and savepoints offline, and use the engine embedded.

Offline (pure Python, any backend's canonical savepoints, SlimBase's and hashmap's own checkpoints):

- `inspect_checkpoint(path)` reports operators, states, keys, bytes, TTL, serializers, skew;
- `find_state(path, operator=..., state=...).records()` gives the decoded rows.

Embedded (the native module): `open(budget_bytes=...)` gives an engine with put, get, delete, iterate, checkpoint, restore.

How reading works, from the bottom: `javadata` and `javaobjects` read bytes; `handles` and `metadata` read `_metadata`; `storage` opens the
files; `serializers` turns serializer snapshots into `codecs`; `proxy` reads the head of keyed state; `canonical`, `heap` and `slimstate`
read the formats into `cells`; `report` and `query` are what users call. No Java class is loaded and nothing is unpickled.
"""

from __future__ import annotations

from headrace.state.cells import Row
from headrace.state.engine import is_available, open_engine, open_segment
from headrace.state.query import StateQuery, find_state
from headrace.state.report import Inspection, inspect_checkpoint

open = open_engine

__all__ = [
    "Inspection",
    "Row",
    "StateQuery",
    "find_state",
    "inspect_checkpoint",
    "is_available",
    "open",
    "open_engine",
    "open_segment",
]
