"""The lab's faults: what each needs, who is hit, what must be told; and the tools that they are made with, as far as they need no root."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.waiting import wait_until

from headrace.core.clock import SystemClock
from headrace.core.errors import Unsupported
from headrace.guard.lab import disk, fakeclock, groups, stuck
from headrace.guard.lab.fault import everyone, only, pair
from headrace.guard.lab.faults import FAULTS

HOSTS = ("h1", "h2", "h3", "h4")
V1_MOUNTS = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0\n"
V2_MOUNTS = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n"


def test_every_fault_says_what_it_is_and_when_it_passes() -> None:
    """A sentence, and limits that fit: a fault that convicts nobody and stops nothing allows no restart."""
    for fault in FAULTS.values():
        assert fault.what, fault.name
        assert not (fault.lost and fault.recovers), fault.name
        assert fault.lost or fault.recovers or fault.restart_limit == 0, fault.name
        assert all(":" not in sign or "{host}" in sign for sign in fault.signs), fault.name


def test_restarts_are_allowed_once_where_the_job_has_to_restart() -> None:
    """And as often as the table says where it names a number."""
    assert FAULTS["host_dead"].restart_limit == 1
    assert FAULTS["wrong_verdict"].restart_limit == 1
    assert FAULTS["loss_40"].restart_limit == 0
    assert FAULTS["flapping"].restart_limit == 2


def test_who_is_hit_follows_from_the_victim() -> None:
    """The second of two is the next in the ring, so that the lab and the judge name the same."""
    assert only(HOSTS, "h2") == ("h2",)
    assert pair(HOSTS, "h2") == ("h2", "h3")
    assert pair(HOSTS, "h4") == ("h4", "h1")
    assert everyone(HOSTS, "h2") == HOSTS


def test_signs_name_the_victim() -> None:
    """What is told of another host does not count."""
    assert FAULTS["disk_full"].signs_of("h3") == ["host_gray:h3:full_disk", "kept_off"]
    assert FAULTS["all_hosts_cut"].signs_of("h3") == ["held"]


def test_a_controller_is_found_in_both_versions_of_control_groups() -> None:
    """Version 1 by the mount's flags, version 2 by its list of controllers; a hierarchy without it is none."""
    assert groups.find_hierarchy("cpu", V1_MOUNTS) == (1, Path("/sys/fs/cgroup/cpu"))
    assert groups.find_hierarchy("io", V1_MOUNTS) is None
    assert groups.find_hierarchy("io", V2_MOUNTS, lambda _: "cpu io memory") == (2, Path("/sys/fs/cgroup"))
    assert groups.find_hierarchy("io", V2_MOUNTS, lambda _: "hugetlb") is None


@pytest.mark.parametrize(
    ("version", "files"),
    [
        (1, {"cpu.cfs_period_us": "1000000", "cpu.cfs_quota_us": "1000", "cgroup.procs": "42"}),
        (2, {"cpu.max": "1000 1000000", "cgroup.procs": "42"}),
    ],
)
def test_a_thousandth_of_a_core_is_the_least_quota_of_the_longest_period(
    tmp_path: Path, version: int, files: dict[str, str]
) -> None:
    """In the words of each version."""
    group = groups.Group("cpu", "test", hierarchy=groups.Hierarchy(version, tmp_path))
    group.open()
    group.limit_cpu(0.001)
    group.add(42)
    assert {path.name: path.read_text() for path in group.folder.iterdir()} == files
    assert group.pids() == [42]


@pytest.mark.parametrize(
    ("version", "files"),
    [
        (1, {"blkio.throttle.read_bps_device": "254:0 4096", "blkio.throttle.write_bps_device": "254:0 4096"}),
        (2, {"io.max": "254:0 rbps=4096 wbps=4096"}),
    ],
)
def test_a_slow_disk_is_a_limit_of_bytes_on_its_device(tmp_path: Path, version: int, files: dict[str, str]) -> None:
    """In the words of each version."""
    group = groups.Group("io", "test", hierarchy=groups.Hierarchy(version, tmp_path))
    group.open()
    group.limit_disk(254 << 8, 4096)
    assert {path.name: path.read_text() for path in group.folder.iterdir()} == files


