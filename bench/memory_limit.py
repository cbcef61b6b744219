"""A hard limit of memory, page cache included, around a process: a control group of its own.

Without one, a peer with little memory of its own reads from the machine's page cache and is measured as if it had all of it (facts, state-engine 4.5).
Version 1 and 2 of control groups are known; the group is made below the one that this process is in, or for version 2 below the next one up that hands its memory
controller on. Needs root or a delegated group.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MOUNT_INFO = Path("/proc/self/mountinfo")
OWN_GROUPS = Path("/proc/self/cgroup")
LIMIT_FILES = {1: "memory.limit_in_bytes", 2: "memory.max"}
REMOVAL_TRIES = 100
REMOVAL_WAIT_S = 0.05


class NoLimit(Exception):
    """Memory cannot be limited here; says why and what helps."""


@dataclass(frozen=True)
class Limit:
    """A group with a limit.

    Attributes:
        folder: the group's own, below the mount.
    """

    folder: Path
    bytes: int

    @property
    def stat(self) -> Path:
        """The kernel's figures of what the group holds."""
        return self.folder / "memory.stat"

    def wrap(self, command: list[str]) -> list[str]:
        """The command, run by a shell that has joined the group."""
        return ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self.folder / "cgroup.procs"), *command]

    @property
    def kills(self) -> int:
        """How many processes the kernel has killed for the limit."""
        for name in ("memory.events", "memory.oom_control"):
            file = self.folder / name
            if file.is_file():
                figures = dict(line.split() for line in file.read_text().splitlines())
                return int(figures.get("oom_kill", 0))
        return 0


def parent_group(groups: str, mounts: str) -> tuple[Path, int]:
    """Where a group may be made, and the version, from the texts of proc(5)'s `cgroup` and `mountinfo`.

    Raises:
        NoLimit: no memory controller is mounted.
    """
    own = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in groups.splitlines()}
    by_kind: dict[str, tuple[Path, str]] = {}
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        root, at = fields.split()[3:5]
        kind, _, options = rest.split(" ", 2)
        if kind == "cgroup2" or (kind == "cgroup" and "memory" in options.split(" ")[-1].split(",")):
            by_kind.setdefault(kind, (Path(at), root))
    for kind, controllers in (("cgroup", "memory"), ("cgroup2", "")):
        named = next((path for name, path in own.items() if controllers in name.split(",")), None)
        if kind in by_kind and named is not None:
            mount, root = by_kind[kind]
            inside = named[len(root) :] if root != "/" and named.startswith(root) else named
            return mount / inside.lstrip("/"), 1 if kind == "cgroup" else 2
    raise NoLimit("no memory controller of control groups is mounted, hint: mount cgroup2 at /sys/fs/cgroup")


@contextmanager
def limited(limit_bytes: int) -> Iterator[Limit]:
    """A group with this limit for the block's time; processes in it must have ended before the block does.

    Raises:
        NoLimit: the group cannot be made.
    """
    parent, version = parent_group(OWN_GROUPS.read_text(), MOUNT_INFO.read_text())
    folder = _make(parent, version)
    try:
        _set(folder, version, limit_bytes)
        yield Limit(folder, limit_bytes)
    finally:
        _remove(folder)


def _set(folder: Path, version: int, limit_bytes: int) -> None:
    try:
        (folder / LIMIT_FILES[version]).write_text(str(limit_bytes))
        swap = folder / "memory.swap.max"
        if swap.is_file():
            swap.write_text("0")
    except OSError as error:
        raise NoLimit(f"memory cannot be limited, path=`{folder}`, cause=`{error}`, hint: run as root") from error


def _make(parent: Path, version: int) -> Path:
    cause = ""
    for above in (parent, *(parent.parents if version == 2 else ())):
        if not (above / "cgroup.procs").is_file():
            break
        folder = above / f"headrace-bench-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError as error:
            cause = str(error)
            continue
        if (folder / LIMIT_FILES[version]).is_file():
            return folder
        folder.rmdir()
        cause = "the memory controller is not handed on"
    raise NoLimit(
        f"no control group can be made, path=`{parent}`, cause=`{cause}`, hint: run as root or in a delegated group"
    )


def _remove(folder: Path) -> None:
    for _ in range(REMOVAL_TRIES):
        try:
            folder.rmdir()
            return
        except OSError:
            # A process that has just ended is still counted for a moment.
            time.sleep(REMOVAL_WAIT_S)
