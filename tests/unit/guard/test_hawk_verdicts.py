"""Two of three convict; networks, racks, ill observers and history do not make deaths."""

from __future__ import annotations

from collections import Counter

from headrace.guard.hawk.model import Ballot, Decision, Facts, FailureClass, HostFacts, ProcessReport, Standing, View
from headrace.guard.hawk.options import HawkOptions
from headrace.guard.hawk.verdicts import cast, decide_verdicts, with_convicted

OPTIONS = HawkOptions()
OBSERVERS = ("o1", "o2", "o3")
HOSTS = {f"h{number}": HostFacts(rack=f"r{number % 3}") for number in range(12)}


class Court:
    """Decides again and again as an observer does, at times moved by hand."""

    def __init__(self, hosts: dict[str, HostFacts] | None = None) -> None:
        self.hosts = dict(HOSTS if hosts is None else hosts)
        self.standing = Standing()
        self.now_ms = 0

    def turn(self, views: dict[str, dict[str, View]], *, after_ms: int = 50, age_ms: int = 0) -> Decision:
        """One decision on views by observer; those without views see everybody alive."""
        self.now_ms += after_ms
        ballots = tuple(
            cast(name, views[name], now_ms=self.now_ms - age_ms, hosts=len(self.hosts), limit=40) for name in views
        )
        racks = Counter(known.rack for known in self.hosts.values() if known.rack)
        facts = Facts(ballots, self.hosts, len(self.hosts), dict(racks))
        decision, self.standing = decide_verdicts(facts, self.standing, self.now_ms, OPTIONS)
        names = {verdict.host for verdict in decision.verdicts if not verdict.process}
        self.hosts = with_convicted(self.hosts, names)
        return decision

    def convicted(self, views: dict[str, dict[str, View]], *, for_ms: int = 1000) -> dict[str, FailureClass]:
        """Hosts convicted within a time of steady views."""
        found = {}
        for _ in range(for_ms // 50):
            found.update({each.host: each.failure for each in self.turn(views).verdicts})
        return found


def seen(*hosts: str, view: View = View.DEAD, by: tuple[str, ...] = OBSERVERS) -> dict[str, dict[str, View]]:
    """All three observers vote; those in `by` see `hosts` like this."""
    return {name: dict.fromkeys(hosts, view) if name in by else {} for name in OBSERVERS}


def test_two_of_three_convict_once() -> None:
    """The verdict comes when the quorum has held for the settling time, names its voters, and is not repeated."""
    court = Court()
    assert court.turn(seen("h1", by=("o1", "o3"))).verdicts == ()
    assert court.turn(seen("h1", by=("o1", "o3"))).verdicts == ()
    (verdict,) = court.turn(seen("h1", by=("o1", "o3"))).verdicts
    assert (verdict.host, verdict.failure, verdict.votes) == ("h1", FailureClass.HOST_LOST, ("o1", "o3"))
    assert court.convicted(seen("h1")) == {}


def test_one_observer_alone_sees_a_link_fault() -> None:
    """A host that one observer has lost is not dead, but the link is worth telling."""
    court = Court()
    assert court.convicted(seen("h1", by=("o2",)), for_ms=10_000) == {}
    assert court.turn(seen("h1", by=("o2",))).link_faults == ("h1",)


def test_a_quorum_that_breaks_begins_anew() -> None:
    """Votes that come and go do not add up."""
    court = Court()
    for _ in range(20):
        assert court.turn(seen("h1")).verdicts == ()
        assert court.turn(seen()).verdicts == ()


def test_old_ballots_do_not_count() -> None:
    """What an observer said before it fell silent is no vote."""
    court = Court()
    for _ in range(10):
        assert court.turn(seen("h1"), age_ms=OPTIONS.ballot_fresh_ms + 1).verdicts == ()


def test_one_observer_left_convicts_nobody() -> None:
    """Without a quorum of observers there is no verdict."""
    court = Court()
    assert court.convicted({"o1": {"h1": View.DEAD}}, for_ms=60_000) == {}
    assert court.convicted({"o1": {"h1": View.DEAD}, "o2": {"h1": View.DEAD}}) == {"h1": FailureClass.HOST_LOST}


def test_many_silent_hosts_are_a_network_fault() -> None:
    """Three of twelve are braked, told as held, and free of the brake when they are back."""
    court = Court()
    views = seen("h0", "h1", "h2")
    assert court.convicted(views, for_ms=60_000) == {}
    assert court.turn(views).held == ("h0", "h1", "h2")
    assert court.turn(seen()).held == ()
    assert court.convicted(seen("h5")) == {"h5": FailureClass.HOST_LOST}


def test_the_last_hosts_to_come_back_are_not_dead() -> None:
    """After the brake lets go, those whom it held have as long as a host that falls silent now; one that stays away is convicted then."""
    court = Court()
    assert court.convicted(seen("h0", "h1", "h2", "h3"), for_ms=3000) == {}
    left = seen("h2", "h3")
    assert court.convicted(left, for_ms=OPTIONS.dead_after_ms) == {}
    assert court.turn(left).held == ()
    assert court.convicted(seen("h3"), for_ms=OPTIONS.settle_ms + 100) == {"h3": FailureClass.HOST_LOST}
    assert court.convicted(seen()) == {}


def test_suspects_count_for_the_brake() -> None:
    """The first host to reach its limit is not convicted while the others behind its switch are only suspect."""
    court = Court()
    views = {name: {"h0": View.DEAD, "h1": View.SUSPECT, "h2": View.SUSPECT} for name in OBSERVERS}
    assert court.convicted(views, for_ms=60_000) == {}


def test_a_whole_rack_is_convicted_after_its_time() -> None:
    """Four hosts of one rack, and only it: held first, then lost, for nobody would ever replace them."""
    court = Court()
    rack = [host for host, known in HOSTS.items() if known.rack == "r1"]
    assert court.convicted(seen(*rack), for_ms=OPTIONS.rack_hold_ms - 100) == {}
    assert court.convicted(seen(*rack)) == dict.fromkeys(rack, FailureClass.RACK_LOST)


def test_parts_of_two_racks_stay_braked() -> None:
    """Silence across racks is the network between them."""
    court = Court()
    assert court.convicted(seen("h0", "h1", "h3", "h4"), for_ms=60_000) == {}


def test_a_sick_observer_has_no_vote() -> None:
    """One that has lost its own network sees all hosts dead; the others decide."""
    court = Court()
    views = {"o1": dict.fromkeys(HOSTS, View.DEAD), "o2": {}, "o3": {"h1": View.DEAD}}
    assert court.convicted(views, for_ms=60_000) == {}
    assert court.turn(views).sick_observers == ("o1",)


def test_a_stalled_host_is_frozen_only_when_its_task_managers_are_silent_too() -> None:
    """A stopped agent on a healthy host convicts nobody; with silent TaskManagers as well it is a frozen host."""
    court = Court({**HOSTS, "h1": HostFacts(silence_ms=OPTIONS.flink_silence_ms - 1), "h2": HostFacts()})
    views = seen("h1", "h2", view=View.STALLED)
    assert court.convicted(views, for_ms=60_000) == {}
    court.hosts["h1"] = HostFacts(silence_ms=OPTIONS.flink_silence_ms)
    assert court.convicted(views) == {"h1": FailureClass.HOST_FROZEN}


def test_a_lost_process_is_told_at_once_and_once() -> None:
    """No quorum, no settling: the agent has seen it end. A second loss under the same name is another one."""
    court = Court()
    court.hosts["h1"] = HostFacts(processes=(ProcessReport("tm-1", 0, lost_pid=17),))
    (verdict,) = court.turn(seen()).verdicts
    assert (verdict.process, verdict.pid, verdict.failure) == ("tm-1", 17, FailureClass.PROCESS_LOST)
    assert court.turn(seen()).verdicts == ()
    court.hosts["h1"] = HostFacts(processes=(ProcessReport("tm-1", 0, lost_pid=18, frozen=True),))
    (verdict,) = court.turn(seen()).verdicts
    assert (verdict.pid, verdict.failure) == (18, FailureClass.PROCESS_FROZEN)


def test_a_loss_of_long_ago_is_history() -> None:
    """An observer that has just started must not tell Flink to drop the TaskManager that took over the name."""
    court = Court()
    court.hosts["h1"] = HostFacts(processes=(ProcessReport("tm-1", 99, lost_pid=17, lost_age_ms=60_000),))
    assert court.convicted(seen(), for_ms=5000) == {}


def test_a_ballot_names_the_dead_first() -> None:
    """When not all fit, suspects are left out, but counted."""
    views = {f"h{number}": View.SUSPECT for number in range(50)} | {"z": View.DEAD, "ok": View.ALIVE}
    ballot = cast("o1", views, now_ms=7, hosts=100, limit=3)
    assert ballot == Ballot("o1", 7, {"z": View.DEAD, "h0": View.SUSPECT, "h1": View.SUSPECT}, 51, 100)
