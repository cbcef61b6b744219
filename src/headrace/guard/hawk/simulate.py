"""Hawk's decisions played over thousands of hosts and years of their time, with everything that goes wrong in a network.

The functions are those of production (`views`, `verdicts`, `fence`); only datagrams are times here instead of bytes. Time is skipped
while nothing happens: episodes (a death, a pause, a burst of loss, a switch, …) are drawn as Poisson processes at their
rates per host-hour, and each is played step by step with the hosts and observers that it concerns. Independent packet loss
has no beginning, so its episodes are the runs of lost heartbeats that make an observer suspicious; their rate is exact.

A verdict is *right* on a dead host, *justified* on one that nobody could reach for as long as the limits say (it has
stopped its TaskManagers by then, `unfenced` counts those that had not), and *false* otherwise. Same seed, same result.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import msgspec

from headrace.core.rand import Random
from headrace.guard.hawk.fence import Fence, Holding, Lease, decide_fence, is_hungry
from headrace.guard.hawk.model import Ballot, Evidence, Facts, HostFacts, Standing, View
from headrace.guard.hawk.options import OBSERVERS, QUORUM, HawkOptions
from headrace.guard.hawk.verdicts import cast, decide_verdicts
from headrace.guard.hawk.views import Awake, advance, decide_view
from headrace.guard.hawk.wire import BALLOT_HOSTS_MAX

STEP_MS = 10
TURN_MS = 20
PROBE_MS = 50
BALLOT_MS = 40
HUNGRY_MS = 20
LEAD_MS = 300  # of quiet time before an episode; leases and views begin fresh
TAIL_MS = 2000  # after it, so that a verdict that is on its way is seen
RACK_HOSTS = 40
OVERLAP = 0.02  # share of single-host episodes during which an observer sleeps, too
NEVER = 1 << 60
FLEET = 1000  # hosts around a single one; only their number counts
NEWS_MS = 300  # after a host is back, until observers and their peers know


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """How often things happen, per host and hour unless said otherwise; chosen worse than a fleet that one would keep.

    Args:
        death: a host dies for good.
        pause: a virtual machine gets no CPU, its kernel included; log-normal, median 80 ms, sigma 1.
        starvation: the agent gets no CPU, the kernel does; exponential, mean 2 s.
        burst: 20 to 70 % of the packets are lost each way; exponential, mean 5 s.
        outage: no packet to or from the host; exponential, mean 300 ms.
        restart: a planned restart; the agent says good-bye.
        switch_rack: per rack and hour, its switch is out; exponential, mean 20 s, half of them 500 ms.
        core: per hour, all hosts are cut from all observers; exponential, mean 2 s.
        observer_sleep: per observer and hour, it stands still and its datagrams are lost; exponential, mean 1 s.
        loss: of single packets, each way, all the time.
        late: share of the packets that come up to 200 ms late.
    """

    death: float = 1e-4
    pause: float = 1 / 24
    starvation: float = 1 / 100
    burst: float = 1 / 500
    outage: float = 1 / 100
    restart: float = 1 / 200
    switch_rack: float = 1 / 720
    core: float = 1 / 720
    observer_sleep: float = 1 / 4
    loss: float = 0.005
    late: float = 0.001


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to some hosts, or to an observer, from `start_ms` to `end_ms`."""

    start_ms: int
    end_ms: int
    hosts: frozenset[int] = frozenset()
    observer: int = -1
    silent: bool = False  # no packets at all, kernel included
    starved: bool = False  # the agent alone stands still
    loss: float = 0.0
    dead: bool = False
    left: bool = False


class Episode(msgspec.Struct, frozen=True):
    """Faults on a few of the hosts; `racks` has the rack of each that is played, `total` counts those that are well, too."""

    kind: str
    faults: tuple[Fault, ...]
    racks: tuple[int, ...]
    length_ms: int
    total: int


