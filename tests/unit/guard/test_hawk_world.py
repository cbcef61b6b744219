"""Agents and observers together: what dies is found in time and fenced before, what does not is left alone."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.guard.hawk_world import CLUSTER_KEY, NAMES, OBSERVER_TURN_MS, RUNNING, World

from headrace.core.errors import Conflict
from headrace.guard.hawk.fence import Fence
from headrace.guard.hawk.keys import host_key
from headrace.guard.hawk.model import FailureClass, HostReport, ProcessReport, Verdict
from headrace.guard.hawk.observer_core import DATAGRAM_KINDS_OF_AGENTS
from headrace.guard.hawk.signs import FlinkHeard
from headrace.guard.hawk.wire import DATAGRAM_BYTES_MAX, MAC_BYTES, Datagram, Heartbeat, Kind, encode

SEEDS = range(5)
DETECTED_MS_MAX = 1600  # 1,200 of silence, a beat, a turn, a ballot's way and settling


def started(hosts: int = 4, *, seed: int = 1) -> World:
    """A world in which all have joined."""
    world = World(hosts, seed=seed)
    world.run(2000)
    assert all(len(observer.hosts) == hosts for observer in world.observers.values())
    return world


def lossy(world: World, share: float, *names: str) -> None:
    """Drop this share of the packets from and to the hosts named, each way."""
    world.cut = lambda a, b: (a in names or b in names) and world.random.random() < share


@pytest.mark.parametrize("seed", SEEDS)
def test_a_host_that_vanishes_is_convicted_within_time(seed: int) -> None:
    """By all observers, once each, and nobody else is."""
    world = started(seed=seed)
    world.run(world.random.randrange(0, 200, 10))
    world.machines["h1"].up = False
    at_ms = world.now_ms
    world.run(5000)
    assert 1200 <= world.convicted()["h1"] - at_ms <= DETECTED_MS_MAX
    assert set(world.convicted()) == {"h1"}
    assert len(world.verdicts) == len(NAMES)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_host_that_is_cut_off_stops_before_it_is_convicted(seed: int) -> None:
    """Its TaskManagers stand still when the verdict comes, and are killed when it hears of it."""
    world = started(seed=seed)
    world.cut = lambda a, b: "h1" in (a, b)
    world.run(5000)
    machine = world.machines["h1"]
    stopped_ms, fence = machine.fences[0]
    assert fence is Fence.HOLD
    assert stopped_ms < world.convicted()["h1"]
    world.cut = lambda a, b: False
    world.run(1000)
    assert [each for _, each in machine.fences] == [Fence.HOLD, Fence.KILL, Fence.RUN]
    world.run(5000)
    assert not machine.core.fenced
    world.verdicts.clear()
    machine.up = False
    world.run(3000)
    assert set(world.convicted()) == {"h1"}  # it counted as well again


def test_a_cut_host_that_nobody_hears_kills_at_its_limit() -> None:
    """Flink replaces it by its own time-out by then."""
    world = started()
    world.cut = lambda a, b: "h1" in (a, b)
    world.run(world.options.hold_limit_ms + 2000)
    assert Fence.KILL in [fence for _, fence in world.machines["h1"].fences]


def test_outages_shorter_than_the_limit_cost_nothing() -> None:
    """0.3 and 0.5 s without any packet: no verdict and nobody is stopped."""
    world = started()
    for length_ms in (300, 500) * 6:
        world.cut = lambda a, b: "h1" in (a, b)
        world.run(length_ms)
        world.cut = lambda a, b: False
        world.run(1500)
    assert world.verdicts == []
    assert world.machines["h1"].fences == []


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("share", [0.05, 0.2, 0.4, 0.6])
def test_packet_loss_convicts_and_stops_nobody(share: float, seed: int) -> None:
    """Up to 60 % each way, which is 84 % of all round trips."""
    world = started(2, seed=seed)
    lossy(world, share, "h1")
    world.run(15_000)
    assert world.convicted() == {}
    assert world.machines["h1"].fences == []


def test_a_stopped_agent_on_a_living_host_convicts_nobody() -> None:
    """Four seconds without CPU: its kernel answers, Flink hears the TaskManagers; afterwards it asks before they go on."""
    world = started()
    machine = world.machines["h1"]
    machine.running = False
    world.run(4000)
    assert world.verdicts == []
    machine.running = True
    world.run(1000)
    assert [fence for _, fence in machine.fences] == [Fence.HOLD, Fence.RUN]
    held_ms = machine.fences[1][0] - machine.fences[0][0]
    assert held_ms <= world.options.resume_after_ms + 200


def test_a_frozen_host_is_convicted_when_flink_hears_nothing_either() -> None:
    """The kernel answers, agent and TaskManagers do not; the observer beside the JobManager convicts, the others hear of it."""
    world = started()
    observer = world.observers["o2"]
    world.machines["h1"].running = False
    for beat in range(60):
        observer.flink_heard({"tm": FlinkHeard(min(beat, 1), 6121)})
        world.run(50)
    first = world.verdicts[0]
    assert (first[1], first[2].host, first[2].failure) == ("o2", "h1", FailureClass.HOST_FROZEN)
    assert sorted(name for _, name, _ in world.verdicts) == sorted(NAMES)
    assert {verdict.failure for _, _, verdict in world.verdicts} == {FailureClass.HOST_FROZEN}
    world.machines["h1"].running = True
    world.run(500)
    assert [fence for _, fence in world.machines["h1"].fences] == [Fence.HOLD, Fence.KILL, Fence.RUN]


def test_a_stopped_agent_convicts_nobody_while_its_task_manager_answers() -> None:
    """On a busy machine Flink takes a heartbeat seconds late; a TaskManager that closes a connection runs all the same."""
    world = started()
    observer, machine = world.observers["o2"], world.machines["h1"]
    machine.running, machine.listens = False, 6121
    for _ in range(80):
        observer.flink_heard({"tm": FlinkHeard(0, 6121)})
        world.run(50)
    assert world.verdicts == []
    # Now it freezes as well.
    machine.listens, frozen_ms = 0, world.now_ms
    for _ in range(40):
        observer.flink_heard({"tm": FlinkHeard(0, 6121)})
        world.run(50)
    first_ms, name, verdict = world.verdicts[0]
    assert (name, verdict.failure) == ("o2", FailureClass.HOST_FROZEN)
    assert first_ms - frozen_ms <= world.options.flink_silence_ms + world.options.settle_ms + OBSERVER_TURN_MS


@pytest.mark.parametrize("paused_ms", range(100, 2500, 300))
def test_a_pause_of_everything_is_not_the_silence_of_task_managers(paused_ms: int) -> None:
    """A second after Flink's last heartbeat all stood still; nobody had been able to ask anybody meanwhile."""
    world = started()
    observer = world.observers["o2"]
    world.machines["h1"].running = False
    for beat in range(3):
        for _ in range(5):
            observer.flink_heard({"tm": FlinkHeard(beat)})
            world.run(200)
    world.now_ms += paused_ms
    world.run(300)
    assert world.verdicts == []


