"""The gateway's books: every row that is read is written down once when it comes and once when its fate is known.

    offered  = accepted + dead + shed + returned + pending          (each side is counted on its own)
    received = offered - returned = accepted + dead + shed + pending

`accepted` and `dead` rows are in their Kafka topics (acknowledged), so they equal the topics' growth; `shed` rows were dropped and
their session told so; `returned` rows were answered 503, so the player still has them and will send them again; they
are not taken over and therefore not received. A body that cannot be split into rows counts as one row. Requests that are
refused before any row is read (unknown stream, wrong method) are counted apart, by reason.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import msgspec

PREFIX = "headrace_gateway_"
HELP = {
    "offered_rows_total": "Rows that clients sent.",
    "accepted_rows_total": "Rows that Kafka acknowledged.",
    "shed_rows_total": "Rows turned away with 410, by session, because the gateway was over its budget.",
    "returned_rows_total": "Rows that Kafka did not acknowledge in time; the client was told so and may send them again.",
    "dead_rows_total": "Rows in the dead-letter topic, by reason.",
    "pending_rows": "Rows that wait for Kafka.",
    "requests_total": "Requests by HTTP status.",
    "refused_requests_total": "Requests of which no row was read, by reason.",
    "shed_share": "Share of sessions that are shed now, 0 to 1.",
    "in_flight_bytes": "Bytes of requests in memory.",
    "budget_bytes": "Most bytes of requests that may be in memory.",
    "kafka_stalled": "1 while Kafka does not acknowledge.",
    "sessions": "Sessions whose clock is being followed.",
    "loop_lag_ms": "How late the event loop runs, ms.",
    "rss_bytes": "Resident memory of the process.",
    "cpu_s": "CPU time of the process, s.",
    "ack_latency_ms": "How long a request waited for Kafka, ms.",
}
ACK_BUCKETS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)


class Counts(msgspec.Struct):
    """The books of one stream."""

    offered: int = 0
    accepted: int = 0
    dead: int = 0
    shed: int = 0
    returned: int = 0
    by_reason: dict[str, int] = {}

    @property
    def received(self) -> int:
        """Rows that the gateway took over, or is about to."""
        return self.offered - self.returned

    @property
    def pending(self) -> int:
        """Rows whose fate is not known yet."""
        return self.offered - self.accepted - self.dead - self.shed - self.returned

    def add_dead(self, reason: str, rows: int = 1) -> None:
        """Rows that are in the dead-letter topic."""
        self.dead += rows
        self.by_reason[reason] = self.by_reason.get(reason, 0) + rows


class StreamStats(msgspec.Struct, frozen=True):
    """`Counts` as they are shown."""

    offered: int
    received: int
    accepted: int
    dead: int
    shed: int
    returned: int
    pending: int
    by_reason: dict[str, int]


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """What `GET /v1/stats` answers; rows over all streams, then each stream's own."""

    offered: int
    received: int
    accepted: int
    dead: int
    shed: int
    returned: int
    pending: int
    by_reason: dict[str, int]
    requests: dict[str, int]
    refused: dict[str, int]
    shed_share: float
    in_flight_bytes: int
    budget_bytes: int
    kafka_stalled: bool
    sessions: int
    loop_lag_ms: float
    rss_bytes: int
    cpu_s: float
    streams: dict[str, StreamStats]


