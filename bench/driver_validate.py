"""How long the warm driver takes to validate: median and p99 in ms, as a client sees it, socket included.

Run with the platform's Python: `python bench/driver_validate.py --socket <home>/run/driver.sock --json` against a
running stack, or with `--start` to start a driver of its own in a temporary home. Every call sends another text, so
that nothing is answered from what was parsed before. The bound is the issue's: validate ≤ 100 ms median when warm.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from headrace.flink.driver_client import DriverClient
from headrace.flink.protocol import Compile, Explain, ParseTable, Request, Script, TableDef, Validate

ROOT = Path(__file__).resolve().parent.parent
BOUND_MS = 100.0
# 10 s on a quiet machine; minutes were seen at a load of 60.
START_TIMEOUT_S = 600.0
TABLES = 20


def tables() -> tuple[TableDef, ...]:
    """The app's ODS table, a sink, and others that a catalog would send along."""
    ods = (ROOT / "apps/live-quality/tables/cmcd_raw.sql").read_text("utf-8")
    sink = "CREATE TABLE cell (minute_at TIMESTAMP(3), region STRING, cdn STRING, n BIGINT, PRIMARY KEY (minute_at, region, cdn) NOT ENFORCED) WITH ('x' = 'y')"
    rest = tuple(
        TableDef(name=f"t{i}", ddl=f"CREATE TABLE t{i} (a INT) WITH ('x' = 'y')", options={"connector": "datagen"})
        for i in range(TABLES)
    )
    return (
        TableDef(name="cmcd_raw", ddl=ods, options={"connector": "datagen"}),
        TableDef(name="cell", ddl=sink, options={"connector": "blackhole"}),
        *rest,
    )


def script(number: int) -> Script:
    """A pipeline like the app's: a view, a window, an upsert sink; another literal each time."""
    return Script(
        f"""SET 'table.exec.mini-batch.enabled' = 'false';
CREATE TEMPORARY VIEW stalls AS SELECT region, cdn, sid, ts FROM cmcd_raw WHERE sta = 'r' AND bl < {number};
INSERT INTO cell SELECT window_start, region, cdn, COUNT(DISTINCT sid)
FROM TABLE(TUMBLE(TABLE stalls, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, region, cdn;""",
        "pipelines/cell.sql",
    )


def measure(client: DriverClient, requests: Iterator[Request]) -> dict[str, float]:
    """Median, p99 and maximum of the round trips, the median of the driver's own time, and CPU time per call, in ms.

    CPU time (driver and JVM, its compiler and collector included) tells what a call costs when other work makes the
    clock useless: on a quiet machine a call cannot take longer than about that.
    """
    pong = client.ping()
    processes = [psutil.Process(pong.pid), psutil.Process(pong.jvm_pid)]
    cpu_before_s = sum(sum(process.cpu_times()[:2]) for process in processes)
    seen: list[float] = []
    inside: list[float] = []
    for request in requests:
        begin = time.perf_counter()
        answer = client.call(request)
        seen.append((time.perf_counter() - begin) * 1000)
        inside.append(answer.elapsed_ms)
        problems = getattr(answer.response, "problems", ())
        if answer.error or problems:
            raise SystemExit(f"call failed: {answer.error or problems}")
    ordered = sorted(seen)
    cpu_s = sum(sum(process.cpu_times()[:2]) for process in processes) - cpu_before_s
    return {
        "calls": len(seen),
        "median_ms": round(statistics.median(seen), 1),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)], 1),
        "max_ms": round(ordered[-1], 1),
        "cpu_ms_per_call": round(cpu_s * 1000 / len(seen), 1),
        "driver_median_ms": round(statistics.median(inside), 1),
    }


@contextmanager
def own_driver(jars: list[Path]) -> Iterator[tuple[Path, float]]:
    """A driver in a temporary home; yields its socket and how long it took to be ready, in s."""
    runtime = ROOT / "runtimes/flink"
    with tempfile.TemporaryDirectory(prefix="hr-") as home:
        path = Path(home) / "run" / "driver.sock"
        begin = time.perf_counter()
        command = [
            str(runtime / ".venv/bin/python"),
            "-m",
            "driver",
            "--socket",
            str(path),
            "--home",
            home,
            "--log-level",
            "WARNING",
        ]
        command += ["--jars", *map(str, jars)] if jars else []
        process = subprocess.Popen(command, cwd=runtime, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
        try:
            while not path.exists():
                if process.poll() is not None or time.perf_counter() - begin > START_TIMEOUT_S:
                    raise SystemExit("driver did not start")
                time.sleep(0.05)
            yield path, time.perf_counter() - begin
        finally:
            process.terminate()
            process.wait(60)


def run(path: Path, calls: int) -> dict[str, object]:
    """All measurements on one driver."""
    known = tables()
    with DriverClient(path) as client:
        while not client.ping().warm:
            time.sleep(0.2)
        return {
            "parse_table": measure(client, (ParseTable(Script(f"{known[0].ddl} -- {i}")) for i in range(calls))),
            "validate": measure(client, (Validate(script=script(i), tables=known) for i in range(calls))),
            "validate_plan": measure(
                client, (Validate(script=script(i), tables=known, plan=True) for i in range(calls))
            ),
            "explain": measure(client, (Explain(script=script(i), tables=known) for i in range(calls // 2))),
            "compile": measure(client, (Compile(script=script(i), tables=known) for i in range(calls // 2))),
        }


def main() -> int:
    """Measure; the exit code says whether the bound holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--socket", type=Path, help="socket of a running driver")
    where.add_argument("--start", action="store_true", help="start a driver in a temporary home")
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="20 calls")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    calls = 20 if options.quick else options.calls
    if options.start:
        with own_driver([]) as (path, ready_s):
            result: dict[str, object] = {"ready_s": round(ready_s, 1), **run(path, calls)}
    else:
        result = run(options.socket, calls)
    validate = result["validate"]
    assert isinstance(validate, dict)
    result = {
        **result,
        "bound_ms": BOUND_MS,
        "load_1min": round(os.getloadavg()[0], 1),
        "passed": validate["median_ms"] <= BOUND_MS,
    }
    print(json.dumps(result) if options.json else json.dumps(result, indent=2))
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
