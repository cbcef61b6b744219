"""Ends of processes are seen at once, those that were asked for are no loss, and the fence reaches whole sessions."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tests.waiting import wait_until

from headrace.core.clock import SystemClock
from headrace.guard.hawk.fence import Fence
from headrace.guard.hawk.options import HawkOptions
from headrace.guard.hawk.processes import TASK_AND_JOB_MANAGERS, ProcessWatch
from headrace.stack import orphans

NAME = "taskmanager-1"
OPTIONS = HawkOptions()


class Host:
    """A host with one watched process; time is moved by hand, the process is real."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now_ms = 0
        self.selector = selectors.DefaultSelector()
        self.events: list[tuple[str, dict[str, object]]] = []
        self.watch = ProcessWatch(
            folder,
            self.selector,
            options=OPTIONS,
            tell=lambda event, **fields: self.events.append((event, fields)),
            now=lambda: self.now_ms,
        )
        self.children: list[subprocess.Popen[bytes]] = []

    def start(self, *words: str) -> orphans.PidRecord:
        """A process with its pid file, as its supervisor starts it."""
        command = words or (sys.executable, "-c", "import signal; signal.pause()")
        child = subprocess.Popen(command, start_new_session=True)
        self.children.append(child)
        record = orphans.write_pid(self.folder, NAME, child.pid)
        self.watch.refresh(self.now_ms)
        return record

    def until(self, done: Callable[[], bool], what: str) -> None:
        """Serve the selector until something has happened."""

        def step() -> bool:
            for key, _ in self.selector.select(0):
                key.data(key.fileobj)
            return done()

        wait_until(step, timeout_s=10, what=what)

    def close(self) -> None:
        """Leave no process behind."""
        self.watch.close()
        for child in self.children:
            child.kill()
            child.wait()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host without processes."""
    made = Host(tmp_path)
    yield made
    made.close()


def state(pid: int) -> str:
    """The process's state as ps shows it."""
    return str(psutil.Process(pid).status())


def test_a_killed_process_is_news(host: Host) -> None:
    """It is reported as lost with its pid, and how long ago."""
    record = host.start()
    assert [each.pid for each in host.watch.reports(0)] == [record.pid]
    os.kill(record.pid, signal.SIGKILL)
    host.until(lambda: host.watch.news, "news")
    (report,) = host.watch.reports(250)
    assert (report.pid, report.lost_pid, report.lost_age_ms, report.frozen) == (0, record.pid, 250, False)


def test_an_end_is_seen_when_it_begins(host: Host) -> None:
    """The kernel tells of it when the memory is gone; here another thread holds that up for ever, until it is killed."""
    code = "import ctypes, signal, threading; threading.Thread(target=signal.pause).start(); ctypes.CDLL(None).pthread_exit(0)"
    record = host.start(sys.executable, "-c", code)
    wait_until(lambda: state(record.pid) == psutil.STATUS_ZOMBIE, timeout_s=10, what="the first thread's end")
    assert host.selector.select(0) == []
    host.watch.glance()
    assert host.watch.news
    assert host.watch.reports(0)[0].lost_pid == record.pid
    assert host.children[-1].wait(10) == -signal.SIGKILL


def test_waiting_ends_with_a_process(host: Host) -> None:
    """And not before; what comes on the selector is returned."""
    record = host.start()
    clock = SystemClock()
    host.watch = watch = ProcessWatch(
        host.folder, host.selector, options=OPTIONS, tell=lambda *_, **__: None, now=lambda: clock.now_ms()
    )
    watch.refresh(0)
    assert watch.wait(50) == []
    assert not watch.news
    os.kill(record.pid, signal.SIGKILL)
    for key, _ in watch.wait(60_000):
        key.data(key.fileobj)
    assert watch.news


def test_a_process_that_was_asked_to_stop_is_no_loss(host: Host) -> None:
    """Its supervisor announces the end in the pid file before it sends the signal."""
    record = host.start()
    orphans.announce_stop(host.folder, record)
    os.kill(record.pid, signal.SIGTERM)
    host.until(lambda: not host.watch.reports(0), "the end")
    assert not host.watch.news


def test_a_restarted_process_is_watched_under_its_name(host: Host) -> None:
    """The old loss stays in the report beside the new pid."""
    first = host.start()
    os.kill(first.pid, signal.SIGKILL)
    host.until(lambda: host.watch.news, "news")
    second = host.start()
    (report,) = host.watch.reports(0)
    assert (report.pid, report.lost_pid) == (second.pid, first.pid)


