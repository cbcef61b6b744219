"""Rows to facts: the window, the sample size, borrowed evidence."""

import math

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.flows.cdn_worlds import CDNS, CELL, NOW_MS, RULES

from headrace.flows.cdn.evidence import Evaluation, Lent, Sample, combine, wilson
from headrace.flows.cdn.model import CellFacts, CellKey, CellRow
from headrace.flows.cdn.window import CELLS_MAX, Window

EAST = CellKey("east", "telecom")


def _row(cdn: str, sessions: int, stalled: int, *, at_s: int = 0, cell: CellKey = CELL, **more: int) -> CellRow:
    return CellRow(
        sec_ms=NOW_MS + at_s * 1_000,
        region=cell.region,
        isp=cell.isp,
        cdn=cdn,
        sessions=sessions,
        stalled=stalled,
        **more,
    )


def _facts(*rows: CellRow, cell: CellKey = CELL, settling: frozenset[tuple[CellKey, str]] = frozenset()) -> CellFacts:
    window = Window(span_s=15)
    window.extend(rows, now_ms=NOW_MS + 60_000)
    evaluation = Evaluation(window.snapshot(), newest_ms=window.newest_ms, settling=settling, rules=RULES)
    return evaluation.facts(cell, CDNS)


def test_two_of_two_in_trouble_are_enough_alone() -> None:
    """A lab without neighbours: both players of A in trouble is a hard fault, one of two is not."""
    assert _facts(_row("A", 2, 2)).cdns[0].short.lower > RULES.hard_share
    assert _facts(_row("A", 2, 1)).cdns[0].short.lower < RULES.hard_share


def test_players_that_fall_silent_count_as_different_ones() -> None:
    """Four sessions, then one bad voice a second: after three seconds that is three sessions, not one."""
    silent = [_row("A", 4, 0)] + [_row("A", 1, 1, at_s=second) for second in (1, 2)]
    assert _facts(*silent).cdns[0].short.lower > RULES.hard_share


def test_a_small_cell_borrows_and_a_large_one_does_not() -> None:
    """Neighbours without trouble hold a cell of two back; a cell of 500 believes itself."""
    calm = [_row("A", 300, 3, cell=EAST), _row("A", 300, 3, cell=CellKey("south", "mobile"))]
    assert _facts(_row("A", 2, 2), *calm).cdns[0].short.lower < RULES.hard_share
    assert _facts(_row("A", 500, 400), *calm).cdns[0].short.lower > 0.7


def test_an_unseen_cdn_inherits_what_others_saw() -> None:
    """No own session on A, but A fails everywhere else: that counts; unseen everywhere: nothing is known."""
    facts = _facts(_row("A", 100, 90, cell=EAST), _row("B", 5, 0))
    assert facts.cdns[0].short.n > 0
    assert facts.cdns[0].short.share > 0.8
    assert _facts(_row("B", 5, 0)).cdns[0].short.n == 0


def test_one_sick_cell_does_not_condemn_a_cdn_everywhere() -> None:
    """Of five lending cells the largest is sick: a healthy cell of four does not see a fault."""
    others = [_row("A", 5_000, 4_500, cell=EAST)]
    others += [_row("A", 50, 0, cell=CellKey("south", f"isp{number}")) for number in range(4)]
    assert _facts(_row("A", 4, 0), *others).cdns[0].short.share < 0.15


def test_brought_stalls_do_not_count_while_settling() -> None:
    """Sessions that came from a failed CDN still stall for a moment: that is not the new CDN's fault, a new one is."""
    settling = frozenset({(CELL, "B")})
    assert _facts(_row("B", 10, 8), settling=settling).cdns[1].short.share < 0.01
    assert _facts(_row("B", 10, 8, inflight=8), settling=settling).cdns[1].short.lower > RULES.hard_share


def test_later_rows_replace_earlier_ones_in_any_order() -> None:
    """Upserts: the last word on a second counts; seconds may arrive late and out of order."""
    facts = _facts(_row("A", 10, 10, at_s=1), _row("A", 10, 0, at_s=0), _row("A", 10, 0, at_s=1))
    assert facts.cdns[0].bad == 0
    assert facts.newest_ms == NOW_MS + 1_000


def test_the_window_is_bounded_and_refuses_what_it_should() -> None:
    """Too old, from the future, without a CDN: refused and counted; old seconds fall out; cells are limited."""
    window = Window(span_s=15)
    assert window.add(_row("A", 1, 0, at_s=100), now_ms=NOW_MS + 100_000)
    assert not window.add(_row("A", 1, 0, at_s=85), now_ms=NOW_MS + 100_000)
    assert not window.add(_row("A", 1, 0, at_s=106), now_ms=NOW_MS + 100_000)
    assert not window.add(CellRow(sec_ms=NOW_MS + 100_000), now_ms=NOW_MS + 100_000)
    assert window.refused == 3
    assert window.add(_row("B", 1, 0, at_s=120), now_ms=NOW_MS + 120_000)
    assert set(window.snapshot()) == {(CELL, "B")}
    for number in range(CELLS_MAX + 10):
        window.add(_row("A", 1, 0, at_s=120, cell=CellKey("r", str(number))), now_ms=NOW_MS + 120_000)
    assert len(window.snapshot()) == CELLS_MAX


def test_nulls_and_nonsense_in_counters_are_cleaned() -> None:
    """Null counts as 0, negative as 0, a part never exceeds the whole."""
    facts = _facts(CellRow(sec_ms=NOW_MS, region="north", isp="unicom", cdn="A", sessions=4, stalled=-3, inflight=99))
    assert facts.cdns[0].bad == 4
    assert _facts(CellRow(sec_ms=NOW_MS, region="north", isp="unicom", cdn="A")).cdns[0].short.n == 0


@given(st.floats(0, 1), st.floats(0, 1e6), st.floats(0.1, 5))
def test_bounds_enclose_the_share(share: float, n: float, z: float) -> None:
    """0 <= lower <= share <= upper <= 1, and never NaN."""
    lower, upper = wilson(share, n, z=z)
    assert -1e-9 <= lower <= share + 1e-9
    assert share - 1e-9 <= upper <= 1 + 1e-9


@given(st.floats(0, 1), st.floats(0, 1e5), st.floats(0, 500), st.floats(0, 1))
def test_combined_evidence_is_finite(share: float, n: float, lent: float, bad: float) -> None:
    """Any own and lent evidence gives a share between 0 and 1."""
    found = combine(Sample(share, n, n, n * share), Lent(lent, lent * bad), RULES)
    assert all(math.isfinite(value) for value in (found.share, found.lower, found.upper, found.n))
    assert 0 <= found.share <= 1
