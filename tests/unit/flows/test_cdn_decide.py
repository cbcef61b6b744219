"""One decision of one cell: what it may do, what it must never do, and that it can be repeated from its log."""

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.flows.cdn_worlds import (
    CELL,
    NO_EVIDENCE,
    NOW_MS,
    RULES,
    cdn_facts,
    cell_facts,
    even,
    inputs,
    seen,
    with_state,
)

from headrace.flows.cdn.decide import decide, replay
from headrace.flows.cdn.model import CdnState, CellFacts, CellState, Evidence, Inputs, decode_inputs, encode_inputs
from headrace.flows.cdn.scheduler import decide_all

GOOD, BAD, MILD = seen(0.01), seen(0.8), seen(0.12)


def test_a_new_cell_starts_by_capacity() -> None:
    """No state: equal capacities and prices are split evenly."""
    decision = decide(inputs(cell_facts({"A": NO_EVIDENCE, "B": NO_EVIDENCE}), None))
    assert decision.action == "init"
    assert decision.weights == {"A": 0.5, "B": 0.5}


def test_calm_changes_nothing() -> None:
    """Two good CDNs: keep, with a reason."""
    decision = decide(inputs(cell_facts({"A": GOOD, "B": GOOD}), even()))
    assert (decision.action, decision.moved) == ("keep", 0)
    assert decision.reason == "no CDN is significantly worse"
    assert decision.ttl_s == RULES.ttl_calm_s


def test_a_failed_cdn_is_left_at_once_to_its_floor() -> None:
    """Hard fault: everything above the floor moves in one decision, players poll faster, the log says what was seen."""
    decision = decide(inputs(cell_facts({"A": BAD, "B": GOOD}), even()))
    assert decision.action == "evacuate"
    assert decision.weights == {"A": 0.02, "B": 0.98}
    assert decision.ttl_s == RULES.ttl_incident_s
    assert "A failed: 80% of sessions in trouble" in decision.reason
    assert [one.verdict for one in decision.alternatives] == ["hard, suspect", "good"]


def test_a_tiny_cell_leaves_a_failed_cdn_entirely() -> None:
    """A floor of 2 % of four players gives no evidence, only a victim: it is dropped."""
    decision = decide(inputs(cell_facts({"A": BAD, "B": NO_EVIDENCE}, demand=4), even()))
    assert decision.weights == {"A": 0.0, "B": 1.0}


@pytest.mark.parametrize("age_s", [6.1, 60, 86_400])
def test_old_facts_move_nobody(age_s: float) -> None:
    """Whatever old rows say: hold, and the reason says why."""
    state = even(A=0.7, B=0.3)
    decision = decide(inputs(cell_facts({"A": BAD, "B": GOOD}, age_s=age_s), state))
    assert (decision.action, decision.weights) == ("hold", state.weights)
    assert "last weights kept" in decision.reason
    assert decision.state == state


def test_no_input_at_all_holds() -> None:
    """A scheduler that has seen nothing since its start keeps what it found."""
    facts = msgspec.structs.replace(cell_facts({"A": GOOD, "B": GOOD}), newest_ms=0)
    assert decide(inputs(facts, even(A=0.02, B=0.98))).reason.startswith("no input yet")


def test_equally_bad_cdns_move_nobody() -> None:
    """Both hard: keep, and say that nothing is better."""
    decision = decide(inputs(cell_facts({"A": BAD, "B": seen(0.7)}), even()))
    assert decision.moved == 0
    assert "no CDN is surely better" in decision.reason


def test_capacity_bounds_an_evacuation() -> None:
    """B has room for a tenth more: that tenth moves, the rest stays though A is bad."""
    facts = cell_facts({"A": BAD, "B": GOOD})
    limited = msgspec.structs.replace(facts, cdns=(facts.cdns[0], cdn_facts("B", GOOD, limit=0.6)))
    assert decide(inputs(limited, even())).weights == {"A": 0.4, "B": 0.6}


