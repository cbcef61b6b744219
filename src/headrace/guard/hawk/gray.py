"""What is ill but not dead: disks, memory, clocks. Nobody is convicted for it; it is told, and may cost a host new work.

A class is on after `gray_on` bad self-checks in a row and off after `gray_off` good ones, so that one slow write says nothing
and a disk at the border does not blink. What an error proves, a full or read-only disk, needs no second check: each task that starts there fails.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from headrace.guard.hawk.model import FailureClass
from headrace.guard.hawk.options import HawkOptions

PROOFS = {
    "EROFS": FailureClass.READ_ONLY_DISK,
    "ENOSPC": FailureClass.FULL_DISK,
    "EDQUOT": FailureClass.FULL_DISK,
}


class DiskCheck(msgspec.Struct, frozen=True):
    """A write with fsync in a watched folder: `errno` is empty, or the name of the error (`EROFS`, `ENOSPC`, …)."""

    path: str
    elapsed_ms: int
    errno: str
    free_share: float


class SelfCheck(msgspec.Struct, frozen=True):
    """One self-check of a host; `memory_free_share` is MemAvailable / MemTotal."""

    disks: tuple[DiskCheck, ...]
    memory_free_share: float


class Streak(msgspec.Struct, frozen=True):
    """How often in a row a class was seen or not, and whether it is on."""

    bad: int = 0
    good: int = 0
    on: bool = False


def classify(check: SelfCheck, options: HawkOptions) -> set[FailureClass]:
    """The classes that one self-check shows."""
    found = set()
    for disk in check.disks:
        if disk.errno in PROOFS:
            found.add(PROOFS[disk.errno])
        elif disk.free_share < options.disk_full_share:
            found.add(FailureClass.FULL_DISK)
        elif disk.errno or disk.elapsed_ms > options.disk_slow_ms:
            found.add(FailureClass.SLOW_DISK)  # EIO and whatever else a dying disk answers
    if check.memory_free_share < options.memory_low_share:
        found.add(FailureClass.MEMORY_PRESSURE)
    return found


def find_proven(check: SelfCheck) -> set[FailureClass]:
    """The classes that an error of this check proves."""
    return {PROOFS[disk.errno] for disk in check.disks if disk.errno in PROOFS}


def follow(
    streaks: Mapping[FailureClass, Streak],
    seen: Iterable[FailureClass],
    options: HawkOptions,
    *,
    proven: Collection[FailureClass] = (),
) -> dict[FailureClass, Streak]:
    """The streaks after one more check that showed `seen`; those that are off and quiet are dropped, those that are proven are on at once."""
    now = set(seen)
    after = {}
    for failure in now | set(streaks):
        old = streaks.get(failure, Streak())
        bad, good = (old.bad + 1, 0) if failure in now else (0, old.good + 1)
        on = bad >= options.gray_on or (bad > 0 and failure in proven) or (old.on and good < options.gray_off)
        if on or bad:
            after[failure] = Streak(bad, good, on)
    return after


def shown(streaks: Mapping[FailureClass, Streak]) -> tuple[FailureClass, ...]:
    """The classes that are on, sorted."""
    return tuple(sorted(failure for failure, streak in streaks.items() if streak.on))


def is_skewed(offsets_ms: Sequence[int], options: HawkOptions) -> bool:
    """Whether a host's wall clock differs: by the offset of least delay among the last ones (agent - observer, ms).

    A delay only makes an offset smaller, so the greatest is nearest to the truth; a single jump does not count until
    `gray_on` offsets have shown it.
    """
    last = offsets_ms[-options.gray_on :]
    return len(last) >= options.gray_on and all(abs(offset) >= options.clock_skew_ms for offset in last)