@pytest.mark.parametrize("more_ms", range(0, 100, 20))
def test_a_verdict_is_no_news_when_its_host_has_come_back(more_ms: int) -> None:
    """Observers told each other what they had been told: when one forgot it, it was news from another, every five seconds, for ever.

    Whether it was, hung on where in their ballots' beat the host came back; one of these lengths hit it.
    """
    world = started()
    observer = world.observers["o2"]
    world.machines["h1"].running = False
    observer.flink_heard({"tm": FlinkHeard(0)})
    for _ in range(60):
        world.run(50)
        observer.flink_heard({"tm": FlinkHeard(1)})
    world.run(100 + more_ms)
    world.machines["h1"].running = True
    world.run(20_000)
    assert sorted(name for _, name, _ in world.verdicts) == sorted(NAMES)
    assert world.machines["h1"].fence is Fence.RUN


@pytest.mark.parametrize("seed", SEEDS)
def test_every_observer_acts_on_a_verdict_whoever_was_first(seed: int) -> None:
    """One whose quorum holds later hears of it meanwhile; it may be the only one that can tell Flink."""
    world = started(seed=seed)
    slow = NAMES[seed % len(NAMES)]
    world.machines["h1"].up = False
    world.run(900)
    world.asleep.add(slow)
    world.run(200)
    world.asleep.clear()
    world.run(3000)
    assert sorted(name for _, name, _ in world.verdicts) == sorted(NAMES)
    assert set(world.convicted()) == {"h1"}


def test_a_lost_process_is_told_at_once() -> None:
    """The next heartbeat carries it; every observer gives the verdict once."""
    world = started()
    world.machines["h2"].report = HostReport(processes=(ProcessReport("tm", 0, lost_pid=7),))
    at_ms = world.now_ms
    world.run(3000)
    assert {verdict for _, _, verdict in world.verdicts} == {Verdict("h2", FailureClass.PROCESS_LOST, "tm", 7)}
    assert len(world.verdicts) == len(NAMES)
    assert max(time for time, _, _ in world.verdicts) - at_ms <= 150


