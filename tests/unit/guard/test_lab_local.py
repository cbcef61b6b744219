"""Faults of a local stack's process: what they need, that they end, and what the timeline says of the jobs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headrace.core.errors import Unsupported
from headrace.guard.hawk.events import HawkEvent
from headrace.guard.lab.local import JobTimes, expects_limit, full_files, hawk_times, local_timeline, whole_disk

T0 = 1_790_000_000_000
WRITER = """
import sys
file = open(sys.argv[1], "ab", buffering=0)
for _ in sys.stdin:
    try:
        print(file.write(b"x"), flush=True)
    except OSError as error:
        print(error.errno, flush=True)
"""


@contextmanager
def writer(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that writes a byte for each line, and says how many were taken or which error came."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def write(process: subprocess.Popen[str]) -> str:
    """One more byte."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def test_files_take_no_byte_while_they_are_full_and_again_afterwards(tmp_path: Path) -> None:
    """The process lives on; what it sees is an error of the write."""
    path = tmp_path / "file"
    with writer(path) as process:
        assert write(process) == "1"
        with full_files([process.pid]):
            assert write(process) == "27"  # EFBIG
            assert write(process) == "27"
        assert write(process) == "1"
    assert path.read_bytes() == b"xx"


def test_a_process_that_the_signal_would_kill_is_spared() -> None:
    """Before anything is changed, with a hint at what can be tried."""
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            with pytest.raises(Unsupported, match="would be killed") as refused, full_files([process.pid]):
                pass
            assert "TaskManager" in refused.value.hint
            assert process.poll() is None
        finally:
            process.kill()


def test_whether_a_process_expects_the_limit_is_in_its_masks() -> None:
    """Signal 25, caught or ignored."""
    assert expects_limit("Name:\tjava\nSigIgn:\t0000000000000000\nSigCgt:\t2000000181005ccf\n")
    assert expects_limit("Name:\tpython\nSigIgn:\t0000000001001000\nSigCgt:\t0000000000000002\n")
    assert not expects_limit("Name:\tsleep\nSigIgn:\t0000000000000000\nSigCgt:\t0000000000000000\n")


def test_limits_are_kept_by_whole_disks(tmp_path: Path) -> None:
    """A partition leads to its disk; what is no block device is refused."""
    disk, part = tmp_path / "devices" / "vda", tmp_path / "devices" / "vda" / "vda1"
    part.mkdir(parents=True)
    (disk / "dev").write_text("254:0\n")
    (part / "partition").write_text("1\n")
    table = tmp_path / "block"
    table.mkdir()
    (table / "254:0").symlink_to(disk)
    (table / "254:1").symlink_to(part)
    assert whole_disk(os.makedev(254, 0), table) == os.makedev(254, 0)
    assert whole_disk(os.makedev(254, 1), table) == os.makedev(254, 0)
    with pytest.raises(Unsupported, match="no disk that can be slowed down"):
        whole_disk(os.makedev(0, 42), table)


def test_the_verdict_is_hawks_own() -> None:
    """The first on this process, and when Flink had taken it; other processes' verdicts are not its own."""
    events = [
        HawkEvent(T0 + 100, "verdict", "local", process="taskmanager-2"),
        HawkEvent(T0 + 120, "verdict_told", "local", names=("taskmanager-2",)),
        HawkEvent(T0 + 250, "verdict", "local", process="taskmanager-1"),
        HawkEvent(T0 + 300, "verdict_told", "local", names=("taskmanager-1",)),
        HawkEvent(T0 + 900, "verdict", "local", process="taskmanager-1"),
    ]
    assert hawk_times(events, "taskmanager-1") == {"verdict_ms": T0 + 250, "told_ms": T0 + 300}
    assert hawk_times([], "taskmanager-1") == {}


def test_the_timeline_is_of_the_jobs_that_failed() -> None:
    """From the first failure until the last of them runs again; a job that was not hit does not count."""
    times = [
        JobTimes((T0 + 300, T0 + 900), T0 + 2500),
        JobTimes((T0 + 200,), T0 + 3000),
        JobTimes((), T0 - 90_000),
    ]
    found = local_timeline(times, {"verdict_ms": T0 + 150}, case="kill", process="taskmanager-1", fault_ms=T0)
    assert (found.restarting_ms, found.running_ms, found.restarts) == (T0 + 200, T0 + 3000, 2)
    assert (found.verdicts, found.problem) == (("local/taskmanager-1",), "")


def test_a_job_that_does_not_run_again_is_a_problem() -> None:
    """And a fault that no job has felt is none."""
    stuck = local_timeline([JobTimes((T0 + 1,), None)], {}, case="kill", process="kafka", fault_ms=T0)
    assert (stuck.running_ms, stuck.problem) == (None, "not all jobs run again")
    quiet = local_timeline([JobTimes((), T0 - 1)], {}, case="slow-disk", process="taskmanager-1", fault_ms=T0)
    assert (quiet.restarting_ms, quiet.restarts, quiet.problem) == (None, 0, "")
