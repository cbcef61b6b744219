"""Faults of the wall clock (F20): an agent's or an observer's jumps by an hour, forth or back. Nobody may be convicted; the skew is told.

Agents and observers of such a lab run under libfaketime (Debian's package of that name), which takes their wall clock from a file
that the lab writes. Only wall time is bent: monotonic clocks never jump.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headrace.guard.lab.cluster import LabCluster
from headrace.guard.lab.fakeclock import find_library, set_offset
from headrace.guard.lab.fault import Act, Fault

JUMP_S = 3600
HOLD_S = 5.0
OBSERVER_HOST, OBSERVER = "w2", "o2"  # not the one that acts, whose events the timelines are made of


def _missing() -> str:
    return "" if find_library() else "needs libfaketime (apt-get install libfaketime)"


def _nobody(_: Sequence[str], __: str) -> tuple[str, ...]:
    return ()


def _agent(lab: LabCluster, host: str) -> Path:
    return lab.clock_file(host, "agent")


def _observer(lab: LabCluster, _: str) -> Path:
    return lab.clock_file(OBSERVER_HOST, OBSERVER)


def _jump(seconds: int, *, observer: bool) -> Act:
    return lambda lab, host: set_offset((_observer if observer else _agent)(lab, host), seconds)


def _fault(name: str, seconds: int, *, observer: bool) -> Fault:
    return Fault(
        name,
        False,
        _jump(seconds, observer=observer),
        _jump(0, observer=observer),
        f"the wall clock of {'an observer' if observer else 'the agent'} jumps {abs(seconds) // 3600} h {'ahead' if seconds > 0 else 'back'}",
        HOLD_S,
        signs=("clock_skew",) if observer else ("clock_skew:{host}",),
        missing=_missing,
        clocks=True,
        plan="F20",
    )


CLOCK_FAULTS = (
    _fault("agent_clock_ahead", JUMP_S, observer=False),
    _fault("agent_clock_back", -JUMP_S, observer=False),
    _fault("observer_clock_ahead", JUMP_S, observer=True),
    _fault("observer_clock_back", -JUMP_S, observer=True),
)
