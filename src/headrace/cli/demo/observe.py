"""What the demo and the bench look at while traffic flows: freshness of minutes, the jobs' health, decisions.

Each observer is a small loop on its own thread with its own connections; it keeps what it saw and never raises into the
run: a store that does not answer is a gap, and a gap that hides a fact makes the guarantee fail later.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx
import msgspec

from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError
from headrace.serve.olap_client import OlapClient

POLL_S = 0.25
MINUTE_MS = 60_000
STILL_MAX = 0.005  # of weight: what rounding and noise move
STILL_S = 20.0  # a failed CDN is given back in steps some 7 s apart


class Loop:
    """Calls `step` every `POLL_S` on a thread until `stop`."""

    def __init__(self, clock: Clock, step: Callable[[], None]) -> None:
        self._clock, self._step = clock, step
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Loop:
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop and wait for the running step."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            # An error is a gap; the judge sees what is missing.
            with contextlib.suppress(HeadraceError, httpx.HTTPError, msgspec.MsgspecError, OSError):
                self._step()
            self._clock.sleep(POLL_S)


class ReadableMinutes:
    """When each minute of `qoe_1m` was complete in the OLAP store: when its rows got the last of the minute's beacons.

    What counts are `beacons_received` and `ltc_count`, which grow with the beats of that very minute and then never again. Play and
    stall time do not tell: an interval that touches the minute is closed by a beat up to 15 s later, and corrects it.
    """

    def __init__(self, url: str, clock: Clock, *, since_ms: int) -> None:
        self._seen: dict[
            int, tuple[tuple[int, int], int]
        ] = {}  # by window start: counts, wall ms when they were first seen
        self._olap, self._clock, self._since = OlapClient(url), clock, since_ms

    def step(self) -> None:
        """Ask once what the minutes hold."""
        sql = """SELECT window_start_ms AS m, sum(beacons_received) AS received, sum(ltc_count) AS reports FROM qoe_1m FINAL
            WHERE window_start_ms >= {since:Int64} GROUP BY m"""
        rows = self._olap.query(sql, params={"since": self._since - MINUTE_MS})
        now_ms = self._clock.now_ms()
        for row in rows:
            counts = (int(row["received"]), int(row["reports"]))
            if self._seen.get(int(row["m"]), (None, 0))[0] != counts:
                self._seen[int(row["m"])] = (counts, now_ms)

    def delays_s(self, *, ended: tuple[int, int], watermark_delay_s: float) -> list[float]:
        """From each minute's end plus watermark delay until it was complete, for minutes that ended between the two wall times (ms)."""
        ends = {start + MINUTE_MS: at for start, (_, at) in self._seen.items()}
        return [
            (at - end) / 1000 - watermark_delay_s for end, at in sorted(ends.items()) if ended[0] <= end <= ended[1]
        ]


class WeightWatch:
    """Where the CDN scheduler's weights stand, by cell, and since when they have not moved."""

    def __init__(self, olap: OlapClient, clock: Clock) -> None:
        self._olap, self._clock = olap, clock
        self._seen: dict[str, dict[str, float]] = {}
        self._moved_ms = 0

    def are_away(self) -> bool:
        """Whether some cell's newest weights are not those that it began with; False where nothing was decided yet."""
        rows = self._ask("argMin(weights, ts_ms) AS first, argMax(weights, ts_ms) AS newest", since_ms=0)
        return any(movement(row["first"], row["newest"]) > STILL_MAX for row in rows.values())

    def stand_still(self, *, since_ms: int) -> bool:
        """Whether no weight has moved for `STILL_S`, as far as decisions since then tell; has to be asked again and again."""
        now_ms = self._clock.now_ms()
        newest = {
            cell: row["newest"]
            for cell, row in self._ask("argMax(weights, ts_ms) AS newest", since_ms=since_ms).items()
        }
        if any(movement(self._seen.get(cell, {}), weights) > STILL_MAX for cell, weights in newest.items()):
            self._seen, self._moved_ms = newest, now_ms
        return bool(newest) and now_ms - max(self._moved_ms, since_ms) >= STILL_S * 1000

    def _ask(self, what: str, *, since_ms: int) -> dict[str, dict[str, dict[str, float]]]:
        sql = f"SELECT region, isp, {what} FROM decision_log WHERE ts_ms >= {{since:Int64}} GROUP BY region, isp"
        try:
            rows = self._olap.query(sql, params={"since": since_ms})
        except HeadraceError:
            return {}
        return {
            f"{row['region']}|{row['isp']}": {
                name: msgspec.json.decode(row[name], type=dict[str, float])
                for name in ("first", "newest")
                if name in row
            }
            for row in rows
        }


def movement(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """The most that any CDN's weight differs by. Pure."""
    return max((abs(before.get(cdn, 0.0) - after.get(cdn, 0.0)) for cdn in {*before, *after}), default=0.0)


class JobHealth:
    """Whether all jobs run, with all their tasks, over time: (wall ms, number of jobs, all running)."""

    def __init__(self, flink: str, clock: Clock) -> None:
        self.seen: list[tuple[int, int, bool]] = []
        self._http = httpx.Client(base_url=flink, timeout=2.0, trust_env=False)
        self._clock = clock

    def step(self) -> None:
        """Look at Flink's overview once."""
        jobs: list[dict[str, Any]] = self._http.get("/jobs/overview").json()["jobs"]
        alive = [job for job in jobs if job["state"] not in {"FINISHED", "CANCELED", "FAILED"}]
        whole = all(job["state"] == "RUNNING" and job["tasks"]["running"] == job["tasks"]["total"] for job in alive)
        self.seen.append((self._clock.now_ms(), len(alive), whole and bool(alive)))

    def recovery_s(self, killed_ms: int) -> float | None:
        """From the kill until all jobs ran again after having been seen not to; None if that was not seen."""
        after = [row for row in self.seen if row[0] >= killed_ms]
        down = next((at for at, _, whole in after if not whole), None)
        if down is None:
            return None
        return next(((at - killed_ms) / 1000 for at, _, whole in after if whole and at > down), None)


def decision_latencies_s(
    beacons: Sequence[tuple[str, int]], updates: Sequence[tuple[str, int, int]], decisions: Sequence[tuple[str, int]]
) -> list[float]:
    """From event time to the first decision that can have seen it, s. Pure.

    Args:
        beacons: (cell and CDN, event ms) of a sample of rows.
        updates: (cell and CDN, greatest event ms that the row covers, ms when it was in the topic), in topic order.
        decisions: (cell, decided ms), in order; a cell and CDN begins with its cell and `|`.

    Returns:
        One figure a beacon whose second was reported and decided on afterwards; a beacon that no later update covers within
        the sample counts as 60 s, so that what never arrives cannot look fast.
    """
    by_path: dict[str, list[tuple[int, int]]] = {}
    for path, covers, at in updates:
        by_path.setdefault(path, []).append((covers, at))
    by_cell: dict[str, list[int]] = {}
    for cell, at in decisions:
        by_cell.setdefault(cell, []).append(at)
    latencies = []
    for path, event_ms in beacons:
        in_topic = min(
            (at for covers, at in by_path.get(path, []) if covers >= event_ms and covers // 1000 == event_ms // 1000),
            default=None,
        )
        decided = (
            None
            if in_topic is None
            else min((at for at in by_cell.get(path.rsplit("|", 1)[0], []) if at >= in_topic), default=None)
        )
        latencies.append(60.0 if decided is None else (decided - event_ms) / 1000)
    return latencies
