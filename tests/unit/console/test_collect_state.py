"""The collector of jobs' state over what a real JobManager answered about a job whose state is larger than its memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from headrace.console.collect_state import (
    JOBS_MAX,
    NAME_CALLS_MAX,
    RATE_WINDOW_MS,
    StateCollector,
    _Window,
    state_names,
    tail_of,
)
from headrace.core.errors import Unavailable
from headrace.flink.rest import FlinkRest
from headrace.testing.fakes import FakeClock

NOW = 1_800_000_000_000
ANSWERS = Path(__file__).with_name("state_answers.json")
JOB = "last-visit"


class JobManager:
    """Answers as recorded; tests change the answers. `calls` are the paths asked for, a call for values ends with `?`."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = json.loads(ANSWERS.read_text("utf-8"))
        self.calls: list[str] = []
        self.dead = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """One answer."""
        if self.dead:
            raise httpx.ConnectError("connection refused")
        wanted = [name for name in request.url.params.get("get", "").split(",") if name]
        path = request.url.path + ("?" if wanted else "")
        self.calls.append(path)
        found = self.answers.get(path)
        if found is None:
            return httpx.Response(404, json={"errors": ["NotFoundException: not here"]})
        return httpx.Response(200, json=[row for row in found if row["id"] in wanted] if wanted else found)

    def gauge(self, gauge: str) -> dict[str, Any]:
        """The recorded aggregates of one gauge of the job's one operator."""
        (values,) = (rows for path, rows in self.answers.items() if path.endswith("?"))
        return next(row for row in values if row["id"].endswith(f".slimbase.{gauge}"))

    def grow(self, **by: float) -> None:
        """Let gauges' sums grow."""
        for gauge, more in by.items():
            self.gauge(gauge)["sum"] += more

    def add_job(self, **changes: Any) -> None:
        """One more job in the list, like the recorded one but for `changes`."""
        jobs = self.answers["/jobs/overview"]["jobs"]
        jobs.append({**jobs[0], **changes})


@pytest.fixture
def manager() -> JobManager:
    """A JobManager as recorded."""
    return JobManager()


@pytest.fixture
def collector(manager: JobManager) -> StateCollector:
    """A collector that looks at the recorded job, its clock moved by hand."""
    clock = FakeClock(NOW)

    def connect(url: str) -> FlinkRest:
        return FlinkRest(url, clock, transport=httpx.MockTransport(manager))

    made = StateCollector(lambda: "http://flink", clock=clock, connect=connect)
    made.wanted = frozenset({JOB})
    return made


def later(collector: StateCollector, seconds: float) -> Any:
    """Collect `seconds` later."""
    collector._clock.advance(seconds)  # type: ignore[attr-defined]
    return collector.collect()


def test_nothing_is_asked_while_nobody_looks(collector: StateCollector, manager: JobManager) -> None:
    """Without a page that shows state there is not one call."""
    collector.wanted = frozenset()
    assert collector.collect() == {}
    assert manager.calls == []


def test_amounts_are_those_of_the_gauges(collector: StateCollector, manager: JobManager) -> None:
    """Sums over the subtasks, runs of the subtask with the most, the vertex's part of the last checkpoint; no rate at first sight."""
    state = collector.collect()[JOB]
    (operator,) = state.operators
    assert operator.name.startswith("GroupAggregate")
    assert (operator.memory_limit_bytes, operator.record_bytes, operator.file_bytes) == tuple(
        int(manager.gauge(gauge)["sum"]) for gauge in ("memoryLimitBytes", "recordBytes", "fileBytes")
    )
    assert operator.run_count_max == int(manager.gauge("runCount")["max"]) < manager.gauge("runCount")["sum"]
    (details,) = (answer for path, answer in manager.answers.items() if "/details/" in path)
    assert operator.checkpoint_bytes == details["tasks"][operator.vertex]["state_size"] > 0
    assert state.checkpoint_at_ms == details["trigger_timestamp"]
    assert operator.rates.packed_bytes_per_s is None


def test_rates_are_growth_by_time(collector: StateCollector, manager: JobManager) -> None:
    """Growth over the seconds that passed; stalls are per subtask; the history holds a point a round."""
    collector.collect()
    manager.grow(packedBytes=8_000_000, fileLookups=500, stallMs=400)
    (operator,) = later(collector, 4)[JOB].operators
    assert (operator.rates.packed_bytes_per_s, operator.rates.file_lookups_per_s) == (2_000_000, 125)
    assert operator.rates.stall_ms_per_s == 400 / 4 / operator.parallelism
    assert operator.rates.merged_bytes_per_s == 0
    history = later(collector, 2)[JOB].history
    assert history.at_ms == [NOW, NOW + 4000, NOW + 6000]
    column = history.values[f"packed_bytes_per_s:{operator.id}"]
    assert column[:2] == [None, 2_000_000]
    assert column[2] == pytest.approx(8_000_000 / 6)
    assert tail_of(later(collector, 2)[JOB], since_ms=NOW + 5000).at_ms == [NOW + 6000, NOW + 8000]


def test_rates_begin_anew_when_subtasks_go_or_come(collector: StateCollector, manager: JobManager) -> None:
    """A restart sets totals back, and a subtask that comes brings its own: neither shows as a rate, least of all a negative one."""
    collector.collect()
    manager.grow(packedBytes=-1000)
    assert later(collector, 2)[JOB].operators[0].rates.packed_bytes_per_s is None
    manager.grow(packedBytes=9_000_000, memoryLimitBytes=1)
    assert later(collector, 2)[JOB].operators[0].rates.packed_bytes_per_s is None
    manager.grow(packedBytes=100)
    assert later(collector, 2)[JOB].operators[0].rates.packed_bytes_per_s == 50


