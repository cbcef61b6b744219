"""An agent's look at its own host: can it still write, how much is free, does memory suffice.

Writes go through a thread, because a dying disk may hold a write for minutes; while one is under way its age counts as the
time that it takes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from headrace.core.clock import Clock
from headrace.guard.hawk.gray import DiskCheck, SelfCheck

PROBE_BYTES = 4096
PROBE_FILE = ".headrace-hawk-probe"


class SelfChecker:
    """Checks the watched folders every time it is asked, one check at a time."""

    def __init__(self, folders: Sequence[Path], *, clock: Clock) -> None:
        self._folders = folders
        self._clock = clock
        self._thread: threading.Thread | None = None
        self._begun_s = 0.0
        self._result: SelfCheck | None = None

    def poll(self, *, slow_ms: int, begin: bool = True) -> SelfCheck | None:
        """The result of a check that has ended, or of one that is slow already; begins one when none is under way.

        Args:
            slow_ms: when a check that has not ended is slow.
            begin: it is time for a check; otherwise only the result of one that has ended is taken.

        Returns:
            None while a check has not ended and is not slow yet.
        """
        if self._thread is not None and self._thread.is_alive():
            if not begin:
                return None
            elapsed_ms = round((self._clock.monotonic_s() - self._begun_s) * 1000)
            hanging = tuple(DiskCheck(str(folder), elapsed_ms, "", 1.0) for folder in self._folders)
            return SelfCheck(hanging, memory_free_share()) if elapsed_ms > slow_ms else None
        result, self._result = self._result, None
        if not begin:
            return result
        self._begun_s = self._clock.monotonic_s()
        self._thread = threading.Thread(target=self._run, name="self-check", daemon=True)
        self._thread.start()
        return result

    def _run(self) -> None:
        disks = tuple(check_disk(folder, clock=self._clock) for folder in self._folders)
        self._result = SelfCheck(disks, memory_free_share())


def check_disk(folder: Path, *, clock: Clock) -> DiskCheck:
    """Write, fsync and remove a small file; never raises."""
    begun_s, code = clock.monotonic_s(), ""
    path = folder / PROBE_FILE
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, bytes(PROBE_BYTES))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        code = errno.errorcode.get(error.errno or 0, "EIO")
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
    elapsed_ms = round((clock.monotonic_s() - begun_s) * 1000)
    try:
        system = os.statvfs(folder)
        free_share = system.f_bavail / system.f_blocks if system.f_blocks else 1.0
    except OSError as error:
        code, free_share = code or errno.errorcode.get(error.errno or 0, "EIO"), 1.0
    return DiskCheck(str(folder), elapsed_ms, code, free_share)


def memory_free_share(text: str | None = None) -> float:
    """MemAvailable / MemTotal of /proc/meminfo; 1 when the system does not say."""
    if text is None:
        try:
            text = Path("/proc/meminfo").read_text("ascii")
        except OSError:
            return 1.0
    values = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines() if len(line.split()) >= 2}
    total = values.get("MemTotal", 0)
    return values.get("MemAvailable", total) / total if total else 1.0
