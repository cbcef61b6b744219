"""From what happened to the report: collect the facts of a run from the stores, judge them, draw them.

`Before` are counts taken when the run began, because a stack may have run before; everything else is read after the traffic
ended and the jobs had time to write what they hold (`QUIET_S`). A fact that cannot be read fails its guarantee.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec
from rich.console import Console
from rich.table import Table as Grid

from headrace.cli.demo import guarantees as g
from headrace.cli.demo.compare import (
    MINUTE_MS,
    OLAP_NAMES,
    RULES,
    Difference,
    TableRule,
    compare,
    kafka_rows,
    olap_rows,
    session_final,
    topic_end,
)
from headrace.cli.demo.conductor import FAULTY_CDN, RAMP_S, STREAM, WARM_S, Conductor
from headrace.cli.demo.observe import decision_latencies_s
from headrace.cli.headraced_client import Headraced
from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError
from headrace.core.home import Endpoints, Home
from headrace.core.rand import seeded
from headrace.flink.driver_client import DriverClient
from headrace.jobs.host import JobDetail
from headrace.jobs.model import JobSpec
from headrace.jobs.recount import read_rows, recount
from headrace.serve.olap_client import OlapClient

WATERMARK_DELAY_S = 6.0  # tables/cmcd_raw.sql
QUIET_S = 15.0  # mini-batch 1 s, the next checkpoint 10 s (exactly-once rows become visible with it), sink flush
WARM_MS = round(WARM_S * 1000) - 1000
SAMPLE = 2_000  # beacons whose way to a decision is followed
BOOKS = ("received", "accepted", "dead", "shed")
ODS = f"ods.{STREAM}"
CELLS = "dws.cell_1s"


class Before(msgspec.Struct, frozen=True):
    """Counts when the run began."""

    books: dict[str, int]
    topic_rows: int


def gateway_books(endpoints: Endpoints) -> dict[str, int]:
    """The gateway's books."""
    stats: dict[str, Any] = httpx.get(f"{endpoints.gateway}/v1/stats", timeout=5.0, trust_env=False).json()
    return {key: int(stats[key]) for key in BOOKS}


def count_before(endpoints: Endpoints) -> Before:
    """What the run starts from."""
    return Before(gateway_books(endpoints), topic_end(endpoints.kafka, ODS))