@pytest.mark.parametrize("looks", [False, True])
def test_a_process_that_is_replaced_before_its_end_is_looked_at_is_a_loss(host: Host, looks: bool) -> None:
    """A supervisor starts it again after 100 ms, which a busy machine may keep the agent from the CPU; the new one is watched."""
    first = host.start()
    os.kill(first.pid, signal.SIGKILL)
    host.children[0].wait()
    second = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
    host.children.append(second)
    orphans.write_pid(host.folder, NAME, second.pid)
    if looks:
        host.watch.refresh(0)
    host.until(lambda: host.watch.news, "news")
    (report,) = host.watch.reports(0)
    assert (report.pid, report.lost_pid) == (second.pid, first.pid)
    host.watch.news = False
    second.kill()
    host.until(lambda: host.watch.news, "news of the second")
    assert host.watch.reports(0)[0].lost_pid == second.pid


def test_a_reused_pid_is_never_touched(host: Host) -> None:
    """A pid file of before a reboot names a process that is somebody else now."""
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
    host.children.append(child)
    record = orphans.write_pid(host.folder, NAME, child.pid)
    path = host.folder / f"{NAME}.pid"
    path.write_text(path.read_text().replace(str(record.start_ticks), str(record.start_ticks - 1)))
    host.watch.refresh(0)
    assert host.watch.reports(0) == ()
    host.watch.apply(Fence.KILL)
    assert child.poll() is None


def test_the_fence_stops_continues_and_kills_whole_sessions(host: Host) -> None:
    """Helpers of a TaskManager (Python workers) write, too."""
    code = "import subprocess, sys, signal; subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()']); signal.pause()"
    record = host.start(sys.executable, "-c", code)
    wait_until(lambda: len(orphans.members(record)) == 2, timeout_s=10, what="the helper")
    pids = orphans.members(record)
    host.watch.apply(Fence.HOLD)
    wait_until(lambda: {state(pid) for pid in pids} == {psutil.STATUS_STOPPED}, timeout_s=10, what="stopped")
    host.watch.apply(Fence.RUN)
    wait_until(lambda: psutil.STATUS_STOPPED not in {state(pid) for pid in pids}, timeout_s=10, what="going on")
    host.watch.apply(Fence.KILL)
    host.until(lambda: host.watch.news, "the end")
    wait_until(lambda: not orphans.members(record), timeout_s=10, what="nobody left")


def test_one_that_starts_while_the_host_holds_is_stopped_too(host: Host) -> None:
    """A supervisor knows nothing of leases."""
    host.watch.apply(Fence.HOLD)
    record = host.start()
    host.watch.apply(Fence.HOLD)
    wait_until(lambda: state(record.pid) == psutil.STATUS_STOPPED, timeout_s=10, what="stopped")
    host.now_ms = 60_000
    host.watch.refresh(host.now_ms)
    assert host.children[-1].poll() is None  # held is not frozen


def test_a_process_that_stands_still_is_killed_after_its_time(host: Host) -> None:
    """And only then; one that was stopped for less goes on."""
    record = host.start()
    os.kill(record.pid, signal.SIGSTOP)
    wait_until(lambda: state(record.pid) == psutil.STATUS_STOPPED, timeout_s=10, what="stopped")
    host.watch.refresh(1000)
    host.watch.refresh(1000 + OPTIONS.frozen_after_ms - 1)
    assert host.children[-1].poll() is None
    host.watch.refresh(1000 + OPTIONS.frozen_after_ms)
    host.until(lambda: host.watch.news, "news")
    assert host.watch.reports(0)[0].frozen


def test_other_pid_files_and_damaged_ones_are_left_alone(host: Host) -> None:
    """Only TaskManagers are watched."""
    orphans.write_pid(host.folder, "agent", os.getpid())
    (host.folder / "taskmanager-9.pid").write_text("{")
    host.watch.refresh(0)
    assert host.watch.reports(0) == ()


def test_a_job_manager_is_watched_and_fenced_where_another_can_lead(host: Host, tmp_path: Path) -> None:
    """Elsewhere it is left alone: stopping the only one helps nobody."""
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
    host.children.append(child)
    orphans.write_pid(tmp_path, "jobmanager-1", child.pid)
    host.watch.refresh(0)
    assert host.watch.reports(0) == ()
    watch = ProcessWatch(
        tmp_path,
        host.selector,
        options=OPTIONS,
        tell=lambda *_, **__: None,
        now=lambda: 0,
        prefixes=TASK_AND_JOB_MANAGERS,
    )
    watch.refresh(0)
    (report,) = watch.reports(0)
    assert (report.name, report.pid, report.is_job_manager) == ("jobmanager-1", child.pid, True)
    watch.apply(Fence.KILL)
    host.until(lambda: watch.news, "the end")
    watch.close()
