"""Failures are made of what was recorded and of nothing else: Hawk's events, the lab's timelines, Flink's history of a job."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from headrace.console.collect_failures import YOUNG_MS, FailureCollector
from headrace.console.failures import FAILURES_MAX, Observed, fold, newest, render_timeline, with_restarts
from headrace.core.errors import Unavailable
from headrace.core.home import Home
from headrace.guard.hawk.events import HawkEvent
from headrace.guard.lab.timeline import Timeline
from headrace.guard.lab.workload import Books
from headrace.testing.fakes import FakeClock

NOW = 1_800_000_000_000


def event(at_ms: int, name: str, **fields: Any) -> HawkEvent:
    """An event of an observer."""
    return HawkEvent(at_ms=at_ms, event=name, **fields)


STORY = [
    event(1000, "view_changed", host="h1", view="suspect"),
    event(1010, "view_changed", host="h1", view="suspect"),  # a second observer's log
    event(1800, "view_changed", host="h1", view="dead"),
    event(1900, "verdict", host="h1", failure="host_lost", votes=("o1", "o2")),
    event(1905, "verdict", host="h1", failure="host_lost", votes=("o3",)),
    event(1912, "verdict_told", host="h1", names=("tm-1",)),
    event(1913, "host_blocked", host="h1", for_s=60),
    event(1920, "view_changed", host="h1", view="dead"),
    event(9000, "host_heard_again", host="h1"),
]


def test_a_conviction_is_one_failure_with_all_its_moments() -> None:
    """Two logs tell it twice; the first that saw it counts, all votes are named; being back is no suspicion that passed."""
    after = fold(Observed(), STORY)
    (failure,) = after.failures
    assert failure.moments == {"suspect": 1000, "verdict": 1900, "told": 1912}
    assert (failure.what, failure.votes, failure.note) == ("host_lost", ("o1", "o2", "o3"), "no work for 60 s")
    assert (after.passed, after.suspected, after.down) == (0, {}, frozenset())


def test_folding_in_pieces_is_the_same() -> None:
    """Logs are read as they grow."""
    whole = fold(Observed(), STORY)
    for cut in range(len(STORY)):
        assert fold(fold(Observed(), STORY[:cut]), STORY[cut:]) == whole


def test_a_suspicion_that_passes_is_only_counted() -> None:
    """And the next one of the same host begins anew."""
    events = [event(1, "view_changed", host="h", view="suspect"), event(300, "host_heard_again", host="h")]
    later = [
        event(5000, "view_changed", host="h", view="suspect"),
        event(5900, "verdict", host="h", failure="host_lost"),
    ]
    after = fold(Observed(), [*events, *later])
    assert after.passed == 1
    assert after.failures[0].moments == {"suspect": 5000, "verdict": 5900}


def test_a_process_is_a_failure_of_its_own() -> None:
    """Told by its agent, without a suspicion; what Flink took belongs to it and not to its host."""
    events = [
        event(10, "verdict", host="h", failure="host_lost"),
        event(90_000, "verdict", host="h", failure="process_lost", process="tm-1"),
        event(90_020, "verdict_told", host="h", names=("tm-1",)),
    ]
    host, process = fold(Observed(), events).failures
    assert (host.moments, process.moments) == ({"verdict": 10}, {"verdict": 90_000, "told": 90_020})
    assert process.verdicts == ("h/tm-1",)


def test_alarms_are_the_newest() -> None:
    """Held hosts and hosts without a spare, until an event says otherwise."""
    short = event(1, "spares_short", nodes=("10.0.0.1",))
    after = fold(Observed(), [short, event(2, "held", names=("a", "b"))])
    assert (after.exposed, after.held) == (("10.0.0.1",), ("a", "b"))
    after = fold(after, [event(3, "spares_enough", nodes=()), event(4, "held", names=())])
    assert (after.exposed, after.held) == ((), ())


def test_what_does_not_answer_is_told_until_it_does() -> None:
    """By each host and for most of them; that a process was lost says nothing of it."""
    deaf = [event(at, "dependency_unreachable", host=f"h{at}", names=("kafka",)) for at in (1, 2, 3)]
    after = fold(Observed(), [*deaf, event(4, "dependency_down", names=("kafka",))])
    assert (set(after.unreachable), after.dependencies_down) == ({"h1", "h2", "h3"}, ("kafka",))
    after = fold(after, [event(5, "dependency_unreachable", host="h1"), event(6, "verdict", host="h2", process="tm-2")])
    assert after.unreachable == {"h2": ("kafka",), "h3": ("kafka",)}
    assert fold(after, [event(7, "dependency_down")]).dependencies_down == ()


def test_failures_are_bounded() -> None:
    """A flapping cluster costs no more than a page."""
    events = [event(n * 10_000, "verdict", host="h", failure="host_lost") for n in range(200)]
    after = fold(Observed(), events)
    assert [one.moments["verdict"] for one in after.failures] == [n * 10_000 for n in range(200 - FAILURES_MAX, 200)]


def test_a_job_that_failed_long_after_failed_for_another_reason() -> None:
    """Restarting and running come from Flink's history; without a restart the failure stays as it was."""
    (failure,) = fold(Observed(), STORY).failures
    assert with_restarts(failure, [500, 90_000], 95_000) == failure
    restarted = with_restarts(failure, [2500, 1930], 3900)
    assert (restarted.moments["restarting"], restarted.moments["running"], restarted.restarts) == (1930, 3900, 2)
    assert "running" not in with_restarts(failure, [1930], 1500).moments