class Inspector:
    """Reads the facts of one finished run and judges them."""

    def __init__(self, conductor: Conductor, before: Before, *, home: Home, endpoints: Endpoints, clock: Clock) -> None:
        self._conductor, self._before, self._run = conductor, before, conductor.run_facts
        self._home, self._endpoints, self._clock = home, endpoints, clock
        self._olap = OlapClient(endpoints.olap)
        self.differences: list[Difference] = []

    def judge(self, say: Callable[[str], None]) -> g.Report:
        """All guarantees of the run."""
        self._clock.sleep(QUIET_S)
        rows = [
            *_guard("gateway", self._books),
            self._moved(),
            *_guard("decisions", self._decisions),
            *_guard("sessions", self._sessions),
        ]
        rows.append(g.judge_readable(self._readable()))
        seconds = self._conductor.health.recovery_s(self._run.killed_ms)
        rows.append(
            g.judge_recovery(killed=self._run.killed or "TaskManager", restored=seconds is not None, seconds=seconds)
        )
        say("recounting in batch mode what the jobs computed as a stream")
        rows += _guard("recount", self._recount)
        return g.Report(guarantees=rows, details=self._details())

    @property
    def _until_ms(self) -> int:
        """Event time that the watermark had passed when the traffic ended, with 2 s to spare."""
        return self._run.ended_ms - round(WATERMARK_DELAY_S * 1000) - 2_000

    def _readable(self) -> list[float]:
        """Of the minutes that were complete before the TaskManager died; those it died in wait for its return."""
        ended = (self._run.started_ms + WARM_MS, self._run.killed_ms - round(WATERMARK_DELAY_S * 1000) - 5_000)
        return self._conductor.minutes.delays_s(ended=ended, watermark_delay_s=WATERMARK_DELAY_S)

    def _books(self) -> list[g.Guarantee]:
        now = gateway_books(self._endpoints)
        delta = {key: now[key] - self._before.books[key] for key in BOOKS}
        grown = topic_end(self._endpoints.kafka, ODS) - self._before.topic_rows
        return [g.judge_reconciled(delta), g.judge_durable(acknowledged=delta["accepted"], in_topic=grown)]

    def _moved(self) -> g.Guarantee:
        shares = [(at / 1000, share.get(FAULTY_CDN, 0.0)) for at, share in self._conductor.replayer.counts.shares]
        return g.judge_moved(shares, cut_at_s=self._run.degraded_ms / 1000)

    def _decisions(self) -> list[g.Guarantee]:
        run = self._run
        sql = "SELECT ts_ms, region, isp, weights FROM decision_log WHERE ts_ms BETWEEN {a:Int64} AND {b:Int64} ORDER BY ts_ms"
        rows = self._olap.query(sql, params={"a": run.started_ms, "b": run.ended_ms})
        calm: dict[str, list[dict[str, float]]] = {}
        for row in rows:
            if max(run.calm_ms, (run.full_ms or run.started_ms) + RAMP_S * 1000) <= int(row["ts_ms"]) < run.degraded_ms:
                calm.setdefault(_cell(row), []).append(msgspec.json.decode(row["weights"]))
        worst = max((g.judge_calm(weights) for weights in calm.values()), key=_badness, default=g.judge_calm([]))
        return [worst, g.judge_decision_latency(self._latencies(rows))]

    def _latencies(self, decisions: Sequence[dict[str, Any]]) -> list[float]:
        """From a sample of beacons between the moment when the crowd was full and the TaskManager's death; responses are left
        out, their ts is their request's.
        """
        run = self._run
        since_ms = (run.full_ms or run.started_ms) + RAMP_S * 1000
        sent = (row for row, _ in kafka_rows(self._endpoints.kafka, ODS))
        counted = [row for row in sent if row["e"] != "rr" and since_ms <= row["recv_ms"] < run.killed_ms - 5_000]
        chosen = seeded(self._conductor.plan.seed).sample(counted, min(SAMPLE, len(counted)))
        beacons = [(f"{_cell(row)}|{row.get('cdn') or 'none'}", int(row["ts_ms"])) for row in chosen]
        cells = [(row, at) for row, at in kafka_rows(self._endpoints.kafka, CELLS) if at >= run.started_ms]
        updates = [(f"{_cell(row)}|{row['cdn']}", int(row["last_ts_ms"]), at) for row, at in cells]
        return decision_latencies_s(beacons, updates, [(_cell(row), int(row["ts_ms"])) for row in decisions])

    def _sessions(self) -> list[g.Guarantee]:
        sql = "SELECT sid, outcome, s_ms, join_ms, stall_ms, last_ms FROM play_session FINAL WHERE session_ms >= {a:Int64}"
        found = self._olap.query(sql, params={"a": self._run.started_ms})
        outcomes: dict[str, int] = {}
        for row in found:
            outcomes[row["outcome"]] = outcomes.get(row["outcome"], 0) + 1
        attempts = sum(row["s_ms"] is not None for row in found)
        ours = {row["sid"]: row for row in found}
        # A session that was not summed up yet when the traffic ended proves nothing.
        whole = [(session, session.whole_clip) for session in self._conductor.crowd.ended]
        pairs = [
            (clip.whole, ours[session.sid])
            for session, clip in whole
            if clip
            and clip.whole
            and session.sid in ours
            and session_final(int(ours[session.sid]["last_ms"]), self._until_ms)
        ]
        joins = [
            float(row["join_ms"]) - page.join_ms
            for page, row in pairs
            if page.join_ms is not None and row["join_ms"] is not None
        ]
        stalls = [float(row["stall_ms"]) - page.stall_ms for page, row in pairs]
        return [
            g.judge_identity(outcomes, attempts=attempts),
            g.judge_stopwatch(joins, what="join time"),
            g.judge_stopwatch(stalls, what="stall time"),
        ]

    def _recount(self) -> list[g.Guarantee]:
        folder = self._home.tmp / "recount"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            self.differences = [self._difference(rule, folder) for rule in RULES]
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        different = {one.table: one.different for one in self.differences}
        return g.judge_recount(different, {one.table: one.rows for one in self.differences})

    def _difference(self, rule: TableRule, folder: Path) -> Difference:
        spec = self._spec(rule.job)
        if not (folder / rule.job).exists():
            with DriverClient(self._endpoints.driver) as driver:
                recount(
                    spec,
                    folder=folder / rule.job,
                    archive=self._home.archive,
                    endpoints=self._endpoints,
                    driver=driver,
                    clock=self._clock,
                )
        table = next(table for table in spec.tables if table.name == rule.name)
        if rule.where == "kafka":
            streamed = [row for row, _ in kafka_rows(self._endpoints.kafka, f"{table.layer}.{table.name}")]
        else:
            streamed = olap_rows(
                self._olap, OLAP_NAMES.get(rule.name, rule.name), columns=[column.name for column in table.physical]
            )
        return compare(
            rule,
            streamed,
            read_rows(folder / rule.job / rule.name),
            until_ms=self._until_ms,
            since_ms=self._run.started_ms - self._run.started_ms % MINUTE_MS,
        )

    def _spec(self, job: str) -> JobSpec:
        with Headraced(self._endpoints.headraced) as headraced:
            return headraced.get(f"/v1/jobs/{job}", JobDetail).job.spec

    def _details(self) -> dict[str, float | int | str]:
        counts, run = self._conductor.replayer.counts, self._run
        details: dict[str, float | int | str] = {
            "sessions_replayed": len(self._conductor.crowd.ended) + len(self._conductor.crowd.alive),
            "beacons_acknowledged": counts.sent,
            "beacons_resent": counts.resent,
            "beacons_dropped_by_the_replay": counts.dropped,
            "steering_polls": counts.polls,
            "steering_polls_failed": counts.polls_failed,
            "sessions_on_the_degraded_cdn": run.hit,
            "recovered_from_an_earlier_run_s": round((run.calm_ms - run.started_ms) / 1000, 1),
            "traffic_s": round((run.ended_ms - run.started_ms) / 1000, 1),
        }
        return details | {
            f"example of a difference in {one.table}": one.example for one in self.differences if one.example
        }


