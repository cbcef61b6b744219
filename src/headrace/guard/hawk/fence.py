"""What an agent does to its own TaskManagers: run, stop, kill. A host that may be convicted must not go on writing.

The lease. An observer acknowledges heartbeats by number; the lease at it is as old as the *sending* of the newest
acknowledged one. The observer cannot vote for dead before `dead_after_ms` of silence since it received that one, which was
later. So an agent that acts when two of three leases are older than `fence_after_ms` acts before any quorum can convict it,
without comparing clocks.

Stop first, kill later. At the limit the TaskManagers are stopped (SIGSTOP): what stands still writes nothing. If the lease
comes back and nobody has been convicted (a switch was out for three seconds, and the brake held the verdicts), they go on as
if they had been paused. On a verdict, or after `hold_limit_ms`, they are killed.

An observer whose kernel answers while it does not is a dead or hung process, not a cut network: it cannot convict either, so
it does not count as lost. The agent measures with a clock that goes on while the machine is suspended: one that slept finds
its lease expired and stops its TaskManagers before anything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from headrace.guard.hawk.options import QUORUM, HawkOptions


class Fence(StrEnum):
    """What the TaskManagers shall do."""

    RUN = "run"
    HOLD = "hold"
    KILL = "kill"


class Lease(msgspec.Struct, frozen=True):
    """The lease at one observer.

    Args:
        acked_ms: when the newest acknowledged heartbeat was sent; None before the first.
        answered_ms: when the kernel of the observer's host last answered; None if never.
        convicted: its newest acknowledgement says that a verdict stands against this host.
    """

    acked_ms: int | None = None
    answered_ms: int | None = None
    convicted: bool = False


class Holding(msgspec.Struct, frozen=True):
    """What the fence remembers: since when it holds, since when the lease is whole again, and whether it has killed.

    After a kill the verdict still stands for a while; it is about the TaskManagers of before and not about those that the
    host's supervisor has started since.
    """

    since_ms: int | None = None
    whole_ms: int | None = None
    fenced: bool = False


def decide_fence(leases: Sequence[Lease], holding: Holding, now_ms: int, options: HawkOptions) -> tuple[Fence, Holding]:
    """Decide what the TaskManagers shall do now.

    Pure. An agent that has never held a lease stops nobody: observers that were never there cannot convict.

    Args:
        leases: one per observer, all of them; three.
        holding: what the last call returned.
        now_ms: monotonic and counting through suspension.
        options: `fence_after_ms`, `hold_limit_ms` and `resume_after_ms` are used.
    """
    joined = [lease for lease in leases if lease.acked_ms is not None]
    if len(joined) < QUORUM:
        return Fence.RUN, Holding(fenced=holding.fenced)
    fresh = [lease for lease in joined if _age(lease.acked_ms, now_ms) < options.fence_after_ms]
    convicted = any(lease.convicted for lease in fresh)
    if convicted and not holding.fenced:
        return Fence.KILL, Holding(fenced=True)
    fenced = holding.fenced and (convicted or len(fresh) < QUORUM)
    lost = sum(_is_lost(lease, now_ms, options) for lease in joined)
    if holding.since_ms is None:
        return (Fence.HOLD, Holding(now_ms, fenced=fenced)) if lost >= QUORUM else (Fence.RUN, Holding(fenced=fenced))
    # To go on, the lease must be acknowledged by a majority for a while: one of any two that convicted is among them.
    if len(fresh) < QUORUM or lost >= QUORUM:
        if now_ms - holding.since_ms >= options.hold_limit_ms:
            return Fence.KILL, Holding(now_ms, fenced=True)
        return Fence.HOLD, Holding(holding.since_ms, fenced=fenced)
    whole_ms = now_ms if holding.whole_ms is None else holding.whole_ms
    if now_ms - whole_ms >= options.resume_after_ms:
        return Fence.RUN, Holding(fenced=fenced)
    return Fence.HOLD, Holding(holding.since_ms, whole_ms, fenced)


def is_hungry(leases: Sequence[Lease], now_ms: int, options: HawkOptions) -> bool:
    """Whether the lease is so old that heartbeats should be sent faster: packet loss must not cost it.

    Not for ever: after `hold_limit_ms` all is decided, and two observers may be away for days.
    """
    ages = sorted(_age(lease.acked_ms, now_ms) for lease in leases if lease.acked_ms is not None)
    hungry_ms = options.heartbeat_interval_ms * 5 // 2
    return len(ages) >= QUORUM and hungry_ms <= ages[QUORUM - 1] < options.hold_limit_ms


def _is_lost(lease: Lease, now_ms: int, options: HawkOptions) -> bool:
    if _age(lease.acked_ms, now_ms) < options.fence_after_ms:
        return False
    return lease.answered_ms is None or now_ms - lease.answered_ms >= options.fence_after_ms


def _age(at_ms: int | None, now_ms: int) -> int:
    return now_ms - at_ms if at_ms is not None else 1 << 62
