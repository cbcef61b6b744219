"""Rings, samplers, cells and the board: bounded, isolated, right."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from headrace.console.board import JOIN_BOUNDS_MS, Known, Minute, build_board, join_quantile, quality_series
from headrace.console.cells import CellBook, CellRow
from headrace.console.live_model import Selection, Series, Steer
from headrace.console.ring import NAMES_MAX, Ring
from headrace.console.sampler import Sampler
from headrace.core.errors import Unavailable
from headrace.testing.fakes import FakeClock

NOW = 1_800_000_000_000


class FakeCollector:
    """A source that does what the test says."""

    name = "fake"

    def __init__(self, act: Callable[[], int]) -> None:
        self.act = act
        self.calls = 0
        self.closed = 0

    def collect(self) -> int:
        """One answer."""
        self.calls += 1
        return self.act()

    def close(self) -> None:
        """Count."""
        self.closed += 1


def test_ring_keeps_the_newest_points_only() -> None:
    """However much is written, a ring holds no more than its limit, and drops the oldest first."""
    ring = Ring(3)
    for at in (5, 1, 4, 2, 3):
        ring.put(at, {"a": float(at)})
    assert ring.series() == Series([3, 4, 5], {"a": [3.0, 4.0, 5.0]})
    assert ring.series(since_ms=5).at_ms == [5]


def test_ring_takes_corrections_and_shows_gaps() -> None:
    """Writing a time again replaces its values; a name without a value at a time reads None there."""
    ring = Ring(10)
    ring.put(1, {"a": 1.0})
    ring.put(2, {"b": 2.0})
    ring.put(1, {"a": 9.0})
    assert ring.series().values == {"a": [9.0, None], "b": [None, 2.0]}


def test_ring_bounds_its_names() -> None:
    """An endless supply of new names does not grow a ring."""
    ring = Ring(2)
    for i in range(NAMES_MAX + 50):
        ring.put(i, {f"n{i}": 1.0})
    assert len(ring.series().values) == NAMES_MAX


def test_failing_source_keeps_its_last_value_and_says_since_when() -> None:
    """A source that fails is unreachable since its first failure, its last good value stays, and its connection is closed."""
    clock = FakeClock(NOW)
    answers: list[int | Exception] = [7, Unavailable("broker does not answer"), ValueError("odd\ntrace"), 8]

    def act() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    collector = FakeCollector(act)

    async def story() -> None:
        sampler = Sampler(collector, clock=clock)
        with ThreadPoolExecutor(1) as pool:
            assert sampler.reach.state == "waiting"
            await sampler.sample(pool)
            assert (sampler.value, sampler.reach.state) == (7, "ok")
            clock.advance(1)
            await sampler.sample(pool)
            clock.advance(5)
            await sampler.sample(pool)
            assert sampler.value == 7
            assert (sampler.reach.state, sampler.reach.since_ms, sampler.reach.last_ok_ms) == (
                "unreachable",
                NOW + 1000,
                NOW,
            )
            assert sampler.reach.error == "ValueError: odd"
            assert collector.closed == 2
            await sampler.sample(pool)
            assert (sampler.value, sampler.reach.state, sampler.reach.error) == (8, "ok", "")

    asyncio.run(story())


def test_hanging_source_costs_one_thread() -> None:
    """A call that hangs is reported after the time-out, and no second call starts until it has ended."""
    release = threading.Event()
    collector = FakeCollector(lambda: int(release.wait(30)))

    async def story() -> None:
        sampler = Sampler(collector, clock=FakeClock(NOW), timeout_s=0.05)
        with ThreadPoolExecutor(4) as pool:
            for _ in range(3):
                await sampler.sample(pool)
            assert sampler.reach.state == "unreachable"
            assert "no answer within" in sampler.reach.error
            assert collector.calls == 1
            release.set()
            sampler._timeout_s = 10
            await sampler.sample(pool)
            assert (sampler.value, collector.calls) == (1, 1)

    asyncio.run(story())


def row(age_s: int, cdn: str, sessions: int, stalled: int = 0, *, region: str = "north", seeking: int = 0) -> CellRow:
    """A cell row `age_s` seconds old."""
    return CellRow(NOW - age_s * 1000, region, "telecom", cdn, sessions, stalled, seeking, 0, 300)


def book_of(*rows: CellRow) -> CellBook:
    """A book with rows."""
    book = CellBook(history_s=600)
    for one in rows:
        book.add(one, now_ms=NOW)
    return book


def test_cell_book_refuses_what_does_not_belong() -> None:
    """Rows too old, from the future or without a CDN are refused and counted; a correction replaces its second."""
    book = book_of(row(1, "A", 10), row(1, "A", 12), row(601, "A", 1), row(-60, "A", 1), row(1, "none", 5))
    assert book.refused == 3
    assert [cell.sessions for cells in book.seconds.values() for cell in cells.values()] == [12]
    book.trim(now_ms=NOW + 700_000)
    assert book.seconds == {}


def test_cell_book_is_bounded_in_cells() -> None:
    """More cells than the limit are refused, known ones still taken."""
    book = CellBook(history_s=600)
    taken = [book.add(row(1, f"c{i}", 1), now_ms=NOW) for i in range(600)]
    assert sum(taken) == 512
    assert book.add(row(2, "c0", 1), now_ms=NOW)


def test_waiting_sessions_never_exceed_those_heard_of() -> None:
    """Rebuffering and jumping to the live edge count as waiting, at most all sessions."""
    cell = book_of(row(1, "A", 10, 7, seeking=6)).seconds[NOW - 1000]["north", "telecom", "A"]
    assert cell.waiting == 10


def test_board_is_the_mean_of_three_full_seconds() -> None:
    """The newest second is still filling and is left out; sessions are a mean, stall share a ratio of sums."""
    book = book_of(
        row(0, "A", 1, 1), row(1, "A", 100, 10), row(2, "A", 110, 0), row(3, "A", 90, 5), row(4, "A", 1000, 1000), row(1, "B", 30), row(2, "B", 30), row(3, "B", 30)
    )  # fmt: skip
    board = build_board(Known(book=book), Selection(), now_ms=NOW)
    a, b = board.cdns
    assert (a.cdn, a.sessions, a.stall_share) == ("A", 100, 15 / 300)
    assert (b.sessions, b.stall_share, b.weight) == (30, 0.0, None)
    assert (board.sessions, board.stall_share, board.cell_at_ms) == (130, 15 / 390, NOW)


def test_board_follows_the_selection() -> None:
    """A selected region leaves out all other cells, steering keys and decisions, but not the choices."""
    book = book_of(row(0, "A", 1), row(1, "A", 40), row(1, "A", 60, region="south"), row(0, "A", 1, region="south"))
    steers = [
        Steer(region="north", isp="telecom", weights={"A": 1.0}),
        Steer(region="south", isp="telecom", weights={"A": 0.5, "B": 0.5}),
    ]
    board = build_board(Known(book=book, steers=steers), Selection(region="south"), now_ms=NOW)
    assert board.regions == ["north", "south"]
    assert [(c.cdn, c.sessions, c.weight) for c in board.cdns] == [("A", 60, 0.5), ("B", 0, 0.5)]
    assert [s.region for s in board.steers] == ["south"]


def test_board_without_any_source_is_empty_not_wrong() -> None:
    """With every store dead the board has no figures; nothing is shown as zero."""
    board = build_board(Known(), Selection(), now_ms=NOW)
    assert (board.cdns, board.sessions, board.stall_share, board.cell_at_ms) == ([], None, None, None)
    alone = build_board(Known(steers=[Steer(region="n", isp="t", weights={"A": 1.0})]), Selection(), now_ms=NOW).cdns[0]
    assert (alone.sessions, alone.stall_share, alone.weight) == (None, None, 1.0)


def minute(**changes: object) -> Minute:
    """A row of qoe_1m."""
    values: dict[str, object] = {
        "window_start_ms": NOW,
        "region": "north",
        "isp": "telecom",
        "cdn": "A",
        "cid": "room-1",
        **changes,
    }
    return Minute(**values)  # type: ignore[arg-type]


def test_minutes_add_up_as_ratios_of_sums() -> None:
    """Bitrate, rebuffer ratio and completeness of several rows are ratios of sums; a room narrows them."""
    rows = [
        minute(
            play_ms=9000, stall_ms=1000, br_ms=3000 * 9000, br_weight_ms=9000, beacons_received=9, beacons_expected=10
        ),
        minute(
            cid="room-2",
            play_ms=1000,
            stall_ms=0,
            br_ms=1000 * 1000,
            br_weight_ms=1000,
            beacons_received=10,
            beacons_expected=10,
        ),
    ]
    both = build_board(Known(minutes=rows), Selection(), now_ms=NOW).cdns[0]
    assert (both.rebuffer_ratio, both.bitrate_kbps, both.completeness) == (1000 / 11000, 2800.0, 0.95)
    one = build_board(Known(minutes=rows), Selection(room="room-2"), now_ms=NOW).cdns[0]
    assert (one.rebuffer_ratio, one.bitrate_kbps) == (0.0, 1000.0)


@pytest.mark.parametrize(("q", "expected"), [(0.5, 500.0), (0.25, 250.0), (0.99, 10000.0), (0.75, 1000.0)])
def test_join_quantiles_come_from_the_histogram(q: float, expected: float) -> None:
    """A quantile is linear within its bucket, and never beyond the last bound."""
    counts = dict(zip(JOIN_BOUNDS_MS, (25, 50, 50, 75, 75, 75, 75, 75, 75), strict=True))
    assert join_quantile([minute(joins=100, join_le=tuple(counts.values()))], q) == pytest.approx(expected)


def test_join_quantile_of_nothing_is_unknown() -> None:
    """No join, no figure."""
    assert join_quantile([minute()], 0.5) is None


def test_quality_series_joins_cells_and_weights_by_second() -> None:
    """Each second has sessions, stall share and the mean weight over cells by their sessions; the newest is left out."""
    book = book_of(row(2, "A", 30, 3), row(2, "A", 10, region="south"), row(1, "A", 5), row(1, "B", 5))
    weights = Series(
        [NOW - 2000, NOW - 1000], {"weight:north|telecom|A": [1.0, 0.5], "weight:south|telecom|A": [0.0, None]}
    )
    series = quality_series(book, Selection(), weights, since_ms=0)
    assert series.at_ms == [NOW - 2000, NOW - 1000]
    assert series.values["sessions:A"] == [40, None]
    assert series.values["stall_share:A"] == [3 / 40, None]
    assert series.values["weight:A"] == [0.75, 0.5]


def test_weights_are_carried_over_seconds_that_were_not_sampled() -> None:
    """A second without a sample has the weights of the last one, but not for longer than five seconds."""
    book = book_of(*(row(age_s, "A", 1) for age_s in range(10)))
    weights = Series([NOW - 9000], {"weight:north|telecom|A": [0.5]})
    carried = quality_series(book, Selection(), weights, since_ms=0).values["weight:A"]
    assert carried == [0.5] * 6 + [None] * 3
