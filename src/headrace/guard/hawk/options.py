"""Options of Hawk; the numbers of a time-out are chosen in docs/concepts/hawk.md."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from headrace.core.config import Options, option, options
from headrace.core.errors import Invalid

OBSERVERS = 3  # two of them convict; more would cost datagrams and find nothing sooner
QUORUM = OBSERVERS // 2 + 1


@options("guard.hawk")
class HawkOptions(Options, frozen=True):
    """Detection, fencing and probation of hosts."""

    heartbeat_interval_ms: Annotated[
        int, option("between two heartbeats of an agent; shorter costs CPU, longer costs detection", unit="ms", ge=20)
    ] = 100
    suspect_after_ms: Annotated[
        int, option("silence after which an observer begins to probe the host's kernel", unit="ms", ge=50)
    ] = 400
    dead_after_ms: Annotated[
        int,
        option(
            "silence of agent and kernel after which an observer votes for dead; less finds deaths sooner, more forgives longer outages",
            unit="ms",
            ge=200,
        ),
    ] = 1200
    fence_after_ms: Annotated[
        int,
        option(
            "age of the lease at which an agent stops its own TaskManagers; must be below dead-after-ms",
            unit="ms",
            ge=100,
        ),
    ] = 1000
    settle_ms: Annotated[
        int,
        option("how long a quorum must hold, so that suspicions of other hosts are heard before", unit="ms", ge=0),
    ] = 100
    hold_limit_ms: Annotated[
        int,
        option(
            "how long stopped TaskManagers wait for the lease to come back before they are killed; below Flink's heartbeat.timeout",
            unit="ms",
            ge=1000,
        ),
    ] = 15_000
    resume_after_ms: Annotated[
        int,
        option(
            "how long the lease must be whole again before stopped TaskManagers go on; verdicts are told meanwhile",
            unit="ms",
            ge=0,
        ),
    ] = 300
    frozen_after_ms: Annotated[
        int, option("how long a TaskManager may stay stopped (SIGSTOP) before its agent kills it", unit="ms", ge=100)
    ] = 1200
    flink_silence_ms: Annotated[
        int,
        option(
            "silence of a host's TaskManagers, towards Flink and when asked, that together with a silent agent means a frozen host; above heartbeat.interval",
            unit="ms",
            ge=500,
        ),
    ] = 1400
    ballot_fresh_ms: Annotated[
        int, option("age above which an observer's vote no longer counts", unit="ms", ge=100)
    ] = 500
    awake_step_ms: Annotated[
        int,
        option(
            "most silence that one turn of an observer's loop may add: its own pauses accuse nobody", unit="ms", ge=10
        ),
    ] = 40
    brake_hosts: Annotated[
        int, option("more silent hosts than this (and than brake-share) hold all verdicts", ge=1)
    ] = 2
    brake_share: Annotated[
        float,
        option("share of all hosts that may be silent at once before it is taken for a network fault", ge=0, le=1),
    ] = 0.2
    brake_window_ms: Annotated[
        int, option("how long a convicted host still counts as silent, for deaths one after the other", unit="ms", ge=0)
    ] = 5000
    rack_hold_ms: Annotated[
        int,
        option(
            "how long a whole silent rack is held by the brake before its hosts are convicted all the same",
            unit="ms",
            ge=0,
        ),
    ] = 10_000
    join_beats: Annotated[int, option("heartbeats in a row before a new agent can be judged", ge=1)] = 5
    rejoin_ms: Annotated[
        int, option("steady heartbeats after a verdict before the host counts as alive again", unit="ms", ge=0)
    ] = 2000
    probation_s: Annotated[
        tuple[int, ...],
        option("how long a convicted host gets no work: after the first verdict, the second, …", unit="s"),
    ] = (60, 300, 1800)
    probation_forget_s: Annotated[int, option("verdicts older than this no longer count", unit="s", ge=60)] = 3600
    retire_strikes: Annotated[
        int,
        option(
            "verdicts and gray classes within retire-window after which a host gets no work until an operator re-admits it; 0 retires nobody",
            ge=0,
        ),
    ] = 5
    retire_window_s: Annotated[
        int,
        option("how long a strike counts for retirement; longer also finds hosts that fail weekly", unit="s", ge=60),
    ] = 86_400
    retire_hosts_min: Annotated[
        int, option("living hosts that must be left when one is retired; work on a bad host is better than none", ge=1)
    ] = 3
    blocked_share_max: Annotated[
        float,
        option(
            "share of the hosts that may be blocked at once; a convicted host beyond it gets work again", ge=0, le=1
        ),
    ] = 0.34
    clock_skew_ms: Annotated[int, option("difference of wall clocks that is reported as skew", unit="ms", ge=10)] = 1000
    disk_slow_ms: Annotated[
        int, option("a 4 KiB write with fsync that takes longer is a slow disk", unit="ms", ge=10)
    ] = 2000
    disk_full_share: Annotated[float, option("free share of a watched disk below which it is full", ge=0, le=1)] = 0.02
    memory_low_share: Annotated[
        float, option("available share of memory below which there is memory pressure", ge=0, le=1)
    ] = 0.03
    gray_on: Annotated[int, option("bad self-checks in a row before a host is gray", ge=1)] = 3
    gray_off: Annotated[int, option("good self-checks in a row before it is well again", ge=1)] = 6
    probe_port: Annotated[
        int,
        option(
            "TCP port at which kernels are asked; nobody need listen, but no filter may swallow the packet",
            ge=1,
            le=65_535,
        ),
    ] = 9
    dependency_check_s: Annotated[
        int, option("between two questions of an agent whether a dependency of its jobs answers", unit="s", ge=3)
    ] = 3
    self_check_s: Annotated[int, option("between two self-checks of an agent", unit="s", ge=1)] = 5

    def check(self) -> HawkOptions:
        """These options, if they can keep the promise that a host stops writing before it is convicted.

        Raises:
            Invalid: the order heartbeat < suspect < fence < dead is broken.
        """
        ordered = (
            ("heartbeat-interval-ms", self.heartbeat_interval_ms),
            ("suspect-after-ms", self.suspect_after_ms),
            ("fence-after-ms", self.fence_after_ms),
            ("dead-after-ms", self.dead_after_ms),
        )
        for (small, low), (big, high) in pairwise(ordered):
            if low >= high:
                raise Invalid(
                    f"`{small}` must be below `{big}`",
                    context={f"headrace.guard.hawk.{small}": low, f"headrace.guard.hawk.{big}": high},
                    hint="a host must have stopped its own TaskManagers before it is convicted",
                )
        return self
