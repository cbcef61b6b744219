"""Real players over two throttled CDNs: `headrace demo-live`.

1. `testbed.py` makes a live stream on CDN A and B; `pages.py` serves the players and keeps what they post; `players.py` is
   the browser. The players send their beacons to the gateway and to the recorder, and poll the real steering endpoint.
2. At `cut_at` the CDN that most players are on (without steering: `first`) is throttled to a crawl. From then on the timeline is read from outside: the scheduler's record in
   Redis (decision), the players' own log (pathway switch, stalls).
3. Afterwards each session's join time and stall in the OLAP store are compared with the page's stopwatch.
4. With `record` the rows are written as a recording for `headrace demo` (clips.py says what it reads).
"""

from __future__ import annotations

import asyncio
import statistics
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import redis

from headrace.cli.demo.clips import ClipLibrary
from headrace.cli.demo.guarantees import Guarantee, Report, judge_stopwatch, unmeasured
from headrace.cli.demo.pages import PageServer
from headrace.cli.demo.players import Wall
from headrace.cli.demo.replay import Crowd
from headrace.cli.demo.replayer import Replayer
from headrace.cli.demo.testbed import Testbed
from headrace.core.clock import Clock
from headrace.core.home import Endpoints
from headrace.core.rand import seeded
from headrace.serve.decisions import Cell, steer_key
from headrace.serve.olap_client import OlapClient

LAB = Cell("lab", "lab")
THROTTLE_KBIT_PER_S = 300
TICK_S = 0.1
MOVED_WITHIN_S = 10.0
EXTRA_STALL_MEDIAN_MS = 1000.0
SETTLE_S = 20.0  # watermark delay 6 s, idle partitions 10 s, mini-batches, one flush
OTHERS = 40  # viewers whose beacons keep event time going afterwards


class LivePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What one live run does; times in s from the first player's start; `cut_at` None leaves the CDNs alone."""

    players: int = 4
    late_players: int = 0
    seconds: float = 60.0
    cut_at: float | None = 20.0
    first: str = "A"
    steering: bool = True
    shim: bool = True
    record: Path | None = None

    def starts(self) -> list[float]:
        """When each player starts: one a second, the late ones after the cut."""
        late = [(self.cut_at or 0.0) + 4.0 * (n + 1) for n in range(self.late_players)]
        return [float(n) for n in range(self.players)] + late


@dataclass
class LiveRun:
    """What a run observed; times are wall ms."""

    rows: list[dict[str, Any]]
    cut_ms: int | None = None
    cut_cdn: str = ""
    hit: tuple[str, ...] = ()  # the players that were on it
    decided_ms: int | None = None


def run_live(
    plan: LivePlan, *, endpoints: Endpoints, players: Path, folder: Path, clock: Clock, say: Callable[[str], None]
) -> LiveRun:
    """Run the players once and return what was seen; removes all it made."""
    with Testbed(folder, clock) as testbed:
        steering = f"{endpoints.steering}/v1/steering/live-quality" if plan.steering else None
        pages = PageServer(players, clock, cdns=testbed.addresses, steering=steering, first=plan.first)
        targets = [f"{endpoints.gateway}/v1/beacons/cmcd_raw", f"{pages.url}/cmcd"]
        wall = Wall(pages, starts_s=plan.starts(), targets=targets, room="live", shim=plan.shim)
        try:
            say(f"{len(wall.sids)} players over CDN A {testbed.addresses['A']} and B {testbed.addresses['B']}")
            run = _watch(plan, testbed=testbed, pages=pages, endpoints=endpoints, clock=clock, say=say)
        finally:
            wall.close()
            pages.close()
    if plan.record is not None:
        plan.record.write_bytes(b"\n".join(msgspec.json.encode(row) for row in run.rows) + b"\n")
    return run


def _watch(
    plan: LivePlan,
    *,
    testbed: Testbed,
    pages: PageServer,
    endpoints: Endpoints,
    clock: Clock,
    say: Callable[[str], None],
) -> LiveRun:
    run = LiveRun(pages.rows)
    host, _, port = endpoints.redis.partition(":")
    store = redis.Redis(host=host, port=int(port), socket_timeout=1.0)
    started = clock.monotonic_s()
    weights: dict[str, float] = {}
    while (elapsed := clock.monotonic_s() - started) < plan.seconds:
        if plan.cut_at is not None and run.cut_ms is None and elapsed >= plan.cut_at:
            run.cut_cdn, run.hit = fullest(pages.rows, testbed.addresses, plan)
            testbed.limit(run.cut_cdn, kbit_per_s=THROTTLE_KBIT_PER_S)
            run.cut_ms = clock.now_ms()
            pages.keep("cut", cdn=run.cut_cdn)
            say(f"CDN {run.cut_cdn} throttled to {THROTTLE_KBIT_PER_S} kbit/s: {len(run.hit)} players are on it")
        seen = _weights(store) if plan.steering else {}
        if seen and seen != weights:
            pages.keep("decide", weights=seen)
            if (
                run.cut_ms is not None
                and run.decided_ms is None
                and seen.get(run.cut_cdn, 1.0) < weights.get(run.cut_cdn, 1.0) / 2
            ):
                run.decided_ms = clock.now_ms()
                say(f"decision {(run.decided_ms - run.cut_ms) / 1000:.1f} s after the cut: {seen}")
            weights = seen
        clock.sleep(TICK_S)
    store.close()
    return run


