"""Faults of disks: what a TaskManager's host, its agent and its jobs make of one that is full, slow, frozen or read-only."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.guard.lab import disk
from headrace.guard.lab.cluster import LabCluster
from headrace.guard.lab.fault import Fault

SLOW_WRITES_PER_S = 1
HOLD_S = 5.0  # some checkpoints, with their local copies
# A job whose state touches the disk fails, and may be started there once more before the next self-check and Flink's blocklist know of it.
RESTARTS_MAX = 2
GRAY = "host_gray:{host}:"


def _nobody(_: Sequence[str], __: str) -> tuple[str, ...]:
    return ()


def _fill(lab: LabCluster, host: str) -> None:
    disk.fill(lab.disk_root(host))


def _empty(lab: LabCluster, host: str) -> None:
    disk.empty(lab.disk_root(host))


def _slow(lab: LabCluster, host: str) -> None:
    lab.disks[host].throttle(SLOW_WRITES_PER_S)


def _fast(lab: LabCluster, host: str) -> None:
    lab.disks[host].throttle(0)


def _freeze(lab: LabCluster, host: str) -> None:
    disk.freeze(lab.disk_root(host))


def _thaw(lab: LabCluster, host: str) -> None:
    disk.thaw(lab.disk_root(host))


def _fail(lab: LabCluster, host: str) -> None:
    lab.disks[host].fail()


def _replace(lab: LabCluster, host: str) -> None:
    """As a person would: the host is stopped, its disk repaired, and it boots again."""
    lab.revive_host(host)


def _fill_checkpoints(lab: LabCluster, _: str) -> None:
    disk.fill(lab.home.checkpoints)


def _empty_checkpoints(lab: LabCluster, _: str) -> None:
    disk.empty(lab.home.checkpoints)


DISK_FAULTS = (
    Fault(
        "disk_full",
        False,
        _fill,
        _empty,
        "no free block on the host's disk: local state, temporary files, logs",
        HOLD_S,
        recovers=True,
        restarts_max=RESTARTS_MAX,
        signs=(GRAY + "full_disk", "kept_off"),
        missing=disk.missing,
        disks=True,
        plan="F11",
    ),
    Fault(
        "disk_slow",
        False,
        _slow,
        _fast,
        "the host's disk takes one write a second",
        signs=(GRAY + "slow_disk",),
        missing=disk.missing_throttle,
        disks=True,
        plan="F11",
    ),
    Fault(
        "disk_frozen",
        False,
        _freeze,
        _thaw,
        "writes to the host's disk wait and do not return",
        signs=(GRAY + "slow_disk",),
        missing=disk.missing,
        disks=True,
        plan="F11",
    ),
    Fault(
        "disk_read_only",
        False,
        _fail,
        _replace,
        "the host's file system finds an error and takes no more writes",
        HOLD_S,
        recovers=True,
        restarts_max=RESTARTS_MAX,
        signs=(GRAY + "read_only_disk", "kept_off"),
        missing=disk.missing_trigger,
        disks=True,
        reboots=True,
        plan="F11",
    ),
    Fault(
        "checkpoints_full",
        False,
        _fill_checkpoints,
        _empty_checkpoints,
        "no free block where checkpoints are written",
        hits=_nobody,
        missing=disk.missing,
        disks=True,
        plan="F11",
    ),
)
