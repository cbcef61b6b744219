"""A process's log file with a bounded size, that never stops the process it belongs to.

The supervisor reads the child's output from a pipe and writes it here. A disk without space costs lines, not service: what
cannot be written is dropped and counted, and `problem` says so until writing works again.
"""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

from headrace.core.errors import Unavailable

MIN_FREE_BYTES = 64 * 1024 * 1024  # four rotations of one log; less than this and a stack is not started


class LogWriter:
    """Appends to `path`, rotating to `path.1` … `path.<keep>` at `limit_bytes`."""

    def __init__(self, path: Path, *, limit_bytes: int, keep: int) -> None:
        self._path = path
        self._limit = limit_bytes
        self._keep = keep
        self._fd = -1
        self._size = 0
        self.dropped_bytes = 0
        self.problem = ""

    def write(self, data: bytes) -> None:
        """Append; never raises for a full or broken disk."""
        try:
            if self._fd >= 0 and self._size + len(data) > self._limit:
                self._rotate()
            if self._fd < 0:
                self._open()
            view = memoryview(data)
            while view:
                written = os.write(self._fd, view)
                self._size += written
                view = view[written:]
            self.problem = ""
        except OSError as error:
            self.dropped_bytes += len(data)
            self.problem = f"log lines are dropped: {error.strerror or error}"

    def close(self) -> None:
        """Close the file; a later `write` opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._size = os.fstat(self._fd).st_size

    def _rotate(self) -> None:
        self.close()
        for number in range(self._keep, 0, -1):
            source = self._path if number == 1 else self._numbered(number - 1)
            if source.exists():
                source.replace(self._numbered(number))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def check_log_space(folder: Path, *, free_bytes: int, need_bytes: int = MIN_FREE_BYTES) -> None:
    """Refuse to start a stack whose logs have no room.

    Raises:
        Unavailable: less than `need_bytes` are free.
    """
    if free_bytes < need_bytes:
        raise Unavailable(
            "no disk space for logs",
            context={"path": folder, "free_mb": free_bytes >> 20, "need_mb": need_bytes >> 20},
            hint="free some space, or choose a home on another disk with `--home`",
        )


def free_bytes(folder: Path) -> int:
    """Bytes that may still be written below `folder` or its nearest existing parent."""
    place = folder
    while not place.exists():
        place = place.parent
    stats = os.statvfs(place)
    return stats.f_bavail * stats.f_frsize


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of a log; empty when there is none."""
    try:
        with path.open("r", encoding="utf-8", errors="replace") as file:
            return [line.rstrip("\n") for line in deque(file, maxlen=lines)]
    except OSError:
        return []
