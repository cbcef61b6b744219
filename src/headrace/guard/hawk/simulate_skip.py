"""The same episode as `Stage`, but time jumps to the next moment at which anything can change.

`Stage` visits every agent each 10 ms and every observer each 20 ms; nearly all of these visits change nothing. Here each host
has a *due* time per agent and per observer, never later than the first visit that would change something:

    agent     its next heartbeat, the next acknowledgement that reaches it, the next moment at which its lease can run out, a change of its faults
    observer  the next arrival, the next moment at which silence crosses a limit on the awake clock (which is never faster than time), the next probe

A visit too early does what the plain way does at that step: nothing. So due times need only be low enough, and randomness is drawn in the
same order: verdicts are the same, bit by bit (`tests/unit/guard/test_hawk_skip.py`). Votes are made when somebody needs them, from the
history of an observer's views; `decide_verdicts` is not asked while nobody has been held for dead, nor silence come near the brake, for longer
than a vote is fresh: it would have neither verdict nor memory.
"""

from __future__ import annotations

from headrace.core.rand import Random
from headrace.guard.hawk.fence import Fence, Holding
from headrace.guard.hawk.model import Ballot, Standing, View
from headrace.guard.hawk.options import QUORUM, HawkOptions
from headrace.guard.hawk.simulate_faults import NEVER, STEP_MS, TURN_MS, Episode, Rates
from headrace.guard.hawk.simulate_stage import BALLOT_MS, INDEXES, PROBE_MS, SimulatedHost, SimulatedObserver, Stage
from headrace.guard.hawk.views import Awake, advance, decide_view

RUNNING, NOTHING = Holding(), Standing()


