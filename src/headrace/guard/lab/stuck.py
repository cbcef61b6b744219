"""A user function that never returns: one thread of a task stands still while its process goes on (F15).

    python -m headrace.guard.lab.stuck PID THREAD

stops the first thread of process PID whose name begins with THREAD (ptrace, Linux), prints its number, and holds it until it has ended or this
process is told to end. A thread is only stopped while it waits for a lock: stopped anywhere else in Java code, it would keep every other thread
of its process from the next safepoint, and the whole process would stand still.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

from headrace.core.clock import Clock, SystemClock
from headrace.core.errors import Unavailable
from headrace.guard.lab.cluster import LabCluster
from headrace.guard.lab.fault import Fault, pair
from headrace.stack.child import bind_to

FUTEX = {"x86_64": 202, "aarch64": 98}  # number of the system call in which a Java thread waits for a lock
CONT, SEIZE, INTERRUPT = 7, 0x4206, 0x4207  # requests of ptrace
WAIT_ALL = 0x4000_0000  # __WALL: threads that are no children, too
TASK_THREAD = "OverAggregate"  # which keeps the counts; the kernel keeps 15 bytes of a thread's name
TRIES, PAUSE_S = 500, 0.01
_helpers: dict[int, subprocess.Popen[str]] = {}


def missing() -> str:
    """Why no thread can be stopped here, or nothing."""
    if os.geteuid() != 0:
        return "needs root"
    if platform.machine() not in FUTEX:
        return f"knows no system calls of {platform.machine()}"
    return ""


def find_thread(pid: int, name: str) -> int:
    """Number of the first thread of a process whose name begins so; 0 when there is none."""
    for task in sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda path: int(path.name)):
        with contextlib.suppress(OSError):
            if (task / "comm").read_text().startswith(name):
                return int(task.name)
    return 0


def waits_for_lock(pid: int, thread: int) -> bool:
    """Whether a thread is in the system call of a lock; one that runs is in none."""
    try:
        first = Path(f"/proc/{pid}/task/{thread}/syscall").read_text().split()[0]
    except OSError:
        return False
    return first == str(FUTEX[platform.machine()])


def stop_thread(pid: int, thread: int, clock: Clock) -> None:
    """Let a thread stand still while it waits for a lock.

    Raises:
        Unavailable: the kernel does not allow it, or it never waits.
    """
    _trace(SEIZE, thread)
    for _ in range(TRIES):
        _trace(INTERRUPT, thread)
        _, status = os.waitpid(thread, WAIT_ALL)
        # Stopped by a signal of its own and not by us, it must get that signal: the JVM uses some.
        own = 0 if status >> 16 else os.WSTOPSIG(status)
        if not own and waits_for_lock(pid, thread):
            return
        _trace(CONT, thread, own)
        clock.sleep(PAUSE_S)
    raise Unavailable("a thread never waits for a lock", context={"pid": pid, "thread": thread})


def _trace(request: int, thread: int, data: int = 0) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
    if libc.ptrace(request, thread, None, data) == -1:
        number = ctypes.get_errno()
        raise Unavailable(f"a thread cannot be stopped: {os.strerror(number)}", context={"thread": thread})


def hold(pid: int, name: str, clock: Clock) -> None:
    """Stop the thread and wait for its end, so that its process can be gone when it is killed."""
    thread = find_thread(pid, name)
    if not thread:
        raise Unavailable("no such thread", context={"pid": pid, "thread": name})
    stop_thread(pid, thread, clock)
    print(thread, flush=True)
    while True:
        with contextlib.suppress(ChildProcessError):
            _, status = os.waitpid(thread, WAIT_ALL)
            if os.WIFSTOPPED(status):
                continue
        return


def _stick(lab: LabCluster, host: str) -> None:
    """A task of the victim stands still; then the next host's TaskManager is killed, so that all tasks must be cancelled."""
    pid, lab_pid = lab.task_manager_pid(host), os.getpid()
    helper = subprocess.Popen(
        [sys.executable, "-m", "headrace.guard.lab.stuck", str(pid), TASK_THREAD],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: bind_to(lab_pid),
    )
    _helpers[pid] = helper
    assert helper.stdout is not None
    if not helper.stdout.readline():
        raise Unavailable("no task of the victim could be stopped", context={"host": host, "code": helper.wait()})
    other = pair(lab.hosts, host)[1]
    os.kill(lab.task_manager_pid(other), signal.SIGKILL)


def _release(_: LabCluster, __: str) -> None:
    """The TaskManager has ended, and the helper with it; if not, the thread goes on when its tracer ends."""
    for helper in _helpers.values():
        helper.kill()
        helper.wait()
    _helpers.clear()


STUCK_FAULTS = (
    Fault(
        "stuck_task",
        True,
        _stick,
        _release,
        "a task stands still in user code while another host's TaskManager is killed: it cannot be cancelled, and its TaskManager ends itself",
        hits=pair,
        restarts_max=2,
        missing=missing,
        plan="F15",
    ),
)


def main() -> None:
    """Hold a thread until its end."""
    pid, name = sys.argv[1:]
    hold(int(pid), name, SystemClock())


if __name__ == "__main__":
    main()
