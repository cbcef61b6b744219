"""The tiers' parts of `bench/state.py --tiers`: every backend with the same hard limit of memory, page cache included, and more and more data.

A fork has one backend and one amount of data. Its control group holds the managed memory, the JVM's heap and what the JVM itself takes, and a little page cache:
`LIMIT_BYTES`. Values are 100 incompressible bytes under Long keys; the ratio is bytes of keys and values over managed memory. What does not fit ends a fork, and
that is its result: `throttled` (SlimBase says no), `out_of_heap`, `killed` (the kernel, for the limit).

- `curve`: Zipf rmw, Zipf get, uniform get, uniform blind put at each ratio; at `CHECKPOINT_RATIO` the writing ones with checkpoints too.
- `join`: what is written for rows that come, are read and leave with their window.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import tempfile
from collections.abc import Mapping
from typing import Any

from memory_limit import Limit, limited
from state_setup import FORK_TIMEOUT_S, MIB, SCRATCH, Backend, Run, java_command

MAIN = "io.headrace.statebench.tiers.Tiers"
JOIN_MAIN = "io.headrace.statebench.tiers.JoinWrites"
VALUE_BYTES = 100
RECORD_BYTES = 8 + VALUE_BYTES
ROW_BYTES = 16 + VALUE_BYTES
MANAGED_BYTES = 256 * MIB
HEAP_BYTES = 256 * MIB
# Metaspace, code, threads and collector of a JVM with Flink's classes and RocksDB took 50 to 110 MiB; the rest is page cache.
JVM_BYTES = 128 * MIB
PAGE_CACHE_BYTES = 64 * MIB
LIMIT_BYTES = MANAGED_BYTES + HEAP_BYTES + JVM_BYTES + PAGE_CACHE_BYTES
RATIOS = (0.05, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0)
RATIOS_QUICK = (0.5, 3.0)
CHECKPOINT_RATIO = 3.0
CHECKPOINT_MS = 4_000
# A record of 100 bytes takes 230 on the heap (facts, state-engine 5.5): beyond this it cannot fit.
HASHMAP_RATIO_MAX = 1.0
PEERS = ("rocksdb-bloom", "forst", "hashmap")
BACKENDS = ("slimbase", *PEERS)
PHASES = ("zipf_rmw", "zipf_get", "uniform_get", "uniform_put")
JOIN_RATIO = 2.0
JOIN_KEYS = 50_000
# A read of a whole map of 90 rows takes RocksDB half a millisecond here: with one a row nothing else would be measured.
JOIN_READ_EVERY = 256
# A load of RocksDB and ForSt takes 4 to 8 us a record, compaction after it included.
LOAD_S_PER_MILLION = 7.0
Figures = dict[str, Any]


def of_memory(backend: Backend) -> Backend:
    """The backend told to use the managed memory of a fork, and no more."""
    fixed = {option: f"{MANAGED_BYTES // MIB}m" for option in backend.fixed}
    return dataclasses.replace(backend, fixed=fixed)


def limit_of(backend: Backend) -> tuple[int, int]:
    """Heap and limit in bytes; a backend on the heap gets the managed memory there."""
    return HEAP_BYTES + (MANAGED_BYTES if backend.on_heap else 0), LIMIT_BYTES


def fork(main: str, backend: Backend, arguments: Mapping[str, object]) -> Figures:
    """Run a fork within the limit: its phases by name, and how it ended.

    Raises:
        NoLimit: memory cannot be limited here.
    """
    heap_bytes, limit_bytes = limit_of(backend)
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with limited(limit_bytes) as limit, tempfile.TemporaryDirectory(dir=SCRATCH, prefix=f"{backend.name}-") as folder:
        told = {
            "folder": folder,
            "managed-bytes": MANAGED_BYTES,
            "memory-stat": limit.stat,
            "conf": "execution.checkpointing.incremental=true",
            **arguments,
        }
        command = java_command(of_memory(backend), main, told, heap=f"{heap_bytes // MIB}m")
        command.insert(1, "-XX:+UseG1GC")  # whatever the JVM thinks of a machine with so little memory
        return _phases(command, limit)


def _phases(command: list[str], limit: Limit) -> Figures:
    try:
        done = subprocess.run(limit.wrap(command), capture_output=True, text=True, check=False, timeout=FORK_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return {"end": "too_slow", "message": f"timeout_s={FORK_TIMEOUT_S}"}
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    phases: Figures = {line.pop("phase"): line for line in lines if "phase" in line}
    end = next((line for line in lines if "end" in line), None)
    if end is None:
        end = {"end": "killed" if limit.kills or done.returncode == -9 else "failed", "message": done.stderr[-1_500:]}
    elif end["end"] == "failed":
        end["message"] += f", output=`{done.stderr[-1_500:]}`"
    for figures in phases.values():
        if figures.get("changed_bytes"):
            figures["write_amplification"] = round(figures["written_bytes"] / figures["changed_bytes"], 3)
    return {**end, "phases": phases}


def chosen(run: Run) -> list[Backend]:
    """Of the run's backends those that this part knows."""
    return [backend for backend in run.backends if backend.name in BACKENDS]


