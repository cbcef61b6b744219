"""Collectors over fakes of their stores: right figures, clear failures, nothing taken on trust."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from confluent_kafka import Producer
from litestar import Litestar
from tests.unit.console.test_live_hub import fake_sources
from tests.waiting import wait_until

from headrace.console.api_live import live_routes
from headrace.console.cells import TOPIC, CellReader
from headrace.console.collect_decisions import Decided, DecisionCollector, measure, render_latency, render_steers
from headrace.console.collect_flink import FlinkCollector, render_vertex
from headrace.console.collect_kafka import KafkaCollector, Offsets, render_topics
from headrace.console.collect_olap import OlapCollector
from headrace.console.collect_stack import render_process
from headrace.console.live import LiveHub
from headrace.console.live_server import LiveServer
from headrace.core.clock import SystemClock
from headrace.core.errors import Internal, NotFound, Unavailable
from headrace.flink.rest import FlinkRest, Vertex, VertexLoad
from headrace.serve.decisions import SteerRecord
from headrace.stack.messages import ProcessStatus
from headrace.testing.fakes import FakeClock

NOW = 1_800_000_000_000
DEAD = "127.0.0.1:1"  # nothing listens on port 1


def rounds(*growth: int, step_s: float = 1.0) -> list[Offsets]:
    """Rounds in which partition 0 of `t` ends at each offset."""
    return [
        Offsets(
            at_s=i * step_s,
            first={("t", 0): 10},
            last={("t", 0): end},
            committed={"job": {("t", 0): 90}, "idle": {("t", 0): 60}},
        )
        for i, end in enumerate(growth)
    ]


def test_topic_rates_are_over_three_seconds() -> None:
    """A rate is the growth over the last seconds, not since the start; the first round has none."""
    assert render_topics(rounds(100))[0].rate_records_per_s is None
    topic = render_topics(rounds(100, 1000, 1100, 1200, 1300))[0]
    assert (topic.rate_records_per_s, topic.records) == (100.0, 1290)


def test_topic_lag_is_that_of_the_slowest_reader() -> None:
    """Of several consumer groups the page shows the one that is furthest behind; a topic without readers has no lag."""
    topic = render_topics(rounds(100))[0]
    assert (topic.lag_records, topic.lag_group) == (40, "idle")
    alone = render_topics([Offsets(at_s=0, first={}, last={("t", 0): 5}, committed={})])[0]
    assert alone.lag_records is None


@pytest.fixture(scope="module")
def broker() -> Iterator[tuple[str, Producer]]:
    """The mock broker of librdkafka, with its address."""
    producer = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    address = next(iter(producer.list_topics(timeout=10).brokers.values()))
    yield f"{address.host}:{address.port}", producer
    producer.flush(5)


def test_cells_are_read_from_the_topic_without_a_group(broker: tuple[str, Producer]) -> None:
    """Rows arrive as they are written; tombstones, rubbish and cells without a CDN are passed over."""
    address, producer = broker
    clock = SystemClock()
    reader = CellReader(lambda: address, clock=clock, history_s=600)
    second = clock.now_ms() // 1000 * 1000 - 2000
    row = {
        "sec_ms": second,
        "region": "north",
        "isp": "telecom",
        "cdn": "A",
        "sessions": 9,
        "stalled": 2,
        "seeking": 1,
        "playing": 6,
        "inflight_age_ms_max": None,
    }
    values = ["rubbish", None, json.dumps({**row, "cdn": "none"}), json.dumps(row), json.dumps({**row, "sessions": 10})]

    def written_and_read() -> bool:
        """The mock broker knows no times, so reading starts at its end: write again until something is read."""
        for value in values:
            producer.produce(TOPIC, value, "key")
        producer.flush(10)
        return second in reader.collect().seconds

    wait_until(written_and_read, timeout_s=30, what="rows")
    wait_until(
        lambda: reader.collect().seconds[second]["north", "telecom", "A"].sessions == 10,
        timeout_s=10,
        what="the correction",
    )
    assert reader.book.seconds[second]["north", "telecom", "A"].waiting == 3
    reader.close()


def test_missing_cell_topic_is_said_plainly(broker: tuple[str, Producer], monkeypatch: pytest.MonkeyPatch) -> None:
    """Before tables are applied the source is unreachable with a sentence, not a traceback."""
    monkeypatch.setattr("headrace.console.cells.TOPIC", "not a topic")
    with pytest.raises(Unavailable, match="topic does not exist yet"):
        CellReader(lambda: broker[0], clock=SystemClock(), history_s=60).collect()


@pytest.mark.parametrize(
    "collector",
    [
        KafkaCollector(lambda: DEAD, clock=FakeClock(NOW)), CellReader(lambda: DEAD, clock=FakeClock(NOW), history_s=60), DecisionCollector(lambda: DEAD),
        OlapCollector(lambda: f"http://{DEAD}", clock=FakeClock(NOW)), FlinkCollector(lambda: f"http://{DEAD}", clock=FakeClock(NOW)),
    ],
    ids=lambda one: one.name,
)  # fmt: skip
def test_dead_stores_raise_unavailable(collector: Any) -> None:
    """A store that is not there is `Unavailable`, soon, and can be asked again."""
    for _ in range(2):
        with pytest.raises(Unavailable):
            collector.collect()
        collector.close()


def record(last_input_ms: int, written_ms: int) -> SteerRecord:
    """A steering record."""
    return SteerRecord(version=1, ts_ms=written_ms, weights={"A": 1.0}, ttl_s=10, last_input_ts_ms=last_input_ms)


def test_latency_is_measured_when_an_input_is_new() -> None:
    """First sight measures nothing; a new input measures once; a decision on an old input changes nothing, however old it grows."""
    cell = ("north", "telecom")
    assert measure([(*cell, record(NOW - 9000, NOW))], {}) == []
    assert measure([(*cell, record(NOW, NOW + 1200))], {cell: NOW - 9000}) == [(NOW + 1200, 1200.0)]
    assert measure([(*cell, record(NOW, NOW + 90_000))], {cell: NOW}) == []
    assert measure([(*cell, record(NOW + 5, NOW))], {cell: NOW}) == [(NOW, 0.0)]


def test_latency_is_unknown_while_nothing_is_measured() -> None:
    """Quantiles are over the cells measured; without any there is no figure, and no zero."""
    decided = Decided([("r", "i", record(0, NOW))], [100.0, 3000.0, 200.0])
    latency = render_latency(decided)
    assert (latency.p50_ms, latency.p99_ms, latency.cells, latency.oldest_decision_ms) == (200.0, 3000.0, 1, NOW)
    assert render_latency(Decided()).p99_ms is None
    assert render_steers(decided)[0].weights == {"A": 1.0}


class FakeOlap:
    """Answers by table; an unknown table is NotFound, as in the store."""

    def __init__(self, tables: Mapping[str, list[dict[str, Any]]]) -> None:
        self.tables = tables

    def query(self, sql: str, *, params: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """Rows of the table that the query names."""
        for table, rows in self.tables.items():
            if f"FROM {table} " in sql:
                return rows
        raise NotFound("no such table")

    def close(self) -> None:
        """Nothing."""


def test_olap_facts_survive_missing_tables_and_quoted_numbers() -> None:
    """A table that is not there yet counts as empty; 64-bit numbers that ClickHouse quotes are numbers."""
    minute = {
        "window_start_ms": str(NOW),
        "region": "n",
        "isp": "t",
        "cdn": "A",
        "cid": "r",
        "plays": "3",
        "joins": 3,
        "join_le": ["1", 3],
    }
    only = OlapCollector(lambda: "", clock=FakeClock(NOW), connect=lambda _: FakeOlap({"qoe_1m": [minute]})).collect()
    assert (only.minutes[0].plays, only.minutes[0].join_le, only.decisions) == (3, (1, 3), [])
    row = {
        "ts_ms": str(NOW),
        "region": "n",
        "isp": "t",
        "version": 4,
        "reason": "evacuate A",
        "weights": '{"A":0.1,"B":0.9}',
        "weights_before": "",
        "last_input_ts_ms": 0,
    }
    log = (
        OlapCollector(lambda: "", clock=FakeClock(NOW), connect=lambda _: FakeOlap({"decision_log": [row]}))
        .collect()
        .decisions[0]
    )
    assert (log.at_ms, log.weights, log.before, log.last_input_ms) == (NOW, {"A": 0.1, "B": 0.9}, {}, None)


def test_process_rows_hide_what_is_not_known() -> None:
    """A process without a pid has no CPU, memory or uptime; one that keeps crashing says so."""
    down = render_process(ProcessStatus(name="olap", state="backoff", looping=True, restarts=7), now_ms=NOW)
    assert (down.pid, down.cpu_ratio, down.rss_bytes, down.uptime_ms, down.detail) == (
        None,
        None,
        None,
        None,
        "keeps crashing",
    )


def flink_of(calls: list[str], *, broken: str = "") -> FlinkCollector:
    """A collector over a JobManager with two running jobs and an ended one."""
    overview = [
        {
            "jid": jid,
            "name": name,
            "state": state,
            "start-time": start,
            "end-time": -1,
            "duration": 5000,
            "tasks": {"running": 2, "total": 2},
        }
        for jid, name, state, start in (
            ("a", "cells", "RUNNING", 1),
            ("b", "quality", "RUNNING", 2),
            ("c", "old", "CANCELED", 3),
            ("d", "new", "INITIALIZING", 4),
        )
    ]

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        calls.append(path)
        jid = path.split("/")[2] if path.count("/") > 1 else ""
        if broken and jid == broken:
            return httpx.Response(500, json={"errors": ["Internal server error."]})
        if path == "/jobs/overview":
            return httpx.Response(200, json={"jobs": overview})
        if path.endswith("/checkpoints"):
            done = {
                "id": 7,
                "status": "COMPLETED",
                "trigger_timestamp": 10,
                "latest_ack_timestamp": 20,
                "end_to_end_duration": 10,
                "state_size": 300,
                "checkpointed_size": 30,
            }
            return httpx.Response(
                200,
                json={
                    "counts": {"completed": 7, "failed": 1},
                    "latest": {"completed": done, "restored": {"id": 5, "restore_timestamp": 9}},
                    "history": [done],
                },
            )
        if path.endswith("/exceptions"):
            lost = {
                "exceptionName": "org.x.TaskLost",
                "stacktrace": "org.x.TaskLost: gone\n\tat y\nCaused by: reset",
                "timestamp": 99,
                "taskName": "Sink (1/2)",
            }
            return httpx.Response(200, json={"exceptionHistory": {"entries": [lost]}})
        if path.endswith("/watermarks"):
            return httpx.Response(200, json=[{"id": "0.currentInputWatermark", "value": "123"}])
        if path.endswith("/subtasks/metrics"):
            return httpx.Response(
                200,
                json=[
                    {"id": "busyTimeMsPerSecond", "max": 1200.0, "sum": 1300.0},
                    {"id": "numRecordsOutPerSecond", "max": 6.0, "sum": 11.0},
                ],
            )
        if path.endswith("/metrics"):
            return httpx.Response(200, json=[{"id": "numRestarts", "value": "2"}])
        nodes = [{"id": "v1"}, {"id": "v2", "inputs": [{"num": 0, "id": "v1"}]}]
        vertices = [{"id": one["id"], "name": one["id"], "parallelism": 2, "status": "RUNNING"} for one in nodes]
        row = next(job for job in overview if job["jid"] == jid)
        return httpx.Response(200, json={**row, "vertices": vertices, "plan": {"nodes": nodes}})

    clock = FakeClock(NOW)
    return FlinkCollector(
        lambda: "http://flink",
        clock=clock,
        connect=lambda url: FlinkRest(url, clock, transport=httpx.MockTransport(answer)),
    )


def test_jobs_are_looked_at_in_turn_and_closest_where_a_page_looks() -> None:
    """Each round looks at one job in turn and at the wanted ones; an ended job is looked at once, a starting one not at all."""
    calls: list[str] = []
    collector = flink_of(calls)
    for _ in range(3):
        collector._clock.advance(1)  # type: ignore[attr-defined]
        jobs = collector.collect()
    looked = {jid: calls.count(f"/jobs/{jid}") for jid in "abcd"}
    assert looked == {"a": 1, "b": 1, "c": 1, "d": 0}
    assert [detail.job.name for detail in jobs] == ["new", "quality", "cells", "old"]
    collector.wanted = frozenset({"cells"})
    for _ in range(4):
        collector._clock.advance(1)  # type: ignore[attr-defined]
        collector.collect()
    assert calls.count("/jobs/a") == 5
    assert calls.count("/jobs/c") == 1


def test_a_job_in_detail() -> None:
    """Rates of sources, restarts, checkpoints, the deepest cause of a failure, edges: all from the REST answers."""
    collector = flink_of([])
    collector.wanted = frozenset({"cells"})
    cells = next(detail for detail in collector.collect() if detail.job.name == "cells")
    assert (
        cells.job.records_in_per_s,
        cells.job.restarts,
        cells.job.checkpoints_failed,
        cells.restored_checkpoint,
    ) == (11.0, 2, 1, 5)
    assert (cells.job.checkpoint_at_ms, cells.job.checkpoint_size_bytes, cells.checkpoints[0].size_bytes) == (
        20,
        300,
        30,
    )
    assert [(v.id, v.inputs, v.busy, v.watermark_ms) for v in cells.vertices] == [
        ("v1", [], 1.0, 123),
        ("v2", ["v1"], 1.0, 123),
    ]
    assert (cells.exceptions[0].name, cells.exceptions[0].message.splitlines()[0]) == ("TaskLost", "reset")


def test_one_job_that_cannot_be_asked_hides_no_other() -> None:
    """When the JobManager fails on one job, it stays on the list without detail, and the others have theirs."""
    collector = flink_of([], broken="a")
    collector.wanted = frozenset({"cells", "quality"})
    details = {detail.job.name: detail for detail in collector.collect()}
    assert (details["cells"].job.state, details["cells"].vertices) == ("RUNNING", [])
    assert len(details["quality"].vertices) == 2


def test_load_that_is_not_reported_is_unknown() -> None:
    """A vertex that has just started has no shares and no rates; it is not idle."""
    vertex = render_vertex(Vertex("v", "v", 1, "CREATED"), [], VertexLoad("v"))
    assert (vertex.busy, vertex.idle, vertex.records_in_per_s, vertex.watermark_ms) == (None, None, None, None)


def test_server_stops_at_once_with_a_page_open() -> None:
    """A page on the live channel does not hold up the shutdown: its stream is ended first."""
    hub = LiveHub(fake_sources(), clock=SystemClock())

    @asynccontextmanager
    async def life(app: Litestar) -> Any:
        app.state.live, app.state.live_clock = hub, hub._clock
        await hub.start()
        yield
        await hub.stop()

    app = Litestar(route_handlers=live_routes, lifespan=[life], openapi_config=None)
    server = LiveServer(
        uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=60, http="h11", loop="asyncio")
    )
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    wait_until(lambda: server.started, timeout_s=20, what="the server")
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.stream("GET", f"http://127.0.0.1:{port}/v1/live", timeout=30, trust_env=False) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "event: snapshot"
        server.should_exit = True
        assert [line for line in lines if line.startswith("event: error")] == []
    thread.join(20)
    assert not thread.is_alive()


def test_question_cancelled_by_another_reader_is_asked_again() -> None:
    """Flink answers 500 with a CancellationException when two readers ask at once; that is no failure of the job."""
    answers = [
        httpx.Response(500, json={"errors": ["Internal server error.", "java.util.concurrent.CancellationException"]})
    ] * 3

    def answer(_request: httpx.Request) -> httpx.Response:
        return answers.pop() if answers else httpx.Response(200, json={"jobs": []})

    flink = FlinkRest("http://flink", FakeClock(NOW), transport=httpx.MockTransport(answer))
    assert flink.jobs() == ()
    answers[:] = [httpx.Response(500, json={"errors": ["java.util.concurrent.CancellationException"]})] * 9
    with pytest.raises(Internal):
        flink.jobs()
