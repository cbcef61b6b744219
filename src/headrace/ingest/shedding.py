"""Shedding: which sessions are told to be silent when more comes in than can be passed on.

A CMCD reporter that is answered 410 drops its queue and stays silent for the rest of its session; after 429 or 5xx it sends the
same lines again, which makes an overload worse (@svta/cml-cmcd 2.7.0, `sendEventReport`). So shedding is a growing share of
sessions, chosen by a hash of the session id: whole sessions leave, those that stay are complete, and rates over them are unbiased.

The share grows by `grow` per tick while the load is over the high-water mark, is held between the marks, and shrinks by `shrink`
per tick under the low-water mark: slowly, because a session told 410 does not come back, so that giving back early gains
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
    lag_high_ms: float = 500.0
    grow: float = 0.05
    shrink: float = 0.01
    share_max: float = 0.95


class Load(msgspec.Struct, frozen=True):
    """What was seen at one tick: share of the bytes-in-flight budget in use, lag of the event loop, whether Kafka answers."""

    used: float
    lag_ms: float = 0.0
    stalled: bool = False


def decide_share(share: float, load: Load, limits: ShedLimits) -> float:
    """The share of sessions to shed until the next tick, in [0, share_max]."""
    if load.stalled:
        return share
    if load.used >= limits.high or load.lag_ms >= limits.lag_high_ms:
        return min(limits.share_max, share + limits.grow)
    if load.used <= limits.low and load.lag_ms < limits.lag_high_ms / 2:
        return max(0.0, share - limits.shrink)
    return share


def is_shed(sid: str, share: float) -> bool:
    """Whether a session belongs to the first `share` of all sessions; a session in a share is in every greater one."""
    if share <= 0.0:
        return False
    return (zlib.crc32(sid.encode()) * _GOLDEN) % HASH_RANGE < share * HASH_RANGE