def test_a_job_manager_is_told_apart_from_task_managers() -> None:
    """Its end is told as soon, its host is convicted like any other, and Flink is never told to disconnect it."""
    world = started()
    both = (ProcessReport("taskmanager-2", 8), ProcessReport("jobmanager-2", 9))
    world.machines["h2"].report = HostReport(processes=both)
    world.run(500)
    for observer in world.observers.values():
        assert observer.task_managers("h2") == ("taskmanager-2",)
        assert observer.job_managers("h2") == ("jobmanager-2",)
        assert observer.job_managers("h1") == ()
    world.machines["h2"].report = HostReport(processes=(both[0], ProcessReport("jobmanager-2", 0, lost_pid=9)))
    at_ms = world.now_ms
    world.run(1000)
    lost = Verdict("h2", FailureClass.PROCESS_LOST, "jobmanager-2", 9)
    assert [verdict for _, _, verdict in world.verdicts] == [lost] * len(NAMES)
    assert max(time for time, _, _ in world.verdicts) - at_ms <= 150
    world.machines["h2"].up = False
    world.run(3000)
    assert set(world.convicted()) == {"h2"}


def test_a_stopped_observer_accuses_nobody() -> None:
    """Three seconds without CPU, heartbeats lost meanwhile: when it turns again it has no vote for dead."""
    world = started()
    world.asleep.add("o1")
    world.run(3000)
    world.inbox["o1"].clear()
    world.asleep.clear()
    world.run(3000)
    assert world.verdicts == []
    assert all(machine.fences == [] for machine in world.machines.values())


def test_observers_may_die_one_after_the_other() -> None:
    """One of three: a death is still found. Two of three: no verdicts, and no TaskManager is stopped."""
    world = started()
    world.gone.add("o3")
    world.run(5000)
    world.machines["h3"].up = False
    world.run(3000)
    assert set(world.convicted()) == {"h3"}
    world.gone.add("o2")
    world.run(30_000)
    assert set(world.convicted()) == {"h3"}
    assert all(world.machines[name].fences == [] for name in ("h0", "h1", "h2"))
    world.start_observer("o2")
    world.run(5000)
    world.machines["h0"].up = False
    world.run(3000)
    assert set(world.convicted()) == {"h0", "h3"}


def test_one_observer_that_cannot_reach_a_host_is_a_link_fault() -> None:
    """Five seconds: told, not convicted, nobody stopped."""
    world = started()
    world.cut = lambda a, b: {a, b} == {"o1", "h1"}
    world.run(5000)
    assert world.convicted() == {}
    assert world.machines["h1"].fences == []
    assert any(event == "link_faults" and fields["names"] == ["h1"] for _, _, event, fields in world.events)


def test_a_rack_of_a_large_fleet_is_convicted_though_a_ballot_names_fewer() -> None:
    """Twenty of a hundred and ten lose power at once: less than a fifth, more than a ballot holds; all within a second or two."""
    world = started(110)
    rack = [f"h{number}" for number in range(20)]
    for name in rack:
        world.machines[name].up = False
    at_ms = world.now_ms
    world.run(3000)
    assert set(world.convicted()) == set(rack)
    assert max(world.convicted().values()) - at_ms <= DETECTED_MS_MAX + 500


def test_a_host_that_is_heard_but_hears_nothing_is_convicted() -> None:
    """A one-way network: it stops its TaskManagers for want of acknowledgements and says so; somebody has to replace them."""
    world = started()
    world.cut = lambda a, b: b == "h1"
    at_ms = world.now_ms
    world.run(4000)
    stopped_ms, fence = world.machines["h1"].fences[0]
    assert fence is Fence.HOLD
    assert stopped_ms < world.convicted()["h1"] <= at_ms + 3000
    world.cut = lambda a, b: False
    world.run(10_000)
    assert set(world.convicted()) == {"h1"}
    assert world.machines["h1"].fences[-1][1] is Fence.RUN
    assert all(observer.hosts["h1"].member.phase == "member" for observer in world.observers.values())


def test_a_switch_that_is_out_for_seconds_stops_all_and_kills_none() -> None:
    """All hosts cut from all observers for 3 s: the brake holds the verdicts, the TaskManagers go on afterwards."""
    world = started(8)
    world.cut = lambda a, b: (a in NAMES) != (b in NAMES)
    world.run(3000)
    world.cut = lambda a, b: False
    world.run(3000)
    assert world.convicted() == {}
    for machine in world.machines.values():
        assert [fence for _, fence in machine.fences] == [Fence.HOLD, Fence.RUN]
    assert any(event == "held" and len(fields["names"]) == 8 for _, _, event, fields in world.events)  # type: ignore[arg-type]


