"""What the live channel says: the values behind `GET /v1/live`, `/v1/quality/board` and `/v1/jobs/{name}/detail`.

Everything a page shows is here and nowhere else: `console/src/model.ts` mirrors these types by name, and
docs/concepts/console-api.md explains them. Times are ms since the epoch; shares and ratios lie in [0, 1]; `None` means
"not known", which pages show as a dash, never as zero. A `Series` is column-oriented: `values[name][i]` belongs to
`at_ms[i]`; a client merges the points of a tail into its history by `at_ms`, so a late correction replaces what it corrects.
"""

from __future__ import annotations

import msgspec

PROTOCOL_VERSION = 1


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """Whether one source of the page's data answers.

    Args:
        name: supervisor, kafka, flink, cells, redis, olap or journal.
        state: `waiting` before the first answer, then `ok` or `unreachable`.
        since_ms: when this state began.
        last_ok_ms: the last good answer; what the page shows from this source is as old as that.
        error: the failure in one sentence; empty when ok.
    """

    name: str
    state: str
    since_ms: int
    last_ok_ms: int | None = None
    error: str = ""


class Series(msgspec.Struct, frozen=True):
    """Points of several values over one time axis, ascending."""

    at_ms: list[int]
    values: dict[str, list[float | None]]


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One supervised process; `cpu_ratio` is of one core, so it may exceed 1."""

    name: str
    state: str
    pid: int | None = None
    restarts: int = 0
    cpu_ratio: float | None = None
    rss_bytes: int | None = None
    uptime_ms: int | None = None
    endpoint: str = ""
    detail: str = ""


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """One Kafka topic; `lag_records` is the largest lag of the consumer groups that committed on it."""

    name: str
    partitions: int
    records: int
    rate_records_per_s: float | None = None
    lag_records: int | None = None
    lag_group: str = ""


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """One Flink job as a line of a list."""

    id: str
    name: str
    state: str
    started_at_ms: int | None = None
    uptime_ms: int | None = None
    restarts: int | None = None
    tasks_running: int = 0
    tasks_total: int = 0
    records_in_per_s: float | None = None
    checkpoints_completed: int | None = None
    checkpoints_failed: int | None = None
    checkpoint_at_ms: int | None = None
    checkpoint_duration_ms: int | None = None
    checkpoint_size_bytes: int | None = None


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """How old each new input was when it was first decided on, over all cells and the last minute."""

    p50_ms: float | None = None
    p99_ms: float | None = None
    cells: int = 0
    oldest_decision_ms: int | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the journal; `incident` marks injected trouble, which charts draw as a vertical line."""

    at_ms: int
    kind: str
    text: str
    severity: str = "info"
    subject: str = ""
    incident: bool = False


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """The first page: what runs, what flows and how late a decision is."""

    at_ms: int
    home: str = ""
    started_at_ms: int | None = None
    sources: list[Reach] = []
    processes: list[Process] = []
    topics: list[Topic] = []
    jobs: list[JobRow] = []
    latency: Latency = Latency()
    events: list[Event] = []


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What a board is about; an empty string means all."""

    region: str = ""
    isp: str = ""
    room: str = ""


class CdnQuality(msgspec.Struct, frozen=True, kw_only=True):
    """One CDN on the board.

    From the newest cells (seconds old): sessions, stalled, stall_share, inflight_age_ms_max, errors_per_s; from the steering
    keys: weight (mean over the selected cells, weighted by their sessions); from `qoe_1m` (the last closed minutes): plays,
    join_p50_ms, join_p95_ms, bitrate_kbps, rebuffer_ratio, completeness.
    """

    cdn: str
    sessions: int | None = None
    stalled: int | None = None
    stall_share: float | None = None
    inflight_age_ms_max: int | None = None
    errors_per_s: float | None = None
    weight: float | None = None
    plays: int | None = None
    join_p50_ms: float | None = None
    join_p95_ms: float | None = None
    bitrate_kbps: float | None = None
    rebuffer_ratio: float | None = None
    errors: int | None = None
    completeness: float | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the decision log: weights before and after, and why."""

    at_ms: int
    region: str
    isp: str
    version: int | None = None
    before: dict[str, float] = {}
    weights: dict[str, float]
    reason: str
    last_input_ms: int | None = None


class Steer(msgspec.Struct, frozen=True, kw_only=True):
    """What the steering service reads for one cell right now."""

    region: str
    isp: str
    version: int | None = None
    at_ms: int | None = None
    ttl_s: float | None = None
    weights: dict[str, float] = {}
    reason: str = ""


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """The live-quality board of one selection."""

    at_ms: int
    selection: Selection
    regions: list[str] = []
    isps: list[str] = []
    rooms: list[str] = []
    sources: list[Reach] = []
    cell_at_ms: int | None = None
    minute_at_ms: int | None = None
    sessions: int | None = None
    stall_share: float | None = None
    cdns: list[CdnQuality] = []
    steers: list[Steer] = []
    decisions: list[Decision] = []
    incidents: list[Event] = []


