"""When the demo takes an earlier run's fault for over: weights that an earlier run has moved, and weights that stand still."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from headrace.cli.demo.observe import STILL_S, WeightWatch, movement
from headrace.core.errors import Unavailable
from headrace.serve.olap_client import OlapClient
from headrace.testing.fakes import FakeClock

EVEN, AWAY = {"A": 0.5, "B": 0.5}, {"A": 0.1, "B": 0.9}


class Decisions:
    """A decision log of one cell: its first weights and its newest."""

    def __init__(self, first: Mapping[str, float], newest: Mapping[str, float]) -> None:
        self.first, self.newest, self.down = first, newest, False

    def query(self, sql: str, *, params: Mapping[str, object]) -> list[dict[str, Any]]:
        """What the store would answer."""
        if self.down:
            raise Unavailable("no answer")
        row = {"region": "R", "isp": "I", "newest": json.dumps(self.newest)}
        return [row | {"first": json.dumps(self.first)}] if "argMin" in sql else [row]


def watch(log: Decisions, clock: FakeClock) -> WeightWatch:
    """A watch over a log that needs no store."""
    return WeightWatch(cast(OlapClient, log), clock)


def test_movement_is_the_most_that_one_weight_differs_by() -> None:
    """A CDN that is new or gone counts as one without weight."""
    assert movement(EVEN, AWAY) == 0.4
    assert movement({}, EVEN) == 0.5
    assert movement({}, {}) == 0


def test_weights_are_away_when_they_are_not_as_they_began() -> None:
    """And not where nothing was decided yet, or nobody answers: the first run waits for nothing."""
    clock = FakeClock()
    assert watch(Decisions(EVEN, AWAY), clock).are_away()
    assert not watch(Decisions(EVEN, EVEN), clock).are_away()
    silent = Decisions(EVEN, AWAY)
    silent.down = True
    assert not watch(silent, clock).are_away()


def test_weights_stand_still_when_none_has_moved_for_a_while() -> None:
    """Each step of giving back begins the while anew, and so does the moment since when decisions count."""
    clock = FakeClock()
    log = Decisions(EVEN, AWAY)
    watched = watch(log, clock)
    since_ms = clock.now_ms()
    assert not watched.stand_still(since_ms=since_ms)
    clock.advance(STILL_S - 1)
    log.newest = {"A": 0.2, "B": 0.8}
    assert not watched.stand_still(since_ms=since_ms)
    clock.advance(STILL_S - 1)
    assert not watched.stand_still(since_ms=since_ms)
    clock.advance(1)
    assert watched.stand_still(since_ms=since_ms)
    assert not watched.stand_still(since_ms=clock.now_ms())


def test_no_answer_is_not_calm() -> None:
    """A log that cannot be read tells nothing."""
    clock = FakeClock()
    log = Decisions(EVEN, EVEN)
    log.down = True
    watched = watch(log, clock)
    clock.advance(10 * STILL_S)
    assert not watched.stand_still(since_ms=0)
