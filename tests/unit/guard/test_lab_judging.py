"""Timelines and judgements of the lab are pure: what was recorded decides, and what is missing is not guessed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from headrace.core.errors import Unsupported
from headrace.guard.lab import network
from headrace.guard.lab.experiment import Outcome
from headrace.guard.lab.faults import FAULTS
from headrace.guard.lab.matrix import judge, judge_all
from headrace.guard.lab.timeline import Event, Timeline, convicted, moments, quantile, read_events, render, summarize
from headrace.guard.lab.workload import Books

T0 = 1_000_000
BALANCED = Books(produced=100, lost=0, doubled=0, miscounted=0)


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
        Event(T0 - 5, "verdict", "h1"),
        Event(T0 + 1, "view_changed", "h1", "suspect"),
        Event(T0 + 2, "view_changed", "h2", "suspect"),
        Event(T0 + 3, "verdict", "h1", failure="host_lost"),
        Event(T0 + 4, "verdict_told", "h1"),
        Event(T0 + 5, "verdict", "h2", process="taskmanager-2"),
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
    assert judge(timeline("loss_40", verdicts=(), restarts=1)).problems == ("1 restarts",)


def test_books_that_do_not_balance_fail_the_matrix() -> None:
    """Whatever the timelines say."""
    good = Outcome(timelines=(timeline(),), books=BALANCED)
    bad = Outcome(timelines=(), books=msgspec.structs.replace(BALANCED, lost=3))
    assert judge_all([good]).passed
    report = judge_all([good, bad])
    assert not report.passed
    assert report.books_problems == ("lost: 3",)
    assert report.not_played


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