class Result(msgspec.Struct, kw_only=True):
    """Sums over many episodes; times in ms."""

    host_hours: float = 0.0
    episodes: dict[str, int] = {}
    deaths: int = 0
    missed: int = 0
    detection_ms: list[int] = []
    justified: int = 0
    false: dict[str, int] = {}
    unfenced: int = 0
    pauses: int = 0  # TaskManagers stopped for a while without a verdict
    braked: int = 0

    @property
    def false_total(self) -> int:
        """False verdicts of all kinds of episodes."""
        return sum(self.false.values())


class _Host:
    """A host as its agent and its observers see it."""

    def __init__(self, number: int, rack: int, random: Random, options: HawkOptions) -> None:
        self.name = f"h{number}"
        self.rack = f"r{rack}"
        self.faults: list[Fault] = []
        self.next_beat_ms = random.randrange(options.heartbeat_interval_ms)
        self.leases = [Lease(0) for _ in range(OBSERVERS)]
        self.holding = Holding()
        self.fence = Fence.RUN
        self.evidence = [Evidence(0, 0) for _ in range(OBSERVERS)]
        self.newest_ms = [0] * OBSERVERS
        self.arrivals: list[tuple[int, int, int]] = []  # (when, observer, when sent)
        self.answers: list[tuple[int, int, int]] = []
        self.probed_ms = [0] * OBSERVERS
        self.verdict_ms: int | None = None
        self.held = False

    def active(self, now_ms: int) -> Iterator[Fault]:
        """The faults of now."""
        return (fault for fault in self.faults if fault.start_ms <= now_ms < fault.end_ms)

    def silent(self, now_ms: int) -> bool:
        """Whether no packet gets through."""
        return any(fault.silent for fault in self.active(now_ms))

    def stands(self, now_ms: int) -> bool:
        """Whether the agent gets no CPU (a pause of the machine, a death, starvation)."""
        return any(fault.starved or fault.dead for fault in self.active(now_ms))

    def was_unreachable(self, now_ms: int, span_ms: int) -> bool:
        """Whether no packet could get through for `span_ms` up to less than NEWS_MS ago."""
        quiet_ms = 0
        for at_ms in range(max(0, now_ms - span_ms - NEWS_MS), now_ms, STEP_MS):
            quiet_ms = quiet_ms + STEP_MS if self.silent(at_ms) else 0
            if quiet_ms >= span_ms:
                return True
        return False


class _Observer:
    """An observer's clock and votes."""

    def __init__(self) -> None:
        self.awake = Awake(0, 0)
        self.faults: list[Fault] = []
        self.ballots: dict[str, Ballot] = {}
        self.standing = Standing()

    def asleep(self, now_ms: int) -> bool:
        """Whether it stands still."""
        return any(fault.start_ms <= now_ms < fault.end_ms for fault in self.faults)


