"""Rows per second into the OLAP host over HTTP, and how long small requests take: an own host process, nothing else.

    python bench/olap.py [--rows 1000000] [--json]

Each format's rows are prepared before the clock runs; a timing is from the first request to the last acknowledgement. CPU-seconds are the
host's own, so that a loaded machine distorts them less than the wall clock. Prints a table, or one JSON object on the last line.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil

BATCH_ROWS = 50_000
SMALL_ROWS = 100
SMALL_REQUESTS = 400
TABLE = "CREATE TABLE t (id UInt64, name String, v Float64) ENGINE = ReplacingMergeTree ORDER BY id"


class Host:
    """The process under test."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "headrace.serve.olap", "--home", str(home), "--port", str(port)]
        started = time.monotonic()
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=dict(os.environ))
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300, trust_env=False)
        while not self._answers():
            time.sleep(0.02)
        self.start_s = time.monotonic() - started
        self.idle_rss_bytes = self.rss_bytes()

    def _answers(self) -> bool:
        try:
            return self.http.get("/ping").status_code == 200
        except httpx.TransportError:
            return False

    def rss_bytes(self) -> int:
        """Resident memory."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def cpu_s(self) -> float:
        """User and system time so far."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def post(self, query: str, body: bytes = b"", **headers: str) -> str:
        """One request that must succeed."""
        answer = self.http.post("/", params={"query": query}, content=body, headers=headers)
        answer.raise_for_status()
        return answer.text


def json_rows(start: int, count: int) -> bytes:
    """Rows as JSONEachRow."""
    return b"".join(b'{"id":%d,"name":"name-%d","v":%d.5}\n' % (i, i % 1000, i) for i in range(start, start + count))


def binary_rows(start: int, count: int) -> bytes:
    """The same as RowBinary."""
    rows = []
    for i in range(start, start + count):
        name = b"name-%d" % (i % 1000)
        rows.append(struct.pack("<QB", i, len(name)) + name + struct.pack("<d", i + 0.5))
    return b"".join(rows)


def measure_insert(host: Host, name: str, rows: int, encode: Callable[[int, int], bytes]) -> dict[str, float]:
    """Rows per second of wall time and per CPU-second for one format, in batches of `BATCH_ROWS`."""
    headers = {"Content-Encoding": "gzip"} if name.endswith("gzip") else {}
    batches = [encode(start, BATCH_ROWS) for start in range(0, rows, BATCH_ROWS)]
    if headers:
        batches = [gzip.compress(batch, compresslevel=1) for batch in batches]
    host.post("DROP TABLE IF EXISTS t SYNC")
    host.post(TABLE)
    query = f"INSERT INTO t FORMAT {name.partition(' ')[0]}"
    cpu, started = host.cpu_s(), time.monotonic()
    for batch in batches:
        host.post(query, batch, **headers)
    wall, cpu = time.monotonic() - started, host.cpu_s() - cpu
    written = len(batches) * BATCH_ROWS
    assert int(host.post("SELECT count() FROM t")) == written
    return {"rows_per_s": round(written / wall), "rows_per_cpu_s": round(written / cpu)}


def measure_small(host: Host) -> dict[str, float]:
    """Small INSERTs from 1 and 8 connections, and the latency of a trivial query."""
    host.post("DROP TABLE IF EXISTS t SYNC")
    host.post(TABLE)

    def insert(batch: int) -> float:
        started = time.monotonic()
        host.post("INSERT INTO t FORMAT JSONEachRow", json_rows(batch * SMALL_ROWS, SMALL_ROWS))
        return time.monotonic() - started

    found: dict[str, float] = {}
    for threads in (1, 8):
        started = time.monotonic()
        with ThreadPoolExecutor(threads) as pool:
            times = sorted(pool.map(insert, range(SMALL_REQUESTS)))
        found[f"small_inserts_per_s_{threads}"] = round(SMALL_REQUESTS / (time.monotonic() - started))
        found[f"small_insert_ms_p99_{threads}"] = round(1000 * times[int(len(times) * 0.99)], 1)
    latencies = []
    for _ in range(200):
        started = time.monotonic()
        host.post("SELECT 1")
        latencies.append(time.monotonic() - started)
    found["select_ms_p50"] = round(1000 * sorted(latencies)[100], 1)
    return found


def measure_read(host: Host) -> dict[str, float]:
    """MB per second of a streamed result, and the memory it took."""
    size, peak, before, started = 0, 0, host.rss_bytes(), time.monotonic()
    with host.http.stream("POST", "/", content="SELECT number, repeat('x', 90) FROM numbers(2000000)") as answer:
        for index, chunk in enumerate(answer.iter_raw()):
            size += len(chunk)
            if index % 50 == 0:
                peak = max(peak, host.rss_bytes())
    return {
        "mb_per_s": round(size / 1e6 / (time.monotonic() - started), 1),
        "rss_growth_mb": round((peak - before) / 1e6, 1),
    }


def run(rows: int) -> dict[str, object]:
    """All measurements on a fresh host."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-olap-") as folder:
        host = Host(Path(folder))
        try:
            formats = {"JSONEachRow": json_rows, "JSONEachRow gzip": json_rows, "RowBinary": binary_rows}
            return {
                "start_s": round(host.start_s, 2),
                "idle_rss_mb": round(host.idle_rss_bytes / 1e6),
                "insert": {name: measure_insert(host, name, rows, encode) for name, encode in formats.items()},
                "small": measure_small(host),
                "read": measure_read(host),
                "load_average": os.getloadavg()[0],
            }
        finally:
            host.process.terminate()
            host.process.wait(20)


def main() -> int:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description="measure the OLAP host")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows per format")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    chosen = parser.parse_args()
    result = run(chosen.rows)
    print(json.dumps(result) if chosen.json else json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
