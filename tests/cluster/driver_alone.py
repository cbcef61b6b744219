"""A driver without a stack: enough for everything that does not touch a cluster."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import wait_until

from headrace.flink.driver_client import DriverClient

ROOT = Path(__file__).resolve().parents[2]
READY_TIMEOUT_S = 240  # 10 s on a quiet machine


@dataclass(frozen=True)
class AloneDriver:
    """A running driver: its process and its socket."""

    process: subprocess.Popen[bytes]
    socket: Path

    def client(self) -> DriverClient:
        """A new client."""
        return DriverClient(self.socket)


@contextmanager
def alone_driver() -> Iterator[AloneDriver]:
    """Start a driver in a temporary home with a short path; SIGTERM must end it orderly within 5 s of patience times 4."""
    runtime = ROOT / "runtimes" / "flink"
    jars = sorted((ROOT / "build" / "jars" / "connectors").glob("*.jar"))
    with tempfile.TemporaryDirectory(prefix="hr-") as home:
        path = Path(home) / "run" / "driver.sock"
        command = [str(runtime / ".venv/bin/python"), "-m", "driver", "--socket", str(path), "--home", home]
        command += ["--log-level", "WARNING", *(["--jars", *map(str, jars)] if jars else [])]
        process = subprocess.Popen(command, cwd=runtime, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
        try:
            wait_until(lambda: path.exists() or process.poll(), timeout_s=READY_TIMEOUT_S, what="the driver's socket")
            yield AloneDriver(process, path)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(20)
