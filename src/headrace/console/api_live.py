"""HTTP of the live pages: `GET /v1/live` (server-sent events), `/v1/quality/board`, `/v1/jobs/{name}/detail`, `POST /v1/journal/marks`.

The daemon mounts it in two lines: `Litestar(route_handlers=[*live_routes, …], lifespan=[live_lifespan(home, clock=…, journal=…)])`. The
lifespan owns the hub: it starts the samplers with the application and ends all streams before the application stops. Shapes
are in `live_model`; docs/concepts/console-api.md explains them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
from litestar import Litestar, get, post
from litestar.datastructures import State
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.response import ServerSentEvent, ServerSentEventMessage

from headrace.catalog.journal import Act, Journal
from headrace.console.cells import CellReader
from headrace.console.collect_decisions import DecisionCollector
from headrace.console.collect_failures import FailureCollector
from headrace.console.collect_flink import FlinkCollector
from headrace.console.collect_journal import INCIDENT_PREFIX, JournalCollector
from headrace.console.collect_kafka import KafkaCollector
from headrace.console.collect_olap import OlapCollector
from headrace.console.collect_stack import StackCollector
from headrace.console.collect_state import StateCollector
from headrace.console.live import LiveHub, LiveOptions, Sources
from headrace.console.live_client import Interest, Message
from headrace.console.live_model import Board, JobDetail, Selection
from headrace.core.clock import Clock
from headrace.core.errors import Invalid
from headrace.core.home import Endpoints, Home

MARK_LENGTH_MAX = 200

Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Injected trouble, to be drawn on the charts: `text` in a few words, `subject` what it was done to."""

    text: str
    subject: str = ""
    actor: str = "user"


@get("/v1/live", sync_to_thread=False)
def get_live(
    state: State,
    region: FromQuery[str] = "",
    isp: FromQuery[str] = "",
    room: FromQuery[str] = "",
    job: FromQuery[str] = "",
    state_of: FromQuery[str] = "",
    failures: FromQuery[str] = "",
) -> ServerSentEvent:
    """The live channel: event `snapshot`, then `overview`, `quality`, `jobs` (and `state`, `failures`) once per sample, `heartbeat` in silence."""
    selection = Selection(region=region, isp=isp, room=room)
    interest = Interest(selection=selection, job=job, state=state_of, failures=bool(failures))
    hub: LiveHub = state.live
    return ServerSentEvent(_events(hub.stream(interest)))


@get("/v1/quality/board", sync_to_thread=False)
def get_board(state: State, region: FromQuery[str] = "", isp: FromQuery[str] = "", room: FromQuery[str] = "") -> Board:
    """The live-quality board of a selection, once."""
    hub: LiveHub = state.live
    return hub.board(Selection(region=region, isp=isp, room=room), state.live_clock.now_ms())


@get("/v1/jobs/{name:str}/detail", sync_to_thread=False)
def get_job_detail(state: State, name: FromPath[str]) -> JobDetail:
    """Vertices, checkpoints and exceptions of one job; 404 when Flink lists no such job."""
    hub: LiveHub = state.live
    return hub.detail(name)


@post("/v1/journal/marks", sync_to_thread=True, status_code=204)
def post_mark(state: State, data: JSONBody[Mark]) -> None:
    """Write injected trouble into the journal, where charts find it; used by the demo and by chaos commands."""
    if not data.text.strip() or len(data.text) > MARK_LENGTH_MAX:
        raise Invalid("text of a mark is empty or too long", context={"limit": MARK_LENGTH_MAX}, hint="a few words")
    journal: Journal = state.live_journal
    with journal.recording(Act(data.actor, INCIDENT_PREFIX, data.subject, data.text)):
        pass


live_routes: list[Any] = [get_live, get_board, get_job_detail, post_mark]


def live_lifespan(home: Home, *, clock: Clock, journal: Journal, options: LiveOptions = LiveOptions()) -> Lifespan:
    """The hub's life inside the application's."""

    @asynccontextmanager
    async def life(app: Litestar) -> AsyncIterator[None]:
        hub = LiveHub(stack_sources(home, clock=clock, journal=journal, options=options), clock=clock, options=options)
        app.state.live, app.state.live_clock, app.state.live_journal = hub, clock, journal
        await hub.start()
        try:
            yield
        finally:
            await hub.stop()

    return life


def stack_sources(home: Home, *, clock: Clock, journal: Journal, options: LiveOptions) -> Sources:
    """Collectors over the real stack of `home`; endpoints are read anew at each connection, as they may move."""

    def endpoint(pick: Callable[[Endpoints], str]) -> Callable[[], str]:
        return lambda: pick(home.load_stack().endpoints)

    return Sources(
        stack=StackCollector(home),
        kafka=KafkaCollector(endpoint(lambda one: one.kafka), clock=clock),
        flink=FlinkCollector(endpoint(lambda one: one.flink), clock=clock),
        state=StateCollector(endpoint(lambda one: one.flink), clock=clock, history_s=options.history_s),
        cells=CellReader(endpoint(lambda one: one.kafka), clock=clock, history_s=options.history_s),
        decisions=DecisionCollector(endpoint(lambda one: one.redis)),
        olap=OlapCollector(endpoint(lambda one: one.olap), clock=clock),
        journal=JournalCollector(journal.newest),
        failures=FailureCollector(home, endpoint(lambda one: one.flink), clock=clock),
    )


async def _events(messages: AsyncIterator[Message]) -> AsyncIterator[ServerSentEventMessage]:
    async for message in messages:
        yield ServerSentEventMessage(event=message.event, data=message.data)
