"""Failures from what was recorded of them: the lab's timelines and Hawk's event logs. Pure.

Hawk's events are folded into one failure per conviction. A suspicion that ends without one is only counted. Several observers may
write into logs of their own; a moment is when the first of them saw it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from headrace.console.failure_model import MOMENTS, Failure
from headrace.guard.hawk.events import HawkEvent
from headrace.guard.lab.timeline import Timeline

SILENT = ("suspect", "stalled", "dead")
SAME_MS = 5000  # verdicts on one host this close together are one failure, told by several observers
FAILURES_MAX = 50


class Observed(msgspec.Struct, kw_only=True):
    """What event logs came to so far; `fold` goes on with it."""

    failures: list[Failure] = []
    suspected: dict[str, int] = {}
    down: frozenset[str] = frozenset()  # convicted, and not heard since
    passed: int = 0
    exposed: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    dependencies_down: tuple[str, ...] = ()
    unreachable: dict[str, tuple[str, ...]] = {}


def fold(observed: Observed, events: Iterable[HawkEvent]) -> Observed:
    """Go on with new events, oldest first; returns a new value, with at most FAILURES_MAX failures."""
    after = Observed(
        failures=list(observed.failures),
        suspected=dict(observed.suspected),
        down=observed.down,
        passed=observed.passed,
        exposed=observed.exposed,
        held=observed.held,
        dependencies_down=observed.dependencies_down,
        unreachable=dict(observed.unreachable),
    )
    for event in events:
        _take(after, event)
    after.failures = after.failures[-FAILURES_MAX:]
    return after


def _take(after: Observed, event: HawkEvent) -> None:
    match event.event:
        case "view_changed" if event.view in SILENT and event.host not in after.down:
            after.suspected.setdefault(event.host, event.at_ms)
        case "host_heard_again" | "agent_joined" | "agent_left":
            after.down -= {event.host}
            after.passed += after.suspected.pop(event.host, None) is not None
        case "verdict":
            _convict(after, event)
        case "verdict_told":
            _amend(after, event, {"told": event.at_ms}, "")
        case "verdict_dropped":
            _amend(after, event, {}, f"Flink was not told: {event.reason}")
        case "host_blocked":
            _amend(after, event, {}, f"no work for {event.for_s:.0f} s")
        case _:
            _alarm(after, event)


def _alarm(after: Observed, event: HawkEvent) -> None:
    """What is so until an event says otherwise."""
    match event.event:
        case "spares_short" | "spares_enough":
            after.exposed = event.nodes
        case "held":
            after.held = event.names
        case "dependency_down":
            after.dependencies_down = event.names
        case "dependency_unreachable" if event.names:
            after.unreachable[event.host] = event.names
        case "dependency_unreachable":
            after.unreachable.pop(event.host, None)


def _convict(after: Observed, event: HawkEvent) -> None:
    index = _find(after.failures, event.host, event.process)
    if index is not None and event.at_ms - after.failures[index].moments["verdict"] <= SAME_MS:
        known = after.failures[index]
        votes = tuple(sorted({*known.votes, *event.votes}))
        after.failures[index] = msgspec.structs.replace(known, votes=votes)
        return
    suspect_ms = None if event.process else after.suspected.pop(event.host, None)
    after.down |= set() if event.process else {event.host}
    moments = {"verdict": event.at_ms} if suspect_ms is None else {"suspect": suspect_ms, "verdict": event.at_ms}
    after.failures.append(
        Failure(
            id=f"{event.host}-{event.process}-{event.at_ms}",
            source="observed",
            what=event.failure,
            host=event.host,
            process=event.process,
            moments=moments,
            verdicts=(f"{event.host}/{event.process}" if event.process else event.host,),
            votes=event.votes,
        )
    )


def _amend(after: Observed, event: HawkEvent, moments: Mapping[str, int], note: str) -> None:
    """Add to the newest failure of the event's host; of the process that it names, if it names one."""
    for name in (*event.names, event.process, None):
        index = _find(after.failures, event.host, name)
        if index is not None:
            known = after.failures[index]
            notes = [part for part in (known.note, note) if part and part not in (known.note if part == note else "")]
            after.failures[index] = msgspec.structs.replace(
                known, moments={**moments, **known.moments}, note="; ".join(notes)
            )
            return


def _find(failures: Sequence[Failure], host: str, process: str | None) -> int | None:
    """The newest failure of a host; of this process of it (empty for the host itself), or of any with None."""
    for index in range(len(failures) - 1, -1, -1):
        if failures[index].host == host and process in (None, failures[index].process):
            return index
    return None


def render_timeline(timeline: Timeline) -> Failure:
    """A recorded injection."""
    found = {name: getattr(timeline, f"{name}_ms") for name in MOMENTS}
    books = timeline.books
    return Failure(
        id=f"{timeline.host}-{timeline.case}-{timeline.fault_ms}",
        source="recorded",
        what=timeline.case,
        host=timeline.host,
        moments={name: at_ms for name, at_ms in found.items() if at_ms is not None},
        restarts=timeline.restarts,
        lost=books.lost if books else None,
        doubled=books.doubled if books else None,
        verdicts=timeline.verdicts,
        note=timeline.problem,
    )


def with_restarts(
    failure: Failure, failed_ms: Sequence[int], running_ms: int | None, *, within_ms: int = 60_000
) -> Failure:
    """The failure with what Flink says of a job: when it failed because of it, and since when all of its tasks run again.

    Args:
        failure: an observed one, with a verdict.
        failed_ms: when the job failed, any order.
        running_ms: since when all tasks of the job run; None while one does not.
        within_ms: a job that fails later than this after the verdict fails for another reason.
    """
    begun_ms = failure.at_ms
    caused = sorted(at_ms for at_ms in failed_ms if begun_ms <= at_ms <= failure.moments["verdict"] + within_ms)
    if not caused:
        return failure
    moments = {**failure.moments, "restarting": caused[0]}
    if running_ms is not None and running_ms >= caused[-1]:
        moments["running"] = running_ms
    return msgspec.structs.replace(failure, moments=moments, restarts=len(caused))


def newest(recorded: Iterable[Failure], observed: Iterable[Failure]) -> list[Failure]:
    """All failures, newest first; one that was recorded is not shown a second time as observed."""
    known = list(recorded)
    rest = [one for one in observed if not any(_is_same(one, other) for other in known)]
    return sorted((*known, *rest), key=lambda one: (-one.at_ms, one.id))[:FAILURES_MAX]


def _is_same(observed: Failure, recorded: Failure) -> bool:
    verdict_ms = recorded.moments.get("verdict")
    return (
        observed.host == recorded.host
        and verdict_ms is not None
        and abs(observed.moments["verdict"] - verdict_ms) <= SAME_MS
    )
