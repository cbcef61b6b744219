"""The timeline of a failure: when it was caused, seen, told, restarted, running, flowing, caught up; and what it cost.

All times are wall ms of one machine. Made from what the parts recorded, so a missing moment is None and not a guess.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from headrace.guard.hawk.events import HawkEvent
from headrace.guard.lab.workload import Books

TIMELINES_FILE = "timelines.jsonl"  # in the run folder of a project's home: where the console finds them
TIMELINES_MAX = 1000
QUANTILES = {"p50": 0.5, "p99": 0.99}


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """One injection; every moment is wall ms or None.

    Args:
        case: name of the fault.
        host: where it was caused.
        fault_ms: when its injection began; what follows is measured from here.
        suspect_ms: when an observer first saw the host silent.
        verdict_ms: when the verdict was given.
        told_ms: when Flink had taken it.
        restarting_ms: when the job began to restart.
        running_ms: when all of its tasks ran again.
        flowing_ms: when all keys gave output of records written after the injection had ended.
        caught_up_ms: when output was as fresh as before.
        restarts: how often the job restarted.
        zombie_cpu_ms: CPU time that the lost TaskManager used after the verdict; None when it was gone.
        verdicts: hosts and processes that were convicted.
        hosts: who was hit, when it was not `host` alone.
        signs: what else was told meanwhile, as `find_signs` writes it.
        problem: why it could not be played to its end.
        gap_ms: the longest time without any output from the fault until it was caught up.
        books: the accounts of the whole run so far.
    """

    case: str
    host: str
    fault_ms: int
    suspect_ms: int | None = None
    verdict_ms: int | None = None
    told_ms: int | None = None
    restarting_ms: int | None = None
    running_ms: int | None = None
    flowing_ms: int | None = None
    caught_up_ms: int | None = None
    restarts: int = 0
    zombie_cpu_ms: int | None = None
    verdicts: tuple[str, ...] = ()
    books: Books | None = None
    hosts: tuple[str, ...] = ()
    signs: tuple[str, ...] = ()
    problem: str = ""
    gap_ms: int | None = None

    def spans(self) -> dict[str, float]:
        """Lengths in s: `detect`, `verdict_to_restarting`, `restarting_to_running`, `end_to_end`, `caught_up`; those that are known."""
        pairs = {
            "detect_s": (self.fault_ms, self.verdict_ms),
            "verdict_to_restarting_s": (self.verdict_ms, self.restarting_ms),
            "fault_to_restarting_s": (self.fault_ms, self.restarting_ms),
            "restarting_to_running_s": (self.restarting_ms, self.running_ms),
            "end_to_end_s": (self.fault_ms, self.flowing_ms),
            "caught_up_s": (self.fault_ms, self.caught_up_ms),
        }
        return {
            name: (end - start) / 1000 for name, (start, end) in pairs.items() if start is not None and end is not None
        }


def read_events(path: Path, *, since_ms: int = 0, offset: int = 0) -> list[HawkEvent]:
    """Events of an observer from `since_ms` and from the byte `offset` on; a line that is being written is left for the next time."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            lines = file.readlines()
    except FileNotFoundError:
        return []
    events = [msgspec.json.decode(line, type=HawkEvent) for line in lines if line.endswith(b"\n")]
    return [event for event in events if event.at_ms >= since_ms]


def moments(events: Iterable[HawkEvent], host: str) -> dict[str, int]:
    """`suspect_ms`, `verdict_ms` and `told_ms` of a host, as far as there are such events."""
    found: dict[str, int] = {}
    for event in events:
        if event.host != host:
            continue
        if event.event == "view_changed" and event.view in ("suspect", "stalled", "dead"):
            found.setdefault("suspect_ms", event.at_ms)
        elif event.event == "verdict":
            found.setdefault("verdict_ms", event.at_ms)
        elif event.event == "verdict_told":
            found.setdefault("told_ms", event.at_ms)
    return found


def convicted(events: Iterable[HawkEvent]) -> tuple[str, ...]:
    """Who was convicted, as `host` or `host/process`, in order."""
    return tuple(
        f"{event.host}/{event.process}" if event.process else event.host for event in events if event.event == "verdict"
    )


def find_signs(events: Iterable[HawkEvent]) -> tuple[str, ...]:
    """What observers told besides verdicts, each once: `event:host:class`, `event:host`, or `event:` and all that it ever named."""
    found: dict[str, None] = {}
    named: dict[str, set[str]] = {}
    for event in events:
        if event.event == "host_gray":
            found.update(dict.fromkeys(f"host_gray:{event.host}:{each}" for each in event.classes))
        elif event.event == "clock_skew" and event.skewed:
            found[f"clock_skew:{event.host}"] = None
        elif event.event == "leader_revoked":
            found[f"leader_revoked:{event.host}:{event.outcome}"] = None
        elif event.event in ("host_blocked", "host_retired"):
            found[f"{event.event}:{event.host}"] = None
        elif event.event == "dependency_unreachable":
            found.update(dict.fromkeys(f"dependency_unreachable:{event.host}:{each}" for each in event.names))
        elif event.event in ("held", "link_faults", "sick_observers", "kept_off", "dependency_down"):
            named.setdefault(event.event, set()).update(event.names)
    found.update({f"{event}:{','.join(sorted(names))}": None for event, names in named.items() if names})
    return tuple(found)


def has_sign(signs: Iterable[str], wanted: str) -> bool:
    """Whether a sign was told: this one, or one that says it in more detail."""
    return any(sign == wanted or sign.startswith(f"{wanted}:") for sign in signs)


def store_timeline(path: Path, timeline: Timeline) -> None:
    """Append to a file of timelines, one JSON object a line, the newest `TIMELINES_MAX` of which are kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        lines = []
    kept = [line for line in lines if line.endswith(b"\n")][1 - TIMELINES_MAX :]
    temporary = path.with_name(f".{path.name}")
    temporary.write_bytes(b"".join((*kept, msgspec.json.encode(timeline), b"\n")))
    temporary.replace(path)


def load_timelines(path: Path) -> list[Timeline]:
    """All timelines of a file, oldest first; lines of another version, or damaged ones, are left out."""
    timelines = []
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_bytes().splitlines():
            with contextlib.suppress(msgspec.MsgspecError):
                timelines.append(msgspec.json.decode(line, type=Timeline))
    return timelines


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie: the nearest rank; of few values, p99 is the greatest."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def summarize(timelines: Sequence[Timeline]) -> dict[str, dict[str, float]]:
    """Quantiles of each span over injections that have it, with their number and mean."""
    spans: dict[str, list[float]] = {}
    for timeline in timelines:
        for name, value in timeline.spans().items():
            spans.setdefault(name, []).append(value)
    return {name: _quantiles(values) for name, values in spans.items()}


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    found = {name: round(quantile(values, share), 3) for name, share in QUANTILES.items()}
    return {**found, "max": round(max(values), 3), "n": float(len(values))}


def render(timeline: Timeline) -> str:
    """One line for a person: moments in s after the fault."""
    names = ("suspect", "verdict", "told", "restarting", "running", "flowing", "caught_up")
    values: Mapping[str, int | None] = {name: getattr(timeline, f"{name}_ms") for name in names}
    parts = [
        f"{name.replace('_', ' ')} {(value - timeline.fault_ms) / 1000:.2f}"
        if value is not None
        else f"{name.replace('_', ' ')} -"
        for name, value in values.items()
    ]
    return f"{timeline.case} on {timeline.host}: " + ", ".join(parts) + f", restarts {timeline.restarts}"
