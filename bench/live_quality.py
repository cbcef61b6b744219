"""The live-quality numbers that `headrace bench live-quality` publishes.

    python bench/live_quality.py --json [--quick]

1. Freshness: a stack of its own, the app deployed, replayed players at about 5,000 beacons/s. Event to decision in Redis (p99),
   and how long after a minute's end plus watermark delay `qoe_1m` is readable.
2. Backlog: the jobs are stopped with savepoints, minutes of beacons pile up in Kafka (`bench/backlog.py`), then `quality` (DWD `play_interval`,
   `play_session`, DWS `qoe_1m`) is deployed again alone, and another time together with `cells` (DWS `cell_1s`): beacons/s from the first row read to the
   last, cold code and restored state included, and of the second half; CPU seconds per million.
3. Gateway: `bench/gateway.py`, with a broker of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import httpx
import psutil

from backlog import write_backlog
from headrace.cli.demo.clips import ClipLibrary
from headrace.cli.demo.compare import kafka_rows, topic_end
from headrace.cli.demo.conductor import bring_up, command
from headrace.cli.demo.guarantees import percentile
from headrace.cli.demo.observe import Loop, ReadableMinutes, decision_latencies_s
from headrace.cli.demo.replay import Crowd
from headrace.cli.demo.replayer import Replayer
from headrace.cli.demo.report import WATERMARK_DELAY_S
from headrace.core.clock import SystemClock
from headrace.core.home import Endpoints, Home
from headrace.core.rand import seeded
from headrace.serve.olap_client import OlapClient
from headrace.stack.client import status

ROOT = Path(__file__).resolve().parents[1]
APP = ROOT / "apps/live-quality"
SESSIONS = 4000  # a recorded player sends about 1.3 beacons a second
SAMPLE = 3000
POLL_S = 0.5  # a question costs the JobManager a walk over all vertices
WARM_UP_S = 60.0  # just deployed jobs run cold code; what that costs is seen in the demo
CATCH_UP_TIMEOUT_S = 300.0
LATE_SHARE_MAX = 0.01  # of the rows, behind the watermark
CLOCK = SystemClock()


def say(text: str) -> None:
    """Progress, to stderr."""
    print(text, file=sys.stderr, flush=True)


def replay(endpoints: Endpoints, *, seconds: float) -> tuple[Replayer, ReadableMinutes, int]:
    """Replay players without any fault for so long; returns what was seen and when it began (ms)."""
    crowd = Crowd(
        ClipLibrary.load(APP / "recordings"), seeded(1), size=SESSIONS, tag=f"b{CLOCK.now_ms() // 1000 % 1_000_000}"
    )
    replayer = Replayer(crowd, gateway=endpoints.gateway, steering=endpoints.steering, stream="cmcd_raw", clock=CLOCK)
    started_ms = CLOCK.now_ms()
    minutes = ReadableMinutes(endpoints.olap, CLOCK, since_ms=started_ms)
    traffic = threading.Thread(target=lambda: asyncio.run(replayer.run()), daemon=True)
    with Loop(CLOCK, minutes.step):
        traffic.start()
        CLOCK.sleep(seconds)
        replayer.stop()
        traffic.join()
        CLOCK.sleep(10.0)
    return replayer, minutes, started_ms


def freshness(endpoints: Endpoints, *, seconds: float) -> dict[str, Any]:
    """Event to decision and minute to readable at the replayed rate."""
    say(f"freshness: {SESSIONS} sessions, {WARM_UP_S:g} s of warm-up, then {seconds:g} s")
    replay(endpoints, seconds=WARM_UP_S)
    replayer, minutes, started_ms = replay(endpoints, seconds=seconds)
    rows = [row for row, _ in kafka_rows(endpoints.kafka, "ods.cmcd_raw")]
    mine = [row for row in rows if row["e"] != "rr" and row["recv_ms"] >= started_ms + 20_000]
    chosen = seeded(1).sample(mine, min(SAMPLE, len(mine)))
    cells = [(row, at) for row, at in kafka_rows(endpoints.kafka, "dws.cell_1s") if at >= started_ms]
    with OlapClient(endpoints.olap) as olap:
        made = olap.query(
            "SELECT ts_ms, region, isp FROM decision_log WHERE ts_ms >= {a:Int64} ORDER BY ts_ms",
            params={"a": started_ms},
        )
    latencies = decision_latencies_s(
        [(f"{row['region']}|{row['isp']}|{row.get('cdn') or 'none'}", int(row["ts_ms"])) for row in chosen],
        [(f"{row['region']}|{row['isp']}|{row['cdn']}", int(row["last_ts_ms"]), at) for row, at in cells],
        [(f"{row['region']}|{row['isp']}", int(row["ts_ms"])) for row in made],
    )
    # Event time stands still when the traffic ends: a minute that ends in its last seconds is never complete.
    ended = (started_ms, started_ms + round((seconds - WATERMARK_DELAY_S - 5.0) * 1000))
    delays = minutes.delays_s(ended=ended, watermark_delay_s=WATERMARK_DELAY_S)
    return {
        "beacons_per_s": round(replayer.counts.sent / seconds),
        "event_to_decision_s": {"p50": percentile(latencies, 0.5), "p99": percentile(latencies, 0.99)},
        "qoe_1m_readable_s": max(delays, default=None),
        "minutes": len(delays),
    }


def backlog(
    home: Home, endpoints: Endpoints, *, seconds: float, jobs: tuple[str, ...], after_ms: int = 0
) -> dict[str, Any]:
    """Catch up what so many seconds of players left in Kafka while the jobs were stopped; other jobs are stopped meanwhile.

    The rows end now, or begin at `after_ms`, the end of what was there before: rows older than what the jobs have read are behind their
    watermark, and cost next to nothing (192,000/s "caught up" before this was seen).

    The rate runs from the first row that a job read to the moment at which all of them had read the last; `second_half` from the
    middle of the rows on, when the generated code is compiled. CPU seconds: both TaskManagers, and the broker.
    """
    with httpx.Client(base_url=endpoints.flink, timeout=5.0, trust_env=False) as flink:
        running = [job["name"] for job in flink.get("/jobs/overview").json()["jobs"] if job["state"] == "RUNNING"]
    for job in running:
        command("job", "stop", job, home=home)
    before = topic_end(endpoints.kafka, "ods.cmcd_raw")
    say(f"backlog of {seconds:g} s for {', '.join(jobs)}")
    until_ms = max(CLOCK.now_ms(), after_ms + round(seconds * 1000))
    asyncio.run(
        write_backlog(
            home,
            kafka=endpoints.kafka,
            recordings=APP / "recordings",
            sessions=SESSIONS,
            seconds=seconds,
            until_ms=until_ms,
        )
    )
    rows = topic_end(endpoints.kafka, "ods.cmcd_raw") - before
    marks = [_cpu_s(home, "taskmanager"), _cpu_s(home, "kafka")]
    command("job", "deploy", str(APP), *jobs, home=home)
    first, half, last = _catch_up(home, endpoints, rows, jobs)
    with httpx.Client(base_url=endpoints.flink, timeout=5.0, trust_env=False) as flink:
        late = sum(_metric(flink, job, "numLateRecordsDropped") for job in jobs)
    if late > rows * LATE_SHARE_MAX:
        raise SystemExit(f"{late} of {rows} rows were late: they leave the pipeline early, so this is no measurement")
    taskmanagers, kafka = (after - mark for after, mark in zip(last[1:], marks, strict=True))
    return {
        "jobs": list(jobs),
        "until_ms": until_ms,
        "rows": rows,
        "late_rows": late,
        "seconds": round(last[0] - first[0], 1),
        "beacons_per_s": round(rows / (last[0] - first[0])),
        "cpu_s_per_million": {
            "taskmanagers": round(taskmanagers / rows * 1e6, 1),
            "kafka": round(kafka / rows * 1e6, 1),
        },
        "second_half": {
            "beacons_per_s": round((rows - half[1]) / (last[0] - half[0])),
            "taskmanagers_cpu_s_per_million": round((last[1] - half[2]) / (rows - half[1]) * 1e6, 1),
        },
    }


def _cpu_s(home: Home, prefix: str) -> float:
    pids = [one.pid for one in status(home).processes if one.name.startswith(prefix)]
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def _catch_up(
    home: Home, endpoints: Endpoints, rows: int, jobs: tuple[str, ...]
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """First row read: (time); half of them: (time, rows, CPU of TaskManagers); last: (time, CPU of TaskManagers, CPU of the broker); s."""
    first: tuple[float, ...] = ()
    half: tuple[float, ...] = ()
    deadline = CLOCK.monotonic_s() + CATCH_UP_TIMEOUT_S
    with httpx.Client(base_url=endpoints.flink, timeout=5.0, trust_env=False) as flink:
        while CLOCK.monotonic_s() < deadline:
            read = [_rows_read(flink, job) for job in jobs]
            now_s = CLOCK.monotonic_s()
            if max(read) and not first:
                first = (now_s,)
            if min(read) >= rows / 2 and not half:
                half = (now_s, float(min(read)), _cpu_s(home, "taskmanager"))
            if min(read) >= rows:
                return first, half, (now_s, _cpu_s(home, "taskmanager"), _cpu_s(home, "kafka"))
            CLOCK.sleep(POLL_S)
    raise SystemExit(f"the jobs did not catch up {rows} rows in {CATCH_UP_TIMEOUT_S} s")


def _rows_read(flink: httpx.Client, name: str) -> int:
    return _metric(flink, name, "numRecordsIn", vertices="Source", operators="Source__")


def _metric(flink: httpx.Client, name: str, metric: str, *, vertices: str = "", operators: str = "") -> int:
    """The sum of an operator metric over a running job's subtasks; of vertices and operators whose names begin so."""
    jobs = flink.get("/jobs/overview").json()["jobs"]
    running = next((job["jid"] for job in jobs if job["name"] == name and job["state"] == "RUNNING"), None)
    if running is None:
        return 0
    total = 0.0
    for vertex in flink.get(f"/jobs/{running}").json().get("vertices", []):
        if not vertex["name"].startswith(vertices):
            continue
        metrics = f"/jobs/{running}/vertices/{vertex['id']}/subtasks/metrics"
        found = [one["id"] for one in flink.get(metrics).json()]
        names = ",".join(one for one in found if one.startswith(operators) and one.endswith(metric))
        values = flink.get(metrics, params={"get": names, "agg": "sum"}).json() if names else []
        total += sum(float(one["sum"]) for one in values)
    return int(total)