def test_a_degraded_cdn_is_shed_only_after_it_stayed_so() -> None:
    """Soft: first watched, then reduced to 60 %, and no second time before the players can have reacted."""
    facts = cell_facts({"A": MILD, "B": GOOD})
    watched = decide(inputs(facts, even()))
    assert watched.moved == 0
    later_ms = NOW_MS + 4_000
    facts = msgspec.structs.replace(facts, newest_ms=later_ms)
    shed = decide(inputs(facts, watched.state, now_ms=later_ms))
    assert (shed.action, shed.weights) == ("shed", {"A": 0.3, "B": 0.7})
    again = decide(inputs(facts, shed.state, now_ms=later_ms + 2_000))
    assert again.moved == 0


def test_a_suspect_cdn_waits_for_its_hold_and_returns_in_steps() -> None:
    """Before the hold ends nothing comes back; then at most `step`, and next time not before the period."""
    state = with_state(even(A=0.02, B=0.98), "A", ceiling=0.02, threshold=0.35, fails=1, hold_until_ms=NOW_MS + 10_000)
    facts = cell_facts({"A": GOOD, "B": GOOD})
    assert decide(inputs(facts, state)).moved == 0
    facts = msgspec.structs.replace(facts, newest_ms=NOW_MS + 11_000)
    step = decide(inputs(facts, state, now_ms=NOW_MS + 11_000))
    assert (step.action, step.weights) == ("step", {"A": 0.12, "B": 0.88})
    assert decide(inputs(facts, step.state, now_ms=NOW_MS + 12_000)).moved == 0


def test_a_cdn_that_is_well_again_gets_its_floor_in_the_same_decision() -> None:
    """C's ceiling no longer binds, so C is not suspect any more: its floor counts when A's share is given away."""
    state = with_state(even(A=1.0, B=0.0, C=0.0), "C", ceiling=0.0, threshold=0.1, hold_until_ms=NOW_MS - 100_000)
    facts = cell_facts({"A": GOOD, "B": GOOD, "C": GOOD})
    cdns = (cdn_facts("A", GOOD, limit=0.0), cdn_facts("B", GOOD), cdn_facts("C", GOOD, limit=0.03, price=2.0))
    decision = decide(inputs(msgspec.structs.replace(facts, cdns=cdns, demand=0.0), state))
    assert (decision.action, decision.weights) == ("shed", {"A": 0.0, "B": 0.98, "C": 0.02})


def test_repeated_faults_double_the_hold() -> None:
    """The third fault in a row holds four times as long as the first."""
    holds = []
    for fails in (0, 1, 2):
        state = with_state(even(), "A", fails=fails)
        holds.append(decide(inputs(cell_facts({"A": BAD, "B": GOOD}), state)).state.cdns["A"].hold_until_ms - NOW_MS)
    assert holds == [30_000, 60_000, 120_000]


def test_a_cdn_removed_from_the_table_loses_its_share_to_the_others() -> None:
    """The table names A and B, the state A, B and C: C's share goes to the others in proportion."""
    state = CellState.from_weights({"A": 0.3, "B": 0.3, "C": 0.4}, version=1, ttl_s=10)
    assert decide(inputs(cell_facts({"A": GOOD, "B": GOOD}), state)).weights == {"A": 0.5, "B": 0.5}


def test_a_cdn_added_to_the_table_is_raised_in_steps() -> None:
    """C is new: it gets a tenth at first, not a third at once."""
    decision = decide(inputs(cell_facts({"A": GOOD, "B": GOOD, "C": NO_EVIDENCE}), even()))
    assert decision.action == "step"
    assert abs(decision.weights["C"] - 0.1) < 0.001


def test_the_cheaper_cdn_is_filled_first() -> None:
    """A at half of B's price takes all but B's floor."""
    facts = cell_facts({"A": GOOD, "B": GOOD})
    priced = msgspec.structs.replace(facts, cdns=(facts.cdns[0], cdn_facts("B", GOOD, price=2.0)))
    assert decide(inputs(priced, None)).weights == {"A": 0.98, "B": 0.02}


def test_cells_that_flee_together_do_not_flood_the_next_cdn() -> None:
    """Ten cells of 150 sessions leave A at once; B carries 2,000, filled to 90 %: together they stay below."""
    facts, states = {}, {}
    for number in range(10):
        cell = msgspec.structs.replace(CELL, isp=f"isp{number}")
        facts[cell] = msgspec.structs.replace(cell_facts({"A": BAD, "B": GOOD}, demand=300), cell=cell)
        states[cell] = even()
    decided = decide_all(facts, states, now_ms=NOW_MS, rules=RULES)
    load = sum(300 * one.decision.weights["B"] for one in decided)
    assert 1_750 <= load <= 1_801