def test_closing_a_group_gives_its_processes_back(tmp_path: Path) -> None:
    """To the group above; a group that there is not does no harm."""
    group = groups.Group("cpu", "test", hierarchy=groups.Hierarchy(1, tmp_path))
    group.close()
    group.open()
    group.add(42)
    with pytest.raises(OSError, match="not empty"):
        group.close()  # a real group's files go with it; here they stay
    assert (tmp_path / "cgroup.procs").read_text() == "42"


def test_a_machine_without_the_controller_says_so() -> None:
    """Instead of doing nothing."""
    with pytest.raises(Unsupported, match="cannot be limited"):
        groups.Group("io", "test", mounts="tmpfs /tmp tmpfs rw 0 0\n")


def test_devices_of_killed_labs_are_found_by_their_images() -> None:
    """With the lab's pid; other loop devices are not ours."""
    lines = ["/dev/loop0 /tmp/x/tmp/lab-disk-4711-h1.img", "/dev/loop1 /var/lib/snapd/a.snap", "/dev/loop2 lab-disk-h1"]
    assert disk.find_stale(lines) == [("/dev/loop0", 4711)]


def test_a_bent_clock_is_a_file_of_seconds(tmp_path: Path) -> None:
    """With a sign; replaced as a whole."""
    file = tmp_path / "h1" / "agent.clock"
    fakeclock.set_offset(file, 3600)
    assert file.read_text() == "+3600\n"
    fakeclock.set_offset(file, -3600)
    assert file.read_text() == "-3600\n"
    assert [path.name for path in file.parent.iterdir()] == ["agent.clock"]
    assert fakeclock.find_library(tmp_path) is None


def test_only_the_wall_clock_is_bent(tmp_path: Path) -> None:
    """A process that runs under the library sees wall time jump while it runs, and its monotonic clocks go on."""
    library = fakeclock.find_library()
    if library is None:
        pytest.skip("libfaketime is not installed (apt-get install libfaketime)")
    file = tmp_path / "clock"
    fakeclock.set_offset(file, 0)
    words = (
        "import sys, time; read = lambda: (time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), time.monotonic()); "
        "first = read(); print('ready', flush=True); sys.stdin.readline(); "
        "print(*(b - a for a, b in zip(first, read())))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=fakeclock.environment(library, file),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        fakeclock.set_offset(file, 3600)
        process.stdin.write("\n")
        process.stdin.flush()
        wall, boot, monotonic = (float(word) for word in process.stdout.readline().split())
    assert wall - monotonic == pytest.approx(3600, abs=1)
    assert boot == pytest.approx(monotonic, abs=0.1)


def test_one_thread_stands_still_and_its_process_goes_on() -> None:
    """Held until the process is killed, which is then gone, and its holder with it."""
    if lacking := stuck.missing():
        pytest.skip(lacking)
    words = (
        "import ctypes, sys, threading\n"
        "beats = 0\n"
        "def run():\n"
        "    global beats\n"
        "    ctypes.CDLL(None).prctl(15, b'user code', 0, 0, 0)\n"
        "    while True:\n"
        "        threading.Event().wait(0.001)\n"
        "        beats += 1\n"
        "threading.Thread(target=run, daemon=True).start()\n"
        "for line in sys.stdin: print(beats, flush=True)\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", words], text=True, **pipes) as process:

        def ask() -> int:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        wait_until(lambda: ask() > 10, timeout_s=10, what="a thread that beats")
        hold = [sys.executable, "-m", "headrace.guard.lab.stuck", str(process.pid), "user code"]
        with subprocess.Popen(hold, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout is not None
            assert int(holder.stdout.readline()) != process.pid
            beats = ask()
            SystemClock().sleep(0.3)
            assert ask() == beats
            process.kill()
            process.wait(10)
            assert holder.wait(10) == 0


def test_a_thread_that_there_is_not_is_named() -> None:
    """And nothing is stopped."""
    if lacking := stuck.missing():
        pytest.skip(lacking)
    hold = [sys.executable, "-m", "headrace.guard.lab.stuck", str(os.getpid()), "nobody's"]
    ended = subprocess.run(hold, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "no such thread" in ended.stderr
