"""Timelines as a lab records them, for tests."""

from __future__ import annotations

import msgspec

from headrace.guard.lab.timeline import Timeline

T0 = 1_000_000


def timeline(case: str = "host_dead", **changes: object) -> Timeline:
    """A host that was lost and replaced in the usual time."""
    usual = Timeline(
        case=case,
        host="h1",
        fault_ms=T0,
        suspect_ms=T0 + 350,
        verdict_ms=T0 + 1250,
        told_ms=T0 + 1290,
        restarting_ms=T0 + 1270,
        running_ms=T0 + 2900,
        flowing_ms=T0 + 3000,
        caught_up_ms=T0 + 3500,
        restarts=1,
        verdicts=("h1",),
    )
    return msgspec.structs.replace(usual, **changes)
