"""The live hub: one sampler per source, two histories, and what every connected page is sent.

Once per `sample-ms` the hub reads what the samplers hold (it never waits for one), writes a point into its histories, and builds the
ticks once per distinct interest (selection, job, job whose state is shown, failures), however many pages share it. Each page has a queue of
`CLIENT_QUEUE` messages; a page that does not drain it is dropped and comes back by itself with a fresh snapshot.

Invariants: memory is bounded by the rings, the cell book and the queues; a source that fails or hangs changes only its own figures
and its `Reach`; nothing here writes to any store.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Protocol

import msgspec

from headrace.catalog.journal import JournalEntry
from headrace.console import live_model as m
from headrace.console.board import Known, build_board, quality_series
from headrace.console.cells import CellBook
from headrace.console.collect_decisions import Decided, render_latency, render_steers
from headrace.console.collect_journal import render_event
from headrace.console.collect_olap import OlapFacts
from headrace.console.collect_stack import render_process
from headrace.console.collect_state import tail_of
from headrace.console.failure_model import Failures, FailuresTick
from headrace.console.live_client import CLIENT_QUEUE, Client, Interest, Message, next_message
from headrace.console.ring import Ring
from headrace.console.sampler import Collector, Sampler
from headrace.core.clock import Clock
from headrace.core.config import Options, option, options
from headrace.core.errors import NotFound, Throttled
from headrace.core.log import get_logger
from headrace.stack.messages import StackStatus

log = get_logger("headrace.console.live")

CLIENTS_MAX = 200  # pages; each costs one queue and one socket
TAIL_MS = 6_000  # late beacons correct a second for about 5 s (watermark delay of the tables)


@options("console.live")
class LiveOptions(Options, frozen=True):
    """How the console samples and what it remembers."""

    sample_ms: Annotated[
        int,
        option(
            "how often pages are updated; shorter is livelier and asks the stores more often",
            unit="ms",
            ge=100,
            le=10_000,
        ),
    ] = 1000
    history_s: Annotated[
        int, option("how far charts reach back; longer costs memory, about 1 MB per 10 min", unit="s", ge=60, le=3600)
    ] = 600


class JobCollector(Collector[list[m.JobDetail]], Protocol):
    """A collector of jobs that looks most closely at those a page shows."""

    wanted: frozenset[str]


class StateSource(Collector[dict[str, m.JobState]], Protocol):
    """A collector of jobs' state that looks only where a page does."""

    wanted: frozenset[str]


class FailureSource(Collector[Failures | None], Protocol):
    """A collector of failures that reads only while a page shows them."""

    wanted: bool


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """The collectors of one stack."""

    stack: Collector[StackStatus]
    kafka: Collector[list[m.Topic]]
    flink: JobCollector
    state: StateSource
    cells: Collector[CellBook]
    decisions: Collector[Decided]
    olap: Collector[OlapFacts]
    journal: Collector[Sequence[JournalEntry]]
    failures: FailureSource

    def all(self) -> tuple[Collector[Any], ...]:
        """In the order of the page."""
        return (self.stack, self.kafka, self.flink, self.cells, self.decisions, self.olap, self.journal, self.state,
                self.failures)  # fmt: skip