class Gauges(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured at the moment of asking."""

    shed_share: float
    in_flight_bytes: int
    budget_bytes: int
    kafka_stalled: bool
    sessions: int
    loop_lag_ms: float
    rss_bytes: int
    cpu_s: float


class Ledger:
    """All counters of one gateway process; single-threaded, like the event loop that writes them."""

    def __init__(self) -> None:
        self.streams: dict[str, Counts] = {}
        self.requests: dict[str, int] = {}
        self.refused: dict[str, int] = {}
        self._ack_buckets = [0] * (len(ACK_BUCKETS_MS) + 1)
        self._ack_ms_sum = 0.0

    def of(self, stream: str) -> Counts:
        """The books of a stream."""
        counts = self.streams.get(stream)
        if counts is None:
            counts = self.streams[stream] = Counts()
        return counts

    def add_request(self, status: int) -> None:
        """A request that was answered."""
        key = str(status)
        self.requests[key] = self.requests.get(key, 0) + 1

    def add_refused(self, reason: str) -> None:
        """A request of which no row was read."""
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def observe_ack(self, elapsed_ms: float) -> None:
        """How long a batch waited for Kafka."""
        self._ack_buckets[bisect_left(ACK_BUCKETS_MS, elapsed_ms)] += 1
        self._ack_ms_sum += elapsed_ms

    def stats(self, gauges: Gauges) -> Stats:
        """Everything, for people and programs."""
        streams = {name: _shown(counts) for name, counts in self.streams.items()}
        total = Counts()
        for counts in self.streams.values():
            for field in ("offered", "accepted", "dead", "shed", "returned"):
                setattr(total, field, getattr(total, field) + getattr(counts, field))
            for reason, rows in counts.by_reason.items():
                total.by_reason[reason] = total.by_reason.get(reason, 0) + rows
        return Stats(
            **msgspec.structs.asdict(_shown(total)),
            **msgspec.structs.asdict(gauges),
            requests=dict(self.requests),
            refused=dict(self.refused),
            streams=streams,
        )

    def render_prometheus(self, gauges: Gauges) -> str:
        """The same in Prometheus' text format, version 0.0.4."""
        lines: list[str] = []
        for fate in ("offered", "accepted", "shed", "returned"):
            series = [(f'stream="{name}"', getattr(counts, fate)) for name, counts in self.streams.items()]
            lines += _family(f"{PREFIX}{fate}_rows_total", "counter", series)
        dead = [
            (f'stream="{name}",reason="{reason}"', rows)
            for name, counts in self.streams.items()
            for reason, rows in counts.by_reason.items()
        ]
        lines += _family(f"{PREFIX}dead_rows_total", "counter", dead)
        pending = [(f'stream="{name}"', counts.pending) for name, counts in self.streams.items()]
        lines += _family(f"{PREFIX}pending_rows", "gauge", pending)
        statuses = [(f'status="{status}"', count) for status, count in self.requests.items()]
        lines += _family(f"{PREFIX}requests_total", "counter", statuses)
        refused = [(f'reason="{reason}"', count) for reason, count in self.refused.items()]
        lines += _family(f"{PREFIX}refused_requests_total", "counter", refused)
        for name, value in msgspec.structs.asdict(gauges).items():
            lines += _family(f"{PREFIX}{name}", "gauge", [("", float(value))])
        return "\n".join([*lines, *self._ack_histogram(), ""])

    def _ack_histogram(self) -> list[str]:
        name, total = f"{PREFIX}ack_latency_ms", 0
        lines = _header(name, "histogram")
        for bound, count in zip((*ACK_BUCKETS_MS, "+Inf"), self._ack_buckets, strict=True):
            total += count
            lines.append(f'{name}_bucket{{le="{bound}"}} {total}')
        return [*lines, f"{name}_sum {self._ack_ms_sum:.3f}", f"{name}_count {total}"]


def _shown(counts: Counts) -> StreamStats:
    return StreamStats(
        offered=counts.offered,
        received=counts.received,
        accepted=counts.accepted,
        dead=counts.dead,
        shed=counts.shed,
        returned=counts.returned,
        pending=counts.pending,
        by_reason=dict(counts.by_reason),
    )


def _header(name: str, kind: str) -> list[str]:
    return [f"# HELP {name} {HELP[name.removeprefix(PREFIX)]}", f"# TYPE {name} {kind}"]


def _family(name: str, kind: str, series: Sequence[tuple[str, float]]) -> list[str]:
    return [
        *_header(name, kind),
        *(f"{name}{{{labels}}} {value}" if labels else f"{name} {value}" for labels, value in series),
    ]
