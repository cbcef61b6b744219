"""Load for the gateway: sends prepared bodies over keep-alive connections and reports acknowledgements as one JSON line.

Closed loop (`--rate 0`): each connection sends its next body when the last was answered. Open loop: bodies leave at a fixed rate, whatever
the answers do, and latency counts from when a body was due. One process, one thread, no HTTP library: a
request is bytes prepared beforehand, an answer is looked at for its status and length only.

The file of bodies: for each a 4-byte big-endian length and the body.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import struct
import sys
import time
from collections import Counter, deque
from pathlib import Path

import uvloop


class Run:
    """The state that all connections share."""

    def __init__(self, requests: list[bytes], *, deadline: float) -> None:
        self.requests = requests
        self.next = 0
        self.deadline = deadline
        self.statuses: Counter[int] = Counter()
        self.latencies: list[float] = []
        self.failed = 0
        self.open = 0
        self.waiting: deque[float] = deque()
        self.idle: list[Connection] = []
        self.closed_loop = True

    def take(self) -> bytes:
        """The next request, round and round."""
        request = self.requests[self.next % len(self.requests)]
        self.next += 1
        return request


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request in flight."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.buffer = b""
        self.due = 0.0
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start with a request, or wait to be given one."""
        self.transport = transport
        self.run.open += 1
        self.proceed()

    def proceed(self) -> None:
        """Send the next request if there is one to send."""
        self.busy = False
        if self.run.closed_loop:
            if time.perf_counter() < self.run.deadline:
                self.send(time.perf_counter())
        elif self.run.waiting:
            self.send(self.run.waiting.popleft())
        else:
            self.run.idle.append(self)

    def send(self, due: float) -> None:
        """Send one request that was due at `due`."""
        self.due, self.busy = due, True
        self.transport.write(self.run.take())  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Collect one answer, count it, go on."""
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        at = self.buffer.find(b"content-length: ", 0, end)
        length = int(self.buffer[at + 16 : self.buffer.find(b"\r\n", at)])
        if len(self.buffer) < end + 4 + length:
            return
        self.run.statuses[int(self.buffer[9:12])] += 1
        self.run.latencies.append(time.perf_counter() - self.due)
        self.buffer = b""
        self.proceed()

    def connection_lost(self, error: Exception | None) -> None:
        """Count a request that got no answer."""
        self.run.open -= 1
        self.run.failed += self.busy


async def drive(run: Run, *, host: str, port: int, connections: int, rate: float, seconds: float) -> float:
    """Send for `seconds`, wait for the last answers; gives the time from first request to last answer."""
    loop = asyncio.get_running_loop()
    run.closed_loop = rate == 0
    begun = time.perf_counter()
    run.deadline = begun + seconds
    made = [(await loop.create_connection(lambda: Connection(run), host, port))[1] for _ in range(connections)]
    sent = 0
    while time.perf_counter() < run.deadline:
        if rate:
            due = int((time.perf_counter() - begun) * rate)
            for number in range(sent, due):
                at = begun + number / rate
                if run.idle:
                    run.idle.pop().send(at)
                else:
                    run.waiting.append(at)
            sent = due
        await asyncio.sleep(0.002)
    last = time.perf_counter() + 15
    while (run.waiting or any(connection.busy for connection in made)) and time.perf_counter() < last and run.open:
        await asyncio.sleep(0.002)
    run.failed += len(run.waiting)
    return time.perf_counter() - begun


def load_requests(path: Path, *, stream: str, encoding: str) -> list[bytes]:
    """All requests, complete with head."""
    raw, requests, at = path.read_bytes(), [], 0
    head = (
        f"POST /v1/beacons/{stream} HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/cmcd\r\n"
        "user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0 Safari/537.36\r\n"
        "origin: http://player.example\r\naccept: */*\r\n" + (f"content-encoding: {encoding}\r\n" if encoding else "")
    )
    while at < len(raw):
        (length,) = struct.unpack_from(">I", raw, at)
        address = f"10.{16 + len(requests) % 40}.{len(requests) % 250}.7"
        fields = f"x-forwarded-for: {address}\r\ncontent-length: {length}\r\n\r\n"
        requests.append((head + fields).encode() + raw[at + 4 : at + 4 + length])
        at += 4 + length
    return requests


def main() -> int:
    """Run one load and print what came back."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bodies", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--stream", default="cmcd_raw")
    parser.add_argument("--encoding", default="")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rate", type=float, default=0.0, help="requests a second; 0: closed loop")
    parser.add_argument("--seconds", type=float, default=10.0)
    args = parser.parse_args()
    run = Run(load_requests(args.bodies, stream=args.stream, encoding=args.encoding), deadline=0.0)
    cpu = time.process_time()
    job = drive(run, host=args.host, port=args.port, connections=args.connections, rate=args.rate, seconds=args.seconds)
    elapsed = uvloop.run(job)
    run.latencies.sort()
    count = len(run.latencies)
    result = {
        "elapsed_s": elapsed,
        "statuses": {str(status): n for status, n in run.statuses.items()},
        "failed": run.failed,
        "p50_ms": run.latencies[count // 2] * 1000 if count else None,
        "p99_ms": run.latencies[min(count - 1, int(count * 0.99))] * 1000 if count else None,
        "cpu_s": time.process_time() - cpu,
    }
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
