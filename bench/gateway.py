"""How many beacons a second the gateway takes, acknowledged by a real Kafka broker on the same machine.

    python bench/gateway.py --json [--quick] [--kafka host:port] [--recordings folder]

Starts a broker (`headrace up --only kafka` in a folder of its own) unless one is named, and a gateway; re-keys recorded beacons
to many sessions in batches of 50; then runs a load generator in a process of its own, twice: closed loop (how much goes
through), and open loop at 20,000 beacons/s (how long an ack takes). Prints beacons/s acknowledged, latency, CPU seconds per million
beacons, the gateway's resident memory over time, and whether the topic grew by exactly what the gateway says it accepted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from headrace.core.home import Home
from headrace.testing.beacons import cmcd_raw_table, recorded_events, rekeyed_batches, write_home

ROOT = Path(__file__).resolve().parents[1]
TOPIC, PARTITIONS = "ods.cmcd_raw", 4
ROWS = 50
RATE_ROWS_PER_S = 20_000  # issue 2: the gateway must take at least this
SESSIONS = 4000


def free_port() -> int:
    """A port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def broker(address: str, folder: Path) -> Iterator[str]:
    """The address of a Kafka broker: the one named, or one that is started and stopped here."""
    if address:
        yield address
        return
    command = [sys.executable, "-m", "headrace.cli.main"]
    home = folder / "stack"
    subprocess.run([*command, "up", "--only", "kafka", "--home", str(home)], check=True, stdout=sys.stderr)
    try:
        yield Home(home).load_stack().endpoints.kafka
    finally:
        subprocess.run([*command, "down", "--home", str(home)], check=False, stdout=sys.stderr)


@contextlib.contextmanager
def gateway(home: Home, kafka: str) -> Iterator[int]:
    """A gateway process; gives its port."""
    port = free_port()
    argv = [sys.executable, "-m", "headrace.ingest.gateway", "--home", str(home.root), "--port", str(port)]
    with (home.root / "gateway.log").open("w") as log:
        process = subprocess.Popen([*argv, "--kafka", kafka], stderr=log, stdout=log)
    try:
        deadline = time.perf_counter() + 30
        while not answers(port):
            if process.poll() is not None or time.perf_counter() > deadline:
                raise SystemExit((home.root / "gateway.log").read_text())
            time.sleep(0.1)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def answers(port: int) -> bool:
    """Whether the gateway serves."""
    try:
        return bool(get(port, "/healthz"))
    except OSError:
        return False


def get(port: int, path: str) -> Any:
    """The JSON that the gateway answers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return json.loads(answer.read())


def end_offsets(kafka: str) -> int:
    """Messages ever written to the topic."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "bench-gateway"})
    try:
        parts = [TopicPartition(TOPIC, number) for number in range(PARTITIONS)]
        return sum(consumer.get_watermark_offsets(part, timeout=15)[1] for part in parts)
    finally:
        consumer.close()


def write_bodies(path: Path, recordings: Path) -> None:
    """Bodies of real beacons, re-keyed and moved to now, for the load generator."""
    events = recorded_events(recordings)
    if not events:
        raise SystemExit(f"no recordings (*.jsonl) in {recordings}")
    with path.open("wb") as out:
        for body in rekeyed_batches(events, sessions=SESSIONS, rows=ROWS, newest_ms=time.time_ns() // 1_000_000):
            out.write(struct.pack(">I", len(body)) + body)


def load(port: int, bodies: Path, *, rate: float, seconds: float) -> dict[str, Any]:
    """One run of the load generator, with the gateway's books and memory before, during and after."""
    argv = [sys.executable, str(ROOT / "bench" / "gateway_load.py"), "--bodies", str(bodies), "--port", str(port)]
    before = get(port, "/v1/stats")
    process = subprocess.Popen(
        [*argv, "--rate", str(rate / ROWS), "--seconds", str(seconds), "--connections", "32"], stdout=subprocess.PIPE
    )
    memory = []
    while process.poll() is None:
        memory.append(get(port, "/v1/stats")["rss_bytes"])
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds / 10)
    assert process.stdout
    result: dict[str, Any] = json.loads(process.stdout.read())
    after = get(port, "/v1/stats")
    rows = after["accepted"] - before["accepted"]
    return {
        "beacons_per_s": round(rows / result["elapsed_s"]),
        "accepted": rows,
        "other": {name: after[name] - before[name] for name in ("dead", "shed", "returned")},
        "reconciles": after["received"] == after["accepted"] + after["dead"] + after["shed"] + after["pending"],
        "ack_p50_ms": result["p50_ms"],
        "ack_p99_ms": result["p99_ms"],
        "statuses": result["statuses"],
        "failed": result["failed"],
        "gateway_cpu_s_per_million": (after["cpu_s"] - before["cpu_s"]) / max(1, rows) * 1e6,
        "load_cpu_s_per_million": result["cpu_s"] / max(1, rows) * 1e6,
        "rss_bytes": memory,
    }


def run(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The whole bench."""
    home = write_home(
        folder / "home",
        tables=[cmcd_raw_table(partitions=PARTITIONS)],
        dims={
            name: (ROOT / "apps/live-quality/dims" / f"{name}.csv").read_text("utf-8") for name in ("ip_prefix", "cdn")
        },
    )
    seconds = 15.0 if args.quick else 60.0
    bodies = folder / "bodies.bin"
    with broker(args.kafka, folder) as kafka, gateway(home, kafka) as port:
        write_bodies(bodies, args.recordings)
        load(port, bodies, rate=0, seconds=3)
        start, accepted_before = end_offsets(kafka), get(port, "/v1/stats")["accepted"]
        closed = load(port, bodies, rate=0, seconds=seconds)
        opened = load(port, bodies, rate=RATE_ROWS_PER_S, seconds=seconds)
        grown, accepted = end_offsets(kafka) - start, get(port, "/v1/stats")["accepted"] - accepted_before
    return {
        "beacons_per_s": closed["beacons_per_s"],
        "ack_p50_ms": opened["ack_p50_ms"],
        "ack_p99_ms": opened["ack_p99_ms"],
        "gateway_cpu_s_per_million": closed["gateway_cpu_s_per_million"],
        "rss_bytes_first": closed["rss_bytes"][len(closed["rss_bytes"]) // 2],
        "rss_bytes_last": opened["rss_bytes"][-1],
        "topic_grew_by": grown,
        "accepted": accepted,
        "reconciles": closed["reconciles"] and opened["reconciles"] and grown == accepted,
        "load_average": os.getloadavg()[0],
        "closed_loop": closed,
        f"open_loop_{RATE_ROWS_PER_S}": opened,
    }


def main() -> int:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="15 s a phase instead of 60")
    parser.add_argument("--kafka", default="", help="use this broker instead of starting one")
    parser.add_argument(
        "--recordings", type=Path, default=ROOT / "apps/live-quality/recordings", help="folder of *.jsonl recordings"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        result = run(args, Path(folder))
    if args.json:
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        sys.stdout.write("".join(f"{key}: {value}\n" for key, value in result.items()))
    return 0 if result["reconciles"] else 1


if __name__ == "__main__":
    sys.exit(main())
