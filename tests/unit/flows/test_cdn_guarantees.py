"""The table of guarantees of a scheduler (applications.md 1.4), each in a simulated audience that reacts to the weights."""

from tests.unit.flows.cdn_worlds import CELL, simulate

from headrace.flows.cdn.decide import HOLD
from headrace.flows.cdn.model import CellKey
from headrace.flows.cdn.simulate import START_MS, Fault
from headrace.serve.cdns import Cdn

CUT = Fault("A", 60, 180, share=0.8)
TTL_CALM_MAX_S = 12  # 10 s + 20 %


def test_a_failed_cdn_is_left_within_seconds_by_every_cell() -> None:
    """Cut at 60 s: each cell, the one of ten players too, decides within 3.5 s; 80 % of the share has moved at once."""
    outcome = simulate(CUT, seconds=75)
    left = {one.cell: (one.at_ms - START_MS) / 1_000 for one in outcome.decisions if one.action == "evacuate"}
    assert len(left) == 3
    assert max(left.values()) - 60 <= 3.5
    assert outcome.weights[-1]["A"] <= 0.5 * 0.2


def test_four_players_are_enough_to_decide() -> None:
    """A lab of four players, two on the CDN that is cut: decided within 3.5 s, and nobody stays behind."""
    lab = CellKey("lab", "lab")
    outcome = simulate(Fault("A", 60, 180, share=1.0), seconds=80, audience={lab: 4}, stall_share=0.0)
    first = next(one for one in outcome.decisions if one.action == "evacuate")
    assert (first.at_ms - START_MS) / 1_000 - 60 <= 3.5
    assert outcome.load[-1]["A"] == 0


def test_sessions_arrive_within_one_calm_ttl() -> None:
    """Players learn of the decision within the TTL they hold: 80 % of the share is gone 60 s after the cut, far earlier."""
    outcome = simulate(CUT, seconds=80)
    before = outcome.load[59]["A"]
    assert outcome.load[60 + 4 + TTL_CALM_MAX_S]["A"] <= 0.2 * before


def test_one_leader_change_and_two_switches_per_session_at_most() -> None:
    """One fault and its end: one change of leader, no session switches more than away and back."""
    outcome = simulate(CUT, seconds=400)
    assert outcome.leader_changes() <= 1
    assert max(outcome.switches) <= 2


def test_a_healed_cdn_gets_its_share_back_gradually() -> None:
    """After the end of the fault the even split returns within three minutes, and no step is larger than a tenth."""
    outcome = simulate(CUT, seconds=400)
    steps = [one for one in outcome.decisions if one.action == "step"]
    assert steps
    assert all(one.moved <= 0.1 + 1e-6 for one in steps)
    assert abs(outcome.weights[-1]["A"] - 0.5) < 0.03
    assert all(one.at_ms - START_MS > 180_000 for one in steps if one.cell == CELL)


def test_all_bad_means_no_storm() -> None:
    """Both CDNs degrade together: nobody moves, because nothing better exists."""
    outcome = simulate(CUT, Fault("B", 60, 180, share=0.8), seconds=240)
    assert max(outcome.switches) == 0


def test_all_bad_with_a_head_start_is_one_probe() -> None:
    """A fails five seconds before B: at most one move per cell while both are bad, one switch per session."""
    outcome = simulate(CUT, Fault("B", 65, 180, share=0.8), seconds=179)
    moves = [one for one in outcome.decisions if one.cell == CELL and one.moved > 0]
    assert len(moves) <= 1
    assert max(outcome.switches) <= 1


def test_capacity_is_never_exceeded() -> None:
    """B cannot take all of A's sessions: it is filled to its limit, and stays below after two TTLs and before."""
    small = (Cdn("A", (), 900, 1.0, 0.02), Cdn("B", (), 800, 1.0, 0.02))
    outcome = simulate(CUT, seconds=300, cdns=small)
    assert max(load["B"] for load in outcome.load) <= 800
    assert max(load["B"] for load in outcome.load[100:180]) >= 650


def test_a_surge_is_spread_before_it_overloads() -> None:
    """The audience doubles: the cheap CDN, full to its limit, does not exceed its capacity after two TTLs."""
    priced = (Cdn("A", (), 500, 1.0, 0.02), Cdn("B", (), 2_000, 2.0, 0.02))
    outcome = simulate(seconds=240, cdns=priced, surge={0: 0.3, 60: 1.0})
    assert max(load["A"] for load in outcome.load[60 + 2 * TTL_CALM_MAX_S :]) <= 500
    assert outcome.load[-1]["A"] >= 300


def test_noise_moves_nobody() -> None:
    """Ten calm minutes with 1.5 % of sessions in trouble at any moment: less than 5 % of the weights move."""
    outcome = simulate(seconds=600, stall_share=0.015)
    assert outcome.moved < 0.05


def test_no_input_freezes_the_weights() -> None:
    """While nothing arrives, and A fails meanwhile, every decision is to hold; after that it is decided on fresh rows."""
    outcome = simulate(CUT, seconds=130, blind=(58, 120))
    assert outcome.weights[64] == outcome.weights[119]
    assert outcome.holds >= 3 * 50
    first = next(one for one in outcome.decisions if one.action == "evacuate")
    assert 120 <= (first.at_ms - START_MS) / 1_000 <= 124
    assert HOLD not in {one.action for one in outcome.decisions}


def test_a_fault_of_one_cell_moves_that_cell_only() -> None:
    """A is bad for one ISP: its cell leaves A, the others keep their weights."""
    outcome = simulate(Fault("A", 60, 120, share=0.8, cells=(CELL,)), seconds=110)
    assert {one.cell for one in outcome.decisions if one.moved > 0} == {CELL}


def test_a_mild_fault_is_shed_in_steps() -> None:
    """12 % of A's sessions in trouble is no failure: A loses its share in steps, 80 % of it within 60 s."""
    outcome = simulate(Fault("A", 60, 200, share=0.12), seconds=125)
    actions = [one.action for one in outcome.decisions if one.cell == CELL and one.moved > 0]
    assert set(actions) == {"shed"}
    assert outcome.weights[120]["A"] <= 0.5 * 0.25


def test_a_cdn_that_carries_less_than_it_claims_is_not_overrun_again_and_again() -> None:
    """A carries a fifth of what its row says, for 14 minutes: few moves, and half of the sessions switch twice at most."""
    outcome = simulate(Fault("A", 60, 900, carries=0.2), seconds=900)
    assert outcome.moved <= 2.0
    assert sorted(outcome.switches)[len(outcome.switches) // 2] <= 2
    assert outcome.leader_changes() <= 1