def test_a_recorded_fault_is_not_shown_twice() -> None:
    """Hawk saw what the lab injected: the recording has more moments and stays; another host's failure is another one."""
    timeline = Timeline(
        case="host_dead",
        host="h1",
        fault_ms=700,
        suspect_ms=1000,
        verdict_ms=1900,
        flowing_ms=4000,
        restarts=1,
        books=Books(produced=9, lost=0, doubled=1, miscounted=0),
    )
    recorded = render_timeline(timeline)
    assert recorded.moments == {"fault": 700, "suspect": 1000, "verdict": 1900, "flowing": 4000}
    assert (recorded.lost, recorded.doubled, recorded.source) == (0, 1, "recorded")
    other = fold(Observed(), [event(2000, "verdict", host="h2", failure="host_lost")]).failures
    observed = [*fold(Observed(), STORY).failures, *other]
    assert [one.id for one in newest([recorded], observed)] == [other[0].id, recorded.id]


class Flink:
    """A REST client of one job."""

    def __init__(self) -> None:
        self.asked = 0
        self.dead = False
        self.failed_ms = [NOW - 900]
        self.since_ms = [0, 0]

    def jobs(self) -> list[Any]:
        """One that runs, one that ended."""
        self.asked += 1
        if self.dead:
            raise Unavailable("no answer")
        return [SimpleNamespace(id="j", ended=False), SimpleNamespace(id="old", ended=True)]

    def failures(self, job: str) -> list[Any]:
        """Of the job that runs."""
        assert job == "j"
        return [SimpleNamespace(at_ms=at_ms) for at_ms in self.failed_ms]

    def job(self, job: str) -> Any:
        """One vertex."""
        return SimpleNamespace(vertices=[SimpleNamespace(id="v")])

    def running_since(self, job: str, vertex: str) -> list[int]:
        """Of its subtasks."""
        return self.since_ms

    def close(self) -> None:
        """Nothing."""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with an event log."""
    made = Home(tmp_path)
    made.run.mkdir()
    return made


def write(home: Home, *events: HawkEvent, name: str = "hawk.events") -> None:
    """Append to a log."""
    with (home.run / name).open("ab") as file:
        file.writelines(msgspec.json.encode(each) + b"\n" for each in events)


def collector(home: Home, clock: FakeClock, flink: Flink) -> FailureCollector:
    """One that a page wants."""
    made = FailureCollector(home, lambda: "http://f", clock=clock, connect=lambda url: flink)  # type: ignore[arg-type,return-value]
    made.wanted = True
    return made


def test_nothing_is_read_while_no_page_shows_it(home: Home) -> None:
    """A collector that nobody wants asks nobody."""
    flink = Flink()
    made = collector(home, FakeClock(NOW), flink)
    made.wanted = False
    assert made.collect() is None
    assert flink.asked == 0


def test_a_failure_gets_its_restart_from_flink_and_keeps_it(home: Home) -> None:
    """Flink is asked until all tasks run again, also when it does not answer at first, and not after that."""
    clock, flink = FakeClock(NOW), Flink()
    made = collector(home, clock, flink)
    write(home, event(NOW - 1000, "verdict", host="h1", failure="host_lost", votes=("o1",)))
    flink.dead = True
    assert made.collect().failures[0].restarts is None  # type: ignore[union-attr]
    flink.dead = False
    assert made.collect().failures[0].moments["restarting"] == NOW - 900  # type: ignore[union-attr]
    flink.since_ms = [NOW + 700, NOW + 500]
    assert made.collect().failures[0].moments["running"] == NOW + 700  # type: ignore[union-attr]
    asked = flink.asked
    write(home, event(NOW - 980, "verdict_told", host="h1"))
    failure = made.collect().failures[0]  # type: ignore[union-attr]
    assert (failure.moments["told"], failure.moments["running"], failure.restarts) == (NOW - 980, NOW + 700, 1)
    assert flink.asked == asked


def test_old_failures_ask_nobody(home: Home) -> None:
    """The jobs of an hour ago are not today's."""
    flink = Flink()
    write(home, event(NOW - YOUNG_MS - 1, "verdict", host="h1", failure="host_lost"))
    failures = collector(home, FakeClock(NOW), flink).collect()
    assert failures is not None
    assert len(failures.failures) == 1
    assert flink.asked == 0


