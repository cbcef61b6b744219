"""Timelines and judgements of the lab are pure: what was recorded decides, and what is missing is not guessed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tests.unit.guard.lab_timelines import T0, timeline

from headrace.core.errors import Unsupported
from headrace.guard.hawk.events import HawkEvent
from headrace.guard.lab import network
from headrace.guard.lab.experiment import Outcome
from headrace.guard.lab.faults import FAULTS
from headrace.guard.lab.matrix import judge, judge_all, merge_reports
from headrace.guard.lab.timeline import (
    TIMELINES_MAX,
    Timeline,
    convicted,
    find_signs,
    has_sign,
    load_timelines,
    moments,
    quantile,
    read_events,
    render,
    store_timeline,
    summarize,
)
from headrace.guard.lab.workload import Books, longest_gap_ms

BALANCED = Books(produced=100, lost=0, doubled=0, miscounted=0)


def test_spans_are_differences_of_recorded_moments() -> None:
    """A moment that is not known gives no span."""
    assert timeline().spans()["detect_s"] == 1.25
    assert timeline().spans()["end_to_end_s"] == 3.0
    assert set(timeline(verdict_ms=None).spans()) == {
        "fault_to_restarting_s",
        "restarting_to_running_s",
        "end_to_end_s",
        "caught_up_s",
    }


def test_quantiles_are_nearest_ranks() -> None:
    """The middle of two is the lower one; of few values p99 is the greatest."""
    assert quantile([2.0, 1.0], 0.5) == 1.0
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([1.0, 5.0], 0.99) == 5.0
    assert quantile([float(number) for number in range(1, 101)], 0.99) == 99.0
    assert summarize([timeline(), timeline(verdict_ms=None)])["detect_s"] == {
        "p50": 1.25,
        "p99": 1.25,
        "max": 1.25,
        "n": 1.0,
    }


def test_events_give_the_first_moments_of_a_host(tmp_path: Path) -> None:
    """Of this host only; a line that is still being written is left out."""
    path = tmp_path / "o1.events"
    rows = [
        HawkEvent(T0 - 5, "verdict", "h1"),
        HawkEvent(T0 + 1, "view_changed", "h1", "suspect"),
        HawkEvent(T0 + 2, "view_changed", "h2", "suspect"),
        HawkEvent(T0 + 3, "verdict", "h1", failure="host_lost"),
        HawkEvent(T0 + 4, "verdict_told", "h1"),
        HawkEvent(T0 + 5, "verdict", "h2", process="taskmanager-2"),
    ]
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows) + b'{"at_ms": 1')
    events = read_events(path, since_ms=T0)
    assert moments(events, "h1") == {"suspect_ms": T0 + 1, "verdict_ms": T0 + 3, "told_ms": T0 + 4}
    assert convicted(events) == ("h1", "h2/taskmanager-2")
    assert read_events(tmp_path / "none", since_ms=0) == []


def test_a_lost_host_passes_when_it_alone_was_replaced() -> None:
    """One verdict, one restart, output again."""
    assert judge(timeline()).problems == ()
    assert judge(timeline("process_dead", verdicts=("h1/taskmanager-1",))).problems == ()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"verdicts": ()}, "the lost host was not convicted"),
        ({"verdicts": ("h1", "h2")}, "verdict on hosts that are well: h2"),
        ({"restarts": 2}, "2 restarts"),
        ({"flowing_ms": None}, "output did not flow again"),
        ({"zombie_cpu_ms": 30}, "the lost TaskManager ran 30 ms after its verdict"),
    ],
)
def test_what_is_wrong_with_a_lost_host_is_named(changes: dict[str, object], problem: str) -> None:
    """Each promise has its own sentence."""
    assert judge(timeline(**changes)).problems == (problem,)


def test_noise_must_leave_no_trace() -> None:
    """A verdict or a restart without a lost host fails the case."""
    assert judge(timeline("loss_40", verdicts=(), restarts=0)).problems == ()
    assert judge(timeline("loss_40", verdicts=("h1",), restarts=0)).problems == ("false verdict on h1",)
    assert judge(timeline("loss_40", verdicts=(), restarts=1)).problems == ("1 restart",)


def test_a_fault_that_flink_alone_sees_may_restart_the_job_once() -> None:
    """But output has to flow, and nobody is convicted."""
    usual = timeline("wrong_verdict", verdicts=(), restarts=1)
    assert judge(usual).problems == ()
    assert judge(msgspec.structs.replace(usual, restarts=2)).problems == ("2 restarts",)
    assert judge(msgspec.structs.replace(usual, flowing_ms=None)).problems == ("output did not flow again",)
    assert judge(msgspec.structs.replace(usual, verdicts=("h1",))).problems == ("false verdict on h1",)


def test_both_hosts_of_a_double_fault_have_to_be_convicted() -> None:
    """One of them is not enough, a third is one too many."""
    usual = timeline("double", hosts=("h1", "h2"), verdicts=("h1", "h2"), restarts=2)
    assert judge(usual).problems == ()
    assert judge(msgspec.structs.replace(usual, verdicts=("h1",))).problems == ("not convicted: h2",)
    more = msgspec.structs.replace(usual, verdicts=("h1", "h2", "h3"))
    assert judge(more).problems == ("verdict on hosts that are well: h3",)


def test_what_must_be_told_is_looked_for() -> None:
    """On the host that is ill, and in the right class."""
    usual = timeline("disk_full", verdicts=(), restarts=0, signs=("host_gray:h1:full_disk", "kept_off:h1"))
    assert judge(usual).problems == ()
    for signs in ((), ("host_gray:h2:full_disk",), ("host_gray:h1:slow_disk",)):
        wrong = msgspec.structs.replace(usual, signs=(*signs, "kept_off:h1"))
        assert judge(wrong).problems == ("not told: host_gray:h1:full_disk",)


def test_a_case_that_broke_off_fails_with_its_reason_alone() -> None:
    """What it would have had to show is not listed as well."""
    broken = Timeline(case="double", host="", fault_ms=T0, problem="waited in vain for fresh output")
    assert judge(broken).problems == ("waited in vain for fresh output",)


def test_signs_are_what_observers_told_besides_verdicts() -> None:
    """Each once; the end of an illness is no sign of it."""
    events = [
        HawkEvent(T0, "host_gray", "h1", classes=("full_disk",)),
        HawkEvent(T0 + 1, "host_gray", "h1", classes=("full_disk", "slow_disk")),
        HawkEvent(T0 + 2, "host_gray", "h1"),
        HawkEvent(T0 + 3, "clock_skew", "h2", skewed=True),
        HawkEvent(T0 + 4, "clock_skew", "h2", skewed=False),
        HawkEvent(T0 + 5, "held", names=("h2",)),
        HawkEvent(T0 + 5, "held", names=("h1", "h2")),
        HawkEvent(T0 + 6, "held"),
        HawkEvent(T0 + 7, "host_blocked", "h1"),
        HawkEvent(T0 + 7, "host_retired", "h1"),
        HawkEvent(T0 + 7, "dependency_unreachable", "h1", names=("kafka",)),
        HawkEvent(T0 + 7, "dependency_down", names=("kafka",)),
        HawkEvent(T0 + 8, "dependency_unreachable", "h1"),
        HawkEvent(T0 + 8, "dependency_down"),
        HawkEvent(T0 + 8, "verdict", "h1"),
    ]
    signs = find_signs(events)
    assert signs == (
        "host_gray:h1:full_disk",
        "host_gray:h1:slow_disk",
        "clock_skew:h2",
        "host_blocked:h1",
        "host_retired:h1",
        "dependency_unreachable:h1:kafka",
        "held:h1,h2",
        "dependency_down:kafka",
    )
    assert has_sign(signs, "held")
    assert has_sign(signs, "clock_skew:h2")
    assert not has_sign(signs, "clock_skew:h")


def test_timelines_are_kept_line_by_line(tmp_path: Path) -> None:
    """The newest of them; a damaged line, or one of a version that said more, costs itself alone."""
    path = tmp_path / "run" / "timelines.jsonl"
    assert load_timelines(path) == []
    store_timeline(path, timeline())
    with path.open("ab") as file:
        file.write(b'{"case": 1}\n')
    store_timeline(path, timeline("cut"))
    assert [each.case for each in load_timelines(path)] == ["host_dead", "cut"]
    path.write_bytes(path.read_bytes() * TIMELINES_MAX)
    store_timeline(path, timeline("one_way"))
    assert len(path.read_bytes().splitlines()) == TIMELINES_MAX
    assert load_timelines(path)[-1].case == "one_way"


def test_reports_of_parts_become_one() -> None:
    """A case that was played again counts by its newest run; what nobody played is listed with a reason."""
    first = judge_all([Outcome(timelines=(timeline(restarts=2), timeline("cut")), books=BALANCED)], seed=1)
    second = judge_all([Outcome(timelines=(timeline(),), books=BALANCED)], seed=2)
    merged = merge_reports([first, second])
    assert not first.passed
    assert merged.passed
    assert [judgement.case for judgement in merged.judgements] == ["host_dead", "cut"]
    assert merged.not_played["frozen (F3)"] == "not asked for in this run"
    assert "cut" not in merged.not_played
    assert len(merged.books) == 2


def test_a_cluster_that_was_given_up_fails_the_matrix() -> None:
    """Though its books balance."""
    outcome = Outcome(timelines=(timeline(),), books=BALANCED, stopped="not steady after host_dead")
    report = judge_all([outcome])
    assert (report.passed, report.books_problems) == (False, ("not steady after host_dead",))


def test_books_that_do_not_balance_fail_the_matrix() -> None:
    """Whatever the timelines say."""
    good = Outcome(timelines=(timeline(),), books=BALANCED)
    bad = Outcome(timelines=(), books=msgspec.structs.replace(BALANCED, lost=3))
    assert judge_all([good]).passed
    report = judge_all([good, bad])
    assert not report.passed
    assert report.books_problems == ("lost: 3",)
    assert report.not_played


def test_a_gap_is_the_longest_time_without_output() -> None:
    """From the fault on; what came before it does not count, nor how long nothing has come by now."""
    assert longest_gap_ms([T0 - 50, T0 + 10, T0 + 700, T0 + 750], T0) == 690
    assert longest_gap_ms([T0 - 5000, T0 + 900], T0) == 900
    assert longest_gap_ms([], T0) == 0


def test_a_timeline_is_one_line_for_a_person() -> None:
    """Moments in seconds after the fault, a dash for what is not known."""
    line = render(timeline(caught_up_ms=None))
    assert line.startswith("host_dead on h1: suspect 0.35, verdict 1.25, told 1.29")
    assert "caught up -" in line


def test_a_lab_without_root_says_so() -> None:
    """Before anything is made, with a hint at what works without."""
    with pytest.raises(Unsupported, match="needs root") as refused:
        network.check(root=False)
    assert "chaos kill" in refused.value.hint
    assert all(fault.what for fault in FAULTS.values())