def test_hosts_that_die_one_after_the_other_are_not_all_blocked() -> None:
    """What was given stands in Flink: three of four hosts were blocked at once, and the job ended for want of slots."""
    world = started()
    blocked: set[str] = set()
    for host in ("h0", "h1", "h2", "h3"):
        world.machines[host].up = False
        world.run(3000)
        blocked |= {block.host for block in world.observers["o1"].blocks(world.now_ms)}
        world.machines[host].up = True
        world.run(8000)
    assert set(world.convicted()) == {"h0", "h1", "h2", "h3"}
    assert blocked == {"h0"}


def test_a_flapping_host_is_not_convicted_again_and_again() -> None:
    """Five seconds away, five seconds back, for two minutes: at most one verdict until it is steady, then the next."""
    world = started()
    for _ in range(12):
        world.machines["h1"].up = False
        world.run(5000)
        world.machines["h1"].up = True
        world.run(1500)  # less than it takes to count as well again
    assert len([each for each in world.verdicts if each[1] == "o1"]) == 1


def test_leaving_is_no_death() -> None:
    """A rolling restart: each host says good-bye, is away, and comes back as a new incarnation."""
    world = started()
    for number, name in enumerate(list(world.machines)):
        machine = world.machines[name]
        for index, data in machine.core.beat(HostReport(leaving=True), world.now_ms, at_once=True):
            world.send(name, NAMES[index], data)
        machine.up = False
        world.run(3000)
        world.machines[name] = world.machine(name, 100 + number)
        world.run(2000)
    assert world.verdicts == []
    assert all(len(observer.hosts) == 4 for observer in world.observers.values())


def test_a_restarted_agent_takes_over() -> None:
    """After a crash of the agent alone its successor waits until the old one is late, then joins; no verdict."""
    world = started()
    world.machines["h1"] = world.machine("h1", 77)
    world.run(3000)
    assert world.verdicts == []
    assert all(observer.hosts["h1"].member.boot == 1077 for observer in world.observers.values())


def test_two_agents_with_one_name_do_not_fight() -> None:
    """The second is refused and ends with an error that says why; the first goes on."""
    world = started()
    first = world.machines["h1"]
    second = world.machine("h1", 78)

    def go_on() -> None:
        for _ in range(600):
            world.run(10)
            for index, data in second.core.beat(HostReport(), world.now_ms):
                answer = world.observers[NAMES[index]].receive(data, ("h9", 1), world.now_ms, world.now_ms)
                if answer:
                    second.core.hear(index, answer, world.now_ms)

    with pytest.raises(Conflict, match="another agent runs under this name"):
        go_on()
    assert world.verdicts == []
    assert first.fences == []


def injected(world: World, data: bytes) -> dict[str, int]:
    """What an observer counts when it is sent this."""
    observer = world.observers["o1"]
    before = dict(observer.rejected)
    assert observer.receive(data, ("evil", 1), world.now_ms, world.now_ms) is None
    return {key: value - before.get(key, 0) for key, value in observer.rejected.items() if value != before.get(key, 0)}


def heartbeat(name: str = "h1", boot: int = 1001, number: int = 1 << 40, key: bytes = CLUSTER_KEY) -> bytes:
    """A heartbeat made with a key of one's own."""
    report = HostReport(processes=(ProcessReport("tm", 0, lost_pid=7),))
    return encode(Datagram(Kind.HEARTBEAT, name, boot, number, Heartbeat(report)), key)


def test_forged_and_broken_datagrams_change_nothing() -> None:
    """Wrong key, another host's key, flipped bits, cut and padded datagrams: counted by reason, never believed."""
    world = started()
    real = next(data for _, receiver, data in world.traffic if receiver == "o1" and data[3] == Kind.HEARTBEAT)
    assert injected(world, heartbeat(key=b"x" * 32)) == {"code": 1}
    assert injected(world, heartbeat(key=host_key(CLUSTER_KEY, "h2"))) == {"code": 1}
    assert injected(world, real[: MAC_BYTES + 5]) == {"size": 1}
    assert injected(world, real[:-1]) == {"code": 1}
    assert injected(world, real + bytes(DATAGRAM_BYTES_MAX)) == {"size": 1}
    assert injected(world, b"") == {"size": 1}
    for position in range(len(real)):
        flipped = bytearray(real)
        flipped[position] ^= 1 << world.random.randrange(8)
        assert sum(injected(world, bytes(flipped)).values()) == 1
    for _ in range(2000):
        assert sum(injected(world, world.random.randbytes(world.random.randrange(100))).values()) == 1
    world.run(2000)
    assert world.verdicts == []


