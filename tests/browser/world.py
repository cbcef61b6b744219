"""A made-up stack whose every figure is a function of time: the browser tests know what the page must show.

Six minutes before `origin_ms + INCIDENT_S` all is calm; then CDN A degrades, the scheduler moves its weight to B, a
TaskManager dies and the job restarts. No randomness: ripples are sines.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from headrace.console import live_model as m

INCIDENT_S = 150
KILL_S = 230
RECOVERED_S = 300
HISTORY_S = 600
CELLS = [
    ("east", "mobile"),
    ("east", "telecom"),
    ("north", "telecom"),
    ("north", "unicom"),
    ("south", "mobile"),
    ("south", "telecom"),
]
ROOMS = ["room-1", "room-2", "room-3"]
PROCESSES = [
    ("valkey", 0.02, 14), ("kafka", 0.21, 512), ("olap", 0.17, 780), ("jobmanager", 0.06, 610), ("taskmanager-1", 0.52, 1410),
    ("taskmanager-2", 0.47, 1385), ("driver", 0.0, 540), ("headraced", 0.05, 92), ("gateway", 0.31, 88), ("steering", 0.03, 61), ("scheduler", 0.02, 58),
]  # fmt: skip
VERTICES = [
    ("v1", "Source: cmcd_raw[1] -> Calc[2]", [], 0.34), ("v2", "GroupAggregate[4] -> play_interval", ["v1"], 0.62),
    ("v3", "Deduplicate[6] -> Calc[7]", ["v1"], 0.41), ("v4", "GroupWindowAggregate qoe_1m[9]", ["v2"], 0.22),
    ("v5", "GroupAggregate cell_1s[12]", ["v3"], 0.48), ("v6", "Sink: olap qoe_1m", ["v4"], 0.08), ("v7", "Sink: redis cell_1s", ["v5"], 0.12),
]  # fmt: skip


@dataclass
class World:
    """The stack at any time; `gone` names sources that do not answer."""

    origin_ms: int
    gone: tuple[str, ...] = ()
    empty: bool = False
    alarmed: bool = False  # the brake holds, and a host has no spare

    def seconds(self, at_ms: int) -> float:
        """Seconds of the story that have passed."""
        return (at_ms - self.origin_ms) / 1000

    def weight_a(self, t: float) -> float:
        """CDN A's weight: 70 %, then down to 2 % in steps, and slowly given back."""
        if t < INCIDENT_S + 3:
            return 0.7
        if t < RECOVERED_S:
            return max(0.02, 0.7 * 0.5 ** (1 + (t - INCIDENT_S - 3) // 5))
        return min(0.5, 0.02 + 0.04 * ((t - RECOVERED_S) // 15))

    def stall(self, cdn: str, t: float) -> float:
        """Share of stalled sessions."""
        calm = 0.008 + 0.004 * math.sin(t / 7 + ord(cdn))
        if cdn != "A" or t < INCIDENT_S or t > RECOVERED_S - 40:
            return calm
        return calm + 0.34 * min(1.0, (t - INCIDENT_S) / 6) * (1 if t < INCIDENT_S + 20 else 0.6)

    def sessions(self, cdn: str, t: float, selection: m.Selection) -> int:
        """Sessions of a CDN in a selection."""
        cells = [c for c in CELLS if selection.region in ("", c[0]) and selection.isp in ("", c[1])]
        share = self.weight_a(t - 4) if cdn == "A" else 1 - self.weight_a(t - 4)
        return round(len(cells) * 700 * share * (1 + 0.02 * math.sin(t / 23)))

    def reaches(self, at_ms: int, names: list[str]) -> list[m.Reach]:
        """What answers."""
        return [
            m.Reach(name=n, state="unreachable" if n in self.gone else "ok", since_ms=at_ms - 42_000, last_ok_ms=at_ms - (43_000 if n in self.gone else 400),
                    error="connection refused" if n in self.gone else "")
            for n in names
        ]  # fmt: skip

    def cdn(self, name: str, at_ms: int, selection: m.Selection) -> m.CdnQuality:
        """One CDN's card."""
        t = self.seconds(at_ms)
        sessions, stall = self.sessions(name, t, selection), self.stall(name, t)
        weight = self.weight_a(t)
        return m.CdnQuality(
            cdn=name, sessions=sessions, stalled=round(sessions * stall), stall_share=round(stall, 4),
            inflight_age_ms_max=round(420 + 60 * math.sin(t / 3) + 9000 * max(0.0, stall - 0.02)), errors_per_s=round(stall * 20, 1),
            weight=round(weight if name == "A" else 1 - weight, 4), plays=sessions * 3, join_p50_ms=430 + 900 * stall, join_p95_ms=1180 + 9000 * stall,
            bitrate_kbps=2870 - 4000 * stall, rebuffer_ratio=round(stall * 0.6, 4), errors=round(stall * 300), completeness=0.998,
        )  # fmt: skip

    def incidents(self, at_ms: int) -> list[m.Event]:
        """Injected trouble so far, newest first."""
        rows = [
            (INCIDENT_S, "incident_injected", "CDN A degraded"),
            (KILL_S, "incident_injected", "taskmanager-1 killed"),
        ]
        return [
            m.Event(
                at_ms=self.origin_ms + s * 1000, kind=kind, text=text, severity="error", subject=text, incident=True
            )
            for s, kind, text in reversed(rows)
            if self.origin_ms + s * 1000 <= at_ms
        ]

    def decisions(self, at_ms: int, selection: m.Selection) -> list[m.Decision]:
        """The decision log so far, newest first."""
        rows: list[m.Decision] = []
        for s in range(0, int(self.seconds(at_ms)) + 1):
            before, after = self.weight_a(s - 1), self.weight_a(s)
            if before == after:
                continue
            worse = after < before
            reason = (
                f"evacuate A: {self.stall('A', s):.0%} of its sessions stalled, lower bound above 25 %, n=214"
                if worse else "give back: A healthy for 30 s, step of 4 %"
            )  # fmt: skip
            for region, isp in CELLS:
                if selection.region in ("", region) and selection.isp in ("", isp):
                    rows.append(m.Decision(
                        at_ms=self.origin_ms + s * 1000, region=region, isp=isp, version=s, reason=reason,
                        before={"A": before, "B": 1 - before}, weights={"A": after, "B": 1 - after}, last_input_ms=self.origin_ms + s * 1000 - 1100,
                    ))  # fmt: skip
        return rows[::-1][:50]

    def board(self, at_ms: int, selection: m.Selection) -> m.Board:
        """The live-quality board."""
        sources = self.reaches(at_ms, ["cells", "redis", "olap"])
        if self.empty:
            return m.Board(at_ms=at_ms, selection=selection, sources=sources)
        cdns = [self.cdn(name, at_ms, selection) for name in "AB"]
        sessions = sum(c.sessions or 0 for c in cdns)
        weight = self.weight_a(self.seconds(at_ms))
        return m.Board(
            at_ms=at_ms, selection=selection, regions=sorted({c[0] for c in CELLS}), isps=sorted({c[1] for c in CELLS}), rooms=ROOMS, sources=sources,
            cell_at_ms=at_ms - 1000, minute_at_ms=at_ms // 60_000 * 60_000 - 60_000, sessions=sessions,
            stall_share=round(sum(c.stalled or 0 for c in cdns) / sessions, 4) if sessions else None, cdns=cdns,
            steers=[m.Steer(region=r, isp=i, version=7, at_ms=at_ms - 600, ttl_s=10, weights={"A": weight, "B": 1 - weight}, reason="keep") for r, i in CELLS
                    if selection.region in ("", r) and selection.isp in ("", i)],
            decisions=self.decisions(at_ms, selection), incidents=self.incidents(at_ms),
        )  # fmt: skip

    def quality_series(self, from_ms: int, to_ms: int, selection: m.Selection) -> m.Series:
        """History of the board, one point a second."""
        if self.empty:
            return m.Series([], {})
        axis = list(range(-(-from_ms // 1000) * 1000, to_ms + 1, 1000))
        values: dict[str, list[float | None]] = {}
        for at in axis:
            for name in "AB":
                cdn = self.cdn(name, at, selection)
                points = {
                    "sessions": cdn.sessions,
                    "stall_share": cdn.stall_share,
                    "weight": cdn.weight,
                    "inflight_age_ms": cdn.inflight_age_ms_max,
                }
                for key, value in points.items():
                    values.setdefault(f"{key}:{name}", []).append(value)
        return m.Series(axis, values)

    def rate(self, topic: str, t: float) -> float:
        """Records per second of a topic."""
        base = {
            "ods.cmcd_raw": 5000,
            "dwd.play_interval": 2600,
            "dws.cell_1s": 36,
            "ads.decision_log": 0.4,
            "dlq.cmcd_raw": 0.0,
        }[topic]
        return round(base * (1 + 0.06 * math.sin(t / 5) + 0.03 * math.sin(t / 1.7)), 2)

    def lag(self, t: float) -> int:
        """Lag of the job; it grows while the job restarts."""
        return round(
            40
            + 20 * math.sin(t / 4)
            + (
                5000 * (t - KILL_S)
                if KILL_S <= t < KILL_S + 8
                else max(0.0, 40_000 - 6000 * (t - KILL_S - 8))
                if t > KILL_S
                else 0
            )
        )

    def latency(self, t: float) -> tuple[float, float]:
        """Median and p99 of event to decision."""
        slow = max(0.0, 2600 - 220 * (t - KILL_S)) if t >= KILL_S else 0.0
        return round(1080 + 90 * math.sin(t / 6) + slow * 0.3), round(1490 + 160 * math.sin(t / 9) + slow)

    def job(self, at_ms: int) -> m.JobRow:
        """The main job."""
        t = self.seconds(at_ms)
        down = KILL_S <= t < KILL_S + 8
        done = int(t // 10) + 40
        return m.JobRow(
            id="5b1f0c7e9d2a4b6f8e3c1d0a7b9f2e44", name="live-quality", state="RESTARTING" if down else "RUNNING", started_at_ms=self.origin_ms - 600_000,
            uptime_ms=at_ms - self.origin_ms + 600_000, restarts=int(t >= KILL_S), tasks_running=0 if down else 14, tasks_total=14,
            records_in_per_s=0.0 if down else self.rate("ods.cmcd_raw", t), checkpoints_completed=done, checkpoints_failed=int(t >= KILL_S),
            checkpoint_at_ms=self.origin_ms + (done - 40) * 10_000, checkpoint_duration_ms=320, checkpoint_size_bytes=18_400_000,
        )  # fmt: skip

    def overview(self, at_ms: int) -> m.Overview:
        """The first page."""
        t = self.seconds(at_ms)
        sources = self.reaches(at_ms, ["supervisor", "kafka", "flink", "cells", "redis", "olap", "journal"])
        if self.empty:
            return m.Overview(at_ms=at_ms, sources=sources)
        p50, p99 = self.latency(t)
        processes = [
            m.Process(name=name, state="backoff" if name == "taskmanager-1" and KILL_S <= t < KILL_S + 6 else "ready", pid=4000 + i,
                      restarts=int(name == "taskmanager-1" and t >= KILL_S), cpu_ratio=round(cpu * (1 + 0.1 * math.sin(t / 3 + i)), 3), rss_bytes=mib << 20,
                      uptime_ms=at_ms - self.origin_ms + 620_000, endpoint=f"127.0.0.1:{23710 + i}")
            for i, (name, cpu, mib) in enumerate(PROCESSES)
        ]  # fmt: skip
        topics = [
            m.Topic(name=name, partitions=parts, records=records, rate_records_per_s=self.rate(name, t), lag_records=lag, lag_group="live-quality" if lag is not None else "")
            for name, parts, records, lag in [
                ("ods.cmcd_raw", 4, 3_120_400 + int(t * 5000), self.lag(t)), ("dwd.play_interval", 4, 1_604_210, 0),
                ("dws.cell_1s", 2, 21_880, 2), ("ads.decision_log", 1, 214, None), ("dlq.cmcd_raw", 1, 3, None)]
        ]  # fmt: skip
        second = m.JobRow(id="c0ffee" * 5 + "00", name="archive", state="RUNNING", uptime_ms=900_000, restarts=0, tasks_running=4, tasks_total=4,
                          records_in_per_s=self.rate("ods.cmcd_raw", t), checkpoints_completed=88, checkpoints_failed=0, checkpoint_at_ms=at_ms - 4000)  # fmt: skip
        events = [*self.incidents(at_ms), m.Event(at_ms=self.origin_ms - 600_000, kind="job_deployed", text="live-quality, parallelism 2", subject="live-quality"),
                  m.Event(at_ms=self.origin_ms - 606_000, kind="table_applied", text="cmcd_raw, play_interval, qoe_1m, cell_1s", subject="cmcd_raw")]  # fmt: skip
        if t >= KILL_S + 2:
            events.insert(
                0,
                m.Event(
                    at_ms=self.origin_ms + (KILL_S + 2) * 1000,
                    kind="process_restarted",
                    text="taskmanager-1 after SIGKILL",
                    severity="warn",
                ),
            )
        return m.Overview(
            at_ms=at_ms, home="demo", started_at_ms=self.origin_ms - 620_000, sources=sources, processes=processes, topics=topics, jobs=[self.job(at_ms), second],
            latency=m.Latency(p50_ms=p50, p99_ms=p99, cells=len(CELLS), oldest_decision_ms=at_ms - 900), events=events,
        )  # fmt: skip

    def overview_series(self, from_ms: int, to_ms: int) -> m.Series:
        """History of the overview."""
        if self.empty:
            return m.Series([], {})
        axis = list(range(-(-from_ms // 1000) * 1000, to_ms + 1, 1000))
        seconds = [self.seconds(at) for at in axis]
        values: dict[str, list[float | None]] = {
            f"rate:{name}": [self.rate(name, t) for t in seconds]
            for name in ("ods.cmcd_raw", "dwd.play_interval", "dws.cell_1s", "ads.decision_log", "dlq.cmcd_raw")
        }
        values["lag:ods.cmcd_raw"] = [self.lag(t) for t in seconds]
        values["latency_p50_ms"] = [self.latency(t)[0] for t in seconds]
        values["latency_p99_ms"] = [self.latency(t)[1] for t in seconds]
        values["cpu_ratio"] = [1.5 + 0.2 * math.sin(t / 3) for t in seconds]
        values["job:live-quality"] = [
            0.0 if KILL_S <= t < KILL_S + 8 else self.rate("ods.cmcd_raw", t) for t in seconds
        ]
        return m.Series(axis, values)

    def detail(self, at_ms: int) -> m.JobDetail:
        """The job page."""
        t = self.seconds(at_ms)
        down = KILL_S <= t < KILL_S + 8
        vertices = []
        for i, (id_, name, inputs, busy) in enumerate(VERTICES):
            load = busy * (1 + 0.08 * math.sin(t / 3 + i))
            pressed = 0.05 * (1 + math.sin(t / 5)) if id_ == "v1" else 0.0
            flow = self.rate("ods.cmcd_raw", t) / (1 if id_ == "v1" else 2 if i < 4 else 60)
            vertices.append(m.Vertex(id=id_, name=name, parallelism=2, state="CREATED" if down else "RUNNING", inputs=inputs, busy=round(load, 3), back_pressured=round(pressed, 3),
                                     idle=round(1 - load - pressed, 3), records_in_per_s=flow if inputs else 0.0, records_out_per_s=0.0 if "Sink" in name else flow, watermark_ms=at_ms - 5200))  # fmt: skip
        row = self.job(at_ms)
        checkpoints = []
        for k in range(row.checkpoints_completed or 0, (row.checkpoints_completed or 0) - 30, -1):
            at = self.origin_ms + (k - 40) * 10_000
            failed = at <= self.origin_ms + KILL_S * 1000 < at + 10_000
            checkpoints.append(m.Checkpoint(id=k, kind="CHECKPOINT", state="FAILED" if failed else "COMPLETED", at_ms=at, duration_ms=round(320 + 140 * math.sin(k) ** 2 + 900 * failed),
                                            size_bytes=2_400_000 + 90_000 * (k % 5), full_size_bytes=18_400_000 + 210_000 * (k % 9), failure="task lost" if failed else ""))  # fmt: skip
        exceptions = [m.JobException(at_ms=self.origin_ms + KILL_S * 1000, name="TaskManager lost", task="GroupAggregate[4] (1/2)", endpoint="127.0.0.1:23714",
                                     message="org.apache.flink.runtime.jobmaster.JobMasterException: TaskManager with id taskmanager-1 is no longer reachable.\n\tat org.apache.flink.runtime.jobmaster.JobMaster$TaskManagerHeartbeatListener")] if t >= KILL_S else []  # fmt: skip
        return m.JobDetail(
            at_ms=at_ms,
            job=row,
            vertices=vertices,
            checkpoints=checkpoints,
            exceptions=exceptions,
            restored_checkpoint=62 if exceptions else None,
            sources=self.reaches(at_ms, ["flink"]),
        )

    def state(self, at_ms: int, job: str) -> m.JobState | None:
        """State by tiers: the main job has an operator beyond memory and one within; `archive` has none; others do not exist."""
        if job not in ("live-quality", "archive") or self.empty:
            return None
        t = self.seconds(at_ms)
        down = job == "live-quality" and KILL_S <= t < KILL_S + 8
        operators = [] if down or job == "archive" else [self.large_state(t), self.small_state()]
        return m.JobState(
            at_ms=at_ms, job=job, id=self.job(at_ms).id, state="RESTARTING" if down else "RUNNING", operators=operators, checkpoint_at_ms=at_ms - 4000,
            checkpoint_duration_ms=820, sources=self.reaches(at_ms, ["flink"]),
        )  # fmt: skip

    def large_state(self, t: float) -> m.OperatorState:
        """Three times its memory; packing and merging come and go."""
        wave = 1 + 0.3 * math.sin(t / 9)
        rates = m.TierRates(
            lookups_per_s=round(52_000 * wave, 1), file_lookups_per_s=round(6_400 * wave, 1), file_reads_per_s=round(4_900 * wave, 1), false_file_reads_per_s=round(110 * wave, 1),
            promotions_per_s=round(340 * wave, 1), appended_bytes_per_s=round(5.2e6 * wave), packed_bytes_per_s=round(3.1e6 * wave), merged_bytes_per_s=round(6.4e6 * wave * wave),
            range_fetches_per_s=0.0, range_fetched_bytes_per_s=0.0, stall_ms_per_s=0.0,
        )  # fmt: skip
        return m.OperatorState(
            id="v3.Deduplicate[6]", vertex="v3", vertex_name="Deduplicate[6] -> Calc[7]", name="Deduplicate[6]", parallelism=2, memory_used_bytes=121 << 20, memory_limit_bytes=128 << 20,
            records=3_400_000, record_bytes=92 << 20, live_bytes=60 << 20, index_bytes=14 << 20, cache_bytes=26 << 20, file_index_bytes=9 << 20, file_bytes=321 << 20, file_count=19, run_count_max=6,
            merge_failures=0, restored_files_left=0, appended_bytes=900 << 20, packed_bytes=540 << 20, merged_bytes=1170 << 20, checkpoint_bytes=352 << 20, rates=rates,
        )  # fmt: skip

    def small_state(self) -> m.OperatorState:
        """All in memory."""
        nothing = dict.fromkeys(m.TierRates.__struct_fields__, 0.0)
        rates = m.TierRates(**{**nothing, "lookups_per_s": 2600.0, "appended_bytes_per_s": 210_000.0})
        return m.OperatorState(
            id="v2.GroupAggregate[4]", vertex="v2", vertex_name="GroupAggregate[4] -> play_interval", name="GroupAggregate[4]", parallelism=2, memory_used_bytes=121 << 20,
            memory_limit_bytes=128 << 20, records=31_000, record_bytes=4 << 20, live_bytes=3 << 20, index_bytes=1 << 20, cache_bytes=0, file_index_bytes=0, file_bytes=0, file_count=0, run_count_max=0,
            merge_failures=0, restored_files_left=0, appended_bytes=40 << 20, packed_bytes=0, merged_bytes=0, checkpoint_bytes=3 << 20, rates=rates,
        )  # fmt: skip

    def state_series(self, from_ms: int, to_ms: int) -> m.Series:
        """History of the rates, one point in two seconds."""
        axis = list(range(-(-from_ms // 2000) * 2000, to_ms + 1, 2000))
        drawn = (
            "appended_bytes_per_s",
            "packed_bytes_per_s",
            "merged_bytes_per_s",
            "file_lookups_per_s",
            "file_reads_per_s",
        )
        values: dict[str, list[float | None]] = {}
        for at in axis:
            for operator in (self.large_state(self.seconds(at)), self.small_state()):
                for name in drawn:
                    values.setdefault(f"{name}:{operator.id}", []).append(getattr(operator.rates, name))
        return m.Series(axis, values)
