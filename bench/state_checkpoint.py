"""The checkpoint part of `bench/state.py`: a large state of which 1 % changes between incremental checkpoints."""

from __future__ import annotations

import statistics
from typing import Any

from state_setup import GIB, Backend, ForkFailed, Run, run_java

MAIN = "io.headrace.statebench.checkpoint.CheckpointBench"
VALUE_BYTES = 100
RECORD_BYTES = 8 + VALUE_BYTES
STATE_BYTES = 5 * GIB
STATE_BYTES_QUICK = GIB // 2
# Off the heap a 100-byte record took 146 bytes in the spike (facts, state-engine 5.5): half as much again as the state.
MANAGED_SHARE = 1.7
ROUNDS = 20
ROUNDS_QUICK = 8
BACKENDS = frozenset({"slimbase", "rocksdb"})


def measure(run: Run) -> dict[str, Any]:
    """Bytes, duration and synchronous part of incremental checkpoints per backend, and slimbase / rocksdb."""
    state_bytes = STATE_BYTES_QUICK if run.quick else STATE_BYTES
    backends = [one for one in run.backends if one.name in BACKENDS]
    raw: dict[str, dict[str, Any]] = {}
    with run.bar("checkpoint", len(backends)) as bar:
        for backend in backends:
            bar.now(backend.name)
            figures = _run(backend, state_bytes, run)
            if figures:
                raw[backend.name] = figures
            bar.step()
    return {"checkpoint": {"state_bytes": state_bytes, **raw, **ratios(raw)}}


def _run(backend: Backend, state_bytes: int, run: Run) -> dict[str, Any]:
    if not run.deadline.has(20 + state_bytes / GIB * 40):
        run.leave_out(f"checkpoint {backend.name}", "no time left")
        return {}
    arguments = {
        "records": state_bytes // RECORD_BYTES,
        "value-bytes": VALUE_BYTES,
        "rounds": ROUNDS_QUICK if run.quick else ROUNDS,
        "managed-bytes": int(state_bytes * MANAGED_SHARE) + GIB,
        "conf": "execution.checkpointing.incremental=true",
    }
    try:
        result = run_java(MAIN, backend, arguments, heap="3g")
    except ForkFailed as error:
        run.leave_out(f"checkpoint {backend.name}", str(error))
        return {}
    raw = {"full": result["full"], "rounds": result["incremental"], "restores": result["restores"]}
    return {**_summary(result["incremental"]), **raw}


def _summary(rounds: list[dict[str, float]]) -> dict[str, float]:
    durations = [one["sync_ms"] + one["async_ms"] for one in rounds]
    return {
        "bytes_mean": round(statistics.mean(one["bytes"] for one in rounds)),
        "bytes_median": round(statistics.median(one["bytes"] for one in rounds)),
        "duration_ms_median": round(statistics.median(durations), 1),
        "duration_ms_mean": round(statistics.mean(durations), 1),
        "sync_ms_median": round(statistics.median(one["sync_ms"] for one in rounds), 3),
        "sync_ms_max": round(max(one["sync_ms"] for one in rounds), 3),
        "cpu_ms_mean": round(statistics.mean(one["cpu_ms"] for one in rounds), 1),
    }


def ratios(raw: dict[str, Any]) -> dict[str, float]:
    """SlimBase's share of incremental rocksdb's bytes and times, from both one's figures."""
    if not raw.keys() >= BACKENDS:
        return {}
    ours, theirs = raw["slimbase"], raw["rocksdb"]
    figures = ("bytes_mean", "bytes_median", "duration_ms_median", "duration_ms_mean", "sync_ms_median")
    return {
        f"share_of_rocksdb_{figure}": round(ours[figure] / theirs[figure], 3)
        for figure in figures
        if figure in ours and figure in theirs
    }