def test_rates_forget_what_is_older_than_the_window() -> None:
    """However long somebody looks, a rate is that of the last ten seconds, and no more points are kept than they need."""
    window = _Window()
    for second in range(60):
        rates = window.rates(NOW + second * 1000, {"lookups": float(second**2)}, 1)
    last, first = 59, 59 - RATE_WINDOW_MS // 1000
    assert rates.lookups_per_s == (last**2 - first**2) / (last - first)
    assert len(window._points) == RATE_WINDOW_MS // 1000 + 1


def test_a_round_is_a_handful_of_calls(collector: StateCollector, manager: JobManager) -> None:
    """After the first look: the list, the job, its checkpoints, and one call for the one vertex with state."""
    collector.collect()
    manager.calls.clear()
    later(collector, 2)
    assert len(manager.calls) == 4
    assert sum(call.endswith("?") for call in manager.calls) == 1


def test_a_job_of_many_vertices_is_learned_a_few_at_a_time(collector: StateCollector, manager: JobManager) -> None:
    """Names of metrics are listed for some vertices a round, until all are known."""
    (path,) = (path for path, answer in manager.answers.items() if "vertices" in answer)
    vertices = manager.answers[path]["vertices"]
    for i in range(20):
        vertices.append({**vertices[0], "id": f"more{i}"})
        manager.answers[f"{path}/vertices/more{i}/subtasks/metrics"] = []
    asked = []
    for _ in range(4):
        manager.calls.clear()
        collector.collect()
        asked.append(sum(call.endswith("/subtasks/metrics") for call in manager.calls))
    assert asked == [NAME_CALLS_MAX, NAME_CALLS_MAX, 22 - 2 * NAME_CALLS_MAX, 0]


def test_more_jobs_than_a_round_takes_are_looked_at_in_turn(collector: StateCollector, manager: JobManager) -> None:
    """Pages that show many jobs share the rounds, and keep what was seen of theirs until the next turn."""
    names = [f"job-{i}" for i in range(2 * JOBS_MAX)]
    for i, name in enumerate(names):
        manager.add_job(jid=f"j{i}", name=name, state="CANCELED")
    collector.wanted = frozenset(names)
    assert len(later(collector, 2)) == JOBS_MAX
    assert set(later(collector, 2)) == set(names)


def test_a_job_without_slimbase_and_one_that_does_not_run(collector: StateCollector, manager: JobManager) -> None:
    """A job with other metrics only has no operators; one that restarts says so and is not asked further."""
    for path, answer in manager.answers.items():
        if path.endswith("/subtasks/metrics"):
            answer[:] = [row for row in answer if ".slimbase." not in row["id"]]
    state = collector.collect()[JOB]
    assert (state.state, state.operators) == ("RUNNING", [])
    manager.answers["/jobs/overview"]["jobs"][0]["state"] = "RESTARTING"
    manager.calls.clear()
    assert later(collector, 2)[JOB].state == "RESTARTING"
    assert manager.calls == ["/jobs/overview"]
    collector.wanted = frozenset({"nonsense"})
    assert later(collector, 2) == {}


def test_a_dead_job_manager_is_unavailable_and_history_survives_it(
    collector: StateCollector, manager: JobManager
) -> None:
    """While it is dead each round fails at once; afterwards the old points are still there."""
    collector.collect()
    manager.dead = True
    for _ in range(2):
        with pytest.raises(Unavailable):
            later(collector, 2)
        collector.close()
    manager.dead = False
    assert later(collector, 2)[JOB].history.at_ms == [NOW, NOW + 6000]


def test_a_job_that_goes_in_mid_look_keeps_its_last_figures(collector: StateCollector, manager: JobManager) -> None:
    """The list still has it, the job's own page is gone: the last figures stay, and nothing fails."""
    before = collector.collect()[JOB]
    (path,) = (path for path, answer in manager.answers.items() if "vertices" in answer)
    del manager.answers[path]
    assert later(collector, 2)[JOB].operators == before.operators


def test_only_gauges_that_the_page_needs_are_asked_for() -> None:
    """Other metrics of the operator, and gauges that are not known here, are left out."""
    names = ["Agg.slimbase.recordBytes", "Agg.slimbase.news", "Agg.numRecordsIn", "slimbase.recordBytes"]
    assert state_names(names) == ("Agg.slimbase.recordBytes",)


def test_long_operator_names_are_asked_for_in_several_calls(manager: JobManager) -> None:
    """A path with forty names of 80 characters would be refused: the names are spread, and none is lost."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        assert len(request.url.raw_path) < 4096
        names = request.url.params["get"].split(",")
        asked.extend(names)
        return httpx.Response(200, json=[{"id": name, "sum": 1.0, "max": 1.0} for name in names])

    names = [f"{'[' * 30}{'x' * 50}.slimbase.g{i}" for i in range(40)]
    with FlinkRest("http://flink", FakeClock(NOW), transport=httpx.MockTransport(answer)) as flink:
        found = flink.vertex_aggregates("j", "v", names, ("sum", "max"))
    assert asked == names
    assert found.keys() == set(names)
