"""A simulated audience that reacts to the scheduler: sessions poll with their TTL, CDNs get worse under load.

Every session follows real parts of the platform: it gets its CDN from `assign.rank` of the weights of its cell, keeps it for the
jittered TTL of that answer, and shows up in `CellRow`s that reach the scheduler `delay_s` later. Invented is only how a
CDN fails: a session is in trouble in a second with probability `stall_share`, plus what is lost because the CDN carries more
than it really can, plus the fault's own share. It ranks designs and proves the guarantees of a control loop; it
predicts no field numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec

from headrace.core.rand import Random
from headrace.flows.cdn.model import CellKey, CellRow, Decision, Rules
from headrace.flows.cdn.scheduler import Scheduler
from headrace.serve.assign import draw, jitter_ttl, rank
from headrace.serve.cdns import Cdn

START_MS = 1_800_000_000_000
REACTION_S = (
    1.2  # age at which a player reports a fetch in flight: within the second after the fault, 80 % have done so
)


class Fault(msgspec.Struct, frozen=True):
    """A CDN goes bad between two seconds: for `share` of its sessions, or by carrying only `carries` of its capacity.

    Args:
        cells: cells that see it; empty means all.
    """

    cdn: str
    from_s: int
    to_s: int
    share: float = 0.0
    carries: float = 1.0
    cells: tuple[CellKey, ...] = ()


class World(msgspec.Struct, frozen=True, kw_only=True):
    """A run: who watches where, over which CDNs, for how long, what goes wrong and what the scheduler gets to see.

    Args:
        audience: sessions per cell.
        stall_share: share of sessions in trouble at any moment when all is well.
        delay_s: from a beacon to its row at the scheduler.
        blind: seconds (from, to) without any row. rounds_per_s: decisions a second.
        surge: seconds to factor of the audience that is awake; the latest entry holds.
    """

    audience: Mapping[CellKey, int]
    cdns: tuple[Cdn, ...]
    seconds: int
    faults: tuple[Fault, ...] = ()
    stall_share: float = 0.005
    delay_s: int = 1
    blind: tuple[int, int] = (0, 0)
    surge: Mapping[int, float] = {}
    seed: int = 1


class Outcome(msgspec.Struct, kw_only=True):
    """What happened, per second where it is a list.

    Args:
        weights: per second, of the whole audience: mean weight by CDN.
        load: per second, sessions by CDN.
        switches: CDN changes per session.
        decisions: all that were not keep or hold; `rounds` counts all.
        moved: sum of |dw| / 2 over all decisions, averaged over cells by audience.
        stall_s: session-seconds in trouble.
    """

    weights: list[dict[str, float]]
    load: list[dict[str, int]]
    switches: list[int]
    decisions: list[Decision]
    holds: int = 0
    rounds: int = 0
    moved: float = 0.0
    stall_s: float = 0.0

    def leader_changes(self, *, after_s: int = 0, to_s: int | None = None) -> int:
        """How often another CDN came to lead the mean weights; a tie or a lead within 2 points changes nothing."""
        leader, changes = "", 0
        for weights in self.weights[after_s:to_s]:
            best = max(sorted(weights), key=lambda name: weights[name])
            if not leader:
                leader = best
            elif best != leader and weights[best] > weights[leader] + 0.02:
                leader, changes = best, changes + 1
        return changes

    def first_second(self, test: Callable[[dict[str, float]], bool], *, after_s: int) -> int | None:
        """Seconds after `after_s` until the weights first pass `test`."""
        return next((at for at, weights in enumerate(self.weights[after_s:]) if test(weights)), None)


class _Session:
    """One player: its draws, the CDN it uses and the time of its next poll."""

    __slots__ = ("answer", "cdn", "draws", "sid", "switches", "ttls")

    def __init__(self, sid: str, cdns: Sequence[Cdn]) -> None:
        self.draws = {cdn.name: draw(sid, cdn.name) for cdn in cdns}
        self.sid = sid
        self.cdn = ""
        self.ttls: dict[float, int] = {}
        self.switches = 0
        self.answer = (-1, "")

    def choose(self, version: int, weights: Mapping[str, float]) -> str:
        """The CDN that these weights give it; reckoned once per version."""
        if self.answer[0] != version:
            self.answer = (version, rank(self.draws, weights)[0])
        return self.answer[1]

    def ttl(self, ttl_s: float) -> int:
        """The jittered TTL, remembered, as it never changes."""
        if ttl_s not in self.ttls:
            self.ttls[ttl_s] = jitter_ttl(self.sid, ttl_s)
        return self.ttls[ttl_s]


class Simulation:
    """Runs one world against one set of rules."""

    def __init__(self, world: World, rules: Rules, *, random: Random) -> None:
        self.world, self.random = world, random
        self.scheduler = Scheduler(rules, cells=world.audience)
        self._sessions = {
            cell: [_Session(f"{cell}-{number}", world.cdns) for number in range(count)]
            for cell, count in world.audience.items()
        }
        self._awake: dict[CellKey, int] = dict(world.audience)
        self._counts: dict[tuple[CellKey, str], int] = {}
        self._polls: list[list[tuple[CellKey, int]]] = [[] for _ in range(world.seconds + 400)]
        self._rows: list[list[CellRow]] = [[] for _ in range(world.seconds + 60)]
        self.outcome = Outcome(weights=[], load=[], switches=[], decisions=[])

    def run(self) -> Outcome:
        """Play all seconds."""
        self._decide(0)
        for cell, sessions in self._sessions.items():
            for number in range(len(sessions)):
                self._polls[0].append((cell, number))
        for second in range(self.world.seconds):
            self._poll(second)
            self._stall(second)
            self._deliver(second)
            self._decide(second)
        self.outcome.switches = [one.switches for many in self._sessions.values() for one in many]
        return self.outcome

    def _poll(self, second: int) -> None:
        world = self.world
        factor = next((world.surge[at] for at in sorted(world.surge, reverse=True) if at <= second), 1.0)
        answers = {cell: (one.version, one.weights, one.ttl_s) for cell, one in self.scheduler.states.items()}
        for cell, number in self._polls[second]:
            session, (version, weights, ttl_s) = self._sessions[cell][number], answers[cell]
            chosen = session.choose(version, weights) if number < world.audience[cell] * factor else ""
            if chosen != session.cdn:
                self._switch(cell, session, chosen)
            ttl = session.ttl(ttl_s)
            spread = self.random.randrange(ttl) if second == 0 else ttl - 1
            self._polls[second + 1 + spread].append((cell, number))
        self._polls[second] = []

    def _switch(self, cell: CellKey, session: _Session, chosen: str) -> None:
        for cdn, change in ((session.cdn, -1), (chosen, 1)):
            if cdn:
                self._counts[cell, cdn] = self._counts.get((cell, cdn), 0) + change
        session.switches += bool(session.cdn and chosen)
        session.cdn = chosen

    def _stall(self, second: int) -> None:
        """Draw this second's troubles and write the rows that tell of them."""
        load = {
            cdn.name: sum(self._counts.get((cell, cdn.name), 0) for cell in self.world.audience)
            for cdn in self.world.cdns
        }
        self.outcome.load.append(load)
        for cell in self.world.audience:
            for cdn in self.world.cdns:
                count = self._counts.get((cell, cdn.name), 0)
                if count:
                    self._tell(second, cell, cdn, count=count, load=load[cdn.name])

    def _tell(self, second: int, cell: CellKey, cdn: Cdn, *, count: int, load: int) -> None:
        share = self._bad_share(second, cell, cdn, load)
        bad = binomial(self.random, count, share)
        self.outcome.stall_s += bad
        row = CellRow(
            sec_ms=START_MS + second * 1_000,
            region=cell.region,
            isp=cell.isp,
            cdn=cdn.name,
            sessions=count,
            stalled=bad,
            stall_starts=bad // 2,
            inflight=bad if share > self.world.stall_share else 0,
            errors=0,
        )
        blind_from, blind_to = self.world.blind
        if not blind_from <= second < blind_to:
            self._rows[second + self.world.delay_s].append(row)

    def _bad_share(self, second: int, cell: CellKey, cdn: Cdn, load: int) -> float:
        share, carries = self.world.stall_share, 1.0
        for fault in self.world.faults:
            hit = fault.cdn == cdn.name and (not fault.cells or cell in fault.cells)
            if hit and fault.from_s + 1 <= second < fault.to_s:
                told = 2 - REACTION_S if second == fault.from_s + 1 else 1.0
                share, carries = max(share, fault.share * told), min(carries, fault.carries)
        served = cdn.capacity_sessions * carries / max(load, 1)
        return min(1.0, share + max(0.0, 1 - served) * 1.5)

    def _deliver(self, second: int) -> None:
        self.scheduler.window.extend(self._rows[second], now_ms=START_MS + second * 1_000)

    def _decide(self, second: int) -> None:
        decided = self.scheduler.round(self.world.cdns, now_ms=START_MS + second * 1_000 + 500)
        total = sum(self.world.audience.values())
        mean = {cdn.name: 0.0 for cdn in self.world.cdns}
        for one in decided:
            decision = one.decision
            share = self.world.audience[decision.cell] / total
            self.outcome.moved += decision.moved * share
            self.outcome.holds += decision.action == "hold"
            self.outcome.rounds += 1
            if decision.action not in ("keep", "hold"):
                self.outcome.decisions.append(decision)
            for name, weight in decision.weights.items():
                mean[name] += weight * share
        self.outcome.weights.append(mean)


def binomial(random: Random, n: int, p: float) -> int:
    """A binomial draw: exact for small n·p, else the normal approximation."""
    if n <= 0 or p <= 0:
        return 0
    if p >= 1:
        return n
    if n * min(p, 1 - p) > 30:
        return min(n, max(0, round(random.gauss(n * p, math.sqrt(n * p * (1 - p))))))
    if p > 0.5:
        return n - binomial(random, n, 1 - p)
    count, position, rate = 0, 0.0, math.log1p(-p)
    while True:  # skip from success to success (Devroye 1986, X.4)
        position += math.floor(math.log(1 - random.random()) / rate) + 1
        if position > n:
            return count
        count += 1
