"""A real OLAP host process for these tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from headrace.stack.ports import is_free, plan_ports
from tests.waiting import wait_until


class Host:
    """One OLAP host: start, stop, kill, ask."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.log = home.parent / f"{home.name}.log"
        self.port = plan_ports(home, base=0, free=is_free)["olap"]
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60, trust_env=False)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **env: str) -> None:
        """Start and wait until it answers."""
        command = [sys.executable, "-m", "headrace.serve.olap", "--home", str(self.home), "--port", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=log, env={**os.environ, **env})
        wait_until(self.answers, timeout_s=60, what="the OLAP host to answer")

    def answers(self) -> bool:
        """Whether /ping is answered."""
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.http.get("/ping").text == "Ok.\n"
        except httpx.TransportError:
            return False

    def stop(self, *, hard: bool = False) -> int:
        """SIGTERM, or SIGKILL; returns the exit code."""
        assert self.process is not None
        if hard:
            self.process.kill()
        else:
            self.process.terminate()
        return self.process.wait(30)

    def rss_bytes(self) -> int:
        """Resident memory."""
        assert self.process is not None
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def sql(self, text: str | bytes, **params: str) -> str:
        """Run a statement that must succeed; returns the result's text."""
        answer = self.http.post("/", params=params, content=text)
        assert answer.status_code == 200, answer.text
        return answer.text

    def insert(self, statement: str, data: bytes, **headers: str) -> httpx.Response:
        """INSERT with the statement in the URL and rows in the body."""
        return self.http.post("/", params={"query": statement}, content=data, headers=headers)


@pytest.fixture(scope="session")
def shared_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """One host for all tests that do not stop it."""
    host = Host(tmp_path_factory.mktemp("olap") / "home")
    host.start(HEADRACE_SERVE_OLAP_QUERY_TIMEOUT_S="20")
    yield host
    host.stop()


@pytest.fixture
def host(shared_host: Host) -> Iterator[Host]:
    """The shared host, its default database emptied after the test."""
    yield shared_host
    for name in shared_host.sql("SHOW TABLES").split():
        shared_host.sql(f"DROP TABLE `{name}` SYNC")


@pytest.fixture
def own_host(tmp_path: Path) -> Iterator[Host]:
    """A host that the test may kill."""
    host = Host(tmp_path / "home")
    yield host
    if host.process is not None and host.process.poll() is None:
        host.stop(hard=True)
