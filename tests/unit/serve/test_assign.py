"""Assignment of sessions to CDNs by stable hash."""

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.serve.assign import assign, draw, hash_unit, jitter_ttl, priority

SIDS = [f"session-{number}" for number in range(1_500)]
TOLERANCE = 0.055  # four standard deviations of a share of 1,500 sessions


def _weights(parts: list[int]) -> dict[str, float]:
    return {name: part / sum(parts) for name, part in zip("ABCDEF", parts, strict=False)}


def _moved(before: dict[str, float], after: dict[str, float]) -> list[tuple[str, str]]:
    pairs = [(assign(sid, before), assign(sid, after)) for sid in SIDS]
    return [pair for pair in pairs if pair[0] != pair[1]]


parts = st.lists(st.integers(0, 100), min_size=2, max_size=5).filter(lambda many: sum(many) > 0)


@given(parts)
@settings(max_examples=15, deadline=None)
def test_shares_are_the_weights(many: list[int]) -> None:
    """Each CDN wins a share of sessions equal to its weight; one of weight 0 wins none."""
    weights = _weights(many)
    won = [assign(sid, weights) for sid in SIDS]
    for name, weight in weights.items():
        assert abs(won.count(name) / len(SIDS) - weight) <= TOLERANCE
        assert weight > 0 or name not in won


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
@settings(max_examples=15, deadline=None)
def test_with_two_cdns_exactly_the_moved_share_moves(before: float, after: float) -> None:
    """Two CDNs: sessions move only from the one that loses to the one that gains, and as many as the weights say."""
    moved = _moved({"A": before, "B": 1 - before}, {"A": after, "B": 1 - after})
    assert abs(len(moved) / len(SIDS) - abs(after - before)) <= TOLERANCE
    assert len(set(moved)) <= 1
    assert not moved or moved[0] == (("A", "B") if after < before else ("B", "A"))


@given(parts, st.integers(0, 4))
@settings(max_examples=15, deadline=None)
def test_a_cdn_that_is_left_costs_nobody_else_a_switch(many: list[int], index: int) -> None:
    """One CDN goes to 0 and the others share its part in proportion: only its own sessions move."""
    left = index % len(many)
    rest = [0 if number == left else part for number, part in enumerate(many)]
    if sum(rest) > 0:
        assert {source for source, _ in _moved(_weights(many), _weights(rest))} <= {"ABCDEF"[left]}


@given(parts, parts)
@settings(max_examples=15, deadline=None)
def test_any_change_moves_at_most_the_stateless_optimum(first: list[int], second: list[int]) -> None:
    """Between any two weight vectors at most 2d / (1 + d) of sessions move."""
    size = min(len(first), len(second))
    if sum(first[:size]) and sum(second[:size]):
        before, after = _weights(first[:size]), _weights(second[:size])
        distance = sum(abs(before[name] - after[name]) for name in before) / 2
        assert len(_moved(before, after)) / len(SIDS) <= 2 * distance / (1 + distance) + TOLERANCE


@given(st.text(max_size=50))
def test_any_text_is_a_session(sid: str) -> None:
    """Every CDN is listed once, whatever the id; the same id gives the same order."""
    weights = {"A": 0.3, "B": 0.0, "C": 0.7}
    order = priority(sid, weights)
    assert sorted(order) == ["A", "B", "C"]
    assert order[-1] == "B"
    assert priority(sid, weights) == order


def test_the_hash_is_the_same_for_ever() -> None:
    """The value is part of the interface: a new version of the code must not move every session."""
    assert round(hash_unit("session-1"), 12) == 0.680812667317
    assert round(draw("session-1", "A"), 12) == 0.281748324687
    assert [assign(sid, {"A": 0.5, "B": 0.5}) for sid in SIDS[:8]] == ["A", "A", "A", "A", "A", "A", "B", "A"]


def test_ttl_is_spread_by_a_fifth_and_fixed_per_session() -> None:
    """TTLs of 10 s lie between 8 and 12, use that range, and do not change from poll to poll."""
    ttls = [jitter_ttl(sid, 10) for sid in SIDS]
    assert (min(ttls), max(ttls)) == (8, 12)
    assert ttls == [jitter_ttl(sid, 10) for sid in SIDS]
    assert jitter_ttl("x", 0.2) == 1