def test_logs_are_read_on_and_survive_damage_and_rotation(home: Home) -> None:
    """A half-written line waits, a damaged one is left out, a rotated log is read from its beginning, several logs are one story."""
    made = collector(home, FakeClock(NOW), Flink())
    old = NOW - YOUNG_MS * 2
    write(home, event(old, "verdict", host="h1", failure="host_lost"))
    with (home.run / "hawk.events").open("ab") as file:
        file.write(b'{"at_ms": 1}\nnonsense\n{"at_ms":' + str(old).encode())
    assert len(made.collect().failures) == 1  # type: ignore[union-attr]
    with (home.run / "hawk.events").open("ab") as file:
        file.write(b',"event":"verdict","host":"h2","failure":"host_lost"}\n')
    write(home, event(old, "verdict", host="h3", failure="host_lost"), name="o2.events")
    assert {one.host for one in made.collect().failures} == {"h1", "h2", "h3"}  # type: ignore[union-attr]
    (home.run / "hawk.events").rename(home.run / "hawk.events.1")
    write(home, event(old, "verdict", host="h4", failure="host_lost"))
    assert {one.host for one in made.collect().failures} == {"h1", "h2", "h3", "h4"}  # type: ignore[union-attr]


def test_recorded_timelines_are_read_again_when_they_change(home: Home) -> None:
    """The lab appends while the page is open; a line of another version is left out."""
    made = collector(home, FakeClock(NOW), Flink())
    path = home.run / "timelines.jsonl"
    one = msgspec.json.encode(Timeline(case="cut", host="h1", fault_ms=NOW - 5000, verdict_ms=NOW - 3700))
    path.write_bytes(one + b"\nnonsense\n")
    assert [each.what for each in made.collect().failures] == ["cut"]  # type: ignore[union-attr]
    two = msgspec.json.encode(Timeline(case="frozen", host="h2", fault_ms=NOW - 1000))
    path.write_bytes(one + b"\n" + two + b"\n")
    assert [each.what for each in made.collect().failures] == ["frozen", "cut"]  # type: ignore[union-attr]
    path.unlink()
    assert made.collect().failures == []  # type: ignore[union-attr]