class Vertex(msgspec.Struct, frozen=True, kw_only=True):
    """One vertex of a job graph; busy, back-pressured and idle are the shares of the busiest subtask's time."""

    id: str
    name: str
    parallelism: int
    state: str
    inputs: list[str] = []
    busy: float | None = None
    back_pressured: float | None = None
    idle: float | None = None
    records_in_per_s: float | None = None
    records_out_per_s: float | None = None
    watermark_ms: int | None = None


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One checkpoint or savepoint of a job."""

    id: int
    kind: str
    state: str
    at_ms: int
    duration_ms: int | None = None
    size_bytes: int | None = None
    full_size_bytes: int | None = None
    failure: str = ""


class JobException(msgspec.Struct, frozen=True, kw_only=True):
    """One failure of a job, newest first in lists."""

    at_ms: int
    name: str
    message: str
    task: str = ""
    endpoint: str = ""


class JobDetail(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the job page shows."""

    at_ms: int
    job: JobRow
    vertices: list[Vertex] = []
    checkpoints: list[Checkpoint] = []
    exceptions: list[JobException] = []
    restored_checkpoint: int | None = None
    sources: list[Reach] = []


class Jobs(msgspec.Struct, frozen=True, kw_only=True):
    """All jobs, and the detail of the one that the client asked for."""

    at_ms: int
    jobs: list[JobRow] = []
    detail: JobDetail | None = None


class TierRates(msgspec.Struct, frozen=True, kw_only=True):
    """What moves between tiers, per second over the last ten: sums over the subtasks, but for stalls.

    Args:
        lookups_per_s: lookups of a key by readers; writes that read nothing are not counted.
        file_lookups_per_s: those that memory could not answer.
        file_reads_per_s: reads of a block that files' filters let through.
        false_file_reads_per_s: of these, in vain.
        stall_ms_per_s: time that a subtask's writes waited for packing, mean over the subtasks.
    """

    lookups_per_s: float | None = None
    file_lookups_per_s: float | None = None
    file_reads_per_s: float | None = None
    false_file_reads_per_s: float | None = None
    promotions_per_s: float | None = None
    appended_bytes_per_s: float | None = None
    packed_bytes_per_s: float | None = None
    merged_bytes_per_s: float | None = None
    range_fetches_per_s: float | None = None
    range_fetched_bytes_per_s: float | None = None
    stall_ms_per_s: float | None = None


class OperatorState(msgspec.Struct, frozen=True, kw_only=True):
    """Where one operator's state is, summed over its subtasks.

    `records` counts those of all tiers, about. The budget (`memory_limit_bytes`) and its use belong to the slots, which other operators share. `record_bytes` holds the read cache.
    `appended_bytes`, `packed_bytes` and `merged_bytes` are totals since the attempt started: (packed + merged) / appended is the write
    amplification. `run_count_max` is that of the subtask with the most; `checkpoint_bytes` the size of the whole vertex's state.
    """

    id: str
    vertex: str
    vertex_name: str
    name: str
    parallelism: int
    memory_used_bytes: int | None = None
    memory_limit_bytes: int | None = None
    records: int | None = None
    record_bytes: int | None = None
    live_bytes: int | None = None
    index_bytes: int | None = None
    cache_bytes: int | None = None
    file_index_bytes: int | None = None
    file_bytes: int | None = None
    file_count: int | None = None
    run_count_max: int | None = None
    merge_failures: int | None = None
    restored_files_left: int | None = None
    appended_bytes: int | None = None
    packed_bytes: int | None = None
    merged_bytes: int | None = None
    checkpoint_bytes: int | None = None
    rates: TierRates = TierRates()


class JobState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one job's operators that keep it in SlimBase; none is the job without.

    `history` has columns `<rate>:<operator id>`; the stream sends it apart, as `state_history` and tails.
    """

    at_ms: int
    job: str
    id: str
    state: str
    operators: list[OperatorState] = []
    checkpoint_at_ms: int | None = None
    checkpoint_duration_ms: int | None = None
    sources: list[Reach] = []
    history: Series = Series([], {})


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The first message of the live channel: everything, with history."""

    version: int = PROTOCOL_VERSION
    at_ms: int
    sample_ms: int
    history_s: int
    overview: Overview
    quality: Board
    jobs: Jobs
    overview_history: Series
    quality_history: Series
    state: JobState | None = None
    state_history: Series = Series([], {})


class OverviewTick(msgspec.Struct, frozen=True):
    """Event `overview`: the state now and the points to merge into the history."""

    state: Overview
    tail: Series


class QualityTick(msgspec.Struct, frozen=True):
    """Event `quality`: the board now and the points to merge into the history."""

    state: Board
    tail: Series


class JobsTick(msgspec.Struct, frozen=True):
    """Event `jobs`: the jobs now."""

    state: Jobs


class StateTick(msgspec.Struct, frozen=True):
    """Event `state`: the wanted job's state now, None before it is known, and the points to merge into the history."""

    state: JobState | None
    tail: Series