def gateway() -> dict[str, Any]:
    """What bench/gateway.py prints."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench/gateway.py"), "--json", "--quick"],
        check=True,
        capture_output=True,
        text=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--no-gateway", action="store_true", help="without the gateway's numbers (bench/gateway.py)")
    parser.add_argument("--only", choices=("freshness", "backlog"), default="", help="one part, without the gateway")
    arguments = parser.parse_args()
    result: dict[str, Any] = {} if arguments.no_gateway or arguments.only else {"gateway": gateway()}
    with tempfile.TemporaryDirectory(prefix="hr-bench-") as folder:
        home = Home(Path(folder))
        try:
            endpoints = bring_up(home, APP, say=say)
            if arguments.only != "backlog":
                result["freshness"] = freshness(endpoints, seconds=80 if arguments.quick else 240)
            if arguments.only != "freshness":
                seconds = 480 if arguments.quick else 1200
                # In this order: a job that is left out of the first would have both backlogs to read in the second.
                # What flowed for the freshness has been read up to now.
                after_ms = CLOCK.now_ms() if "freshness" in result else 0
                result["backlog_with_cells"] = backlog(
                    home, endpoints, seconds=seconds / 2, jobs=("quality", "cells"), after_ms=after_ms
                )
                say(json.dumps(result["backlog_with_cells"]))
                after_ms = result["backlog_with_cells"]["until_ms"]
                result["backlog"] = backlog(home, endpoints, seconds=seconds, jobs=("quality",), after_ms=after_ms)
                say(json.dumps(result["backlog"]))
        finally:
            command("down", home=home)
    print(json.dumps(result) if arguments.json else json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
