"""One episode of the simulator, played step by step: the plain way, which `simulate_skip` has to agree with.

Every 10 ms each agent, every 20 ms each observer does what production does, with production's functions (`decide_fence`,
`is_hungry`, `advance`, `decide_view`, `cast`, `decide_verdicts`); only datagrams are times here instead of bytes. An agent decides
its fence before it reads, reads acknowledgements, beats. An observer reads what has arrived and acknowledges, judges, probes the kernels of
those that are late, votes; its peers get its vote every 40 ms; then each observer decides.

Left out: encryption and membership's cookies (tests of `wire` and `members`), Flink's own silence (so nobody is convicted as
frozen), agents that ask the observers' kernels (so an observer that sleeps costs agents their lease sooner than in life), packets lost
between observers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

import msgspec

from headrace.core.rand import Random
from headrace.guard.hawk.fence import Fence, Holding, Lease, decide_fence, is_hungry
from headrace.guard.hawk.model import Ballot, Evidence, Facts, HostFacts, Standing, View
from headrace.guard.hawk.options import OBSERVERS, HawkOptions
from headrace.guard.hawk.simulate_faults import NEVER, STEP_MS, TURN_MS, Episode, Fault, Rates
from headrace.guard.hawk.verdicts import cast, decide_verdicts
from headrace.guard.hawk.views import Awake, advance, decide_view
from headrace.guard.hawk.wire import BALLOT_HOSTS_MAX

PROBE_MS = 50
BALLOT_MS = 40
HUNGRY_MS = 20
LATE_MS = 200
NEWS_MS = 300  # after a host is back, until observers and their peers know
INDEXES = range(OBSERVERS)


class Weather(msgspec.Struct, frozen=True):
    """What holds for a host between two moments at which its faults change; `until_ms` is the later one."""

    until_ms: int
    silent: bool
    starved: bool
    dead: bool
    left: bool
    loss: float
    late: float
    late_ms: int

    @property
    def stands(self) -> bool:
        """Whether the agent gets no CPU: a pause of the machine, a death, starvation."""
        return self.starved or self.dead


class SimulatedHost:
    """A host as its agent and its observers see it; times are the episode's, `sent_ms` and leases are on the host's own clock."""

    def __init__(self, number: int, episode: Episode, rates: Rates, random: Random, options: HawkOptions) -> None:
        faults = [fault for fault in episode.faults if number in fault.hosts]
        self.name, self.number = f"h{number}", number
        self.rack = f"r{episode.racks[number]}"
        self.clock_rate = episode.clock_rate
        self.next_beat_ms = random.randrange(options.heartbeat_interval_ms)
        self.leases = [Lease(0) for _ in INDEXES]
        self.holding = Holding()
        self.fence = Fence.RUN
        self.evidence = [Evidence(0, 0) for _ in INDEXES]
        self.known = [True] * OBSERVERS  # it has not said good-bye there
        self.newest_ms = [0] * OBSERVERS
        self.heard_ms = [0] * OBSERVERS
        self.arrivals: list[list[tuple[int, int]]] = [[] for _ in INDEXES]  # (when, when sent)
        self.answers: list[tuple[int, int, int]] = []  # (when, observer, when sent)
        self.probed_ms = [0] * OBSERVERS
        self.reborn_ms = sorted(fault.end_ms for fault in faults if fault.left or fault.killed)
        self.verdict_ms: int | None = None
        self.held = False
        self.unfenced = False
        self._edges, self._weathers = _forecast(faults, rates)
        self._at = 0

    def weather(self, now_ms: int) -> Weather:
        """What holds now; `now_ms` must not go back."""
        while now_ms >= self._weathers[self._at].until_ms:
            self._at += 1
        return self._weathers[self._at]

    def local_ms(self, now_ms: int) -> int:
        """The host's own clock."""
        return now_ms if self.clock_rate == 1.0 else int(now_ms * self.clock_rate)

    def was_unreachable(self, now_ms: int, span_ms: int) -> bool:
        """Whether no packet could get through for `span_ms` up to less than NEWS_MS ago."""
        quiet_ms = 0
        for at_ms in range(max(0, now_ms - span_ms - NEWS_MS), now_ms, STEP_MS):
            silent = self._weathers[bisect_right(self._edges, at_ms) - 1].silent
            quiet_ms = quiet_ms + STEP_MS if silent else 0
            if quiet_ms >= span_ms:
                return True
        return False


class SimulatedObserver:
    """An observer's clock and votes."""

    def __init__(self, index: int, faults: Iterable[Fault]) -> None:
        self.name = f"o{index}"
        self.awake = Awake(0, 0)
        self.sleeps = sorted((fault.start_ms, fault.end_ms) for fault in faults if fault.observer == index)
        self.ballots: dict[str, Ballot] = {}
        self.standing = Standing()

    def asleep(self, now_ms: int) -> bool:
        """Whether it stands still."""
        return any(start_ms <= now_ms < end_ms for start_ms, end_ms in self.sleeps)