class Stage:
    """One episode, played step by step."""

    def __init__(self, episode: Episode, rates: Rates, options: HawkOptions, random: Random) -> None:
        self._episode = episode
        self._rates = rates
        self._options = options
        self._random = random
        self.hosts = [_Host(number, rack, random, options) for number, rack in enumerate(episode.racks)]
        self._observers = [_Observer() for _ in range(OBSERVERS)]
        for fault in episode.faults:
            if fault.observer >= 0:
                self._observers[fault.observer].faults.append(fault)
            for number in fault.hosts:
                self.hosts[number].faults.append(fault)
        self._racks: dict[str, int] = {}
        for host in self.hosts:
            self._racks[host.rack] = self._racks.get(host.rack, 0) + 1
        self.braked = False

    def play(self) -> None:
        """Run the episode to its end."""
        for now_ms in range(0, self._episode.length_ms, STEP_MS):
            for host in self.hosts:
                if not host.stands(now_ms):
                    self._agent(host, now_ms)
            if now_ms % TURN_MS == 0:
                self._turn(now_ms)

    def _agent(self, host: _Host, now_ms: int) -> None:
        host.fence, host.holding = decide_fence(host.leases, host.holding, now_ms, self._options)
        host.held = host.held or host.fence is Fence.HOLD
        for when, observer, sent_ms in host.answers:
            lease = host.leases[observer]
            if when <= now_ms and sent_ms > (lease.acked_ms or 0):
                host.leases[observer] = Lease(sent_ms, None, host.verdict_ms is not None)
        host.answers = [each for each in host.answers if each[0] > now_ms]
        if now_ms >= host.next_beat_ms:
            hungry = is_hungry(host.leases, now_ms, self._options)
            host.next_beat_ms = now_ms + (HUNGRY_MS if hungry else self._options.heartbeat_interval_ms)
            if not any(fault.left for fault in host.active(now_ms)):
                for observer in range(OBSERVERS):
                    arrives_ms = self._send(host, now_ms)
                    if arrives_ms is not None:
                        host.arrivals.append((arrives_ms, observer, now_ms))

    def _send(self, host: _Host, now_ms: int) -> int | None:
        """When a packet from or to the host arrives; None when it is lost."""
        loss = max((fault.loss for fault in host.active(now_ms)), default=0.0)
        if host.silent(now_ms) or self._random.random() < max(loss, self._rates.loss):
            return None
        late_ms = self._random.randrange(200) if self._random.random() < self._rates.late else 0
        return now_ms + late_ms

    def _answer(self, host: _Host, observer: int, now_ms: int) -> None:
        when = self._send(host, now_ms)
        if when is not None:
            host.answers.append((when, observer, host.newest_ms[observer]))

    def _turn(self, now_ms: int) -> None:
        for index, observer in enumerate(self._observers):
            if observer.asleep(now_ms):
                for host in self.hosts:
                    host.arrivals = [each for each in host.arrivals if each[1] != index]
                continue
            self._observe(index, observer, now_ms)
        for observer in self._observers:
            if not observer.asleep(now_ms) and observer.ballots:
                self._decide(observer, now_ms)

    def _observe(self, index: int, observer: _Observer, now_ms: int) -> None:
        observer.awake = advance(observer.awake, now_ms, self._options)
        views, convicted = {}, 0
        for host in self.hosts:
            if any(fault.left for fault in host.active(now_ms)):
                host.evidence[index] = Evidence(observer.awake.awake_ms, 0)  # it said good-bye: not judged
                continue
            self._receive(index, observer, host, now_ms)
            view = decide_view(host.evidence[index], observer.awake.awake_ms, self._options)
            if view is View.ALIVE:
                continue
            if host.verdict_ms is None:
                views[host.name] = view
            elif now_ms - host.verdict_ms <= self._options.brake_window_ms:
                convicted += 1
            if now_ms - host.probed_ms[index] >= PROBE_MS:
                host.probed_ms[index] = now_ms
                self._probe(index, observer, host, now_ms)
        ballot = cast(
            f"o{index}",
            views,
            now_ms=now_ms,
            hosts=self._episode.total,
            limit=BALLOT_HOSTS_MAX,
            convicted=convicted,
        )
        if views or any(each.ballots for each in self._observers):
            for peer in self._observers:
                if peer is observer or now_ms % BALLOT_MS == 0:
                    peer.ballots[ballot.observer] = ballot

    def _receive(self, index: int, observer: _Observer, host: _Host, now_ms: int) -> None:
        due = [each for each in host.arrivals if each[1] == index and each[0] <= now_ms]
        if not due:
            return
        host.arrivals = [each for each in host.arrivals if each[1] != index or each[0] > now_ms]
        newest = max(sent_ms for _, _, sent_ms in due)
        if newest <= host.newest_ms[index]:
            return  # overtaken: its number is smaller than one that was seen
        host.newest_ms[index] = newest
        host.evidence[index] = Evidence(observer.awake.awake_ms, host.evidence[index].kernel_ms)
        self._answer(host, index, now_ms)

    def _probe(self, index: int, observer: _Observer, host: _Host, now_ms: int) -> None:
        loss = max((fault.loss for fault in host.active(now_ms)), default=0.0)
        through = not host.silent(now_ms) and self._random.random() >= 1 - (1 - max(loss, self._rates.loss)) ** 2
        if through:
            host.evidence[index] = Evidence(host.evidence[index].heartbeat_ms, observer.awake.awake_ms)
        self._answer(host, index, now_ms)

    def _decide(self, observer: _Observer, now_ms: int) -> None:
        named = {name for ballot in observer.ballots.values() for name in ballot.views}
        hosts = {
            host.name: HostFacts(rack=host.rack, convicted=host.verdict_ms is not None)
            for host in self.hosts
            if host.name in named
        }
        facts = Facts(tuple(observer.ballots.values()), hosts, self._episode.total, self._racks)
        decision, observer.standing = decide_verdicts(facts, observer.standing, now_ms, self._options)
        self.braked = self.braked or bool(decision.held)
        for verdict in decision.verdicts:
            host = self.hosts[int(verdict.host[1:])]
            if host.verdict_ms is None:
                host.verdict_ms = now_ms


