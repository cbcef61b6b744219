"""The Nexmark part of `bench/state.py --tiers`: queries whose state is three times the memory that they are given, within a hard limit.

First each query runs once on `hashmap` without limit: the largest full checkpoint that it completes is the size of its state, whoever keeps it. A third of that
is its managed memory from then on, one figure for all backends, and the control group of the JVM and its Python holds that, the heap, what both processes take
besides, and a little page cache. Queries whose state is too small for that to leave a reasonable memory are left out and named. Rows must be the same as hashmap's.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import state_nexmark
from memory_limit import limited
from state_flink import Job, run_jobs
from state_setup import BACKENDS, MIB, Backend, ForkFailed, Run
from state_tiers import PAGE_CACHE_BYTES, PEERS, chosen

# Those whose state grows with the events; windows hold little at any moment.
NAMES = ("q3", "q4", "q9", "q15", "q16", "q17", "q18", "q19", "q20")
NAMES_QUICK = ("q9", "q20")
EVENTS = 3_000_000
EVENTS_QUICK = 1_000_000
RATIO = 3.0
HEAP_BYTES = 512 * MIB
# For the JVM besides its heap (metaspace, code, network buffers, collector, threads) and the Python that starts the job: RocksDB's processes in q4 took 576 MiB with what
# of the heap was touched, and 170 MiB.
PROCESSES_BYTES = 320 * MIB
# With less SlimBase refuses to start, and RocksDB cannot hold its own blocks.
LEAST_MEMORY_BYTES = 16 * MIB
TYPICAL_EVENTS_PER_S = 15_000
SIZING = {"execution.checkpointing.interval": "300 ms", "execution.checkpointing.incremental": "false"}
Figures = dict[str, Any]


def measure_nexmark(run: Run) -> Figures:
    """Per query its state and memory, and per backend events/s; ratios and their geometric means."""
    events = EVENTS_QUICK if run.quick else EVENTS
    names = [name for name in (NAMES_QUICK if run.quick and not run.cases else NAMES) if run.wants(name)]
    backends = [backend for backend in chosen(run) if not backend.on_heap]
    queries: dict[str, Figures] = {}
    with run.bar("nexmark beyond memory", len(names) * (1 + len(backends))) as bar:
        for name in names:
            bar.now(f"{name}, size of its state")
            found = _sized(name, events, run)
            bar.step()
            for backend in backends if found else ():
                bar.now(f"{name} {backend.name}")
                if run.deadline.has(20 + events / TYPICAL_EVENTS_PER_S):
                    found[backend.name] = _run(name, backend, events, found["managed_bytes"], run)
                else:
                    run.leave_out(f"nexmark {name} {backend.name}", "no time left")
                bar.step()
            if found:
                queries[name] = compared(found, run)
    return {"tiers_nexmark": {"events": events, "ratio": RATIO, "queries": queries, **means(queries)}}


def _sized(name: str, events: int, run: Run) -> Figures:
    """State, memory, rows and hash of a query; empty when the state is too small."""
    outcome = _fork(name, BACKENDS["hashmap"], events, SIZING, None)
    if "hash" not in outcome:
        run.leave_out(f"nexmark {name}", f"no size: {outcome.get('error', '')}"[:400])
        return {}
    managed = int(outcome["state_bytes"] / RATIO)
    if managed < LEAST_MEMORY_BYTES:
        run.leave_out(
            f"nexmark {name}", f"state of {outcome['state_bytes']:,} bytes is too small for {RATIO:g} x memory"
        )
        return {}
    return {
        "state_bytes": outcome["state_bytes"],
        "managed_bytes": managed,
        "rows": outcome["rows"],
        "hash": outcome["hash"],
    }


def _run(name: str, backend: Backend, events: int, managed: int, run: Run) -> Figures:
    limit_bytes = managed + HEAP_BYTES + PROCESSES_BYTES + PAGE_CACHE_BYTES
    outcome = _fork(name, backend, events, {"taskmanager.memory.managed.size": f"{managed}b"}, limit_bytes)
    if "error" in outcome:
        run.leave_out(f"nexmark {name} {backend.name}", str(outcome["error"])[:400])
    else:
        run.console.print(f"{name} {backend.name}: {outcome['events_per_s']} events/s")
    return outcome


def _fork(name: str, backend: Backend, events: int, options: dict[str, str], limit_bytes: int | None) -> Figures:
    """One query in one fork: figures, or `error`."""
    with tempfile.TemporaryDirectory(prefix="nexmark-") as folder:
        files = Path(folder, "start"), Path(folder, "result")
        job = state_nexmark.job(name, events, *files)
        told = {**state_nexmark.OPTIONS, **options}
        try:
            if limit_bytes is None:
                outcome = run_jobs(backend, [job], told)[0]
            else:
                outcome = _limited(backend, job, told, limit_bytes)
        except ForkFailed as error:
            return {"error": str(error)}
        if "error" in outcome or not files[1].is_file():
            return {"error": outcome.get("error", "the sink wrote no result")}
        return {**state_nexmark.figures_of(events, *files, outcome), "state_bytes": outcome["state_bytes"]}


def _limited(backend: Backend, job: Job, options: dict[str, str], limit_bytes: int) -> Figures:
    with limited(limit_bytes) as limit:
        try:
            return run_jobs(backend, [job], options, heap=f"{HEAP_BYTES // MIB}m", wrap=limit.wrap)[0]
        except ForkFailed as error:
            raise ForkFailed(f"killed by the limit, {error}" if limit.kills else str(error)) from error


def compared(query: Figures, run: Run) -> Figures:
    """With ratios to the peers, and whether the rows were hashmap's."""
    done = {name: query[name] for name in ("slimbase", *PEERS) if "hash" in query.get(name, {})}
    ours = done.get("slimbase")
    ratios = {
        f"ratio_vs_{peer}": round(ours["events_per_s"] / theirs["events_per_s"], 2)
        for peer, theirs in done.items()
        if ours and peer != "slimbase"
    }
    same = all((each["rows"], each["hash"]) == (query["rows"], query["hash"]) for each in done.values())
    if not same:
        run.console.print("[red]rows differ[/red]")
    return {**query, "same_results": same, **ratios}


def means(queries: dict[str, Figures]) -> dict[str, float]:
    """Geometric means of the ratios over all queries."""
    found = {}
    for peer in PEERS:
        ratios = [query[f"ratio_vs_{peer}"] for query in queries.values() if f"ratio_vs_{peer}" in query]
        if ratios:
            found[f"geometric_mean_vs_{peer}"] = round(state_nexmark.geometric_mean(ratios), 3)
    return found
