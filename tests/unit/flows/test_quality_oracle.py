"""The recount of live quality: definitions by hand-worked sessions, indifference to delivery, real stopwatches."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.unit.flows.quality_worlds import START_MS, delivered, invented, recorded

from headrace.flows.quality.oracle import JOIN_BOUNDS_MS, Recount, Row, Session, recount

MINUTE_MS = START_MS - START_MS % 60_000


def session_of(states: str, *, step_ms: int = 1000, e: str = "ps", **fields: object) -> list[Row]:
    """One beat per letter, `step_ms` apart; `.` is silence."""
    beat = Row(sid="s", ts_ms=0, recv_ms=0, e=e, cid="r", region="n", isp="x", cdn="A")
    return [
        replace(beat, ts_ms=START_MS + i * step_ms, recv_ms=START_MS + i * step_ms + 5, sn=i, sta=state, **fields)
        for i, state in enumerate(states)
        if state != "."
    ]


def only(rows: list[Row]) -> Session:
    """The one session of these rows."""
    (session,) = recount(rows).sessions
    return session


@pytest.mark.parametrize(
    ("states", "stall_ms", "stalls"),
    [
        ("sppprrrp", 3000, 1),
        ("spprkkkp", 4000, 1),  # the player jumps to the live edge: still stalled
        ("spprkrkp", 4000, 1),
        ("spppkkkp", 0, 0),  # a viewer's seek
        ("spprakkp", 1000, 1),  # paused in between: the seek is the viewer's
        ("spprpkkp", 1000, 1),  # played in between
        ("srrrkkp", 0, 0),  # before the first frame nothing stalls
        ("sprprprp", 3000, 3),
    ],
)
def test_stalls_are_counted_as_defined(states: str, stall_ms: int, stalls: int) -> None:
    """R after the first play, and k that follows r with no p or a between; a stall begins from p to r."""
    session = only(session_of(states))
    assert (session.stall_ms, session.stalls) == (stall_ms, stalls)


@pytest.mark.parametrize(
    ("states", "outcome", "exit_after_ms"),
    [
        ("dsp", "play", None),
        ("sf", "vsf", None),
        ("sq", "ebvs", 1000),
        ("sss", "ebvs", 2000),
        ("ppr", "resumed", None),
        ("spf", "play", None),
    ],
)
def test_each_attempt_has_one_outcome(states: str, outcome: str, exit_after_ms: int | None) -> None:
    """A first frame makes a play, else a fatal error a failure, else quitting or silence an exit; without a start there is no attempt."""
    session = only(session_of(states))
    exit_ms = None if exit_after_ms is None else START_MS + exit_after_ms
    assert (session.outcome, session.exit_ms) == (outcome, exit_ms)


def test_join_time_starts_with_preloading_just_before_the_start() -> None:
    """D within a second before s belongs to the start; earlier preloading does not; a play without start has no join time."""
    assert only(session_of("dssp", step_ms=400)).join_ms == 1200
    assert only(session_of("d..ssp", step_ms=400)).join_ms == 800
    assert only(session_of("ppp")).join_ms is None


def test_three_empty_slots_of_silence_end_a_session() -> None:
    """After the silence the same id starts a session of its own, with nothing remembered: r is no stall before its own first play."""
    parts = recount(session_of("spp" + "." * 25 + "rrp")).sessions
    assert [(part.outcome, part.stall_ms, part.session_ms) for part in parts] == [
        ("play", 0, START_MS),
        ("resumed", 0, START_MS + 28_000),
    ]


def test_intervals_are_shared_between_minutes() -> None:
    """Playing across the border of a minute counts in each minute for its part; the sum is the session's."""
    rows = session_of("sppppppppppppp", step_ms=5000)
    counted = recount(rows)
    keys = [(MINUTE_MS, "n", "x", "A", "r"), (MINUTE_MS + 60_000, "n", "x", "A", "r")]
    assert [counted.minutes[key].play_ms for key in keys] == [35_000, 25_000]
    assert [len(counted.minutes[key].sessions) for key in keys] == [1, 1]
    assert counted.sessions[0].play_ms == 60_000


def test_completeness_sees_a_gap_and_not_a_repetition() -> None:
    """Received are distinct sequence numbers, expected their span."""
    rows = session_of("sppppp")
    del rows[2]
    (minute,) = recount([*rows, *rows]).minutes.values()
    assert (minute.beacons_received, minute.beacons_expected) == (5, 6)


