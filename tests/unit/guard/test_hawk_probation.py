"""Convicted hosts get no work for a while, longer each time, and never all of them; gray classes do not blink."""

from __future__ import annotations

import errno

from headrace.guard.hawk.gray import DiskCheck, SelfCheck, Streak, classify, find_proven, follow, is_skewed, shown
from headrace.guard.hawk.model import FailureClass
from headrace.guard.hawk.options import HawkOptions
from headrace.guard.hawk.probation import HISTORY_MAX, Block, Conviction, decide_block, decide_kept_off, remember

OPTIONS = HawkOptions()
LOST, PROCESS = FailureClass.HOST_LOST, FailureClass.PROCESS_LOST
MINUTE = 60_000


def convicted(*times_ms: int, failure: FailureClass = LOST) -> tuple[Conviction, ...]:
    """A history of verdicts at these times."""
    history: tuple[Conviction, ...] = ()
    for at_ms in times_ms:
        history = remember(history, Conviction(at_ms, failure), OPTIONS)
    return history


def until(history: tuple[Conviction, ...], now_ms: int) -> int:
    """Until when the host is blocked, 0 when it is free."""
    block = decide_block("h", history, (), 10, now_ms, OPTIONS)
    return block.until_ms if block else 0


def test_probation_grows_and_ends() -> None:
    """1, 5, 30 minutes, counted from the last verdict; an hour later all is forgotten."""
    assert until(convicted(0), 1) == MINUTE
    assert until(convicted(0), MINUTE) == 0
    assert until(convicted(0, MINUTE), MINUTE) == 6 * MINUTE
    assert until(convicted(0, MINUTE, 2 * MINUTE), 2 * MINUTE) == 32 * MINUTE
    assert until(convicted(0, MINUTE, 2 * MINUTE, 3 * MINUTE), 3 * MINUTE) == 33 * MINUTE
    assert until(convicted(0, 90 * MINUTE), 90 * MINUTE) == 91 * MINUTE


def test_crashing_processes_block_a_host_only_when_they_go_on() -> None:
    """A job that kills its TaskManager once or twice is no bad host."""
    assert until(convicted(0, 1000, failure=PROCESS), 2000) == 0
    assert until(convicted(0, 1000, 2000, failure=PROCESS), 2000) == 2000 + MINUTE


def test_most_hosts_always_stay_open() -> None:
    """Blocking is for a few. What was given stands, since Flink takes no block back: then there is no room until one ends."""
    standing = [Block(f"h{number}", number * 1000 + MINUTE) for number in range(3)]
    assert decide_block("h3", convicted(5000), standing[:2], 9, 5000, OPTIONS) == Block("h3", 5000 + MINUTE)
    assert decide_block("h3", convicted(5000), standing, 9, 5000, OPTIONS) is None
    assert decide_block("h3", convicted(MINUTE), standing, 9, MINUTE, OPTIONS) == Block("h3", 2 * MINUTE)
    assert decide_block("h2", convicted(2000, 5000), standing, 9, 5000, OPTIONS) == Block("h2", 5000 + 5 * MINUTE)
    assert decide_block("h", convicted(0), (), 2, 1, OPTIONS) is None


def test_a_disk_that_takes_no_writes_costs_a_host_new_work() -> None:
    """Slow disks and wrong clocks do not; hosts on probation take the room first, and most hosts always stay open."""
    full, read_only = {FailureClass.FULL_DISK}, {FailureClass.READ_ONLY_DISK, FailureClass.SLOW_DISK}
    gray = {"h1": full, "h2": {FailureClass.SLOW_DISK}, "h3": read_only, "h4": {FailureClass.CLOCK_SKEW}}
    assert decide_kept_off(gray, (), 9, OPTIONS) == ["h1", "h3"]
    assert decide_kept_off(gray, ("h1",), 9, OPTIONS) == ["h3"]
    assert decide_kept_off(gray, ("h7", "h8"), 9, OPTIONS) == ["h1"]
    assert decide_kept_off(gray, ("h7", "h8", "h9"), 9, OPTIONS) == []
    assert decide_kept_off({"h1": full}, (), 2, OPTIONS) == []


def test_a_history_is_bounded() -> None:
    """A host that flaps for an hour costs no more memory than the ladder needs."""
    assert len(convicted(*range(0, 1_000_000, 1000))) == HISTORY_MAX


def check(*, error: str = "", elapsed_ms: int = 5, free: float = 0.5, memory: float = 0.5) -> set[FailureClass]:
    """What one self-check of one disk shows."""
    return classify(SelfCheck((DiskCheck("/d", elapsed_ms, error, free),), memory), OPTIONS)


def test_classes_of_a_self_check() -> None:
    """Each ill has its own name; an I/O error counts as a slow disk."""
    assert check() == set()
    assert check(error=errno.errorcode[errno.EROFS]) == {FailureClass.READ_ONLY_DISK}
    assert check(error=errno.errorcode[errno.ENOSPC]) == {FailureClass.FULL_DISK}
    assert check(free=0.01) == {FailureClass.FULL_DISK}
    assert check(elapsed_ms=2001) == check(error="EIO") == {FailureClass.SLOW_DISK}
    assert check(memory=0.02) == {FailureClass.MEMORY_PRESSURE}


def test_gray_comes_and_goes_slowly() -> None:
    """Three bad checks in a row, then six good ones; one in between changes nothing."""
    streaks: dict[FailureClass, Streak] = {}
    states = []
    for bad in (1, 1, 0, 1, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0):
        streaks = follow(streaks, {LOST} if bad else set(), OPTIONS)
        states.append(bool(shown(streaks)))
    assert states == [False] * 5 + [True] * 12 + [False]
    assert streaks == {}


def test_what_an_error_proves_is_on_at_once() -> None:
    """A disk that is full or read-only is no hiccup; it is off after six good checks all the same."""
    disk = DiskCheck("/d", 5, "EROFS", 0.5)
    proven = find_proven(SelfCheck((disk, DiskCheck("/e", 5, "ENOSPC", 0.0)), 0.5))
    assert proven == {FailureClass.READ_ONLY_DISK, FailureClass.FULL_DISK}
    assert find_proven(SelfCheck((DiskCheck("/d", 9000, "EIO", 0.01),), 0.02)) == set()
    streaks: dict[FailureClass, Streak] = {}
    states = []
    for bad in (1, 0, 0, 0, 0, 0, 0):
        seen = {FailureClass.READ_ONLY_DISK} if bad else set()
        streaks = follow(streaks, seen, OPTIONS, proven=seen)
        states.append(bool(shown(streaks)))
    assert states == [True] * 6 + [False]


def test_clock_skew_needs_several_offsets() -> None:
    """One late datagram or one jump back and forth is no skew."""
    assert is_skewed([1500, -1200, 1001], OPTIONS)
    assert not is_skewed([1500, 0, 1500], OPTIONS)
    assert not is_skewed([5000, 5000], OPTIONS)
