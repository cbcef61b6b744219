"""Shedding: which sessions are told to be silent when more comes in than can be passed on.

A CMCD reporter that is answered 410 drops its queue and stays silent for the rest of its session; after 429 or 5xx it sends the
same lines again, which makes an overload worse (@svta/cml-cmcd 2.7.0, `sendEventReport`). So shedding is a growing share of
sessions, chosen by a hash of the session id: whole sessions leave, those that stay are complete, and rates over them are unbiased.

The share grows by `grow` per tick once the load has been over the high-water mark for `patience_ticks` in a row (a pause of the
machine silences nobody), is held between the marks, and shrinks by `shrink` per tick under the low-water mark: slowly, because a session told 410 does not come back, so that giving back early gains
nothing. While Kafka does not answer at all the share is held: that is an outage, answered 503, not an overload. Pure.
"""

from __future__ import annotations

import zlib

import msgspec

HASH_RANGE = 1 << 32
_GOLDEN = 0x9E3779B1  # 2^32 / golden ratio: spreads the low bits of CRC-32, which is linear, over the high ones


class ShedLimits(msgspec.Struct, frozen=True):
    """Marks as shares of the budget (0 to 1) and steps per tick as shares of sessions."""

    high: float = 0.5
    low: float = 0.25
    lag_high_ms: float = 1000.0
    patience_ticks: int = 4
    grow: float = 0.05
    shrink: float = 0.01
    share_max: float = 0.95


class Load(msgspec.Struct, frozen=True):
    """What was seen at one tick: share of the bytes-in-flight budget in use, lag of the event loop, whether Kafka answers."""

    used: float
    lag_ms: float = 0.0
    stalled: bool = False


class Shedding(msgspec.Struct, frozen=True):
    """The share of sessions to shed until the next tick, and for how many ticks in a row the load has been too high."""

    share: float = 0.0
    pressed_ticks: int = 0


def decide_shedding(now: Shedding, load: Load, limits: ShedLimits) -> Shedding:
    """What follows from one tick's load; the share stays in [0, share_max]."""
    if load.stalled:
        return Shedding(now.share)
    if load.used >= limits.high or load.lag_ms >= limits.lag_high_ms:
        ticks = now.pressed_ticks + 1
        grow = limits.grow if ticks >= limits.patience_ticks else 0.0
        return Shedding(min(limits.share_max, now.share + grow), ticks)
    if load.used <= limits.low and load.lag_ms < limits.lag_high_ms / 2:
        return Shedding(max(0.0, now.share - limits.shrink))
    return Shedding(now.share)


def is_shed(sid: str, share: float) -> bool:
    """Whether a session belongs to the first `share` of all sessions; a session in a share is in every greater one."""
    if share <= 0.0:
        return False
    return (zlib.crc32(sid.encode()) * _GOLDEN) % HASH_RANGE < share * HASH_RANGE