def _guard(what: str, collect: Callable[[], list[g.Guarantee]]) -> list[g.Guarantee]:
    try:
        return collect()
    except (HeadraceError, httpx.HTTPError, msgspec.MsgspecError, KeyError) as error:
        return [g.unmeasured(what, "measurable", str(error).splitlines()[0] if str(error) else repr(error))]


def _cell(row: dict[str, Any]) -> str:
    return f"{row.get('region', '')}|{row.get('isp', '')}"


def _badness(row: g.Guarantee) -> float:
    return row.measured if isinstance(row.measured, float) else 1.0


def render_report(report: g.Report, console: Console) -> None:
    """The report as a table for people."""
    grid = Grid(
        title="guarantees", title_justify="left", title_style="bold", box=None, header_style="dim", pad_edge=False
    )
    for heading, justify in (("", "left"), ("guarantee", "left"), ("measured", "right"), ("bound", "left")):
        grid.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for row in report.guarantees:
        mark = "[green]pass[/]" if row.passed else "[bold red]FAIL[/]"
        grid.add_row(mark, row.name, str(row.measured), row.bound)
    console.print(grid)
    for name, value in report.details.items():
        console.print(f"[dim]{name.replace('_', ' ')}: {value}[/]", highlight=False)
    console.print("[green bold]all guarantees held[/]" if report.passed else "[red bold]not all guarantees held[/]")
