"""Disks of a lab's hosts: an ext4 file system each, in a file of its own, that can be full, slow, frozen or broken.

A host's disk is mounted by its keeper's first command, inside the host's mount namespace (`ip netns exec` makes one), so that it is gone when
the host is, and nobody else holds it. The lab reaches it through /proc/<keeper>/root. The disk of the checkpoints is shared and
mounted by the lab.

    full       all free blocks are given to one file
    slow       the kernel lets one write a second through to the device (blkio throttling of cgroup v1)
    frozen     the file system is frozen (FIFREEZE): writes wait, nothing fails
    read-only  ext4 is told that it has found an error (trigger_fs_error) and does what a bad disk makes it do: errors=remount-ro

Needs root, loop devices and e2fsprogs. What a lab that was killed has left is removed by the next one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from headrace.core.clock import Clock
from headrace.core.errors import Internal, Unavailable
from headrace.guard.lab.network import command, environment, output

SIZE_BYTES = 256 << 20  # sparse; a TaskManager of the lab writes some MB of logs and local state
PROGRAMS = {"mkfs.ext4": "e2fsprogs", "e2fsck": "e2fsprogs", "losetup": "util-linux", "mount": "util-linux"}
THROTTLE = Path("/sys/fs/cgroup/blkio/blkio.throttle.write_iops_device")
TRIGGER = "trigger_fs_error"
FIFREEZE, FITHAW = 0xC0045877, 0xC0045878  # linux/fs.h
FILLER = ".headrace-filler"
FILL_CHUNK_BYTES, BLOCK_BYTES = 64 << 20, 4096
FREE_TIMEOUT_S = 20.0  # namespaces of killed processes go with the last of them
POLL_S = 0.1
_STALE = re.compile(r"^(/dev/loop\d+)\s+\S*/lab-disk-(\d+)-")


class Disk:
    """One disk: its image, its loop device, and where it is mounted."""

    def __init__(self, image_folder: Path, name: str, folder: Path, *, size_bytes: int = SIZE_BYTES) -> None:
        self.image = image_folder / f"lab-disk-{os.getpid()}-{name}.img"
        self.folder = folder
        self.device = ""
        self._size = size_bytes

    def make(self) -> None:
        """Make the file system and its device.

        Raises:
            Internal: a program failed; carries its words.
        """
        self.image.parent.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.image.open("wb") as file:
            file.truncate(self._size)
        # No reserved blocks: root, as which the lab runs, could write into them when the disk is full for everybody else.
        command("mkfs.ext4", "-q", "-F", "-m", "0", str(self.image))
        self.device = output("losetup", "-f", "--show", str(self.image)).strip()

    def mounting(self) -> list[str]:
        """The words before a command that mount the disk for it, and for whatever it starts."""
        script = f'mount -o errors=remount-ro {self.device} "$0" && exec "$@"'
        return ["sh", "-c", script, str(self.folder)]

    def mount(self) -> None:
        """Mount it here."""
        command("mount", "-o", "errors=remount-ro", self.device, str(self.folder))

    def umount(self) -> None:
        """The end of `mount`."""
        command("umount", str(self.folder))

    def free(self) -> None:
        """Give the device back; nothing uses it any more."""
        if self.device:
            self.throttle(0)
            subprocess.run(["losetup", "-d", self.device], env=environment(), capture_output=True, check=False)
            self.device = ""

    def repair(self, clock: Clock) -> None:
        """Check the file system after an error, once nobody has it mounted.

        Raises:
            Unavailable: it is still mounted somewhere.
        """
        self.wait_unused(clock)
        done = subprocess.run(["e2fsck", "-fy", self.device], env=environment(), capture_output=True, check=False)
        if done.returncode > 1:  # 1: errors were corrected
            raise Internal("file system of the lab cannot be repaired", context={"device": self.device})

    def wait_unused(self, clock: Clock) -> None:
        """Wait until no namespace has the disk mounted.

        Raises:
            Unavailable: one still has.
        """
        deadline = clock.monotonic_s() + FREE_TIMEOUT_S
        while self.is_used():
            if clock.monotonic_s() > deadline:
                raise Unavailable("disk of the lab is still mounted", context={"device": self.device})
            clock.sleep(POLL_S)

    def is_used(self) -> bool:
        """Whether a namespace has it mounted: then the kernel lets nobody else open it exclusively."""
        try:
            os.close(os.open(self.device, os.O_RDONLY | os.O_EXCL))
        except OSError as error:
            if error.errno == errno.EBUSY:
                return True
            raise
        return False

    def throttle(self, writes_per_s: int) -> None:
        """Let so many writes a second through to the device; 0 is no limit."""
        if THROTTLE.exists():
            number = os.stat(self.device).st_rdev
            THROTTLE.write_text(f"{os.major(number)}:{os.minor(number)} {writes_per_s}\n")

    def fail(self) -> None:
        """Have the file system find an error: it is read-only from now on."""
        (Path("/sys/fs/ext4") / Path(self.device).name / TRIGGER).write_text("1")


def missing() -> str:
    """Why there can be no disks of their own here, or nothing."""
    path = environment()["PATH"]
    packages = sorted({package for program, package in PROGRAMS.items() if not shutil.which(program, path=path)})
    if packages:
        return "needs " + ", ".join(packages)
    if not Path("/dev/loop-control").exists():
        return "needs loop devices (/dev/loop-control)"
    if "ext4" not in Path("/proc/filesystems").read_text("ascii").split():
        return "needs ext4 in the kernel"
    return ""


def missing_throttle() -> str:
    """Why a device cannot be slowed down here, or nothing."""
    return missing() or ("" if THROTTLE.exists() else "needs blkio throttling of cgroup v1, which this kernel lacks")


def missing_trigger() -> str:
    """Why a file system cannot be broken here, or nothing."""
    known = list(Path("/sys/fs/ext4").glob(f"*/{TRIGGER}"))
    return missing() or ("" if known else f"needs ext4's {TRIGGER} in sysfs")


def fill(folder: Path) -> None:
    """Give all free blocks of a disk to one file."""
    size, chunk = 0, FILL_CHUNK_BYTES
    with (folder / FILLER).open("wb") as file:
        while chunk >= BLOCK_BYTES:
            try:
                os.posix_fallocate(file.fileno(), size, chunk)
                size += chunk
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                chunk //= 2


def empty(folder: Path) -> None:
    """Undo `fill`."""
    (folder / FILLER).unlink(missing_ok=True)


def freeze(folder: Path) -> None:
    """Let all writes to a disk wait."""
    _control(folder, FIFREEZE)


def thaw(folder: Path) -> None:
    """Undo `freeze`; no harm when it is not frozen, or gone."""
    with contextlib.suppress(OSError):
        _control(folder, FITHAW)


def clear_stale() -> None:
    """Free the devices of labs that were killed."""
    listed = output("losetup", "-l", "-n", "-O", "NAME,BACK-FILE")
    for device, pid in find_stale(listed.splitlines()):
        if not Path(f"/proc/{pid}").exists():
            subprocess.run(["umount", device], env=environment(), capture_output=True, check=False)
            subprocess.run(["losetup", "-d", device], env=environment(), capture_output=True, check=False)


def find_stale(lines: Sequence[str]) -> list[tuple[str, int]]:
    """Devices of labs with the pids of those labs, from losetup's list; pure."""
    return [(found.group(1), int(found.group(2))) for line in lines if (found := _STALE.match(line))]


def _control(folder: Path, code: int) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(descriptor, code, 0)
    finally:
        os.close(descriptor)