def test_late_rows_count_in_cells_and_nowhere_else() -> None:
    """More than 5 s late: not in intervals, sessions or minutes; in cell_1s and in the list of late rows."""
    rows = session_of("spp")
    late = replace(rows[2], recv_ms=rows[2].ts_ms + 5001)
    clean, counted = recount(rows[:2]), recount([*rows[:2], late])
    assert (counted.intervals, counted.sessions, counted.minutes) == (clean.intervals, clean.sessions, clean.minutes)
    assert counted.late == [late]
    assert len(counted.cells) == len(clean.cells) + 1


def test_a_cell_counts_sessions_once() -> None:
    """Two beats of a session in a second are one session; an in-flight report gives its age, an old one without age the least it can be."""
    rows = (
        session_of("pp", step_ms=100)
        + session_of("p", e="ce", cen="slow")
        + session_of("p", e="ce", cen="inflight", age_ms=1900)
    )
    (cell,) = recount(rows).cells.values()
    assert (len(cell.sessions), len(cell.playing), len(cell.inflight), cell.inflight_age_ms_max) == (1, 1, 1, 1900)


def assert_books_balance(counted: Recount) -> None:
    """What must hold whatever players do."""
    attempts = [session for session in counted.sessions if session.s_ms is not None]
    by_outcome = {name: sum(session.outcome == name for session in attempts) for name in ("play", "vsf", "ebvs")}
    assert len(attempts) == sum(by_outcome.values())
    minutes = list(counted.minutes.values())
    assert sum(minute.attempts for minute in minutes) == len(attempts)
    assert sum(minute.plays for minute in minutes) == by_outcome["play"]
    assert sum(minute.start_failures for minute in minutes) == by_outcome["vsf"]
    assert sum(minute.exits_before_start for minute in minutes) == by_outcome["ebvs"]
    for name in ("play_ms", "stall_ms", "stalls", "errors", "br_ms"):
        assert sum(getattr(minute, name) for minute in minutes) == sum(
            getattr(session, name) for session in counted.sessions
        )
    for minute in minutes:
        assert minute.beacons_received <= minute.beacons_expected
        assert [*sorted(minute.join_le), minute.joins] == [*minute.join_le, max(minute.joins, *minute.join_le)]
        assert len(minute.join_le) == len(JOIN_BOUNDS_MS)
    assert all(0 < part.to_ms - part.from_ms < 20_000 for part in counted.intervals)


@settings(max_examples=60, deadline=None)
@given(st.integers(min_value=0, max_value=2**32))
def test_order_and_repetition_change_nothing(seed: int) -> None:
    """The same rows shuffled and partly repeated give the same tables, and the books balance."""
    random = Random(seed)
    rows = invented(random, sessions=6)
    counted = recount(rows)
    again = [*rows, *random.sample(rows, len(rows) // 10)]
    random.shuffle(again)
    assert recount(again) == counted
    assert_books_balance(counted)


@settings(max_examples=30, deadline=None)
@given(st.integers(min_value=0, max_value=2**32))
def test_delay_within_the_watermark_changes_only_what_tells_of_receiving(seed: int) -> None:
    """Delivered late but in time, twice and out of order: intervals, sessions and minutes stay the same."""
    random = Random(seed)
    rows = [replace(row, recv_ms=row.event_ms + 10) for row in invented(random, sessions=6)]
    clean, disturbed = recount(rows), recount(delivered(rows, random))
    assert (disturbed.intervals, disturbed.sessions, disturbed.minutes) == (
        clean.intervals,
        clean.sessions,
        clean.minutes,
    )


def test_real_sessions_agree_with_their_pages_stopwatch() -> None:
    """Stall and join time of every recorded session within 100 ms of what the page measured, up to the last beat."""
    rows, watches = recorded()
    sessions = {session.sid: session for session in recount(rows).sessions}
    assert sessions.keys() == watches.keys()
    for sid, session in sessions.items():
        watch = watches[sid]
        assert (session.join_ms is None) == (watch.join_ms is None), sid
        if session.join_ms is not None and watch.join_ms is not None:
            assert abs(session.join_ms - watch.join_ms) <= 100, sid
        assert abs(session.stall_ms - watch.stalled_ms(session.last_ms)) <= 100, sid
