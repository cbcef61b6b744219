"""What tests and benchmarks of ingest need without a catalog: the table of beacons, a home for a gateway, lines of real players.

`cmcd_raw_table` repeats apps/live-quality/tables/cmcd_raw.sql; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from headrace.core.home import Home
from headrace.core.schema import Column, Table
from headrace.ingest.recordings import beacons, encode_cmcd, read_recording, shifted

_COLUMNS = """
    sid STRING!, sn BIGINT, ts_ms BIGINT!, recv_ms BIGINT!, skew_ms BIGINT, cid STRING, e STRING!, sta STRING, br INT, bl INT,
    mtp INT, ltc INT, rc INT, ttfb INT, ttlb INT, age_ms INT, url STRING, ec STRING, cen STRING, cdn STRING, region STRING,
    isp STRING, ip_prefix STRING, ua_family STRING, v INT
"""


def cmcd_raw_table(*, partitions: int = 4) -> Table:
    """The table of player beacons as the catalog would write it."""
    pairs = [column.split() for column in _COLUMNS.split(",")]
    columns = [Column(name, kind.removesuffix("!"), nullable=not kind.endswith("!")) for name, kind in pairs]
    options = {"key": "sid", "partitions": str(partitions)}
    return Table(name="cmcd_raw", layer="ods", system="kafka", columns=tuple(columns), options=options, ddl="")


def write_home(root: Path, *, tables: Sequence[Table], dims: dict[str, str]) -> Home:
    """A stack's home that holds just what a gateway reads."""
    home = Home(root)
    for folder in (home.data / "schemas", home.data / "dims"):
        folder.mkdir(parents=True, exist_ok=True)
    for table in tables:
        (home.data / "schemas" / f"{table.name}.json").write_bytes(msgspec.json.encode(table))
    for name, text in dims.items():
        (home.data / "dims" / f"{name}.csv").write_text(text, "utf-8")
    return home


def recorded_events(folder: Path) -> list[dict[str, Any]]:
    """The CMCD fields of all recordings (`*.jsonl`) in a folder, by file, in the order in which they came."""
    events: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.jsonl")):
        with path.open(encoding="utf-8") as lines:
            events += [event.fields for event in beacons(read_recording(lines, file=path.name))]
    return events


def rekeyed_batches(events: Sequence[dict[str, Any]], *, sessions: int, rows: int, newest_ms: int) -> Iterator[bytes]:
    """One body of `rows` recorded beacons for each of so many made-up sessions, ending at `newest_ms`.

    Events keep their content and order; the session's id is new, and times are moved so that the newest is `newest_ms`.
    """
    for number in range(sessions):
        start = number * rows % len(events)
        picked = [events[(start + at) % len(events)] for at in range(rows)]
        shift_ms = newest_ms - max(int(event["ts"]) for event in picked)
        sid = f"p{number:06d}-6f9619ff-8b86-d011-b42d"
        yield "\n".join(encode_cmcd(_near(event, sid, shift_ms, newest_ms)) for event in picked).encode()


def _near(event: dict[str, Any], sid: str, shift_ms: int, newest_ms: int) -> dict[str, Any]:
    """The event moved; one of an older recording than its neighbours is moved up to them."""
    moved = shifted(event, sid=sid, shift_ms=shift_ms)
    if newest_ms - int(moved["ts"]) > 60_000:
        moved["ts"] = str(newest_ms - 60_000)
    return moved
