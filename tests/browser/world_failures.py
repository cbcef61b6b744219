"""Made-up failures whose every moment is known: faults that were injected, and what Hawk saw by itself."""

from __future__ import annotations

from headrace.console.failure_model import Failure, Failures
from headrace.console.live_model import Reach

# After the fault, in ms; None where nobody recorded it.
INJECTED = (
    ("host_dead", "w2", 3600, {"suspect": 480, "verdict": 1260, "told": 1275, "restarting": 1290, "running": 3320, "flowing": 3410, "caught_up": 4150}),
    ("process_killed", "w1", 2700, {"verdict": 180, "told": 192, "restarting": 205, "running": 1480, "flowing": 1990, "caught_up": 2600}),
    ("frozen", "w4", 1800, {"suspect": 510, "verdict": 1520, "told": 1520, "restarting": 1531, "running": 4030, "flowing": 4810, "caught_up": 5600}),
    ("cut", "w3", 900, {"suspect": 470, "verdict": 1310, "told": 1322, "restarting": 1325, "running": 4420, "flowing": 5020, "caught_up": 5900}),
)  # fmt: skip


def recorded(at_ms: int) -> list[Failure]:
    """Injections of the last hour, newest first."""
    rows = []
    for what, host, ago_s, offsets in reversed(INJECTED):
        fault_ms = at_ms - ago_s * 1000
        moments = {"fault": fault_ms, **{name: fault_ms + offset for name, offset in offsets.items()}}
        rows.append(
            Failure(
                id=f"{what}-{host}",
                source="recorded",
                what=what,
                host=host,
                moments=moments,
                restarts=1,
                lost=0,
                doubled=0,
                verdicts=(host,),
            )
        )
    return rows


def observed(at_ms: int) -> list[Failure]:
    """A host that vanished five minutes ago, and a TaskManager that crashed before."""
    verdict_ms = at_ms - 300_000
    return [
        Failure(
            id="w5",
            source="observed",
            what="host_lost",
            host="w5",
            moments={
                "suspect": verdict_ms - 830,
                "verdict": verdict_ms,
                "told": verdict_ms + 14,
                "restarting": verdict_ms + 25,
                "running": verdict_ms + 1840,
            },
            restarts=1,
            verdicts=("w5",),
            votes=("o1", "o3"),
            note="no work for 60 s",
        ),
        Failure(
            id="tm-w1",
            source="observed",
            what="process_lost",
            host="w1",
            process="taskmanager-w1",
            moments={"verdict": verdict_ms - 200_000},
            note="Flink was not told: too old",
        ),
    ]


def failures(at_ms: int, *, empty: bool = False, alarmed: bool = False, sources: list[Reach] | None = None) -> Failures:
    """What the page is sent."""
    if empty:
        return Failures(at_ms=at_ms, sources=sources or [])
    return Failures(
        at_ms=at_ms,
        failures=[*observed(at_ms), *recorded(at_ms)],
        passed=7,
        exposed=("10.0.0.7",) if alarmed else (),
        held=("w1", "w2", "w3") if alarmed else (),
        dependencies_down=("kafka",) if alarmed else (),
        unreachable={"w1": ("kafka",), "w2": ("kafka", "s3")} if alarmed else {},
        sources=sources or [],
    )