def measure_curve(run: Run) -> Figures:
    """All chosen backends at all ratios, the small ones first; `run.cases` may name ratios."""
    ratios = [one for one in (RATIOS_QUICK if run.quick else RATIOS) if run.wants(f"{one:g}")]
    forks = [(ratio, backend) for ratio in ratios for backend in chosen(run)]
    raw: dict[str, Figures] = {}
    with run.bar("tiers", len(forks)) as bar:
        for ratio, backend in forks:
            bar.now(f"{ratio:g} x memory, {backend.name}")
            figures = _at_ratio(ratio, backend, run)
            if figures:
                raw.setdefault(f"{ratio:g}", {})[backend.name] = figures
            bar.step()
    return {"tiers": {"setup": _setup(), "curve": raw, "ratios": ratios_of(raw)}}


def _setup() -> dict[str, int]:
    return {
        "managed_bytes": MANAGED_BYTES,
        "heap_bytes": HEAP_BYTES,
        "limit_bytes": LIMIT_BYTES,
        "value_bytes": VALUE_BYTES,
    }


def _at_ratio(ratio: float, backend: Backend, run: Run) -> Figures:
    if backend.on_heap and ratio > HASHMAP_RATIO_MAX:
        return {}
    records = int(ratio * MANAGED_BYTES / RECORD_BYTES)
    is_small = ratio < 1 or run.quick
    times = {"warm-ms": 2_000 if is_small else 3_000, "phase-ms": 3_000 if is_small else 6_000}
    checkpoints: dict[str, object] = (
        {"checkpoint-ms": CHECKPOINT_MS} if ratio == CHECKPOINT_RATIO and not run.quick else {}
    )
    guess_s = 10 + records / 1e6 * LOAD_S_PER_MILLION + 4 * sum(times.values()) / 1_000
    if not run.deadline.has(guess_s):
        run.leave_out(f"tiers {ratio:g} {backend.name}", "no time left")
        return {}
    arguments = {"records": records, "value-bytes": VALUE_BYTES, **times, **checkpoints}
    figures = {"records": records, **fork(MAIN, backend, arguments)}
    note(run, f"tiers {ratio:g} {backend.name}", figures)
    return figures


def note(run: Run, what: str, figures: Figures) -> None:
    """Say so when a fork did not come to its end."""
    if figures["end"] != "done":
        run.leave_out(what, f"{figures['end']}: {figures.get('message', '')}"[:400])


def has_failed(figures: object) -> bool:
    """Whether a fork anywhere in a result ended with an error, such as a wrong answer. That state did not fit is none."""
    if not isinstance(figures, dict):
        return False
    return figures.get("end") == "failed" or any(has_failed(one) for one in figures.values())


def ratios_of(raw: Mapping[str, Figures]) -> dict[str, float]:
    """Wall time of a peer over SlimBase's per ratio and phase, `3_zipf_rmw_vs_forst`; above 1 SlimBase is faster."""
    ratios: dict[str, float] = {}
    for ratio, backends in raw.items():
        ours = backends.get("slimbase", {}).get("phases", {})
        for peer in (name for name in PEERS if name in backends):
            theirs = backends[peer].get("phases", {})
            for phase in (name for name in ours if name in theirs and "wall_ns" in ours[name]):
                value = theirs[phase]["wall_ns"] / ours[phase]["wall_ns"]
                ratios[f"{ratio}_{phase}_vs_{peer}"] = round(value, 2)
    return ratios


def measure_join(run: Run) -> Figures:
    """Bytes written per byte of rows that come and go, the window twice the memory."""
    ratio = 1.0 if run.quick else JOIN_RATIO
    live = int(ratio * MANAGED_BYTES / ROW_BYTES)
    rows = live if run.quick else 2 * live
    raw: Figures = {"live_rows": live, "rows": rows, "ratio": ratio}
    backends = [backend for backend in chosen(run) if not backend.on_heap]
    with run.bar("join", len(backends)) as bar:
        for backend in backends:
            bar.now(backend.name)
            if run.deadline.has((live + rows) / 1e6 * 2 * LOAD_S_PER_MILLION):
                arguments = {
                    "keys": JOIN_KEYS,
                    "live-rows": live,
                    "rows": rows,
                    "value-bytes": VALUE_BYTES,
                    "read-every": JOIN_READ_EVERY,
                }
                raw[backend.name] = fork(JOIN_MAIN, backend, arguments)
                note(run, f"join {backend.name}", raw[backend.name])
            else:
                run.leave_out(f"join {backend.name}", "no time left")
            bar.step()
    return {"tiers_join": {**raw, **join_shares(raw)}}


def join_shares(raw: Mapping[str, Any]) -> dict[str, float]:
    """SlimBase's share of each peer's bytes written per byte of change."""
    written = {
        name: raw[name]["phases"]["window"]["write_amplification"]
        for name in BACKENDS
        if "window" in raw.get(name, {}).get("phases", {})
    }
    ours = written.pop("slimbase", None)
    return {
        f"write_amplification_share_of_{name}": round(ours / theirs, 3)
        for name, theirs in written.items()
        if ours is not None and theirs
    }
