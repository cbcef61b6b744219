"""A machine that has more to do than it can: programs that only calculate, two for each core, beside everything else."""

from __future__ import annotations

import os
import subprocess
import sys

from headrace.guard.lab.cluster import LabCluster
from headrace.guard.lab.fault import Fault, everyone
from headrace.stack.child import bind_to

PROGRAMS_PER_CORE = 2
FULL_LOAD = "full_load"
HOLD_S = 30.0
_programs: list[subprocess.Popen[bytes]] = []


def _load(_: LabCluster, __: str) -> None:
    lab = os.getpid()
    for _number in range(PROGRAMS_PER_CORE * len(os.sched_getaffinity(0))):
        busy = [sys.executable, "-c", "while True: pass"]
        _programs.append(subprocess.Popen(busy, stdin=subprocess.DEVNULL, preexec_fn=lambda: bind_to(lab)))


def _unload(_: LabCluster, __: str) -> None:
    for program in _programs:
        program.kill()
        program.wait()
    _programs.clear()


LOAD_FAULTS = (
    Fault(
        FULL_LOAD,
        False,
        _load,
        _unload,
        "two programs a core that only calculate, beside Flink, Kafka and Hawk",
        HOLD_S,
        hits=everyone,
    ),
)
