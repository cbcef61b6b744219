"""Stacks in tests: started by the command that users type, and checked to leave nothing behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from headrace.core.clock import SystemClock
from headrace.core.errors import HeadraceError
from headrace.core.home import HOME_ENV, Endpoints, Home
from headrace.stack.client import ask, status, stop_stack
from headrace.stack.messages import ProcessStatus, Request, StackStatus

COMMAND_TIMEOUT_S = 290  # below pytest's limit of 300 s, so that the command's own words are seen
READY_TIMEOUT_S = 270
SERIOUS = re.compile(r"\bERROR\b|\bWARN(ING)?\b|_crashed|Exception")
DIAGNOSIS_LINES, DIAGNOSIS_WIDTH = 6, 300  # the end of a log that says what went wrong, and how much of a line


@dataclass(frozen=True)
class RunningStack:
    """A stack that is up."""

    home: Home

    @property
    def endpoints(self) -> Endpoints:
        """Where its processes listen."""
        return self.home.load_stack().endpoints

    def status(self) -> StackStatus:
        """All processes."""
        return status(self.home)

    def process(self, name: str) -> ProcessStatus:
        """One process."""
        return next(row for row in self.status().processes if row.name == name)

    def kill(self, name: str) -> None:
        """SIGKILL, as a crash."""
        ask(self.home, Request("kill", (name,)))

    def wait_ready(self, *names: str, timeout_s: float = 120) -> None:
        """Block until these processes, or all, answer."""
        ask(self.home, Request("wait-ready", names, timeout_s), timeout_s=timeout_s + 5)

    def flink_json(self, path: str) -> Any:
        """What Flink's REST interface answers; a JobManager that is busy failing over may take long, callers have deadlines."""
        return httpx.get(f"{self.endpoints.flink}{path}", timeout=60, trust_env=False).json()

    def diagnosis(self) -> list[str]:
        """A few lines for a failed test: each process, the last warnings of its log, each job with the last failure."""
        return [*self._processes_lines(), *self._log_lines(), *self._job_lines()]

    def _processes_lines(self) -> list[str]:
        try:
            return [
                f"{row.name} {row.state} pid {row.pid} restarts {row.restarts} started {row.start_ms} ms"
                for row in self.status().processes
            ]
        except HeadraceError as error:
            return [f"no status: {error.message}"]

    def _log_lines(self) -> list[str]:
        lines = []
        for log in sorted(self.home.logs.glob("*.log")):
            text = log.read_text(errors="replace").splitlines()
            bad = [line for line in text if SERIOUS.search(line)]
            lines += [f"{log.stem}: {line[:DIAGNOSIS_WIDTH]}" for line in bad[-DIAGNOSIS_LINES:]]
        return lines

    def _job_lines(self) -> list[str]:
        lines = []
        try:
            for job in self.flink_json("/jobs/overview")["jobs"]:
                lines.append(f"job {job['name']} {job['state']} {job['tasks']}")
                history = self.flink_json(f"/jobs/{job['jid']}/exceptions").get("exceptionHistory", {})
                lines += [f"  {entry['stacktrace'][:DIAGNOSIS_WIDTH]}" for entry in history.get("entries", [])[:2]]
        except (httpx.HTTPError, KeyError, ValueError) as error:
            lines.append(f"Flink does not answer: {error!r}")
        return lines


def headrace(*words: str, home: Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a `headrace` command against a home."""
    return subprocess.run(
        [sys.executable, "-m", "headrace.cli.main", *words, "--home", str(home)],
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        env={**os.environ, **(env or {})},
        check=False,
    )


def headrace_json(*words: str, home: Path) -> Any:
    """The JSON that a command prints; fails with its errors when it fails."""
    result = headrace(*words, "--json", home=home)
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def start_stack(home: Path, names: Iterable[str], *, env: Mapping[str, str] | None = None) -> RunningStack:
    """`headrace up`."""
    result = headrace(
        "up",
        "--only",
        ",".join(names),
        "--json",
        home=home,
        env={"HEADRACE_STACK_READY_TIMEOUT_S": str(READY_TIMEOUT_S), **(env or {})},
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return RunningStack(Home(home))


def end_stack(home: Path) -> None:
    """`headrace down`, then check that neither process nor file of the run is left."""
    stop_stack(Home(home), clock=SystemClock())
    assert_nothing_left(home)


def processes_of(home: Path) -> list[str]:
    """Command lines of all processes that belong to this home: by environment, working folder or arguments.

    Valkey writes its title over its environment, so one sign alone is not enough.
    """
    found = []
    for process in psutil.process_iter():
        try:
            command = " ".join(process.cmdline())
            signs = (process.environ().get(HOME_ENV) == str(home), str(home) in process.cwd(), str(home) in command)
            if any(signs) and process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
                found.append(command)
        except (psutil.Error, OSError):
            continue
    return found


def assert_nothing_left(home: Path) -> None:
    """After `down` there is no process, pid file, socket, temporary file or `stack.json`; data and logs stay."""
    left = processes_of(home)
    assert not left, f"processes are left: {left}"
    assert not (home / "tmp").exists(), sorted((home / "tmp").rglob("*"))
    assert not (home / "stack.json").exists()
    files = [entry.name for entry in (home / "run").iterdir()]
    assert files == ["supervisor.lock"], files
    sockets = [entry for entry in home.rglob("*") if entry.is_socket()]
    assert not sockets, sockets
