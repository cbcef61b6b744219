"""Rows to count: recorded sessions of real players with their pages' stopwatches, invented sessions with every oddity, and disorder."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from msgspec.structs import replace

from headrace.flows.quality.oracle import Row
from headrace.ingest.cmcd import column_of, parse_line

RECORDINGS = Path(__file__).parents[3] / "apps/live-quality/recordings"
CDN_OF_HOST = {"10.77.0.2": "A", "10.77.0.3": "B"}
START_MS = 1_795_400_000_000  # a whole minute + 20 s


class Stopwatch(msgspec.Struct, frozen=True):
    """What the page itself measured: ms from start to the first frame, and stalls as (from, to or None while it lasts)."""

    join_ms: float | None
    stalls: tuple[tuple[int, float | None], ...]

    def stalled_ms(self, until_ms: int) -> float:
        """Time stalled up to a moment, the last beat."""
        return sum(until_ms - start if length is None else length for start, length in self.stalls if start <= until_ms)


def recorded() -> tuple[list[Row], dict[str, Stopwatch]]:
    """The app's recordings as ODS rows and stopwatches, session ids made unique by the file's name."""
    rows: list[Row] = []
    watches: dict[str, Stopwatch] = {}
    for path in sorted(RECORDINGS.glob("*.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        rows += [_row(line, path.stem) for line in lines if line["k"] == "cmcd"]
        pages: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for line in lines:
            if line["k"] == "js":
                pages[f"{path.stem}-{line['ev']['sid']}"].append(line["ev"])
        watches |= {sid: _stopwatch(events) for sid, events in pages.items()}
    return rows, watches


def _row(line: dict[str, Any], prefix: str) -> Row:
    values: dict[str, Any] = {column_of(key): _plain(value) for key, value in parse_line(line["wire"]).items()}
    host = str(values.get("url", "//")).split("/")[2]
    values |= {"recv_ms": round(line["t"] * 1000), "sid": f"{prefix}-{values['sid']}", "region": "lab", "isp": "lab"}
    values.setdefault("cdn", CDN_OF_HOST.get(host))
    return msgspec.convert(values, Row)


def _plain(value: Any) -> Any:
    value = value[0] if isinstance(value, list) and value else value
    return round(value) if isinstance(value, float) else value


def _stopwatch(events: Sequence[dict[str, Any]]) -> Stopwatch:
    stalls: list[tuple[int, float | None]] = []
    for event in sorted(events, key=lambda event: event["ts"]):
        if event["k"] == "stall":
            stalls.append((event["ts"], None))
        elif event["k"] == "resume" and stalls:
            stalls[-1] = stalls[-1][0], event["ms"]
    return Stopwatch(next((event["ms"] for event in events if event["k"] == "first"), None), tuple(stalls))


def invented(random: Random, *, sessions: int) -> list[Row]:
    """Sessions that do all that players may do, and some that they may not: silence of every length, states out of order, several beats and
    contradictions in one millisecond, unknown fields, errors, slow responses, events reported too late.
    """
    rows: list[Row] = []
    for number in range(sessions):
        ms = START_MS + random.randrange(120_000)
        place = {
            "cid": random.choice(["r1", "r2", None]),
            "region": random.choice(["n", "s"]),
            "isp": random.choice(["x", None]),
        }
        cdn = random.choice(["A", "B", None])
        for sn in range(random.randrange(1, 40)):
            ms += random.choice([0, 0, 1, 7, 400, 1000, 4999, 5000, 5001, 12_000, random.randrange(14_000, 21_000)])
            if random.random() < 0.1:
                cdn = random.choice(["A", "B", None])
            rows.append(_invented_row(random, f"i{number}", sn, ms, {**place, "cdn": cdn}))
    return rows


def _invented_row(random: Random, sid: str, sn: int, ms: int, place: dict[str, Any]) -> Row:
    event = random.choice(["ps", "ps", "t", "t", "rr", "rr", "e", "bc", "ce"])
    response = event == "rr"
    ttlb = random.choice([None, 5, 900, 1001, 6000]) if response else None
    done_ms = ms + (ttlb or 0)
    return Row(
        sid=sid,
        ts_ms=ms,
        recv_ms=done_ms + random.choice([3, 20, 300, 4999, 5000, 5001, 9000, *[10] * 20]),
        e=event,
        sn=sn if random.random() < 0.98 else None,
        sta=random.choice([*"sprkd", *"prpppkr", *"aefq", None, None]),
        br=random.choice([None, 0, 500, 1720, 4300]),
        ltc=random.choice([None, None, 2500, 4100]),
        rc=random.choice([200, 404, 503]) if response else None,
        ttlb=ttlb,
        age_ms=random.choice([None, 1500, 4000]) if event == "ce" else None,
        cen=random.choice(["inflight", "slow", "other"]) if event == "ce" else None,
        **place,
    )


def delivered(rows: Sequence[Row], random: Random, *, delayed: float = 0.05, repeated: float = 0.02) -> list[Row]:
    """The rows in an order in which Kafka may hold them: some received up to 4.9 s after the event, some received twice, all stored up to 0.9 s
    out of the order of receiving.
    """
    received = []
    for row in rows:
        if random.random() < delayed and row.late_ms < 4_900:
            row = replace(row, recv_ms=row.event_ms + random.randrange(max(row.late_ms, 0), 4_900))
        received.append(row)
        if random.random() < repeated:
            received.append(replace(row, recv_ms=row.recv_ms + random.choice([0, 30, 700, 30_000])))
    return sorted(received, key=lambda row: row.recv_ms + random.randrange(900))
