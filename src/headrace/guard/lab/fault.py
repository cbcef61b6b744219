"""What a fault of the lab is; the tables are in `faults` (processes and network), `failover_faults`, `disk_faults`, `clocks`, `starve`, `load`, `stuck`, `retire` and `steps`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from headrace.guard.lab.cluster import LabCluster

Act = Callable[[LabCluster, str], None]
Hits = Callable[[Sequence[str], str], tuple[str, ...]]


def only(_: Sequence[str], victim: str) -> tuple[str, ...]:
    """The victim alone is hit."""
    return (victim,)


def pair(hosts: Sequence[str], victim: str) -> tuple[str, ...]:
    """The victim and the host after it."""
    return (victim, hosts[(hosts.index(victim) + 1) % len(hosts)])


def everyone(hosts: Sequence[str], _: str) -> tuple[str, ...]:
    """All hosts are hit."""
    return tuple(hosts)


def playable() -> str:
    """Nothing keeps a fault from being played."""
    return ""


class Fault(NamedTuple):
    """A fault, and what Hawk and the job must make of it.

    Args:
        name: as `headrace chaos run` takes it.
        lost: the hosts that are hit have to be convicted; otherwise any verdict is a false one.
        inject: does it to the victim and whoever else is hit; returns when the last step is done.
        undo: ends it.
        what: one sentence for a person.
        hold_s: how long the fault lasts, at least; one whose hosts are lost lasts until the job has recovered.
        hits: who is hit, of all hosts and the victim.
        recovers: nobody is convicted, but the job must flow again while the fault lasts: Flink's own safety nets.
        restarts_max: how often the job may restart; None is once when it has to, else never.
        signs: events that must be told while it lasts, as `timeline.find_signs` writes them; `{host}` stands for the victim.
        missing: why this machine cannot play it, or nothing.
        disks: each host needs a disk of its own (`LabSetup.disks`).
        clocks: agents and observers need a wall clock of their own (`LabSetup.clocks`).
        reboots: undoing it stops the host, as a person would; what Hawk and the job make of that is not judged.
        failover: needs several JobManagers (`LabSetup.failover`).
        fresh: needs a cluster in which nobody was convicted before, and where hosts are retired: no more hosts get no work at a time than may be.
        leader: the victim is the host whose JobManager leads; otherwise one that runs tasks.
        plan: number in the plan of cases (F1 to F22 of the issue).
    """

    name: str
    lost: bool
    inject: Act
    undo: Act
    what: str
    hold_s: float = 10.0
    hits: Hits = only
    recovers: bool = False
    restarts_max: int | None = None
    signs: tuple[str, ...] = ()
    missing: Callable[[], str] = playable
    disks: bool = False
    clocks: bool = False
    reboots: bool = False
    failover: bool = False
    fresh: bool = False
    leader: bool = False
    plan: str = ""

    def signs_of(self, victim: str) -> list[str]:
        """The signs that must be told when `victim` is hit."""
        return [sign.format(host=victim) for sign in self.signs]

    @property
    def restart_limit(self) -> int:
        """How often the job may restart."""
        if self.restarts_max is not None:
            return self.restarts_max
        return 1 if self.lost or self.recovers else 0
