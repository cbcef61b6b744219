"""Which streamed rows are final, and how differences are told."""

from __future__ import annotations

import pytest

from headrace.cli.demo.compare import RULES, compare, session_final

MINUTE = 60_000
SESSIONS = next(rule for rule in RULES if rule.name == "play_session")


@pytest.mark.parametrize(
    ("last_ms", "until_ms", "final"),
    [
        (30_000, MINUTE, False),  # its minute is not summed up yet
        (30_000, MINUTE + 1, True),
        # A beat may have come 15 s later, in the next minute, and would show only when that is summed up.
        (55_000, MINUTE + 25_000, False),
        (55_000, 2 * MINUTE, False),
        (55_000, 2 * MINUTE + 1, True),
    ],
)
def test_a_session_is_final_when_its_next_beat_would_show(last_ms: int, until_ms: int, final: bool) -> None:
    """A session that goes on must not be taken for one that ended."""
    assert session_final(last_ms, until_ms) is final


def test_rows_that_are_not_final_on_one_side_count_on_neither() -> None:
    """A running session (stream) with later beats (recount) is left out; a lost row of an ended one is a difference."""
    stale = {"sid": "a", "session_ms": 0, "last_ms": 50_000}
    ended = {"sid": "b", "session_ms": 0, "last_ms": 10_000}
    recount = [{**stale, "last_ms": 70_000}, ended]
    assert compare(SESSIONS, [stale, ended], recount, until_ms=100_000).different == 0
    lost = compare(SESSIONS, [stale], recount, until_ms=100_000)
    assert (lost.rows, lost.different) == (1, 1)
    assert "'sid': 'b'" in lost.example


def test_rows_of_an_earlier_run_are_left_out() -> None:
    """On both sides: the stream may have forgotten its open sessions, which the recount joins."""
    old, new = (
        {"sid": "a", "session_ms": 0, "last_ms": 1000},
        {"sid": "b", "session_ms": MINUTE, "last_ms": MINUTE + 10},
    )
    split = [{**old, "last_ms": 500}, {"sid": "a", "session_ms": 700, "last_ms": 1000}, new]
    assert compare(SESSIONS, split, [old, new], until_ms=4 * MINUTE).different == 2
    found = compare(SESSIONS, split, [old, new], until_ms=4 * MINUTE, since_ms=MINUTE)
    assert (found.rows, found.different) == (1, 0)
    assert compare(SESSIONS, split[:2], [old, new], until_ms=4 * MINUTE, since_ms=MINUTE).different == 1
