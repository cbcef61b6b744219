"""What a killed supervisor left running is found by pid files, and nothing else is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.waiting import wait_until

from headrace.core.clock import SystemClock
from headrace.stack.orphans import PidRecord, clean_orphans, members, read_pids, start_ticks, write_pid

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); signal.pause()"
WITH_HELPER = "import subprocess,sys; p=subprocess.Popen([sys.executable,'-c','import signal; signal.pause()']); print(p.pid, flush=True); p.wait()"


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes of a test; all are gone afterwards."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def spawn(started: list[subprocess.Popen[bytes]], code: str) -> tuple[subprocess.Popen[bytes], bytes]:
    """Start Python code in an own session, as the supervisor does; returns it with its first line."""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    started.append(process)
    assert process.stdout is not None
    return process, process.stdout.readline()


def test_a_stubborn_process_is_killed_after_the_grace_time(
    tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    """SIGTERM first; who ignores it gets SIGKILL; the pid file goes."""
    process, _ = spawn(started, STUBBORN)
    write_pid(tmp_path, "kafka", process.pid)
    assert clean_orphans(tmp_path, clock=SystemClock(), grace_s=0.3) == ["kafka"]
    assert process.wait() == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


def test_helpers_go_with_a_leader_that_is_already_dead(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    """The driver's JVM must not survive because the driver itself was killed."""
    process, line = spawn(started, WITH_HELPER)
    helper = int(line)
    write_pid(tmp_path, "driver", process.pid)
    process.kill()
    process.wait()
    assert start_ticks(helper)
    assert clean_orphans(tmp_path, clock=SystemClock(), grace_s=5) == ["driver"]
    wait_until(lambda: not start_ticks(helper), timeout_s=5, what="the helper's end")


def test_a_reused_pid_is_left_alone(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    """A pid file whose start time differs is about a process that is long gone."""
    process, _ = spawn(started, STUBBORN)
    record = PidRecord("valkey", process.pid, start_ticks(process.pid) - 1)
    assert members(record) == []
    write_pid(tmp_path, "valkey", process.pid)
    path = tmp_path / "valkey.pid"
    path.write_text(path.read_text().replace(str(start_ticks(process.pid)), "1"))
    assert clean_orphans(tmp_path, clock=SystemClock(), grace_s=0.2) == []
    assert process.poll() is None


def test_damaged_and_stale_pid_files_are_removed(tmp_path: Path) -> None:
    """Cleaning up twice, or after a power cut, ends with an empty folder."""
    (tmp_path / "kafka.pid").write_text("{")
    (tmp_path / "olap.pid").write_text('{"name":"olap","pid":999999999,"start_ticks":5}')
    assert [record.name for record in read_pids(tmp_path)] == ["olap"]
    assert clean_orphans(tmp_path, clock=SystemClock()) == []
    assert list(tmp_path.iterdir()) == []


def test_own_start_time_is_stable() -> None:
    """Start times identify a process for its whole life."""
    assert start_ticks(os.getpid()) == start_ticks(os.getpid()) > 0