def fullest(
    rows: Sequence[dict[str, Any]], addresses: Mapping[str, str], plan: LivePlan
) -> tuple[str, tuple[str, ...]]:
    """The CDN to cut and the players on it, by where their last segments came from."""
    cdns = {address: cdn for cdn, address in addresses.items()}
    where = {row["sid"]: cdns.get(urlsplit(row["url"]).hostname or "", "") for row in page_rows(rows, "frag")}
    names = sorted({*where.values(), plan.first}, key=lambda cdn: (-list(where.values()).count(cdn), cdn))
    cdn = names[0] if plan.steering else plan.first
    return cdn, tuple(sorted(sid for sid, on in where.items() if on == cdn))


def _weights(store: redis.Redis) -> dict[str, float]:
    try:
        raw = store.get(steer_key(LAB))
        return dict(msgspec.json.decode(raw)["weights"]) if isinstance(raw, bytes) else {}
    except (redis.RedisError, msgspec.MsgspecError, KeyError):
        return {}


def page_rows(rows: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The page's own rows of one kind."""
    return [row["ev"] for row in rows if row["k"] == "js" and row["ev"]["k"] == kind]


def stall_after(rows: Sequence[dict[str, Any]], sid: str, cut_ms: int) -> float:
    """Stalled ms of one player after the cut, by the page's stopwatch: closed stalls, and the open one until its sum."""
    stalls = [row for row in page_rows(rows, "stall") if row["sid"] == sid and row["ts"] >= cut_ms]
    resumes = [row for row in page_rows(rows, "resume") if row["sid"] == sid and row["ts"] >= cut_ms]
    end = max((row["ts"] for row in page_rows(rows, "sum") if row["sid"] == sid), default=cut_ms)
    open_ms = end - stalls[-1]["ts"] if len(stalls) > len(resumes) else 0
    return float(sum(row["ms"] for row in resumes) + open_ms)


def judge_live(plan: LivePlan, run: LiveRun, sessions: Sequence[dict[str, Any]]) -> Report:
    """The report of a live run; `sessions` are rows of `play_session` for its players."""
    sums = {row["sid"]: row for row in page_rows(run.rows, "sum")}
    found = {row["sid"]: row for row in sessions}
    both = [(sums[sid], found[sid]) for sid in sums if sid in found]
    joins = [
        float(ours["join_ms"]) - page["join_ms"]
        for page, ours in both
        if page["join_ms"] is not None and ours["join_ms"] is not None
    ]
    stalls = [float(ours["stall_ms"]) - page["stall_ms"] for page, ours in both]
    rows = [
        Guarantee("every player's session is in the OLAP store", len(both), str(len(sums)), len(both) == len(sums) > 0),
        judge_stopwatch(joins, what="join time"),
        judge_stopwatch(stalls, what="stall time"),
    ]
    if plan.cut_at is not None and plan.steering:
        rows += _judge_steered(run, sorted(sums))
    details: dict[str, float | int | str] = {f"stall_ms {sid}": row["stall_ms"] for sid, row in sorted(sums.items())}
    return Report(guarantees=rows, details=details)


def _judge_steered(run: LiveRun, sids: Sequence[str]) -> list[Guarantee]:
    bound = f"<= {MOVED_WITHIN_S:g} s"
    if run.cut_ms is None or run.decided_ms is None:
        return [unmeasured("cut to decision, s", bound, "the scheduler did not move the degraded CDN")]
    moved = {
        row["sid"]: row["ts"]
        for row in reversed(page_rows(run.rows, "switch"))
        if row["from"] == run.cut_cdn and row["ts"] >= run.cut_ms
    }
    done = sorted((moved[sid] - run.cut_ms) / 1000 for sid in run.hit if sid in moved)
    needed = -(-len(run.hit) * 8 // 10)
    at = round(done[needed - 1], 1) if len(done) >= needed > 0 else "never"
    extra = statistics.median(stall_after(run.rows, sid, run.cut_ms) for sid in sids)
    return [
        Guarantee(
            "cut to decision, s",
            round((run.decided_ms - run.cut_ms) / 1000, 2),
            bound,
            run.decided_ms - run.cut_ms <= MOVED_WITHIN_S * 1000,
        ),
        Guarantee(
            f"cut to 80 % of the {len(run.hit)} players of CDN {run.cut_cdn} on the other, s",
            at,
            bound,
            isinstance(at, float) and at <= MOVED_WITHIN_S,
        ),
        Guarantee(
            "median extra stall per player, ms",
            round(extra),
            f"<= {EXTRA_STALL_MEDIAN_MS:g} ms",
            extra <= EXTRA_STALL_MEDIAN_MS,
        ),
    ]


def keep_time(endpoints: Endpoints, library: ClipLibrary, clock: Clock, *, seconds: float) -> None:
    """Replay some other viewers: without any beacon event time stands still, and no minute ends."""
    crowd = Crowd(library, seeded(1), size=OTHERS, tag=f"o{clock.now_ms() // 1000 % 1_000_000}")
    replayer = Replayer(crowd, gateway=endpoints.gateway, steering=endpoints.steering, stream="cmcd_raw", clock=clock)
    traffic = threading.Thread(target=lambda: asyncio.run(replayer.run()), daemon=True)
    traffic.start()
    clock.sleep(seconds)
    replayer.stop()
    traffic.join()


def load_sessions(olap: OlapClient, sids: Sequence[str], *, since_ms: int) -> list[dict[str, Any]]:
    """Rows of `play_session` for these players."""
    sql = "SELECT * FROM play_session FINAL WHERE session_ms >= {since:Int64}"
    return [row for row in olap.query(sql, params={"since": since_ms}) if row["sid"] in set(sids)]
