"""What goes wrong in the simulator: faults, how often each kind comes, and one of it at random.

An *episode* is a fault (sometimes two) with the hosts around it that matter. Kinds come as Poisson processes at their rates;
between them nothing is played, because nothing that a decision looks at would differ from one heartbeat to the next. Independent
packet loss has no beginning, so its episodes are the runs of lost heartbeats that make an observer suspicious; their rate is exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec

from headrace.core.rand import Random
from headrace.guard.hawk.options import OBSERVERS, QUORUM, HawkOptions

STEP_MS = 10
TURN_MS = 20
LEAD_MS = 300  # of quiet time before an episode; leases and views begin fresh
TAIL_MS = 2000  # after it, so that a verdict that is on its way is seen; longer limits get as much more
RACK_HOSTS = 40
OVERLAP = 0.02  # share of single-host episodes during which an observer sleeps, too; far more than chance would have
NEVER = 1 << 60
FLEET = 1000  # hosts around a single one; only their number counts
WAVE_HOSTS = 10  # restarted together in a rolling restart
NO_GOODBYE = 0.1  # of them: killed before they could say that they leave
DRIFT = 0.1  # of a clock that is broken; the limits leave a sixth (docs/decisions/hawk.md)


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """How often things happen, per host and hour unless said otherwise; chosen worse than a fleet that one would keep.

    Args:
        death: a host dies for good.
        pause: a virtual machine gets no CPU, its kernel included; log-normal, median 80 ms, sigma 1.
        starvation: the agent gets no CPU, the kernel does; exponential, mean 2 s.
        burst: 20 to 70 % of the packets are lost each way; exponential, mean 5 s.
        jitter: half of the packets come up to 300 ms late; exponential, mean 5 s.
        outage: no packet to or from the host; exponential, mean 300 ms.
        drift: the host's clock is up to 10 % too fast or too slow, during an outage as above but with mean 1 s.
        restart: a planned restart; the agent says good-bye and comes back as a new one.
        rolling_rack: per rack and hour, ten of its hosts restart within 2 s; one in ten cannot say good-bye.
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
    jitter: float = 1 / 1000
    outage: float = 1 / 100
    drift: float = 1 / 5000
    restart: float = 1 / 200
    rolling_rack: float = 1 / 720
    switch_rack: float = 1 / 720
    core: float = 1 / 720
    observer_sleep: float = 1 / 4
    loss: float = 0.005
    late: float = 0.001


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to some hosts, or to an observer, from `start_ms` to `end_ms`.

    Args:
        start_ms: in the time of the episode.
        end_ms: of it, NEVER for good.
        hosts: their numbers.
        observer: that stands still; -1 for none.
        silent: no packets at all, kernel included.
        starved: the agent alone stands still.
        loss: share of the packets that are lost, each way.
        late: share of the packets that come up to `late_ms` late.
        late_ms: see `late`.
        dead: for good.
        left: its agent said good-bye; the next one is a new incarnation.
        killed: its agent could not say good-bye; the next one is a new incarnation all the same.
    """

    start_ms: int
    end_ms: int
    hosts: frozenset[int] = frozenset()
    observer: int = -1
    silent: bool = False
    starved: bool = False
    loss: float = 0.0
    late: float = 0.0
    late_ms: int = 0
    dead: bool = False
    left: bool = False
    killed: bool = False


class Episode(msgspec.Struct, frozen=True):
    """Faults on a few of the hosts.

    Args:
        kind: as in `Rates`.
        faults: in any order.
        racks: the rack of each host that is played.
        length_ms: when to end at the latest.
        total: hosts in all, those that are well and not played included.
        clock_rate: of the played hosts' clocks, 1 for a right one.
    """

    kind: str
    faults: tuple[Fault, ...]
    racks: tuple[int, ...]
    length_ms: int
    total: int
    clock_rate: float = 1.0

    @property
    def over_ms(self) -> int:
        """When the last fault has ended; NEVER when one does not."""
        return max((fault.end_ms for fault in self.faults), default=0)


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
        "jitter": rates.jitter * hosts,
        "outage": rates.outage * hosts,
        "drift": rates.drift * hosts,
        "restart": rates.restart * hosts,
        "rolling": rates.rolling_rack * racks,
        "switch": rates.switch_rack * racks,
        "core": rates.core,
        "observer_sleep": rates.observer_sleep * OBSERVERS,
        # A run of lost heartbeats begins after one that arrived.
        "loss_run": hosts * OBSERVERS * beats_per_hour * rates.loss**run * (1 - rates.loss),
    }


def draw_episode(kind: str, hosts: int, random: Random, options: HawkOptions) -> Episode:
    """An episode of this kind at random; one host stands for each that is concerned, with others of its rack and fleet around it."""
    return _DRAWN[kind](kind, LEAD_MS + random.randrange(options.heartbeat_interval_ms), hosts, random, options)


def is_quiet(episode: Episode, options: HawkOptions) -> bool:
    """Whether nobody can become suspicious: a single silence shorter than suspicion less a heartbeat and a turn."""
    limit_ms = options.suspect_after_ms - options.heartbeat_interval_ms - 2 * TURN_MS
    return all(fault.silent and fault.end_ms - fault.start_ms < limit_ms for fault in episode.faults)


def burst(start_ms: int, length_ms: int, loss: float) -> Episode:
    """One host that loses this share of its packets each way."""
    fault = Fault(start_ms=start_ms, end_ms=start_ms + length_ms, hosts=_ONE, loss=loss)
    return _episode("burst", (fault,), (0,), FLEET)


def pause(start_ms: int, length_ms: int) -> Episode:
    """One machine that gets no CPU at all for a while, its kernel included."""
    fault = Fault(start_ms=start_ms, end_ms=start_ms + length_ms, hosts=_ONE, silent=True, starved=True)
    return _episode("pause", (fault,), (0,), FLEET)


_ONE = frozenset({0})
Draw = Callable[[str, int, int, Random, HawkOptions], Episode]


def _death(kind: str, start: int, hosts: int, random: Random, options: HawkOptions) -> Episode:
    return _single(kind, Fault(start_ms=start, end_ms=NEVER, hosts=_ONE, silent=True, dead=True), random)


def _pause(kind: str, start: int, hosts: int, random: Random, options: HawkOptions) -> Episode:
    end = start + round(80 * math.exp(random.gauss(0, 1)))
    return _single(kind, Fault(start_ms=start, end_ms=end, hosts=_ONE, silent=True, starved=True), random)


def _starvation(kind: str, start: int, hosts: int, random: Random, options: HawkOptions) -> Episode:
    return _single(kind, Fault(start_ms=start, end_ms=start + _exp(random, 2000), hosts=_ONE, starved=True), random)


def _burst(kind: str, start: int, hosts: int, random: Random, options: HawkOptions) -> Episode:
    loss = random.uniform(0.2, 0.7)
    return _single(kind, Fault(start_ms=start, end_ms=start + _exp(random, 5000), hosts=_ONE, loss=loss), random)


def _jitter(kind: str, start: int, hosts: int, random: Random, options: HawkOptions) -> Episode:
    end = start + _exp(random, 5000)
    return _single(kind, Fault(start_ms=start, end_ms=end, hosts=_ONE, late=0.5, late_ms=300), random)


def _outage(kind: str, start: int, hosts: int, random: Random, options: HawkOptions) -> Episode:
    return _single(kind, Fault(start_ms=start, end_ms=start + _exp(random, 300), hosts=_ONE, silent=True), random)


def _drift(kind: str, start: int, hosts: int, random: Random, options: HawkOptions) -> Episode:
    fault = Fault(start_ms=start, end_ms=start + _exp(random, 1000), hosts=_ONE, silent=True)
    return _episode(kind, (fault,), (0,), FLEET, clock_rate=random.uniform(1 - DRIFT, 1 + DRIFT))


def _restart(kind: str, start: int, hosts: int, random: Random, options: HawkOptions) -> Episode:
    return _single(kind, Fault(start_ms=start, end_ms=start + 5000, hosts=_ONE, left=True, starved=True), random)


def _rolling(kind: str, start: int, hosts: int, random: Random, options: HawkOptions) -> Episode:
    faults = []
    for number in range(WAVE_HOSTS):
        begin, killed = start + random.randrange(2000), random.random() < NO_GOODBYE
        end = begin + 1000 + _exp(random, 3000)
        one = frozenset({number})
        faults.append(Fault(start_ms=begin, end_ms=end, hosts=one, starved=True, left=not killed, killed=killed))
    return _episode(kind, faults, (0,) * WAVE_HOSTS, hosts)


def _observer_sleep(kind: str, start: int, hosts: int, random: Random, options: HawkOptions) -> Episode:
    fault = Fault(start_ms=start, end_ms=start + _exp(random, 1000), observer=random.randrange(OBSERVERS))
    return _episode(kind, (fault,), (0,) * RACK_HOSTS, hosts)


def _switch(kind: str, start: int, hosts: int, random: Random, options: HawkOptions) -> Episode:
    length = _exp(random, 20_000 if random.random() < 0.5 else 500)
    fault = Fault(start_ms=start, end_ms=start + length, hosts=frozenset(range(RACK_HOSTS)), silent=True)
    return _episode(kind, (fault,), (0,) * RACK_HOSTS, hosts)


def _core(kind: str, start: int, hosts: int, random: Random, options: HawkOptions) -> Episode:
    # A tenth of the fleet stands for all of it; its silence is counted against its own number.
    count = max(RACK_HOSTS, hosts // 10)
    fault = Fault(start_ms=start, end_ms=start + _exp(random, 2000), hosts=frozenset(range(count)), silent=True)
    return _episode(kind, (fault,), tuple(number // RACK_HOSTS for number in range(count)), count)


def _loss_run(kind: str, start: int, hosts: int, random: Random, options: HawkOptions) -> Episode:
    return _single(kind, Fault(start_ms=start, end_ms=start + options.suspect_after_ms, hosts=_ONE, loss=1.0), random)


_DRAWN: Mapping[str, Draw] = {
    "death": _death,
    "pause": _pause,
    "starvation": _starvation,
    "burst": _burst,
    "jitter": _jitter,
    "outage": _outage,
    "drift": _drift,
    "restart": _restart,
    "rolling": _rolling,
    "switch": _switch,
    "core": _core,
    "observer_sleep": _observer_sleep,
    "loss_run": _loss_run,
}


def _single(kind: str, fault: Fault, random: Random) -> Episode:
    faults = [fault]
    if random.random() < OVERLAP:
        start = fault.start_ms + random.randrange(-500, 500)
        faults.append(Fault(start_ms=start, end_ms=start + _exp(random, 1000), observer=random.randrange(OBSERVERS)))
    return _episode(kind, tuple(faults), (0,), FLEET)


def _episode(
    kind: str, faults: Sequence[Fault], racks: tuple[int, ...], total: int, *, clock_rate: float = 1.0
) -> Episode:
    end = max(fault.end_ms if fault.end_ms < NEVER else fault.start_ms for fault in faults)
    return Episode(kind, tuple(faults), racks, end + TAIL_MS, total, clock_rate)


def _exp(random: Random, mean_ms: float) -> int:
    return max(STEP_MS, round(random.expovariate(1 / mean_ms)))


assert QUORUM == 2, "the rate of loss_run counts runs at single observers, which convict nobody by themselves"
