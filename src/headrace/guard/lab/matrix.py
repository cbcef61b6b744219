"""The matrix: every fault of the lab once, judged; and those that this machine cannot play, with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from headrace.guard.lab.experiment import Outcome
from headrace.guard.lab.faults import FAULTS
from headrace.guard.lab.timeline import Timeline, has_sign
from headrace.guard.lab.workload import Books


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """One case: what was wrong with it; nothing when it passed."""

    case: str
    host: str
    problems: tuple[str, ...]
    spans: dict[str, float]


class MatrixReport(msgspec.Struct, frozen=True, kw_only=True):
    """All cases of a run, those that were not played, and the books' problems.

    Args:
        judgements: one a timeline, in the same order.
        books_problems: what the books miss, and why a cluster was given up.
        not_played: case or part of the plan → why.
        passed: no problem at all.
        timelines: what was recorded.
        books: of each cluster.
        seed: of the victims and moments; of several runs, of the first.
    """

    judgements: tuple[Judgement, ...]
    books_problems: tuple[str, ...]
    not_played: dict[str, str]
    passed: bool
    timelines: tuple[Timeline, ...] = ()
    books: tuple[Books, ...] = ()
    seed: int = 0


def judge(timeline: Timeline) -> Judgement:
    """What is wrong with a recorded case; pure."""
    fault = FAULTS[timeline.case]
    named = {name.split("/")[0] for name in timeline.verdicts}
    hit = set(timeline.hosts or (timeline.host,))
    problems = [timeline.problem] if timeline.problem else _verdict_problems(fault.lost, hit, named)
    if timeline.restarts > fault.restart_limit:
        problems.append(f"{timeline.restarts} restart{'' if timeline.restarts == 1 else 's'}")
    if (fault.lost or fault.recovers) and timeline.flowing_ms is None and not timeline.problem:
        problems.append("output did not flow again")
    if timeline.zombie_cpu_ms:
        problems.append(f"the lost TaskManager ran {timeline.zombie_cpu_ms} ms after its verdict")
    if not timeline.problem:
        wanted = fault.signs_of(timeline.host)
        problems += [f"not told: {sign}" for sign in wanted if not has_sign(timeline.signs, sign)]
    return Judgement(case=timeline.case, host=timeline.host, problems=tuple(problems), spans=timeline.spans())


def _verdict_problems(lost: bool, hit: set[str], named: set[str]) -> list[str]:
    if not lost:
        return [f"false verdict on {', '.join(sorted(named))}"] if named else []
    missed, well = sorted(hit - named), sorted(named - hit)
    problems = []
    if missed:
        problems.append("the lost host was not convicted" if len(hit) == 1 else f"not convicted: {', '.join(missed)}")
    if well:
        problems.append(f"verdict on hosts that are well: {', '.join(well)}")
    return problems


def judge_all(outcomes: Iterable[Outcome], *, seed: int = 0) -> MatrixReport:
    """The report over the outcomes of one or more clusters; pure but for what this machine lacks."""
    outcomes = list(outcomes)
    timelines = tuple(timeline for outcome in outcomes for timeline in outcome.timelines)
    judgements = tuple(judge(timeline) for timeline in timelines)
    books = tuple(problem for outcome in outcomes for problem in _books_problems(outcome))
    return MatrixReport(
        judgements=judgements,
        books_problems=books,
        not_played=find_not_played({timeline.case for timeline in timelines}),
        passed=not books and not any(judgement.problems for judgement in judgements),
        timelines=timelines,
        books=tuple(outcome.books for outcome in outcomes),
        seed=seed,
    )


def _books_problems(outcome: Outcome) -> list[str]:
    kept = outcome.books
    counts = {"lost": kept.lost, "doubled": kept.doubled, "miscounted": kept.miscounted}
    stopped = [outcome.stopped] if outcome.stopped else []
    return [*stopped, *(f"{name}: {count}" for name, count in counts.items() if count)]


def find_not_played(played: set[str]) -> dict[str, str]:
    """Cases that were not played, each with the reason."""
    return {
        f"{fault.name} ({fault.plan})" if fault.plan else fault.name: fault.missing() or "not asked for in this run"
        for fault in FAULTS.values()
        if fault.name not in played
    }


def merge_reports(reports: Sequence[MatrixReport]) -> MatrixReport:
    """One report of runs that each played a part of the matrix; a case that was played again counts by its newest run."""
    newest = {timeline.case: (timeline, judge(timeline)) for report in reports for timeline in report.timelines}
    ordered = [newest[name] for name in FAULTS if name in newest]
    books = tuple(problem for report in reports for problem in report.books_problems)
    return MatrixReport(
        judgements=tuple(judgement for _, judgement in ordered),
        books_problems=books,
        not_played=find_not_played(set(newest)),
        passed=not books and not any(judgement.problems for _, judgement in ordered),
        timelines=tuple(timeline for timeline, _ in ordered),
        books=tuple(each for report in reports for each in report.books),
        seed=reports[0].seed if reports else 0,
    )
