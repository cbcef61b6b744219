"""State of jobs by tiers, as SlimBase's gauges tell through Flink's REST interface.

Only jobs that a page shows (`wanted`) are asked for, so nobody looking costs nothing. A round is the list of jobs, then per job its
vertices, its checkpoints, and one call (two when it has many operators) per vertex that keeps SlimBase state. Which vertices do is found
by the names of their metrics, a few per round, and asked again after `NAMES_AGE_MS`: a job that has just started has none yet.

Gauges are totals since an attempt started; rates are their growth over `RATE_WINDOW_MS`. A total that shrinks, or a budget that
changes, means that subtasks went or came: rates begin anew, as a growth across that would be a lie. What a page saw stays for as long as
the charts reach back, for at most `JOBS_MAX` jobs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from headrace.console.live_model import JobState, OperatorState, Series, TierRates
from headrace.console.ring import Ring
from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError, Unavailable
from headrace.core.log import get_logger
from headrace.flink import rest
from headrace.flink.rest import FlinkRest

log = get_logger("headrace.console.state")
GROUP = ".slimbase."
# Totals since the attempt started, by the name of their rate.
COUNTERS = {
    "lookups_per_s": "lookups",
    "file_lookups_per_s": "fileLookups",
    "file_reads_per_s": "fileReads",
    "false_file_reads_per_s": "falseFileReads",
    "promotions_per_s": "promotions",
    "appended_bytes_per_s": "appendedBytes",
    "packed_bytes_per_s": "packedBytes",
    "merged_bytes_per_s": "mergedBytes",
    "range_fetches_per_s": "rangeFetches",
    "range_fetched_bytes_per_s": "rangeFetchedBytes",
    "stall_ms_per_s": "stallMs",
}
# Amounts now, by the name of their field; each is the sum over the subtasks.
AMOUNTS = {
    "memory_used_bytes": "memoryUsedBytes",
    "memory_limit_bytes": "memoryLimitBytes",
    "records": "records",
    "record_bytes": "recordBytes",
    "live_bytes": "liveBytes",
    "index_bytes": "indexBytes",
    "cache_bytes": "cacheBytes",
    "file_index_bytes": "fileIndexBytes",
    "file_bytes": "fileBytes",
    "file_count": "fileCount",
    "merge_failures": "mergeFailures",
    "restored_files_left": "restoredFilesLeft",
    "appended_bytes": "appendedBytes",
    "packed_bytes": "packedBytes",
    "merged_bytes": "mergedBytes",
}
RUNS = "runCount"  # of the subtask with the most: a lookup asks the runs of one subtask
NEEDED = frozenset({"memoryLimitBytes", "recordBytes", "indexBytes"})
ASKED = frozenset({*COUNTERS.values(), *AMOUNTS.values(), RUNS})
# The rates that charts draw; the others are shown as they are now.
DRAWN = (
    "appended_bytes_per_s", "packed_bytes_per_s", "merged_bytes_per_s", "file_lookups_per_s", "file_reads_per_s", "stall_ms_per_s",
)  # fmt: skip
JOBS_MAX = 4  # jobs a round: 4 x (2 + vertices with state) calls
OPERATORS_MAX = 32  # of a job: 32 x 6 drawn rates = 192 columns, below the ring's 256
NAME_CALLS_MAX = 8  # vertices a round whose metrics' names are listed
NAMES_AGE_MS = 15_000
RATE_WINDOW_MS = 10_000  # packing goes in bursts of a segment; ten seconds hold several


class _Window:
    """The last totals of one operator."""

    def __init__(self) -> None:
        self._points: deque[tuple[int, Mapping[str, float]]] = deque()

    def rates(self, at_ms: int, totals: Mapping[str, float], parallelism: int) -> TierRates:
        """Take the totals of `at_ms`; the growth per second since the oldest point of the window."""
        if self._points and _begins_anew(self._points[-1][1], totals):
            self._points.clear()
        self._points.append((at_ms, totals))
        while len(self._points) > 2 and self._points[1][0] <= at_ms - RATE_WINDOW_MS:
            self._points.popleft()
        since_ms, before = self._points[0]
        passed_s = (at_ms - since_ms) / 1000
        if passed_s <= 0:
            return TierRates()
        grown = {
            rate: (totals[name] - before[name]) / passed_s
            for rate, name in COUNTERS.items()
            if name in totals and name in before
        }
        if "stall_ms_per_s" in grown:
            grown["stall_ms_per_s"] /= max(1, parallelism)
        return TierRates(**grown)


class _Watched:
    """What is remembered of one job while pages look at it."""

    def __init__(self, points: int) -> None:
        self.wanted_at_ms = 0
        self.names: dict[str, tuple[int, tuple[str, ...]]] = {}
        self.windows: dict[str, _Window] = {}
        self.history = Ring(points)
        self.checkpoint_id = -1
        self.checkpoint_bytes: dict[str, int] = {}


class StateCollector:
    """Asks one JobManager about the state of the jobs in `wanted`, names of jobs, set by the hub."""

    name = "flink"

    def __init__(
        self,
        endpoint: Callable[[], str],
        *,
        clock: Clock,
        history_s: int = 600,
        connect: Callable[[str], FlinkRest] | None = None,
    ) -> None:
        self.wanted: frozenset[str] = frozenset()
        self._endpoint = endpoint
        self._clock = clock
        self._history_s = history_s
        self._connect = connect or (lambda url: FlinkRest(url, clock))
        self._rest: FlinkRest | None = None
        self._watched: dict[str, _Watched] = {}
        self._found: dict[str, JobState] = {}
        self._turn = 0

    def collect(self) -> dict[str, JobState]:
        """The state of wanted jobs by name; asks nothing when no page looks. Raises as `FlinkRest`."""
        names = self._in_turn(sorted(name for name in self.wanted if name))
        if not names:
            return {}
        if self._rest is None:
            self._rest = self._connect(self._endpoint())
        listed = sorted(self._rest.jobs(), key=lambda job: (job.ended, -job.started_at_ms))
        self._forget({job.id for job in listed})
        here = {job.name for job in listed}
        found = {name: state for name, state in self._found.items() if name in self.wanted and name in here}
        for name in names:
            job = next((one for one in listed if one.name == name), None)
            if job is None:
                continue
            try:
                found[name] = self._look(self._rest, job)
            except Unavailable:
                raise
            except HeadraceError as error:  # it ended or restarts meanwhile; what was seen last stays
                log.debug("job_state_not_looked_at", job=name, state=job.state, error=error.message)
        self._found = found
        return found

    def close(self) -> None:
        """Drop the connection."""
        if self._rest is not None:
            self._rest.close()
            self._rest = None

    def _in_turn(self, names: list[str]) -> list[str]:
        if len(names) <= JOBS_MAX:
            return names
        self._turn = (self._turn + JOBS_MAX) % len(names)
        return (names[self._turn :] + names[: self._turn])[:JOBS_MAX]

    def _forget(self, known: set[str]) -> None:
        oldest_ms = self._clock.now_ms() - self._history_s * 1000
        kept = {id_: one for id_, one in self._watched.items() if id_ in known and one.wanted_at_ms >= oldest_ms}
        newest = sorted(kept, key=lambda id_: kept[id_].wanted_at_ms)[-2 * JOBS_MAX :]
        self._watched = {id_: kept[id_] for id_ in newest}

    def _look(self, flink: FlinkRest, job: rest.JobSummary) -> JobState:
        now_ms = self._clock.now_ms()
        if job.state != "RUNNING":
            before = self._watched.get(job.id)
            history = before.history.series() if before else Series([], {})
            return JobState(at_ms=now_ms, job=job.name, id=job.id, state=job.state, history=history)
        watched = self._watched.setdefault(job.id, _Watched(self._history_s))
        watched.wanted_at_ms = now_ms
        checkpoint = self._checkpoint(flink, job.id, watched)
        vertices = flink.job(job.id).vertices
        self._learn_names(flink, job.id, vertices, watched)
        operators: list[OperatorState] = []
        for vertex in vertices:
            names = watched.names.get(vertex.id, (0, ()))[1]
            if names:
                figures = flink.vertex_aggregates(job.id, vertex.id, names, ("sum", "max"))
                operators += self._operators(vertex, figures, watched)
        operators = operators[:OPERATORS_MAX]
        watched.history.put(now_ms // 1000 * 1000, _drawn(operators))
        return JobState(
            at_ms=now_ms,
            job=job.name,
            id=job.id,
            state=job.state,
            operators=operators,
            checkpoint_at_ms=checkpoint.triggered_at_ms if checkpoint else None,
            checkpoint_duration_ms=checkpoint.duration_ms if checkpoint else None,
            history=watched.history.series(),
        )

    def _checkpoint(self, flink: FlinkRest, job_id: str, watched: _Watched) -> rest.Checkpoint | None:
        """The last completed checkpoint; sizes by vertex are asked for once for each."""
        done = flink.checkpoints(job_id).latest.completed
        if done is not None and done.id != watched.checkpoint_id:
            try:
                watched.checkpoint_bytes = flink.checkpoint_sizes(job_id, done.id)
                watched.checkpoint_id = done.id
            except (
                HeadraceError
            ) as error:  # it left the history meanwhile: the sizes known stay, the next round asks again
                log.debug("checkpoint_not_looked_at", checkpoint=done.id, error=error.message)
        return done

    def _learn_names(self, flink: FlinkRest, job_id: str, vertices: Sequence[rest.Vertex], watched: _Watched) -> None:
        now_ms = self._clock.now_ms()
        due = [one.id for one in vertices if watched.names.get(one.id, (-NAMES_AGE_MS, ()))[0] <= now_ms - NAMES_AGE_MS]
        due.sort(key=lambda id_: watched.names.get(id_, (0, ()))[0])
        for id_ in due[:NAME_CALLS_MAX]:
            watched.names[id_] = (now_ms, state_names(flink.vertex_metric_names(job_id, id_)))

    def _operators(
        self, vertex: rest.Vertex, figures: Mapping[str, Mapping[str, float]], watched: _Watched
    ) -> list[OperatorState]:
        found = []
        for name, gauges in sorted(by_operator(figures).items()):
            if not gauges.keys() >= NEEDED:
                continue
            id_ = f"{vertex.id}.{name}"
            totals = {gauge: figure["sum"] for gauge, figure in gauges.items()}
            window = watched.windows.setdefault(id_, _Window())
            rates = window.rates(self._clock.now_ms(), totals, vertex.parallelism)
            found.append(render_operator(vertex, name, gauges, rates, watched.checkpoint_bytes.get(vertex.id)))
        return found


def state_names(names: Iterable[str]) -> tuple[str, ...]:
    """Of a vertex's metrics, SlimBase's gauges that the page needs: `<operator>.slimbase.<gauge>`."""
    return tuple(sorted(name for name in names if GROUP in name and name.rpartition(GROUP)[2] in ASKED))


def by_operator(figures: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, Mapping[str, float]]]:
    """Aggregates by operator and gauge; a gauge without a sum is left out."""
    found: dict[str, dict[str, Mapping[str, float]]] = {}
    for name, figure in figures.items():
        operator, _, gauge = name.rpartition(GROUP)
        if "sum" in figure:
            found.setdefault(operator, {})[gauge] = figure
    return found


def render_operator(
    vertex: rest.Vertex,
    name: str,
    gauges: Mapping[str, Mapping[str, float]],
    rates: TierRates,
    checkpoint_bytes: int | None,
) -> OperatorState:
    """One operator's state; what an older SlimBase does not report is None."""
    amounts = {field: int(gauges[gauge]["sum"]) for field, gauge in AMOUNTS.items() if gauge in gauges}
    runs = gauges.get(RUNS, {}).get("max")
    return OperatorState(
        id=f"{vertex.id}.{name}",
        vertex=vertex.id,
        vertex_name=vertex.name,
        name=name,
        parallelism=vertex.parallelism,
        run_count_max=None if runs is None else int(runs),
        checkpoint_bytes=checkpoint_bytes,
        rates=rates,
        **amounts,
    )


def tail_of(state: JobState, *, since_ms: int) -> Series:
    """The points of a job's history from `since_ms` on."""
    first = next((i for i, at in enumerate(state.history.at_ms) if at >= since_ms), len(state.history.at_ms))
    values = {name: column[first:] for name, column in state.history.values.items()}
    return Series(state.history.at_ms[first:], values)


def _begins_anew(before: Mapping[str, float], now: Mapping[str, float]) -> bool:
    """Whether subtasks went or came between two points."""
    if before.get("memoryLimitBytes") != now.get("memoryLimitBytes"):
        return True
    return any(now[name] < before[name] for name in COUNTERS.values() if name in now and name in before)


def _drawn(operators: Iterable[OperatorState]) -> dict[str, float | None]:
    points: dict[str, float | None] = {}
    for operator in operators:
        rates = msgspec.structs.asdict(operator.rates)
        points.update({f"{rate}:{operator.id}": rates[rate] for rate in DRAWN})
    return points