def test_recorded_datagrams_cannot_keep_a_dead_host_alive() -> None:
    """All that was ever sent is sent again, over and over: the dead host is convicted in time, and only it."""
    world = started()
    recorded = [data for sender, receiver, data in world.traffic if sender == "h1" and receiver == "o1"]
    world.machines["h1"].up = False
    at_ms = world.now_ms
    for turn in range(300):
        world.run(10)
        for observer in world.observers.values():
            observer.receive(recorded[turn % len(recorded)], ("h1", 1), world.now_ms, world.now_ms)
    assert 1200 <= world.convicted()["h1"] - at_ms <= DETECTED_MS_MAX
    assert set(world.convicted()) == {"h1"}


def test_recorded_votes_do_not_count_again() -> None:
    """The ballots that convicted a host cannot convict it a second time, nor after an observer has started anew."""
    world = started()
    world.machines["h1"].up = False
    world.run(3000)
    ballots = [(b, data) for _, b, data in world.traffic if b in NAMES and data[3] == Kind.BALLOT]
    world.machines["h1"].up = True
    world.run(10_000)
    world.start_observer("o1")
    world.run(3000)
    world.verdicts.clear()
    for receiver, data in ballots:
        world.observers[receiver].receive(data, ("evil", 1), world.now_ms, world.now_ms)
        world.run(10)
    assert world.verdicts == []


def test_an_agent_believes_only_answers_to_itself() -> None:
    """Acknowledgements with a wrong key, for another incarnation or for what was never sent do not renew the lease."""
    world = started()
    machine = world.machines["h1"]
    acks = [(a, data) for a, b, data in world.traffic if b == "h1" and data[3] == Kind.ACK]
    world.cut = lambda a, b: "h1" in (a, b)
    for turn in range(200):
        world.run(10)
        sender, data = acks[turn % len(acks)]
        machine.core.hear(NAMES.index(sender), data, world.now_ms)
        flipped = bytearray(data)
        flipped[8] ^= 1
        machine.core.hear(NAMES.index(sender), bytes(flipped), world.now_ms)
    assert machine.fence is Fence.HOLD
    assert machine.core.rejected["code"] == 200


def test_an_agent_with_a_wrong_key_never_joins() -> None:
    """It is not challenged, not watched, and it stops nobody."""
    world = started(3)
    world.machines["h9"] = world.machine("h9", 9, key=b"y" * 32)
    world.run(5000)
    assert all("h9" not in observer.hosts for observer in world.observers.values())
    assert world.machines["h9"].fences == []
    assert world.observers["o1"].rejected["code"] > 40


def test_agents_cannot_vote_or_answer() -> None:
    """Only the kinds that belong to an agent are taken under its key."""
    world = started()
    key = host_key(CLUSTER_KEY, "h1")
    for kind in set(Kind) - DATAGRAM_KINDS_OF_AGENTS:
        name = "o2" if kind is Kind.BALLOT else "h1"
        data = encode(Datagram(kind, name, 1, 1 << 40, ()), key)
        assert injected(world, data) == {"code" if kind is Kind.BALLOT else "kind": 1}


def test_wall_clocks_only_tell_skew() -> None:
    """An hour back or forth on a host: no verdict, but the skew is told, and that it is over."""
    world = started()
    machine = world.machines["h1"]
    for jump_ms in (3_600_000, -3_600_000):
        for _ in range(100):
            world.now_ms += 10
            report = msgspec.structs.replace(machine.report, wall_ms=world.now_ms + jump_ms)
            for index, data in machine.core.beat(report, world.now_ms):
                world.observers[NAMES[index]].receive(data, ("h1", 1), world.now_ms, world.now_ms)
    world.run(2000)
    told = [fields["skewed"] for _, name, event, fields in world.events if event == "clock_skew" and name == "o1"]
    assert told == [True, False]
    assert world.convicted() == {}


def test_a_host_whose_disk_is_full_is_kept_off_work_while_it_lasts() -> None:
    """With the reason, until the disk is well again; it is never convicted."""
    world = started(4)
    observer = world.observers["o1"]
    assert observer.kept_off(world.now_ms) == {}
    gray = (FailureClass.FULL_DISK, FailureClass.SLOW_DISK)
    world.machines["h2"].report = msgspec.structs.replace(RUNNING, gray=gray)
    world.run(500)
    assert observer.kept_off(world.now_ms) == {"h2": "full_disk, slow_disk"}
    world.machines["h2"].report = RUNNING
    world.run(500)
    assert observer.kept_off(world.now_ms) == {}
    assert world.convicted() == {}
