"""Control groups for processes that are to be slowed down: a share of a core, so many bytes a second to a device.

Both versions of cgroups: the one whose hierarchy holds the controller. A group is named after what it is for, so that `close` finds it again
without having made it; it gives its processes back to the group above. Needs root.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from headrace.core.errors import Unsupported

MOUNTS = Path("/proc/mounts")
PERIOD_US = 1_000_000  # the longest there is: 0.1 % of a core is 1 ms a second, the least quota that the kernel takes
QUOTA_US_MIN = 1000
REALTIME_US = 50_000  # 5 % of a core for real-time processes of the group, an agent ten times over
V1_NAMES = {"cpu": "cpu", "io": "blkio"}


class Hierarchy(NamedTuple):
    """Where a controller is mounted."""

    version: int
    folder: Path


def find_hierarchy(
    controller: str, mounts: str, read: Callable[[Path], str] = lambda path: path.read_text("ascii")
) -> Hierarchy | None:
    """The hierarchy of a controller (`cpu`, `io`) from the text of /proc/mounts; None when there is none.

    Args:
        controller: its name in version 2.
        mounts: the mount table.
        read: reads `cgroup.controllers` of a version 2 hierarchy.
    """
    for line in mounts.splitlines():
        _, folder, kind, flags, *_ = line.split()
        if kind == "cgroup" and V1_NAMES[controller] in flags.split(","):
            return Hierarchy(1, Path(folder))
        if kind == "cgroup2":
            with contextlib.suppress(OSError):
                if controller in read(Path(folder) / "cgroup.controllers").split():
                    return Hierarchy(2, Path(folder))
    return None


def missing(controller: str) -> str:
    """Why processes cannot be limited here, or nothing."""
    if os.geteuid() != 0:
        return "needs root"
    if find_hierarchy(controller, MOUNTS.read_text()) is None:
        return f"needs the control group controller `{controller}`"
    return ""


class Group:
    """A control group; nothing is made before `open`."""

    def __init__(self, controller: str, name: str, *, hierarchy: Hierarchy | None = None, mounts: str = "") -> None:
        """Find its place.

        Args:
            controller: `cpu` or `io`.
            name: what it is for.
            hierarchy: where; found in `mounts` by default.
            mounts: the mount table; /proc/mounts by default.

        Raises:
            Unsupported: no hierarchy has the controller.
        """
        found = hierarchy or find_hierarchy(controller, mounts or MOUNTS.read_text())
        if found is None:
            raise Unsupported(
                "processes cannot be limited here", context={"controller": controller}, hint="see /proc/cgroups"
            )
        self._version, self._root = found
        self._controller = controller
        self.folder = self._root / f"headrace-{name}"

    def open(self) -> None:
        """Make the group."""
        if self._version == 2:
            (self._root / "cgroup.subtree_control").write_text(f"+{self._controller}")
        self.folder.mkdir(exist_ok=True)

    def limit_cpu(self, share: float) -> None:
        """Let its processes use this share of one core together."""
        quota_us = max(QUOTA_US_MIN, round(share * PERIOD_US))
        if self._version == 2:
            (self.folder / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
        else:
            (self.folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (self.folder / "cpu.cfs_quota_us").write_text(str(quota_us))

    def allow_realtime(self) -> None:
        """Take real-time processes too, which a quota does not bind; kernels with groups of real-time processes must be asked."""
        file = self.folder / "cpu.rt_runtime_us"
        if file.exists():
            (self.folder / "cpu.rt_period_us").write_text(str(PERIOD_US))
            file.write_text(str(REALTIME_US))

    def limit_disk(self, device: int, bytes_per_s: int) -> None:
        """Let its processes write (and read) so many bytes a second; `device` is the number of a whole disk."""
        name = f"{os.major(device)}:{os.minor(device)}"
        if self._version == 2:
            (self.folder / "io.max").write_text(f"{name} rbps={bytes_per_s} wbps={bytes_per_s}")
        else:
            for direction in ("read", "write"):
                (self.folder / f"blkio.throttle.{direction}_bps_device").write_text(f"{name} {bytes_per_s}")

    def add(self, pid: int) -> None:
        """Move a process, with all of its threads, into the group."""
        (self.folder / "cgroup.procs").write_text(str(pid))

    def pids(self) -> list[int]:
        """Its processes."""
        try:
            return [int(word) for word in (self.folder / "cgroup.procs").read_text().split()]
        except FileNotFoundError:
            return []

    def close(self) -> None:
        """Give the processes back and remove the group; no harm when there is none."""
        for pid in self.pids():
            with contextlib.suppress(OSError):
                (self._root / "cgroup.procs").write_text(str(pid))
        with contextlib.suppress(FileNotFoundError):
            self.folder.rmdir()