def simulate(hosts: int, hours: float, *, seed: int, rates: Rates, options: HawkOptions) -> Result:
    """Play `hours` of a fleet of `hosts`.

    Args:
        hosts: how many there are, in racks of RACK_HOSTS.
        hours: of the fleet's time.
        seed: of all randomness.
        rates: how often things happen.
        options: Hawk's limits; `HawkOptions.check` must hold.
    """
    random = Random(seed)
    result = Result(host_hours=hosts * hours, episodes={}, detection_ms=[], false={})
    for kind, rate in episode_rates(hosts, rates, options).items():
        for _ in range(poisson(random, rate * hours)):
            episode = draw_episode(kind, hosts, random, options)
            if is_quiet(episode, options):
                result.episodes[kind] = result.episodes.get(kind, 0) + 1
                continue
            stage = Stage(episode, rates, options, random)
            stage.play()
            account(result, episode, stage, options)
    return result


def episode_rates(hosts: int, rates: Rates, options: HawkOptions) -> dict[str, float]:
    """Episodes per hour of the whole fleet, by kind."""
    racks = max(1, hosts // RACK_HOSTS)
    beats_per_hour = 3_600_000 / options.heartbeat_interval_ms
    run = math.ceil(options.suspect_after_ms / options.heartbeat_interval_ms)
    return {
        "death": rates.death * hosts,
        "pause": rates.pause * hosts,
        "starvation": rates.starvation * hosts,
        "burst": rates.burst * hosts,
        "outage": rates.outage * hosts,
        "restart": rates.restart * hosts,
        "switch": rates.switch_rack * racks,
        "core": rates.core,
        "observer_sleep": rates.observer_sleep * OBSERVERS,
        # A run of lost heartbeats begins after one that arrived.
        "loss_run": hosts * OBSERVERS * beats_per_hour * rates.loss**run * (1 - rates.loss),
    }


def draw_episode(kind: str, hosts: int, random: Random, options: HawkOptions) -> Episode:
    """An episode of this kind at random; one host stands for each that is concerned, with others of its rack and fleet around it."""
    start = LEAD_MS + random.randrange(options.heartbeat_interval_ms)
    one = frozenset({0})
    match kind:
        case "death":
            return _single(kind, Fault(start_ms=start, end_ms=NEVER, hosts=one, silent=True, dead=True), random)
        case "pause":
            length = round(80 * math.exp(random.gauss(0, 1)))
            return _single(
                kind, Fault(start_ms=start, end_ms=start + length, hosts=one, silent=True, starved=True), random
            )
        case "starvation":
            return _single(
                kind, Fault(start_ms=start, end_ms=start + _exp(random, 2000), hosts=one, starved=True), random
            )
        case "burst":
            share = random.uniform(0.2, 0.7)
            return _single(
                kind, Fault(start_ms=start, end_ms=start + _exp(random, 5000), hosts=one, loss=share), random
            )
        case "outage":
            return _single(
                kind, Fault(start_ms=start, end_ms=start + _exp(random, 300), hosts=one, silent=True), random
            )
        case "restart":
            return _single(kind, Fault(start_ms=start, end_ms=start + 5000, hosts=one, left=True, starved=True), random)
        case "loss_run":
            length = options.suspect_after_ms
            return _single(kind, Fault(start_ms=start, end_ms=start + length, hosts=one, loss=1.0), random)
        case "observer_sleep":
            fault = Fault(start_ms=start, end_ms=start + _exp(random, 1000), observer=random.randrange(OBSERVERS))
            return _episode(kind, (fault,), (0,) * RACK_HOSTS, hosts)
        case "switch":
            length = _exp(random, 20_000 if random.random() < 0.5 else 500)
            rack = frozenset(range(RACK_HOSTS))
            fault = Fault(start_ms=start, end_ms=start + length, hosts=rack, silent=True)
            return _episode(kind, (fault,), (0,) * RACK_HOSTS, hosts)
        case _:
            # A tenth of the fleet stands for all of it; its silence is counted against its own number.
            count = max(RACK_HOSTS, hosts // 10)
            fault = Fault(start_ms=start, end_ms=start + _exp(random, 2000), hosts=frozenset(range(count)), silent=True)
            return _episode(kind, (fault,), tuple(number // RACK_HOSTS for number in range(count)), count)


def is_quiet(episode: Episode, options: HawkOptions) -> bool:
    """Whether nobody can become suspicious: a single silence shorter than suspicion less a heartbeat and a turn."""
    limit_ms = options.suspect_after_ms - options.heartbeat_interval_ms - 2 * TURN_MS
    return all(fault.silent and fault.end_ms - fault.start_ms < limit_ms for fault in episode.faults)


def account(result: Result, episode: Episode, stage: Stage, options: HawkOptions) -> None:
    """Add what an episode came to."""
    result.episodes[episode.kind] = result.episodes.get(episode.kind, 0) + 1
    result.braked += stage.braked
    span_ms = options.dead_after_ms - options.heartbeat_interval_ms - TURN_MS
    for number, host in enumerate(stage.hosts):
        death = next((fault for fault in episode.faults if fault.dead and number in fault.hosts), None)
        if death is not None:
            result.deaths += 1
            if host.verdict_ms is None:
                result.missed += 1
            else:
                result.detection_ms.append(host.verdict_ms - death.start_ms)
            continue
        if host.verdict_ms is None:
            result.pauses += host.held
        elif not host.was_unreachable(host.verdict_ms, span_ms):
            result.false[episode.kind] = result.false.get(episode.kind, 0) + 1
        else:
            result.justified += 1
            running = host.fence is Fence.RUN and not host.holding.fenced and not host.stands(host.verdict_ms)
            result.unfenced += running and not host.held


def poisson(random: Random, mean: float) -> int:
    """A Poisson number; the normal approximation above 200, where it is closer than the seed's noise."""
    if mean > 200:
        return max(0, round(random.gauss(mean, math.sqrt(mean))))
    limit, count, product = math.exp(-mean), 0, random.random()
    while product > limit:
        count += 1
        product *= random.random()
    return count


def limits(dead_after_ms: int) -> HawkOptions:
    """Options whose limits stand to each other as the defaults do."""
    options = HawkOptions()
    scale = dead_after_ms / options.dead_after_ms
    return msgspec.structs.replace(
        options,
        dead_after_ms=dead_after_ms,
        fence_after_ms=round(options.fence_after_ms * scale),
        suspect_after_ms=max(2 * options.heartbeat_interval_ms, round(options.suspect_after_ms * min(scale, 1.0))),
    ).check()


def _single(kind: str, fault: Fault, random: Random) -> Episode:
    faults = [fault]
    if random.random() < OVERLAP:
        start = fault.start_ms + random.randrange(-500, 500)
        faults.append(Fault(start_ms=start, end_ms=start + _exp(random, 1000), observer=random.randrange(OBSERVERS)))
    return _episode(kind, tuple(faults), (0,), FLEET)


def _episode(kind: str, faults: Sequence[Fault], racks: tuple[int, ...], total: int) -> Episode:
    end = max(fault.end_ms if fault.end_ms < NEVER else fault.start_ms for fault in faults)
    return Episode(kind, tuple(faults), racks, end + TAIL_MS, total)


def _exp(random: Random, mean_ms: float) -> int:
    return max(STEP_MS, round(random.expovariate(1 / mean_ms)))


assert QUORUM == 2, "the rate of loss_run counts runs at single observers, which convict nobody by themselves"
