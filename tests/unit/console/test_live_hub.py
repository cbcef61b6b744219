"""The hub and its HTTP face over fake sources: one dead store never breaks the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient
from tests.waiting import wait_until

from headrace.catalog.journal import JournalEntry
from headrace.console import live_model as m
from headrace.console.api_live import live_routes
from headrace.console.cells import CellBook, CellRow
from headrace.console.collect_decisions import Decided
from headrace.console.collect_journal import render_event
from headrace.console.collect_olap import OlapFacts
from headrace.console.failure_model import Failure, Failures, FailuresTick
from headrace.console.live import LiveHub, Sources
from headrace.console.live_client import CLIENT_QUEUE, Client, Interest, Message
from headrace.core.clock import SystemClock
from headrace.core.errors import Unavailable
from headrace.core.home import Endpoints
from headrace.serve.decisions import SteerRecord
from headrace.stack.messages import ProcessStatus, StackStatus
from headrace.testing.fakes import FakeClock

NOW = 1_800_000_000_000
ENDPOINTS = Endpoints(**{field.name: "" for field in msgspec.structs.fields(Endpoints)})


FAILURE = Failure(id="f", source="observed", what="host_lost", host="h1", moments={"verdict": NOW - 60_000})


class FakeSource:
    """A collector over a value; `dead` makes it fail."""

    def __init__(self, name: str, value: Any) -> None:
        self.name = name
        self.value = value
        self.dead = False
        self.wanted: frozenset[str] = frozenset()

    def collect(self) -> Any:
        """The value, or the failure."""
        if self.dead:
            raise Unavailable(f"{self.name} does not answer")
        return self.value

    def close(self) -> None:
        """Nothing."""


def entry(action: str, **changes: Any) -> JournalEntry:
    """A journal entry."""
    base = {
        "id": 1,
        "at_ms": NOW - 5000,
        "actor": "demo",
        "action": action,
        "target": "A",
        "cause": "CDN A degraded",
        "expected": "",
        "measured": "",
        "outcome": "done",
        "ended_at_ms": NOW,
    }
    return JournalEntry(**{**base, **changes})


def state_of_cells() -> m.JobState:
    """The state of the one job, with ten seconds of history."""
    operator = m.OperatorState(id="v.agg", vertex="v", vertex_name="Agg", name="agg", parallelism=1, record_bytes=9)
    history = m.Series([NOW - 9000, NOW - 1000], {"packed_bytes_per_s:v.agg": [1.0, 2.0]})
    return m.JobState(at_ms=NOW, job="cells", id="j", state="RUNNING", operators=[operator], history=history)


def fake_sources() -> Sources:
    """A stack in which everything answers."""
    book = CellBook(history_s=600)
    for age_s in range(5):
        for cdn, sessions in (("A", 70), ("B", 30)):
            book.add(CellRow(NOW - age_s * 1000, "north", "telecom", cdn, sessions, 7 if cdn == "A" else 0), now_ms=NOW)
    process = ProcessStatus(
        name="kafka", state="ready", pid=7, started_at_ms=NOW - 60_000, cpu_percent=20.0, rss_bytes=1 << 20, restarts=1
    )
    stack = StackStatus(
        home="h",
        supervisor_pid=1,
        started_at_ms=NOW - 60_000,
        at_ms=NOW,
        ready=True,
        processes=(process,),
        endpoints=ENDPOINTS,
    )
    record = SteerRecord(version=3, ts_ms=NOW, weights={"A": 0.7, "B": 0.3}, ttl_s=10, last_input_ts_ms=NOW - 1200)
    job = m.JobDetail(at_ms=NOW, job=m.JobRow(id="j", name="cells", state="RUNNING", records_in_per_s=5000.0))
    decision = m.Decision(at_ms=NOW, region="north", isp="telecom", weights={"A": 0.7, "B": 0.3}, reason="init")
    return Sources(
        stack=FakeSource("supervisor", stack), kafka=FakeSource("kafka", [m.Topic(name="ods.cmcd_raw", partitions=4, records=9, rate_records_per_s=3.0)]),
        flink=FakeSource("flink", [job]), state=FakeSource("flink", {"cells": state_of_cells()}), cells=FakeSource("cells", book), decisions=FakeSource("redis", Decided([("north", "telecom", record)], [1200.0])),
        olap=FakeSource("olap", OlapFacts([], [decision])), journal=FakeSource("journal", [entry("incident.injected"), entry("job.deploy")]), failures=FakeSource("failures", Failures(at_ms=NOW, failures=[FAILURE])),
    )  # fmt: skip


async def sample_all(hub: LiveHub) -> None:
    """Let every sampler ask once."""
    await asyncio.gather(*(sampler.sample(hub._pool) for sampler in hub._all_samplers()))


def hub_of(sources: Sources) -> LiveHub:
    """A hub that is driven by hand."""
    return LiveHub(sources, clock=FakeClock(NOW))


def test_everything_answers() -> None:
    """With all sources alive, the snapshot holds their figures and no dash."""
    hub = hub_of(fake_sources())
    asyncio.run(sample_all(hub))
    hub.tick()
    snapshot = hub.snapshot(Interest(job="cells"))
    assert [reach.state for reach in snapshot.overview.sources] == ["ok"] * 7
    process = snapshot.overview.processes[0]
    assert (process.name, process.cpu_ratio, process.uptime_ms, process.restarts) == ("kafka", 0.2, 60_000, 1)
    assert (snapshot.overview.latency.p50_ms, snapshot.overview.latency.cells) == (1200.0, 1)
    assert [(c.cdn, c.sessions, c.weight) for c in snapshot.quality.cdns] == [("A", 70, 0.7), ("B", 30, 0.3)]
    assert snapshot.quality.stall_share == 0.07
    assert [e.text for e in snapshot.quality.incidents] == ["CDN A degraded"]
    assert snapshot.jobs.detail is not None
    assert snapshot.overview_history.values["rate:ods.cmcd_raw"] == [3.0]
    assert snapshot.quality_history.values["weight:A"][-1] == 0.7


@pytest.mark.parametrize("dead", ["stack", "kafka", "flink", "cells", "decisions", "olap", "journal"])
def test_one_dead_source_changes_only_its_own_figures(dead: str) -> None:
    """Whichever source is dead from the start, all others show their figures, and the page says which one is gone."""
    sources = fake_sources()
    source = getattr(sources, dead)
    source.dead = True
    hub = hub_of(sources)
    asyncio.run(sample_all(hub))
    hub.tick()
    snapshot = hub.snapshot(Interest())
    states = {reach.name: reach.state for reach in snapshot.overview.sources}
    assert states.pop(source.name) == "unreachable"
    assert set(states.values()) == {"ok"}
    shown = {
        "stack": bool(snapshot.overview.processes), "kafka": bool(snapshot.overview.topics), "flink": bool(snapshot.overview.jobs),
        "cells": snapshot.quality.sessions is not None, "decisions": bool(snapshot.quality.steers), "olap": bool(snapshot.quality.decisions), "journal": bool(snapshot.overview.events),
    }  # fmt: skip
    assert shown == {name: name != dead for name in shown}


def test_a_source_that_dies_leaves_a_gap_in_its_chart_and_its_last_figures() -> None:
    """After a source dies its last figures stay on the page, while its chart gets no more points."""
    sources = fake_sources()
    hub = hub_of(sources)
    asyncio.run(sample_all(hub))
    hub.tick()
    sources.kafka.dead = True  # type: ignore[attr-defined]
    hub._clock.advance(1)  # type: ignore[attr-defined]
    asyncio.run(sample_all(hub))
    hub.tick()
    snapshot = hub.snapshot(Interest())
    assert snapshot.overview.topics[0].rate_records_per_s == 3.0
    assert snapshot.overview_history.values["rate:ods.cmcd_raw"] == [3.0, None]


def test_slow_page_is_dropped_and_others_are_not() -> None:
    """A page that drains nothing loses its stream when its queue is full; a page that reads goes on."""

    async def story() -> None:
        hub = hub_of(fake_sources())
        slow, quick = hub.stream(Interest()), hub.stream(Interest())
        assert (await anext(slow)).event == "snapshot"
        assert (await anext(quick)).event == "snapshot"
        for _ in range(CLIENT_QUEUE // 3 + 1):
            hub.tick()
            assert [(await anext(quick)).event for _ in range(3)] == ["overview", "quality", "jobs"]
        assert [message async for message in slow] == []
        assert len(hub._clients) == 1
        await hub.stop()
        assert [message async for message in quick] == []
        assert not hub._clients

    asyncio.run(story())


def test_messages_are_made_once_for_all_pages_alike() -> None:
    """Two pages with the same interest get the very same message; another selection gets its own."""
    hub = hub_of(fake_sources())
    asyncio.run(sample_all(hub))
    pages = [Client(Interest()), Client(Interest()), Client(Interest(selection=m.Selection(region="south")))]
    hub._clients.update(pages)
    hub.tick()
    first, second, other = ([page.queue.get_nowait() for _ in range(3)] for page in pages)
    assert all(a is b for a, b in zip(first, second, strict=True))
    assert isinstance(other[1], Message)
    board = msgspec.json.decode(other[1].data, type=m.QualityTick).state
    assert (board.selection.region, board.sessions) == ("south", None)


def test_histories_stay_within_the_configured_time() -> None:
    """However long it runs, history has no more points than history_s / sample_ms."""
    hub = hub_of(fake_sources())
    asyncio.run(sample_all(hub))
    for _ in range(650):
        hub.tick()
        hub._clock.advance(1)  # type: ignore[attr-defined]
    assert (len(hub._history), len(hub._weights)) == (600, 600)


def test_state_is_sent_to_pages_that_show_it_and_to_no_other() -> None:
    """A state page gets a fourth message whose tail is the last seconds of history; other pages get three, and their jobs are not asked for."""
    hub = hub_of(fake_sources())
    asyncio.run(sample_all(hub))
    pages = [Client(Interest()), Client(Interest(state="cells")), Client(Interest(state="nonsense"))]
    hub._clients.update(pages)
    hub._look_where_pages_look()
    assert hub._states.wanted == {"cells", "nonsense"}
    hub.tick()
    plain, shown, unknown = ([page.queue.get_nowait() for _ in range(page.queue.qsize())] for page in pages)
    assert [message.event for message in plain] == ["overview", "quality", "jobs"]
    assert shown[3].event == "state"
    tick = msgspec.json.decode(shown[3].data, type=m.StateTick)
    assert tick.state is not None
    assert (tick.state.operators[0].record_bytes, tick.state.history.at_ms, tick.state.sources[0].state) == (
        9,
        [],
        "ok",
    )
    assert (tick.tail.at_ms, tick.tail.values) == ([NOW - 1000], {"packed_bytes_per_s:v.agg": [2.0]})
    assert msgspec.json.decode(unknown[3].data, type=m.StateTick).state is None
    snapshot = hub.snapshot(Interest(state="cells"))
    assert snapshot.state_history.values["packed_bytes_per_s:v.agg"] == [1.0, 2.0]


def test_state_that_cannot_be_asked_for_stays_with_its_age() -> None:
    """When the JobManager dies, a state page keeps the last figures and says since when they are old; the rest goes on."""
    sources = fake_sources()
    hub = hub_of(sources)
    asyncio.run(sample_all(hub))
    sources.state.dead = True  # type: ignore[attr-defined]
    asyncio.run(sample_all(hub))
    snapshot = hub.snapshot(Interest(state="cells"))
    assert snapshot.state is not None
    assert (snapshot.state.operators[0].record_bytes, snapshot.state.sources[0].state) == (9, "unreachable")
    assert [reach.state for reach in snapshot.overview.sources] == ["ok"] * 7


def test_failures_go_only_to_pages_that_show_them() -> None:
    """They are collected while such a page is open, and sent to it with the reach of their logs."""
    sources = fake_sources()
    hub = hub_of(sources)
    asyncio.run(sample_all(hub))
    pages = [Client(Interest()), Client(Interest(failures=True))]
    hub._clients.update(pages)
    hub._look_where_pages_look()
    assert sources.failures.wanted is True
    hub.tick()
    assert [pages[0].queue.qsize(), pages[1].queue.qsize()] == [3, 4]
    message = [pages[1].queue.get_nowait() for _ in range(4)][-1]
    assert message is not None
    assert message.event == "failures"
    tick = msgspec.json.decode(message.data, type=FailuresTick)
    assert tick.state is not None
    assert (tick.state.failures, tick.state.sources[0].state) == ([FAILURE], "ok")
    hub._clients.clear()
    hub._look_where_pages_look()
    assert sources.failures.wanted is False


def test_failed_actions_are_shown_as_errors() -> None:
    """A failed action is an error line with its reason; an incident mark shows its few words only."""
    failed = render_event(entry("job.deploy", outcome="failed", measured="no slots", cause=""))
    assert (failed.severity, failed.text, failed.incident) == ("error", "A · no slots", False)
    assert render_event(entry("incident")).text == "CDN A degraded"


def app_of(hub: LiveHub) -> Litestar:
    """A small application around a hub that runs by itself."""

    @asynccontextmanager
    async def life(app: Litestar) -> AsyncIterator[None]:
        app.state.live, app.state.live_clock = hub, hub._clock
        await hub.start()
        yield
        await hub.stop()

    return Litestar(route_handlers=live_routes, lifespan=[life], openapi_config=None)


def test_board_over_http_is_what_the_hub_holds() -> None:
    """The JSON of the board and of a job decodes into the model, and holds what the sources said."""
    hub = LiveHub(fake_sources(), clock=SystemClock())
    with TestClient(app_of(hub), raise_server_exceptions=False) as http:
        board = msgspec.json.decode(http.get("/v1/quality/board?region=north").content, type=m.Board)
        assert board.selection.region == "north"
        answer = wait_until(
            lambda: (got := http.get("/v1/jobs/cells/detail")).status_code == 200 and got, timeout_s=10, what="job"
        )
        assert msgspec.json.decode(answer.content, type=m.JobDetail).job.name == "cells"  # type: ignore[union-attr]
        assert http.get("/v1/jobs/unknown/detail").status_code != 200