class Stage:
    """One episode, played step by step."""

    def __init__(self, episode: Episode, rates: Rates, options: HawkOptions, random: Random) -> None:
        self.episode = episode
        self.rates = rates
        self.options = options
        self.random = random
        self.hosts = [SimulatedHost(number, episode, rates, random, options) for number in range(len(episode.racks))]
        self.observers = [SimulatedObserver(index, episode.faults) for index in INDEXES]
        self.racks: dict[str, int] = {}
        for host in self.hosts:
            self.racks[host.rack] = self.racks.get(host.rack, 0) + 1
        self.by_name = {host.name: host for host in self.hosts}
        self.braked = False
        self.steps = 0
        self.doubtful_ms = -1  # when somebody was last held for dead
        self._over_ms = episode.over_ms
        self.length_ms = episode.length_ms + max(0, options.dead_after_ms - HawkOptions().dead_after_ms)

    def play(self) -> None:
        """Run the episode to its end: until all is decided, or all is well again, or its length."""
        for now_ms in range(0, self.length_ms, STEP_MS):
            self.steps += 1
            for host in self.hosts:
                self.agent(host, now_ms)
            if now_ms % TURN_MS == 0:
                self.turn(now_ms)
            if self.is_settled(now_ms):
                return

    def is_settled(self, now_ms: int) -> bool:
        """Whether all hosts are convicted, or all faults over and every host and observer as if they had not been."""
        if all(host.verdict_ms is not None for host in self.hosts):
            return True
        if now_ms < self._over_ms or now_ms - self.doubtful_ms <= self.options.ballot_fresh_ms + 2 * BALLOT_MS:
            return False
        return all(self._is_well(host) for host in self.hosts)

    def _is_well(self, host: SimulatedHost) -> bool:
        if host.verdict_ms is not None:
            return True
        over_ms = self._over_ms
        if host.fence is not Fence.RUN or host.holding.since_ms is not None:
            return False
        local_ms = host.local_ms(over_ms)
        return all(
            host.known[index] and host.heard_ms[index] >= over_ms and (host.leases[index].acked_ms or 0) >= local_ms
            for index in INDEXES
        )

    # --- agents ---

    def agent(self, host: SimulatedHost, now_ms: int) -> None:
        """A turn of a host's agent."""
        weather = host.weather(now_ms)
        if weather.stands:
            return
        if host.reborn_ms and now_ms >= host.reborn_ms[0]:
            self._be_reborn(host)
        local_ms = host.local_ms(now_ms)
        self.decide_fence(host, local_ms)
        if host.answers:
            self._take_answers(host, now_ms)
        if local_ms >= host.next_beat_ms:
            self._beat(host, weather, now_ms, local_ms)

    def decide_fence(self, host: SimulatedHost, local_ms: int) -> None:
        """What the TaskManagers shall do."""
        host.fence, host.holding = decide_fence(host.leases, host.holding, local_ms, self.options)
        host.held = host.held or host.fence is Fence.HOLD

    def _be_reborn(self, host: SimulatedHost) -> None:
        host.reborn_ms.pop(0)
        host.leases, host.holding, host.fence = [Lease() for _ in INDEXES], Holding(), Fence.RUN
        host.answers.clear()

    def _take_answers(self, host: SimulatedHost, now_ms: int) -> None:
        due = [each for each in host.answers if each[0] <= now_ms]
        if not due:
            return
        host.answers = [each for each in host.answers if each[0] > now_ms]
        for _, observer, sent_ms in due:
            acked_ms = host.leases[observer].acked_ms
            if acked_ms is None or sent_ms > acked_ms:
                host.leases[observer] = Lease(sent_ms, None, host.verdict_ms is not None)

    def _beat(self, host: SimulatedHost, weather: Weather, now_ms: int, local_ms: int) -> None:
        hungry = is_hungry(host.leases, local_ms, self.options)
        host.next_beat_ms = local_ms + (HUNGRY_MS if hungry else self.options.heartbeat_interval_ms)
        for index in INDEXES:
            arrives_ms = self._send(weather, now_ms)
            if arrives_ms is not None:
                host.arrivals[index].append((arrives_ms, local_ms))

    def _send(self, weather: Weather, now_ms: int) -> int | None:
        """When a packet from or to the host arrives; None when it is lost."""
        if weather.silent or self.random.random() < weather.loss:
            return None
        return now_ms + (self.random.randrange(weather.late_ms) if self.random.random() < weather.late else 0)

    # --- observers ---

    def turn(self, now_ms: int) -> None:
        """A turn of all observers."""
        for index, observer in enumerate(self.observers):
            if observer.asleep(now_ms):
                for host in self.hosts:
                    host.arrivals[index].clear()
                continue
            observer.awake = advance(observer.awake, now_ms, self.options)
            self._vote(index, observer, now_ms)
        for observer in self.observers:
            if not observer.asleep(now_ms):
                self.decide(observer, list(observer.ballots.values()), now_ms)

    def _vote(self, index: int, observer: SimulatedObserver, now_ms: int) -> None:
        views: dict[str, View] = {}
        convicted = 0
        for host in self.hosts:
            view = self.judge(index, observer, host, now_ms)
            if view is View.ALIVE:
                continue
            if host.verdict_ms is None:
                views[host.name] = view
                if view is View.DEAD:
                    self.doubtful_ms = now_ms
            elif now_ms - host.verdict_ms <= self.options.brake_window_ms:
                convicted += 1
        ballot = self.cast(observer, views, convicted, now_ms)
        for peer in self.observers:
            if peer is observer or now_ms % BALLOT_MS == 0:
                peer.ballots[observer.name] = ballot

    def cast(self, observer: SimulatedObserver, views: dict[str, View], convicted: int, at_ms: int) -> Ballot:
        """An observer's vote."""
        total = self.episode.total
        return cast(observer.name, views, now_ms=at_ms, hosts=total, limit=BALLOT_HOSTS_MAX, convicted=convicted)

    def judge(self, index: int, observer: SimulatedObserver, host: SimulatedHost, now_ms: int) -> View:
        """Read what has arrived from a host, acknowledge it, judge the host, and probe its kernel when it is late."""
        weather = host.weather(now_ms)
        if weather.left:
            host.arrivals[index].clear()
            host.known[index] = False
            return View.ALIVE
        if host.arrivals[index]:
            self._receive(index, observer, host, now_ms)
        if not host.known[index]:
            return View.ALIVE
        view = decide_view(host.evidence[index], observer.awake.awake_ms, self.options)
        if view is not View.ALIVE and now_ms - host.probed_ms[index] >= PROBE_MS:
            host.probed_ms[index] = now_ms
            self._probe(index, observer, host, now_ms)
        return view

    def _receive(self, index: int, observer: SimulatedObserver, host: SimulatedHost, now_ms: int) -> None:
        due = [sent_ms for when_ms, sent_ms in host.arrivals[index] if when_ms <= now_ms]
        if not due:
            return
        host.arrivals[index] = [each for each in host.arrivals[index] if each[0] > now_ms]
        newest_ms = max(due)
        if newest_ms <= host.newest_ms[index]:
            return  # overtaken: its number is smaller than one that was seen
        host.newest_ms[index] = newest_ms
        host.heard_ms[index] = now_ms
        host.known[index] = True
        host.evidence[index] = Evidence(observer.awake.awake_ms, host.evidence[index].kernel_ms)
        self._answer(host, index, now_ms)

    def _answer(self, host: SimulatedHost, index: int, now_ms: int) -> None:
        when_ms = self._send(host.weather(now_ms), now_ms)
        if when_ms is not None:
            host.answers.append((when_ms, index, host.newest_ms[index]))

    def _probe(self, index: int, observer: SimulatedObserver, host: SimulatedHost, now_ms: int) -> None:
        weather = host.weather(now_ms)
        if not weather.silent and self.random.random() < (1 - weather.loss) ** 2:
            host.evidence[index] = Evidence(host.evidence[index].heartbeat_ms, observer.awake.awake_ms)
        self._answer(host, index, now_ms)

    def decide(self, observer: SimulatedObserver, ballots: list[Ballot], now_ms: int) -> None:
        """What an observer makes of its own vote and its peers'."""
        named = {name for ballot in ballots for name in ballot.views}
        hosts = {
            name: HostFacts(rack=self.by_name[name].rack, convicted=self.by_name[name].verdict_ms is not None)
            for name in named
        }
        facts = Facts(tuple(ballots), hosts, self.episode.total, self.racks)
        decision, observer.standing = decide_verdicts(facts, observer.standing, now_ms, self.options)
        self.braked = self.braked or bool(decision.held)
        for verdict in decision.verdicts:
            host = self.by_name[verdict.host]
            if host.verdict_ms is None:
                host.verdict_ms = now_ms
                weather = host.weather(now_ms)
                paused = weather.dead or (weather.silent and weather.starved)
                host.unfenced = host.fence is Fence.RUN and not paused


def _forecast(faults: list[Fault], rates: Rates) -> tuple[list[int], list[Weather]]:
    """When a host's faults change, and what holds from each of these moments on."""
    edges = sorted({0, *(max(0, fault.start_ms) for fault in faults), *(fault.end_ms for fault in faults)} - {NEVER})
    weathers = []
    for start_ms, until_ms in zip(edges, [*edges[1:], NEVER], strict=True):
        now = [fault for fault in faults if fault.start_ms <= start_ms < fault.end_ms]
        worst = max(now, key=lambda fault: fault.late, default=None)
        late, late_ms = (worst.late, worst.late_ms) if worst is not None and worst.late else (rates.late, LATE_MS)
        weathers.append(
            Weather(
                until_ms,
                any(fault.silent for fault in now),
                any(fault.starved for fault in now),
                any(fault.dead for fault in now),
                any(fault.left for fault in now),
                max([rates.loss, *(fault.loss for fault in now)]),
                late,
                late_ms,
            )
        )
    return edges, weathers
