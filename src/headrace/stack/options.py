"""Options of the local stack."""

from __future__ import annotations

from typing import Annotated

from headrace.core.config import Options, option, options


@options("stack")
class StackOptions(Options, frozen=True):
    """Size and habits of a local stack; all of `[headrace.stack]`."""

    java_home: Annotated[
        str, option("JDK 17 or 21 to use; empty takes JAVA_HOME if it fits, else one of the system")
    ] = ""
    task_managers: Annotated[
        int, option("TaskManagers; one more than the jobs need makes a spare that takes over at once", ge=1, le=16)
    ] = 2
    task_slots: Annotated[int, option("slots per TaskManager; more share the same memory", ge=1, le=128)] = 8
    task_manager_memory_mb: Annotated[
        int,
        option(
            "whole process of a TaskManager; more keeps more state, less lets the machine breathe", unit="MiB", ge=700
        ),
    ] = 3072
    job_manager_memory_mb: Annotated[
        int, option("whole process of the JobManager; grows with the number of jobs", unit="MiB", ge=700)
    ] = 1024
    kafka_heap_mb: Annotated[
        int, option("heap of the broker; pages of the log live outside it", unit="MiB", ge=256)
    ] = 512
    kafka_retention_hours: Annotated[
        int, option("how long topics keep rows unless a table says otherwise; longer costs disk", unit="h", ge=1)
    ] = 24
    log_file_bytes: Annotated[int, option("size at which a process's log is rotated", unit="bytes", ge=65_536)] = (
        16_777_216
    )
    log_files: Annotated[int, option("rotated files kept per process beside the live one", ge=1, le=20)] = 2
    port_base: Annotated[
        int,
        option(
            "first port of the stack's block; 0 derives it from the home's path and skips what is taken",
            ge=0,
            le=65_000,
        ),
    ] = 0
    ready_timeout_s: Annotated[
        int, option("how long `up` waits for everything to be ready before it gives up and cleans up", unit="s", ge=5)
    ] = 180
    restart_backoff_ms: Annotated[
        int, option("wait before the first restart of a crashed process; doubles with each crash", unit="ms", ge=10)
    ] = 100
    restart_backoff_max_ms: Annotated[
        int, option("longest wait between restarts; shorter hammers a process that cannot start", unit="ms", ge=100)
    ] = 30_000
    warm_up_after_s: Annotated[
        int,
        option(
            "when a TaskManager that has no tasks yet runs a small job inside of itself, so that its first tasks start as fast as later "
            "ones; for spares, and for a JobManager that stands by; 0 leaves it out",
            unit="s",
            ge=0,
        ),
    ] = 0
    class_archive: Annotated[
        bool, option("keep archives of loaded Java classes, which make later starts faster for some 200 MB of disk")
    ] = True
