"""Polls a second that one steering process answers on one core: `python bench/steering.py [--json] [--seconds N]`.

Starts the real process on the app's dims (no Redis: it answers from its defaults, which cost the same), and keeps
`--connections` keep-alive connections busy from this process. Reports polls per second of the service's own CPU time, which
does not depend on how much of the machine this client takes, and the latency that the client saw.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
APP = ROOT / "apps" / "live-quality"


async def _lane(port: int, number: int, until: float, latencies: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    count = 0
    while time.perf_counter() < until:
        began = time.perf_counter()
        target = f"/v1/steering/live-quality?sid=s{number}-{count}&_HLS_pathway=A&_HLS_throughput=5000000"
        address = f"10.{16 + number % 40}.{count % 250}.7"
        writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {address}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"not a 200: {head[:80]!r}")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        latencies.append(time.perf_counter() - began)
        count += 1
    writer.close()


async def _drive(port: int, seconds: float, connections: int) -> list[float]:
    latencies: list[float] = []
    until = time.perf_counter() + seconds
    await asyncio.gather(*(_lane(port, number, until, latencies) for number in range(connections)))
    return sorted(latencies)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit("the steering process did not start")


def measure(seconds: float, connections: int) -> dict[str, float]:
    """Run the process, drive it, return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(APP / "dims", Path(folder) / "data" / "dims")
        port = _free_port()
        command = [sys.executable, "-m", "headrace.serve.steering", "--home", folder, "--port", str(port)]
        process = subprocess.Popen([*command, "--redis", f"127.0.0.1:{_free_port()}"], stderr=subprocess.DEVNULL)
        try:
            _wait_for(port)
            service = psutil.Process(process.pid)
            before, began = service.cpu_times(), time.perf_counter()
            latencies = asyncio.run(_drive(port, seconds, connections))
            elapsed, after = time.perf_counter() - began, service.cpu_times()
            cpu_s = after.user + after.system - before.user - before.system
            rss = service.memory_info().rss
        finally:
            process.terminate()
            process.wait(10)
    return {
        "polls": len(latencies),
        "polls_per_s": round(len(latencies) / elapsed),
        "polls_per_cpu_s": round(len(latencies) / max(cpu_s, 0.01)),
        "latency_ms_p50": round(latencies[len(latencies) // 2] * 1000, 2),
        "latency_ms_p99": round(latencies[int(len(latencies) * 0.99)] * 1000, 2),
        "rss_bytes": rss,
    }


def main() -> int:
    """Print the figures; exit code 1 if below 2,000 polls per second of one core."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--connections", type=int, default=64)
    arguments = parser.parse_args()
    figures = measure(arguments.seconds, arguments.connections)
    if arguments.json:
        print(json.dumps(figures))
    else:
        print("\n".join(f"{name:18} {value:,}" for name, value in figures.items()))
    return 0 if figures["polls_per_cpu_s"] >= 2000 else 1


if __name__ == "__main__":
    sys.exit(main())