class LiveHub:
    """Samples, remembers and publishes."""

    def __init__(self, sources: Sources, *, clock: Clock, options: LiveOptions = LiveOptions()) -> None:
        self.options = options
        self._clock = clock
        self._jobs = sources.flink
        self._states = sources.state
        self._failures = sources.failures
        period_s = options.sample_ms / 1000
        self.stack = Sampler(sources.stack, clock=clock, period_s=period_s)
        self.kafka = Sampler(sources.kafka, clock=clock, period_s=period_s)
        self.flink = Sampler(sources.flink, clock=clock, period_s=period_s)
        self.cells = Sampler(sources.cells, clock=clock, period_s=period_s / 2)
        self.decisions = Sampler(sources.decisions, clock=clock, period_s=period_s)
        self.olap = Sampler(sources.olap, clock=clock, period_s=period_s)
        self.journal = Sampler(sources.journal, clock=clock, period_s=period_s)
        self._samplers: tuple[Sampler[Any], ...] = (
            self.stack, self.kafka, self.flink, self.cells, self.decisions, self.olap, self.journal,
        )  # fmt: skip
        # Flink takes figures from its TaskManagers once a second; half as often is as good to the eye and costs half.
        self.state = Sampler(sources.state, clock=clock, period_s=2 * period_s)
        self.failures = Sampler(sources.failures, clock=clock, period_s=period_s)
        points = options.history_s * 1000 // options.sample_ms
        self._history = Ring(points)
        self._weights = Ring(points)
        self._clients: set[Client] = set()
        self._ending = False
        self._pool = ThreadPoolExecutor(len(self._samplers) + 2, thread_name_prefix="console-sampler")
        self._tasks: list[asyncio.Task[None]] = []

    def _all_samplers(self) -> tuple[Sampler[Any], ...]:
        return (*self._samplers, self.state, self.failures)

    async def start(self) -> None:
        """Begin to sample and publish in the running event loop."""
        self._tasks = [asyncio.create_task(sampler.run(self._pool)) for sampler in self._all_samplers()]
        self._tasks.append(asyncio.create_task(self._publish_forever()))

    async def stop(self) -> None:
        """End all streams and samplers; a call that hangs is left to its time-out."""
        self.end_streams()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def end_streams(self) -> None:
        """End the streams of all pages, and refuse new ones."""
        self._ending = True
        for client in self._clients:
            client.drop()

    async def stream(self, interest: Interest) -> AsyncIterator[Message]:
        """The messages of one page: a snapshot, then ticks; ends when the page is dropped or the hub stops.

        Raises:
            Throttled: too many pages are connected.
        """
        if self._ending:
            return
        if len(self._clients) >= CLIENTS_MAX:
            raise Throttled("too many console pages are open", context={"limit": CLIENTS_MAX}, hint="close some tabs")
        client = Client(interest)
        snapshot = Message("snapshot", _encode(self.snapshot(interest)))
        self._clients.add(client)
        self._look_where_pages_look()
        try:
            yield snapshot
            while (message := await next_message(client.queue)) is not None:
                yield message
        finally:
            self._clients.discard(client)
            self._look_where_pages_look()

    def _look_where_pages_look(self) -> None:
        self._jobs.wanted = frozenset(client.interest.job for client in self._clients)
        self._states.wanted = frozenset(client.interest.state for client in self._clients if client.interest.state)
        self._failures.wanted = any(client.interest.failures for client in self._clients)

    async def _publish_forever(self) -> None:
        period_s = self.options.sample_ms / 1000
        due_s = self._clock.monotonic_s()
        while True:
            try:
                self.tick()
            except Exception as error:  # the loop's top: one bad value must not stop all pages
                log.error("tick_failed", exc=error)
            due_s = max(due_s + period_s, self._clock.monotonic_s())
            await self._clock.sleep_async(due_s - self._clock.monotonic_s())

    def tick(self) -> None:
        """Write one point into the histories and send every page what it wants."""
        now_ms = self._clock.now_ms()
        at_ms = now_ms // self.options.sample_ms * self.options.sample_ms
        self._history.put(at_ms, self._overview_point())
        self._weights.put(now_ms // 1000 * 1000, self._weight_point())
        made: dict[Interest, list[Message]] = {}
        for client in list(self._clients):
            if client.interest not in made:
                made[client.interest] = self._messages(client.interest, now_ms)
            if not client.offer(made[client.interest]):
                self._clients.discard(client)
                log.warning("slow_page_dropped", queued=CLIENT_QUEUE)

    def _messages(self, interest: Interest, now_ms: int) -> list[Message]:
        since_ms = now_ms - TAIL_MS
        overview = m.OverviewTick(
            self.overview(now_ms), self._history.series(since_ms=now_ms - 3 * self.options.sample_ms)
        )
        quality = m.QualityTick(self.board(interest.selection, now_ms), self._quality(interest, since_ms))
        messages = [
            Message("overview", _encode(overview)),
            Message("quality", _encode(quality)),
            Message("jobs", _encode(m.JobsTick(self.jobs(interest.job, now_ms)))),
        ]
        if interest.state:
            state, tail = self.state_of(interest.state, since_ms=since_ms)
            messages.append(Message("state", _encode(m.StateTick(state, tail))))
        if interest.failures:
            messages.append(Message("failures", _encode(FailuresTick(self.failures_now()))))
        return messages

    def snapshot(self, interest: Interest) -> m.Snapshot:
        """Everything now, with history."""
        now_ms = self._clock.now_ms()
        since_ms = now_ms - self.options.history_s * 1000
        state, state_history = self.state_of(interest.state, since_ms=since_ms)
        return m.Snapshot(
            at_ms=now_ms,
            sample_ms=self.options.sample_ms,
            history_s=self.options.history_s,
            overview=self.overview(now_ms),
            quality=self.board(interest.selection, now_ms),
            jobs=self.jobs(interest.job, now_ms),
            overview_history=self._history.series(since_ms=since_ms),
            quality_history=self._quality(interest, since_ms),
            state=state,
            state_history=state_history,
        )

    def overview(self, now_ms: int) -> m.Overview:
        """The overview now."""
        stack = self.stack.value
        decided = self.decisions.value
        return m.Overview(
            at_ms=now_ms,
            home=stack.home if stack else "",
            started_at_ms=stack.started_at_ms if stack else None,
            sources=[sampler.reach for sampler in self._samplers],
            processes=[render_process(one, now_ms=now_ms) for one in stack.processes] if stack else [],
            topics=self.kafka.value or [],
            jobs=[detail.job for detail in self._job_details()],
            latency=render_latency(decided) if decided else m.Latency(),
            events=[render_event(entry) for entry in self.journal.value or []],
        )

    def board(self, selection: m.Selection, now_ms: int) -> m.Board:
        """The board of a selection now."""
        facts = self.olap.value
        events = [render_event(entry) for entry in self.journal.value or []]
        known = Known(
            book=self.cells.value,
            steers=render_steers(self.decisions.value or Decided()),
            minutes=facts.minutes if facts else (),
            decisions=facts.decisions if facts else (),
            incidents=[event for event in events if event.incident],
            sources=[self.cells.reach, self.decisions.reach, self.olap.reach],
        )
        return build_board(known, selection, now_ms=now_ms)

    def jobs(self, name: str, now_ms: int) -> m.Jobs:
        """All jobs, with the detail of `name` if it exists."""
        details = self._job_details()
        found = next((detail for detail in details if name and detail.job.name == name), None)
        return m.Jobs(at_ms=now_ms, jobs=[detail.job for detail in details], detail=self._with_source(found))

    def state_of(self, name: str, *, since_ms: int) -> tuple[m.JobState | None, m.Series]:
        """The state of a job as last collected, without its history, and the history; None before it was looked at."""
        found = (self.state.value or {}).get(name)
        if found is None:
            return None, m.Series([], {})
        bare = msgspec.structs.replace(found, history=m.Series([], {}), sources=[self.state.reach])
        return bare, tail_of(found, since_ms=since_ms)

    def failures_now(self) -> Failures | None:
        """All failures as last collected; None before a page asked for them."""
        found = self.failures.value
        return None if found is None else msgspec.structs.replace(found, sources=[self.failures.reach])

    def _job_details(self) -> list[m.JobDetail]:
        """One attempt of each job: the running one, else the newest (the order in which they were collected)."""
        first: dict[str, m.JobDetail] = {}
        for detail in self.flink.value or []:
            first.setdefault(detail.job.name, detail)
        return list(first.values())

    def detail(self, name: str) -> m.JobDetail:
        """The detail of one job.

        Raises:
            NotFound: Flink lists no such job.
        """
        found = self.jobs(name, self._clock.now_ms()).detail
        if found is None:
            raise NotFound("no such job", context={"job": name}, hint="`headrace job list` shows all")
        return found

    def _with_source(self, detail: m.JobDetail | None) -> m.JobDetail | None:
        return None if detail is None else msgspec.structs.replace(detail, sources=[self.flink.reach])

    def _quality(self, interest: Interest, since_ms: int) -> m.Series:
        return quality_series(
            self.cells.value, interest.selection, self._weights.series(since_ms=since_ms), since_ms=since_ms
        )

    def _overview_point(self) -> dict[str, float | None]:
        """What charts of the overview draw; a source that does not answer leaves a gap instead of its last value."""
        point: dict[str, float | None] = {}
        if self.kafka.reach.state == "ok":
            for topic in self.kafka.value or []:
                point[f"rate:{topic.name}"] = topic.rate_records_per_s
                point[f"lag:{topic.name}"] = topic.lag_records
        if self.flink.reach.state == "ok":
            for detail in self._job_details():
                if detail.job.records_in_per_s is not None:
                    point[f"job:{detail.job.name}"] = detail.job.records_in_per_s
        if self.decisions.reach.state == "ok" and self.decisions.value:
            latency = render_latency(self.decisions.value)
            point["latency_p50_ms"], point["latency_p99_ms"] = latency.p50_ms, latency.p99_ms
        if self.stack.reach.state == "ok" and self.stack.value:
            point["cpu_ratio"] = sum(one.cpu_percent for one in self.stack.value.processes) / 100
        return point

    def _weight_point(self) -> dict[str, float | None]:
        if self.decisions.reach.state != "ok":
            return {}
        return {
            f"weight:{region}|{isp}|{cdn}": weight
            for region, isp, record in (self.decisions.value or Decided()).records
            for cdn, weight in record.weights.items()
        }


def _encode(value: object) -> str:
    return msgspec.json.encode(value).decode()