class _Diary:
    """An observer's awake clock at each of its turns, and its views since when they have been so."""

    def __init__(self, observer: SimulatedObserver, length_ms: int, options: HawkOptions) -> None:
        self.clock: list[Awake | None] | None = None  # per turn, None while asleep; no list when it never sleeps
        self.edges_ms = [at_ms for sleep in observer.sleeps for at_ms in sleep]
        if observer.sleeps or options.awake_step_ms < TURN_MS:
            self.clock, awake = [], Awake(0, 0)
            for now_ms in range(0, length_ms + TURN_MS, TURN_MS):
                asleep = observer.asleep(now_ms)
                awake = awake if asleep else advance(awake, now_ms, options)
                self.clock.append(None if asleep else awake)
        self.calm = True  # its views hold nobody for dead, nor come near the brake
        self.views: dict[str, View] = {}
        self.history: list[tuple[int, dict[str, View], int]] = [(0, {}, 0)]

    def awake(self, now_ms: int) -> Awake | None:
        """The awake clock at a turn, None while the observer sleeps."""
        return Awake(now_ms, now_ms) if self.clock is None else self.clock[now_ms // TURN_MS]

    def cast_ms(self, now_ms: int, every_ms: int) -> int | None:
        """The last turn up to now at which it was awake and a vote was due; None when there was none."""
        at_ms = now_ms // every_ms * every_ms
        while at_ms >= 0 and self.awake(at_ms) is None:
            at_ms -= every_ms
        return at_ms if at_ms >= 0 else None

    def seen(self, at_ms: int) -> tuple[dict[str, View], int]:
        """Its views at a turn, and how many hosts it counted as convicted a short while ago."""
        for since_ms, views, convicted in reversed(self.history):
            if since_ms <= at_ms:
                return views, convicted
        raise AssertionError("history begins at 0")


class SkippingStage(Stage):
    """One episode, played with time skipped."""

    def __init__(self, episode: Episode, rates: Rates, options: HawkOptions, random: Random) -> None:
        super().__init__(episode, rates, options, random)
        self._diaries = [_Diary(observer, self.length_ms, options) for observer in self.observers]
        self._agent_due = [0] * len(self.hosts)
        self._observer_due = [[0] * len(self.hosts) for _ in INDEXES]
        self._safe_ms = [0] * len(self.hosts)  # local; until then the fence cannot change
        self._hot_until_ms = -1
        self._convicted = self._remembers = False
        self._brake_at = max(options.brake_hosts, options.brake_share * episode.total)
        edges = {edge for diary in self._diaries for edge in diary.edges_ms}
        edges |= {at_ms for fault in episode.faults for at_ms in (fault.start_ms, fault.end_ms)}
        self._edges = sorted(edge for edge in edges if 0 < edge < self.length_ms)

    def play(self) -> None:
        """Run the episode to its end, from one moment at which something can change to the next."""
        now_ms = 0
        while now_ms < self.length_ms:
            self.steps += 1
            for number, due_ms in enumerate(self._agent_due):
                if due_ms <= now_ms:
                    self._visit_agent(self.hosts[number], now_ms)
            if now_ms % TURN_MS == 0:
                self._turn(now_ms)
            if self.is_settled(now_ms):
                return
            now_ms = self._next_ms(now_ms)

    def _next_ms(self, now_ms: int) -> int:
        due_ms = min(min(self._agent_due), *(min(due) for due in self._observer_due))
        if self._is_hot(now_ms):
            due_ms = min(due_ms, now_ms // TURN_MS * TURN_MS + TURN_MS)
        elif self.doubtful_ms >= 0:
            due_ms = min(due_ms, now_ms + STEP_MS)  # the end of an episode depends on how long ago doubt was
        while self._edges and self._edges[0] <= now_ms:
            # Around a change everything is looked at, at its step and at the turn that follows.
            self._edges.pop(0)
        if self._edges and _up(self._edges[0], STEP_MS) <= due_ms:
            edge_ms = _up(self._edges[0], STEP_MS)
            self._look_at_all(edge_ms)
            due_ms = edge_ms
        return max(due_ms, now_ms + STEP_MS)

    def _look_at_all(self, at_ms: int) -> None:
        turn_ms = _up(at_ms, TURN_MS)
        self._agent_due = [min(due, at_ms) for due in self._agent_due]
        self._observer_due = [[min(due, turn_ms) for due in dues] for dues in self._observer_due]

    # --- agents ---

    def _visit_agent(self, host: SimulatedHost, now_ms: int) -> None:
        weather = host.weather(now_ms)
        number = host.number
        if weather.stands:
            self._agent_due[number] = _up(weather.until_ms, STEP_MS)
            return
        leases = host.leases
        self.agent(host, now_ms)
        if host.leases is not leases or self._safe_ms[number] == 0:
            self._safe_ms[number] = self._safe_until(host)
        for index in INDEXES:
            if host.arrivals[index]:
                self._observer_due[index][number] = min(
                    self._observer_due[index][number], self._arrival_due(host, index, now_ms, up_to_now=True)
                )
        due_ms = host.next_beat_ms
        if self._safe_ms[number] < due_ms:
            due_ms = self._safe_ms[number]
        if host.clock_rate != 1.0:
            due_ms = int(due_ms / host.clock_rate) - STEP_MS
        for when_ms, _, _ in host.answers:
            due_ms = min(due_ms, when_ms)
        self._agent_due[number] = max(_up(due_ms, STEP_MS), now_ms + STEP_MS)

    def decide_fence(self, host: SimulatedHost, local_ms: int) -> None:
        """What the TaskManagers shall do; not asked while two leases are young and nothing is remembered."""
        if local_ms >= self._safe_ms[host.number]:
            super().decide_fence(host, local_ms)
            self._safe_ms[host.number] = 0

    def _take_answers(self, host: SimulatedHost, now_ms: int) -> None:
        before = list(host.leases)
        super()._take_answers(host, now_ms)
        if host.leases != before:
            self._safe_ms[host.number] = 0

    def _be_reborn(self, host: SimulatedHost) -> None:
        super()._be_reborn(host)
        self._safe_ms[host.number] = 0

    def _safe_until(self, host: SimulatedHost) -> int:
        """Local time until which `decide_fence` says RUN and remembers nothing; 0 when that is not so now."""
        if host.fence is not Fence.RUN or host.holding != RUNNING or any(lease.convicted for lease in host.leases):
            return 0
        acked = sorted(lease.acked_ms for lease in host.leases if lease.acked_ms is not None)
        return acked[-QUORUM] + self.options.fence_after_ms if len(acked) >= QUORUM else 0

    # --- observers ---

    def _turn(self, now_ms: int) -> None:
        for index, observer in enumerate(self.observers):
            awake = self._diaries[index].awake(now_ms)
            if awake is None:
                for number, due_ms in enumerate(self._observer_due[index]):
                    if due_ms <= now_ms:
                        self.hosts[number].arrivals[index].clear()
                        self._observer_due[index][number] = NEVER  # the end of the sleep is an edge
                continue
            observer.awake = awake
            self._visit_observer(index, observer, now_ms)
        if not self._is_hot(now_ms):
            return
        for index, observer in enumerate(self.observers):
            if self._diaries[index].awake(now_ms) is not None:
                self.decide(observer, self._ballots(index, now_ms), now_ms)
        self._convicted = self._convicted or any(host.verdict_ms is not None for host in self.hosts)
        self._remembers = any(observer.standing != NOTHING for observer in self.observers)

    def _is_hot(self, now_ms: int) -> bool:
        return now_ms <= self._hot_until_ms or self._remembers

    def _visit_observer(self, index: int, observer: SimulatedObserver, now_ms: int) -> None:
        diary, dues = self._diaries[index], self._observer_due[index]
        if diary.calm and not self._convicted and min(dues) > now_ms:
            return
        changed = False
        for number, due_ms in enumerate(dues):
            if due_ms > now_ms and not self._convicted:
                continue
            host = self.hosts[number]
            answers = len(host.answers)
            view = self.judge(index, observer, host, now_ms)
            if view is not diary.views.get(host.name, View.ALIVE):
                changed = True
                if view is View.ALIVE:
                    del diary.views[host.name]
                else:
                    diary.views[host.name] = view
            if len(host.answers) > answers:
                self._wake_agent(host, min(when_ms for when_ms, _, _ in host.answers[answers:]), now_ms)
            dues[number] = self._judge_due(host, index, observer, view, now_ms)
        if changed or self._convicted:
            diary.history.append((now_ms, *self._split(diary.views, now_ms)))
        views, convicted = diary.history[-1][1:]
        dead = View.DEAD in views.values()
        if dead:
            self.doubtful_ms = now_ms
        diary.calm = not dead and len(views) + convicted <= self._brake_at
        if not diary.calm:
            self._hot_until_ms = now_ms + self.options.ballot_fresh_ms + 2 * BALLOT_MS

    def _wake_agent(self, host: SimulatedHost, when_ms: int, now_ms: int) -> None:
        if host.weather(now_ms).stands:
            return  # it reads when it goes on, which is an edge
        when_ms = max(_up(when_ms, STEP_MS), now_ms + STEP_MS)
        self._agent_due[host.number] = min(self._agent_due[host.number], when_ms)

    def _split(self, views: dict[str, View], now_ms: int) -> tuple[dict[str, View], int]:
        """The views to vote with, and how many hosts were convicted a short while ago."""
        if not self._convicted:
            return dict(views), 0
        verdicts = {name: self.by_name[name].verdict_ms for name in views}
        window_ms = self.options.brake_window_ms
        recent = sum(at_ms is not None and now_ms - at_ms <= window_ms for at_ms in verdicts.values())
        return {name: view for name, view in views.items() if verdicts[name] is None}, recent

    def _judge_due(self, host: SimulatedHost, index: int, observer: SimulatedObserver, view: View, now_ms: int) -> int:
        """The first turn at which judging this host again can make a difference."""
        if self._convicted:
            return now_ms + TURN_MS
        due_ms = self._arrival_due(host, index, now_ms) if host.arrivals[index] else NEVER
        if host.known[index]:
            evidence, awake_ms = host.evidence[index], observer.awake.awake_ms
            suspect_ms, dead_ms = self.options.suspect_after_ms, self.options.dead_after_ms
            if view is View.ALIVE:
                left_ms = evidence.heartbeat_ms + suspect_ms - awake_ms
            else:
                heard_ms = max(evidence.heartbeat_ms, evidence.kernel_ms)
                limits = (evidence.heartbeat_ms + dead_ms, heard_ms + suspect_ms, heard_ms + dead_ms)
                left_ms = min((limit - awake_ms for limit in limits if limit > awake_ms), default=NEVER)
                left_ms = min(left_ms, host.probed_ms[index] + PROBE_MS - now_ms)
                if evidence.kernel_ms == awake_ms and decide_view(evidence, awake_ms, self.options) is not view:
                    left_ms = 0  # its kernel answered after it had been judged: look again
            due_ms = min(due_ms, _up(now_ms + left_ms, TURN_MS))
        return max(due_ms, now_ms + TURN_MS)

    def _arrival_due(self, host: SimulatedHost, index: int, now_ms: int, *, up_to_now: bool = False) -> int:
        """The turn at which the observer reads what is on its way; the next one when it may sleep, for then all of it is lost."""
        if self._diaries[index].clock is not None:
            return _up(now_ms, TURN_MS) if up_to_now else now_ms + TURN_MS
        return _up(min(when_ms for when_ms, _ in host.arrivals[index]), TURN_MS)

    def _ballots(self, index: int, now_ms: int) -> list[Ballot]:
        """The votes that an observer has at a turn: its own of now, its peers' newest."""
        found = []
        for number, diary in enumerate(self._diaries):
            at_ms = diary.cast_ms(now_ms, TURN_MS if number == index else BALLOT_MS)
            if at_ms is not None:
                found.append(self.cast(self.observers[number], *diary.seen(at_ms), at_ms))
        return found


def _up(value_ms: int, step_ms: int) -> int:
    """The first multiple of `step_ms` that is not before."""
    return -(-value_ms // step_ms) * step_ms
