"""Which hosts get no work for a while: convicted ones, longer each time, and those whose disk takes no writes; never so many that jobs find no slots."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from headrace.guard.hawk.model import FailureClass
from headrace.guard.hawk.options import HawkOptions

HISTORY_MAX = 32  # verdicts kept per host; the ladder of probation has three steps
PROCESS_LOSSES = 3  # of processes count as one of the host: a crashing job is no bad host at once
NO_WRITES = frozenset({FailureClass.FULL_DISK, FailureClass.READ_ONLY_DISK})
_PROCESS = {FailureClass.PROCESS_LOST, FailureClass.PROCESS_FROZEN}


class Conviction(msgspec.Struct, frozen=True):
    """A verdict that was given, at monotonic `at_ms`."""

    at_ms: int
    failure: FailureClass


class Block(msgspec.Struct, frozen=True):
    """No work for `host` until `until_ms`."""

    host: str
    until_ms: int


def remember(history: Sequence[Conviction], conviction: Conviction, options: HawkOptions) -> tuple[Conviction, ...]:
    """The host's history with one more verdict, without those that are forgotten."""
    oldest_ms = conviction.at_ms - options.probation_forget_s * 1000
    return (*(each for each in history if each.at_ms >= oldest_ms), conviction)[-HISTORY_MAX:]


def decide_block(
    host: str,
    history: Sequence[Conviction],
    standing: Collection[Block],
    hosts: int,
    now_ms: int,
    options: HawkOptions,
) -> Block | None:
    """Whether a host that was just convicted is blocked, and until when.

    A block that was given stands until its end: Flink cannot take one back. So when as many others stand as may, there is none.

    Args:
        host: who was convicted.
        history: its verdicts, oldest first, this one included.
        standing: all blocks that were given; those that have ended do not count.
        hosts: how many hosts there are, blocked ones included.
        now_ms: on the clock of `Conviction.at_ms`.
        options: the ladder of probation and the share that may be blocked.
    """
    others = sum(block.host != host and block.until_ms > now_ms for block in standing)
    room = int(options.blocked_share_max * hosts)
    return _block(host, history, now_ms, options) if others < room else None


def decide_kept_off(
    gray: Mapping[str, Collection[FailureClass]], blocked: Collection[str], hosts: int, options: HawkOptions
) -> list[str]:
    """Hosts that get no new work because their disk takes no writes: a task that starts there fails, and is started there again.

    Args:
        gray: host → what is wrong with it.
        blocked: hosts that are on probation; they take their room first.
        hosts: how many hosts there are.
        options: the share that may be blocked.
    """
    room = int(options.blocked_share_max * hosts) - len(blocked)
    ill = sorted(host for host, classes in gray.items() if NO_WRITES & set(classes) and host not in blocked)
    return ill[: max(0, room)]


def _block(host: str, history: Sequence[Conviction], now_ms: int, options: HawkOptions) -> Block | None:
    oldest_ms = now_ms - options.probation_forget_s * 1000
    recent = [each for each in history if each.at_ms >= oldest_ms]
    strikes = [each for each in recent if each.failure not in _PROCESS]
    strikes += [each for each in recent if each.failure in _PROCESS][PROCESS_LOSSES - 1 :: PROCESS_LOSSES]
    if not strikes or not options.probation_s:
        return None
    step = min(len(strikes), len(options.probation_s)) - 1
    until_ms = max(each.at_ms for each in strikes) + options.probation_s[step] * 1000
    return Block(host, until_ms) if until_ms > now_ms else None