shares = st.floats(0, 1)
names = st.sampled_from(["AB", "ABC", "ABCDE"])


@st.composite
def evidences(draw: st.DrawFn) -> Evidence:
    """Any evidence: bounds around a share, any size, or none."""
    share = draw(shares)
    n = draw(st.sampled_from([0.0, 0.5, 2.0, 40.0, 1e6]))
    spread = draw(st.floats(0, 0.5))
    return Evidence(share, max(0.0, share - spread), min(1.0, share + spread), n)


@st.composite
def situations(draw: st.DrawFn) -> Inputs:
    """Any facts, any remembered state, fresh or stale, with any limits."""
    cdns = draw(names)
    found = tuple(
        cdn_facts(
            name,
            draw(evidences()),
            limit=draw(st.sampled_from([0.0, 0.03, 0.2, 0.6, 1.0])),
            price=draw(st.sampled_from([1.0, 1.0, 2.0])),
        )
        for name in cdns
    )
    age_ms = draw(st.sampled_from([0, 1_000, 5_999, 10_000]))
    demand = draw(st.sampled_from([0.0, 1.0, 4.0, 60.0, 1e5]))
    facts = CellFacts(cell=CELL, newest_ms=NOW_MS - age_ms, demand=demand, cdns=found)
    raw = [draw(st.integers(0, 100)) + (1 if index == 0 else 0) for index in range(len(cdns))]
    states = {
        name: CdnState(
            weight=part / sum(raw),
            ceiling=draw(st.sampled_from([0.0, 0.02, 0.3, 1.0])),
            threshold=draw(st.sampled_from([0.1, 1.0])),
            hold_until_ms=NOW_MS + draw(st.sampled_from([-100_000, -1, 5_000])),
            fails=draw(st.integers(0, 20)),
            failed_at_ms=NOW_MS - 50_000,
            soft_since_ms=draw(st.sampled_from([0, NOW_MS - 10_000])),
        )
        for name, part in zip(cdns, raw, strict=True)
    }
    state = CellState(cdns=states, version=1, next_step_ms=NOW_MS + draw(st.sampled_from([-1, 1_000])))
    return inputs(facts, draw(st.sampled_from([state, None])))


@given(situations())
@settings(max_examples=300, deadline=None)
def test_weights_are_always_a_distribution(situation: Inputs) -> None:
    """Whatever is known or remembered: finite, not negative, sum 1, one per CDN of the table, TTL positive, a reason."""
    decision = decide(situation)
    assert set(decision.weights) == {one.cdn for one in situation.facts.cdns}
    assert all(math.isfinite(weight) and 0 <= weight <= 1 for weight in decision.weights.values())
    assert abs(sum(decision.weights.values()) - 1) < 1e-9
    assert decision.ttl_s > 0
    assert decision.reason


@given(situations())
@settings(max_examples=300, deadline=None)
def test_only_faults_and_capacity_move_more_than_a_step(situation: Inputs) -> None:
    """A move that is neither evacuate nor shed nor the first of a cell is at most one step."""
    decision = decide(situation)
    if decision.action in ("keep", "hold", "step"):
        assert decision.moved <= situation.rules.step + 2e-4


@given(situations())
@settings(max_examples=300, deadline=None)
def test_floors_are_kept(situation: Inputs) -> None:
    """After a move no CDN is below its floor, unless capacity forbids, or it is suspect in a cell of few sessions."""
    decision = decide(situation)
    if decision.action not in ("evacuate", "shed", "init"):
        return
    for one in situation.facts.cdns:
        state = decision.state.cdns[one.cdn]
        excused = one.limit < 0.02 or state.ceiling < 0.02 or (state.suspect and situation.facts.demand * 0.02 < 1)
        assert excused or decision.weights[one.cdn] >= 0.02 - 1e-3


@given(situations())
@settings(max_examples=200, deadline=None)
def test_logged_inputs_give_the_same_decision_again(situation: Inputs) -> None:
    """Encode, decode, decide: equal in every field. The log explains because it can be replayed."""
    encoded = encode_inputs(situation)
    assert decode_inputs(encoded) == situation
    assert replay([encoded]) == [decide(situation)]
