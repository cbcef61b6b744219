"""Values that Hawk's decisions take and give; no behaviour.

Times are whole ms. `awake_ms` counts only while its observer's loop turns; `at_ms` is a monotonic clock of the process that
decides. Neither is ever compared between machines.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

JOB_MANAGER_PREFIX = "jobmanager"  # of names of processes; all others are TaskManagers, named by Flink's resource id


class View(StrEnum):
    """What one observer thinks of one host."""

    ALIVE = "alive"
    SUSPECT = "suspect"  # silent for a while; its kernel is asked
    STALLED = "stalled"  # its kernel answers, its agent does not
    DEAD = "dead"  # neither answers


class FailureClass(StrEnum):
    """What is wrong, by how sure one can be and what is to be done."""

    PROCESS_LOST = "process_lost"
    PROCESS_FROZEN = "process_frozen"
    HOST_LOST = "host_lost"
    HOST_FROZEN = "host_frozen"
    RACK_LOST = "rack_lost"
    SLOW_DISK = "slow_disk"
    READ_ONLY_DISK = "read_only_disk"
    FULL_DISK = "full_disk"
    CLOCK_SKEW = "clock_skew"
    MEMORY_PRESSURE = "memory_pressure"


class ProcessReport(msgspec.Struct, frozen=True, array_like=True):
    """A TaskManager or JobManager as its agent sees it; `pid` is 0 when it does not run.

    `lost_pid` is the newest of its processes that ended without being asked to, `lost_age_ms` how long ago that was, `frozen`
    whether the agent killed it because it stood still.
    """

    name: str
    pid: int
    lost_pid: int = 0
    lost_age_ms: int = 0
    frozen: bool = False

    @property
    def is_job_manager(self) -> bool:
        """Whether it is a JobManager."""
        return is_job_manager(self.name)


def is_job_manager(name: str) -> bool:
    """Whether a process of this name is a JobManager; the name of a TaskManager is its resource id."""
    return name.startswith(JOB_MANAGER_PREFIX)


class HostReport(msgspec.Struct, frozen=True, array_like=True):
    """What an agent says of its host in each heartbeat."""

    wall_ms: int = 0
    rack: str = ""
    processes: tuple[ProcessReport, ...] = ()
    gray: tuple[FailureClass, ...] = ()
    holding: bool = False  # its Flink processes are stopped until the lease is whole again
    fenced: bool = False  # it has killed them and knows of the verdict
    leaving: bool = False
    unreachable: tuple[str, ...] = ()  # dependencies that do not answer it


class Evidence(msgspec.Struct, frozen=True):
    """When an observer last heard of a host, on its own awake clock; `held_ms` since when it says that it holds its TaskManagers."""

    heartbeat_ms: int
    kernel_ms: int
    held_ms: int | None = None


class Ballot(msgspec.Struct, frozen=True):
    """One observer's views: only hosts that are not alive are named.

    Args:
        observer: who votes.
        at_ms: when it was heard, on the clock of whoever decides.
        views: host → SUSPECT, STALLED or DEAD, at most `BALLOT_HOSTS_MAX` of them.
        silent: how many hosts are not alive, named or not.
        hosts: how many hosts it watches.
    """

    observer: str
    at_ms: int
    views: dict[str, View]
    silent: int
    hosts: int


class HostFacts(msgspec.Struct, frozen=True):
    """What is known of a host besides views.

    Args:
        rack: as its agent says; empty when unknown.
        processes: its TaskManagers.
        silence_ms: how long none of its TaskManagers gave a sign, to Flink or to us; None when it is not known.
        convicted: a verdict stands; the host has not been well again since.
    """

    rack: str = ""
    processes: tuple[ProcessReport, ...] = ()
    silence_ms: int | None = None
    convicted: bool = False


class Facts(msgspec.Struct, frozen=True):
    """Everything a decision of verdicts takes.

    Args:
        ballots: of any age; old ones are left out.
        hosts: those that a ballot names or whose processes were lost; others need not be there.
        total: how many hosts there are.
        racks: rack → how many hosts it has; unnamed racks are left out.
    """

    ballots: tuple[Ballot, ...]
    hosts: dict[str, HostFacts]
    total: int
    racks: dict[str, int] = {}


class Verdict(msgspec.Struct, frozen=True):
    """This host, or one of its processes, is lost; `process` is empty for the whole host."""

    host: str
    failure: FailureClass
    process: str = ""
    pid: int = 0
    votes: tuple[str, ...] = ()


class Standing(msgspec.Struct, frozen=True):
    """What the decision remembers between two turns.

    Args:
        quorum_ms: host → since when a quorum holds it for lost; in the future for one that the brake has just held.
        brake_ms: since when too many hosts are silent, None while they are not.
        told: (process, pid) of processes whose loss has been told.
    """

    quorum_ms: dict[str, int] = {}
    brake_ms: int | None = None
    told: frozenset[tuple[str, int]] = frozenset()


class Decision(msgspec.Struct, frozen=True):
    """What a turn decided.

    Args:
        verdicts: new ones, each told once.
        held: hosts that a quorum holds for lost and the brake protects.
        link_faults: hosts that one observer alone holds for lost.
        sick_observers: observers whose votes were left out because they see far more silence than the others.
    """

    verdicts: tuple[Verdict, ...] = ()
    held: tuple[str, ...] = ()
    link_faults: tuple[str, ...] = ()
    sick_observers: tuple[str, ...] = ()
