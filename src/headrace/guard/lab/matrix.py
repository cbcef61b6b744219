"""The matrix: every fault of the lab once, judged; and the cases of the plan that this machine cannot play, with the reason."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from headrace.guard.lab.experiment import Outcome
from headrace.guard.lab.faults import FAULTS
from headrace.guard.lab.timeline import Timeline

RESTARTS_MAX = 1
NOT_PLAYED = {
    "latency and jitter (F8)": "needs tc netem, which this kernel may lack; played by the simulator",
    "full disk, slow disk (F11)": "classified from self-checks in unit tests; no fault injection into a running TaskManager's disk yet",
    "JobManager host with ZooKeeper (F12), ZooKeeper quorum (F13)": "the lab starts one JobManager without high availability",
    "double fault (F16), flapping (F21)": "decided in tests/unit/guard/test_hawk_world.py; not yet played with Flink",
    "hung sink, broker black hole (F19, F22)": "policies for Kafka are another part of the plan",
    "clock jumps (F20)": "needs libfaketime; wall clocks only feed the skew class, checked in test_hawk_world.py",
}


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """One case: what was wrong with it; nothing when it passed."""

    case: str
    host: str
    problems: tuple[str, ...]
    spans: dict[str, float]


class MatrixReport(msgspec.Struct, frozen=True, kw_only=True):
    """All cases of a run, those that were not played, and the books' problems."""

    judgements: tuple[Judgement, ...]
    books_problems: tuple[str, ...]
    not_played: dict[str, str]
    passed: bool


def judge(timeline: Timeline) -> Judgement:
    """What is wrong with a recorded case; pure."""
    fault = FAULTS[timeline.case]
    named = {name.split("/")[0] for name in timeline.verdicts}
    problems = []
    if fault.lost and timeline.host not in named:
        problems.append("the lost host was not convicted")
    if not fault.lost and named:
        problems.append(f"false verdict on {', '.join(sorted(named))}")
    if fault.lost and named - {timeline.host}:
        problems.append(f"verdict on hosts that are well: {', '.join(sorted(named - {timeline.host}))}")
    if timeline.restarts > (RESTARTS_MAX if fault.lost else 0):
        problems.append(f"{timeline.restarts} restarts")
    if fault.lost and timeline.flowing_ms is None:
        problems.append("output did not flow again")
    if timeline.zombie_cpu_ms:
        problems.append(f"the lost TaskManager ran {timeline.zombie_cpu_ms} ms after its verdict")
    return Judgement(case=timeline.case, host=timeline.host, problems=tuple(problems), spans=timeline.spans())


def judge_all(outcomes: Iterable[Outcome]) -> MatrixReport:
    """The report over the outcomes of one or more clusters; pure."""
    outcomes = list(outcomes)
    judgements = tuple(judge(timeline) for outcome in outcomes for timeline in outcome.timelines)
    books = tuple(
        f"{name}: {count}"
        for outcome in outcomes
        for name, count in (
            ("lost", outcome.books.lost),
            ("doubled", outcome.books.doubled),
            ("miscounted", outcome.books.miscounted),
        )
        if count
    )
    passed = not books and not any(judgement.problems for judgement in judgements)
    return MatrixReport(judgements=judgements, books_problems=books, not_played=NOT_PLAYED, passed=passed)
