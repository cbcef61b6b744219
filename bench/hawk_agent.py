"""What Hawk costs a host: `python bench/hawk_agent.py [--json] [--seconds S] [--processes N] [--dependencies N] [--disk FOLDER]`.

Starts three observers and one agent as processes of their own over loopback, as `headrace hawk observe` and `headrace agent` do; the agent watches
N processes, checks a disk, and asks dependencies that answer as a broker does, three addresses each. After joining, CPU time (nanoseconds that the scheduler gave each process) and resident memory of each are read over S seconds,
the agent's own metrics beside them. Must: at most 1 % of a core and 40 MB for the agent.
"""

from __future__ import annotations

import argparse
import json
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from headrace.guard.hawk.keys import host_key, new_key, write_key
from headrace.guard.hawk.metrics import AGENT
from headrace.stack import orphans

OBSERVERS = 3
ADDRESSES = 3  # of each dependency
JOIN_S = 60.0
CPU_SHARE_MAX, RSS_BYTES_MAX = 0.01, 40e6


def free_ports(kind: int, count: int) -> list[int]:
    """Ports of loopback that are free now."""
    sockets = [socket.socket(socket.AF_INET, kind) for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def cpu_s(pid: int) -> float:
    """CPU time of a process, all of its threads, s."""
    tasks = (Path(f"/proc/{pid}/task")).iterdir()
    return sum(int((task / "schedstat").read_text("ascii").split()[0]) for task in tasks) / 1e9


def rss_bytes(pid: int) -> int:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def metrics(port: int) -> dict[str, float]:
    """What `GET /metrics` says, labels left on the names."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


def wait_joined(port: int, beats: int) -> None:
    """Until all observers have acknowledged some heartbeats.

    Raises:
        TimeoutError: they do not.
    """
    deadline = time.monotonic() + JOIN_S
    while time.monotonic() < deadline:
        try:
            acknowledged = [value for name, value in metrics(port).items() if "acknowledgements_total" in name]
        except OSError:
            acknowledged = []
        if len(acknowledged) == OBSERVERS and min(acknowledged) >= beats:
            return
        time.sleep(0.2)
    raise TimeoutError("the agent did not join")


class Answer(socketserver.BaseRequestHandler):
    """Says something to whoever asks, and counts."""

    count = 0

    def handle(self) -> None:
        """After one request."""
        Answer.count += 1
        self.request.recv(256)
        self.request.sendall(b"\0\0\0\0")


def start(
    folder: Path, watched: int, disk: Path, dependencies: Sequence[str]
) -> tuple[dict[str, subprocess.Popen[bytes]], int]:
    """All processes by name, and the port of the agent's metrics."""
    key = new_key()
    write_key(folder / "cluster.key", key)
    write_key(folder / "h1.key", host_key(key, "h1"))
    ports = free_ports(socket.SOCK_DGRAM, OBSERVERS)
    (metrics_port,) = free_ports(socket.SOCK_STREAM, 1)
    addresses = [f"127.0.0.1:{port}" for port in ports]
    run = folder / "run"
    run.mkdir()
    started: dict[str, subprocess.Popen[bytes]] = {}

    def spawn(name: str, words: list[str]) -> None:
        log = (folder / f"{name}.log").open("wb")
        started[name] = subprocess.Popen([sys.executable, *words], stdout=log, stderr=log, start_new_session=True)

    for index, address in enumerate(addresses):
        peers = ",".join(f"o{other}={addresses[other]}" for other in range(OBSERVERS) if other != index)
        words = ["-m", "headrace.guard.hawk.observer", "--name", f"o{index}", "--bind", address, "--peers", peers]
        words += ["--key-file", str(folder / "cluster.key"), "--events", str(folder / f"o{index}.events")]
        spawn(f"observer-{index}", words)
    for number in range(watched):
        name = f"taskmanager-{number}"
        spawn(name, ["-c", "import signal; signal.pause()"])
        orphans.write_pid(run, name, started[name].pid)
    words = ["-m", "headrace.guard.hawk.agent", "--host", "h1", "--observers", ",".join(addresses)]
    words += ["--key-file", str(folder / "h1.key"), "--pid-folder", str(run), "--disk", str(disk)]
    words += [word for each in dependencies for word in ("--dependency", each)]
    spawn("agent", [*words, "--metrics", f"127.0.0.1:{metrics_port}"])
    return started, metrics_port


def measure(seconds: float, watched: int, dependencies: int, disk: Path | None) -> dict[str, object]:
    """Run all of it once."""
    with (
        tempfile.TemporaryDirectory(prefix="headrace-agent-") as name,
        socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as broker,
    ):
        threading.Thread(target=broker.serve_forever, daemon=True).start()
        folder = Path(name)
        addresses = ",".join([f"127.0.0.1:{broker.server_address[1]}"] * ADDRESSES)
        asked = [f"kafka-{number}=kafka://{addresses}" for number in range(dependencies)]
        started, port = start(folder, watched, disk or folder, asked)
        try:
            wait_joined(port, 30)
            names = ["agent", *(f"observer-{index}" for index in range(OBSERVERS))]
            answers = Answer.count
            before, begun_s = {each: cpu_s(started[each].pid) for each in names}, time.monotonic()
            beats = metrics(port)[AGENT + "heartbeats_total"]
            time.sleep(seconds)
            elapsed_s = time.monotonic() - begun_s
            shares = {each: (cpu_s(started[each].pid) - before[each]) / elapsed_s for each in names}
            memory = {each: rss_bytes(started[each].pid) for each in names}
            told = metrics(port)
            answers = Answer.count - answers
        finally:
            for process in started.values():
                process.kill()
                process.wait()
            broker.shutdown()
    unreachable = sum(value for each, value in told.items() if "dependency_unreachable" in each)
    asked_enough = unreachable == 0 and (answers > 0 or dependencies == 0)
    return {
        "seconds": round(elapsed_s, 1),
        "watched": watched,
        "dependencies": dependencies,
        "unreachable": unreachable,
        "answers": answers,
        "cpu_share": {each: round(share, 5) for each, share in shares.items()},
        "rss_mb": {each: round(size / 1e6, 1) for each, size in memory.items()},
        "heartbeats_per_s": round((told[AGENT + "heartbeats_total"] - beats) / elapsed_s, 2),
        "told_rss_mb": round(told[AGENT + "rss_bytes"] / 1e6, 1),
        "held": asked_enough and shares["agent"] <= CPU_SHARE_MAX and memory["agent"] <= RSS_BYTES_MAX,
    }


def main() -> int:
    """Measure and print; 1 when the agent costs more than it may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--dependencies", type=int, default=1)
    parser.add_argument("--disk", type=Path)
    chosen = parser.parse_args()
    result = measure(chosen.seconds, chosen.processes, chosen.dependencies, chosen.disk)
    print(json.dumps(result, indent=None if chosen.json else 1))
    return 0 if result["held"] else 1


if __name__ == "__main__":
    sys.exit(main())
