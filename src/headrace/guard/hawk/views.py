"""What one observer thinks of each host, from when it last heard of it.

Silence counts on the *awake clock*: each turn of the observer's loop adds the time since the last turn, but at most
`awake_step_ms`; datagrams that waited in the socket are read before anything is judged. So an observer that was stopped,
starved or paused for collection accuses nobody when it comes back (the lesson of Lifeguard, arXiv 1707.00788: the observer
may be the sick one), and a host has to be silent for a time in which the observer would have heard it.

An agent that is heard but does not hear (a one-way network) stops its TaskManagers and says so. When it has said so for as long
as silence may last, it counts as dead: nothing runs there any more.

Kernel-answered probes tell a silent agent from a silent host: an echo reply or a refused connection needs no process.
"""

from __future__ import annotations

import msgspec

from headrace.guard.hawk.model import Evidence, View
from headrace.guard.hawk.options import HawkOptions


class Awake(msgspec.Struct, frozen=True):
    """An awake clock: its reading, and the monotonic time of the last turn."""

    awake_ms: int
    turned_ms: int


def advance(awake: Awake, now_ms: int, options: HawkOptions) -> Awake:
    """The clock after a turn at monotonic `now_ms`; never goes back, adds at most `awake_step_ms`."""
    step = min(max(0, now_ms - awake.turned_ms), options.awake_step_ms)
    return Awake(awake.awake_ms + step, now_ms)


def decide_view(evidence: Evidence, awake_ms: int, options: HawkOptions) -> View:
    """Judge a host by the silence of its agent and of its kernel.

    Pure. A kernel is asked only once the agent is late, so its silence never begins before the agent's.
    """
    if evidence.held_ms is not None and awake_ms - evidence.held_ms >= options.dead_after_ms:
        return View.DEAD
    agent_silence = awake_ms - evidence.heartbeat_ms
    if agent_silence < options.suspect_after_ms:
        return View.ALIVE
    host_silence = awake_ms - max(evidence.heartbeat_ms, evidence.kernel_ms)
    if host_silence >= options.dead_after_ms:
        return View.DEAD
    answers = evidence.kernel_ms > evidence.heartbeat_ms and host_silence < options.suspect_after_ms
    return View.STALLED if agent_silence >= options.dead_after_ms and answers else View.SUSPECT
