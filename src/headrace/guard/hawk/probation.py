"""Which hosts get no work for a while: convicted ones, longer each time, and never so many that jobs find no slots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from headrace.guard.hawk.model import FailureClass
from headrace.guard.hawk.options import HawkOptions

HISTORY_MAX = 32  # verdicts kept per host; the ladder of probation has three steps
PROCESS_LOSSES = 3  # of processes count as one of the host: a crashing job is no bad host at once
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


def decide_blocks(
    histories: Mapping[str, Sequence[Conviction]], hosts: int, now_ms: int, options: HawkOptions
) -> list[Block]:
    """Who is blocked now; when that would be too many, those that are free soonest are let go.

    Args:
        histories: host → its verdicts, oldest first.
        hosts: how many hosts there are, blocked ones included.
        now_ms: on the clock of `Conviction.at_ms`.
        options: the ladder of probation and the share that may be blocked.
    """
    blocks = [block for host, history in histories.items() if (block := _block(host, history, now_ms, options))]
    room = int(options.blocked_share_max * hosts)
    return sorted(blocks, key=lambda block: (-block.until_ms, block.host))[:room]


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
