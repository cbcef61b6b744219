"""The micro part of `bench/state.py`: nanoseconds per state operation, one JVM fork per backend and run.

Ratios are of the task thread's CPU time, median over slices and repeats; within a repeat the backends take turns, so that
a slow minute of the machine hits all. Wall time and the whole process's CPU time stand beside it in the raw figures.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from state_setup import GIB, Backend, ForkFailed, Run, run_java

MAIN = "io.headrace.statebench.micro.Micro"
MILLION = 1_000_000
# Live bytes of the largest hashmap case (15 M map entries, 145 bytes each) twice over, and room for the young generation.
HASHMAP_HEAP_BIG = "10g"
HASHMAP_HEAP_SMALL = "4g"
OTHER_HEAP = "2g"
Figures = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One state of one size.

    Attributes:
        kind: the harness's name of the case.
        managed_gib: managed memory of the slot, for backends that use it; RocksDB and ForSt have their fixed 1 GiB.
        in_quick: backends that are measured in a quick run; empty for none.
        guess_s: how long a fork takes at most, to decide whether one still fits.
    """

    name: str
    kind: str
    records: int
    repeats: int
    managed_gib: int = 1
    in_quick: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()
    guess_s: float = 20.0

    @property
    def heap_on_heap(self) -> str:
        """Heap of a backend that keeps its state there."""
        return HASHMAP_HEAP_BIG if self.records > MILLION else HASHMAP_HEAP_SMALL


ALL = frozenset({"slimbase", "rocksdb", "rocksdb-bloom", "forst", "hashmap"})
PLAIN = frozenset({"slimbase", "rocksdb", "hashmap"})
TUNED = frozenset({"slimbase", "rocksdb", "rocksdb-bloom"})
ASYNC = frozenset({"slimbase", "forst"})
# Without Flink's asynchronous state API.
SYNC_ONLY = frozenset({"rocksdb", "rocksdb-bloom", "hashmap"})
CASES = (
    Case("long_0.5m", "long", MILLION // 2, 3, in_quick=ALL),
    Case("row_0.5m", "row", MILLION // 2, 3, in_quick=PLAIN),
    Case("map_0.5m", "map", MILLION // 2, 3, in_quick=PLAIN),
    Case("list_0.5m", "list", MILLION // 2, 3, in_quick=PLAIN),
    Case("long_15m", "long", 15 * MILLION, 2, in_quick=TUNED, guess_s=100),
    Case("map_15m", "map", 15 * MILLION, 1, managed_gib=2, guess_s=120),
    Case("list_15m", "list", 15 * MILLION, 1, managed_gib=2, guess_s=120),
    Case("long_50m", "long", 50 * MILLION, 1, managed_gib=4, without=frozenset({"forst", "hashmap"}), guess_s=300),
    Case("async_long_0.5m", "async-long", MILLION // 2, 3, in_quick=ASYNC, without=SYNC_ONLY),
    Case("async_map_0.5m", "async-map", MILLION // 2, 3, without=SYNC_ONLY),
    Case("async_list_0.5m", "async-list", MILLION // 2, 3, without=SYNC_ONLY),
    Case("async_long_15m", "async-long", 15 * MILLION, 1, without=SYNC_ONLY | {"forst"}, guess_s=60),
    Case("suite_value", "suite-value", MILLION // 2, 1),
    Case("suite_list", "suite-list", MILLION // 2, 1, managed_gib=4),
    Case("suite_map", "suite-map", MILLION // 2, 1, managed_gib=4, guess_s=90),
)


def measure(run: Run) -> dict[str, Any]:
    """All chosen cases on all chosen backends: raw figures, ratios, memory per record, pauses."""
    cases = [case for case in CASES if run.wants(case.name) and (not run.quick or case.in_quick)]
    raw: dict[str, Figures] = {}
    forks = [fork for case in cases for fork in _forks(case, run)]
    with run.bar("micro", len(forks)) as bar:
        taken: dict[tuple[str, str], list[Figures]] = {}
        for case, backend in forks:
            bar.now(f"{case.name} {backend.name}")
            figures = _fork(case, backend, run)
            if figures is not None:
                taken.setdefault((case.name, backend.name), []).append(figures)
            bar.step()
    for (case_name, backend_name), runs in taken.items():
        raw.setdefault(case_name, {})[backend_name] = _median_run(runs)
    return {"micro": raw, "pauses": _pauses(run), "setup_micro": _setup(cases), **summarize(raw)}


def _forks(case: Case, run: Run) -> list[tuple[Case, Backend]]:
    chosen = [b for b in run.backends if b.name not in case.without and (not run.quick or b.name in case.in_quick)]
    repeats = run.repeats or (1 if run.quick else case.repeats)
    return [(case, backend) for _ in range(repeats) for backend in chosen]


def _fork(case: Case, backend: Backend, run: Run) -> Figures | None:
    if not run.deadline.has(case.guess_s):
        run.leave_out(f"{case.name} {backend.name}", "no time left")
        return None
    arguments = {
        "case": case.kind,
        "records": case.records,
        "managed-bytes": case.managed_gib * GIB,
        "slices": 3 if run.quick else 5,
        "slice-ms": 200 if run.quick else 400,
        "warm-ms": 400 if run.quick else 800,
        "distributions": "uniform" if run.quick else "uniform,zipf",
    }
    heap = case.heap_on_heap if backend.on_heap else OTHER_HEAP
    try:
        return run_java(MAIN, backend, arguments, heap=heap)
    except ForkFailed as error:
        run.leave_out(f"{case.name} {backend.name}", str(error))
        return None


def _setup(cases: list[Case]) -> dict[str, object]:
    return {
        case.name: {
            "records": case.records,
            "managed_gib": case.managed_gib,
            "heap": {"hashmap": case.heap_on_heap, "others": OTHER_HEAP},
        }
        for case in cases
    }


def _median_run(runs: list[Any]) -> Any:
    """Median of each figure over the repeats; structure as in one run."""
    first = runs[0]
    if isinstance(first, dict):
        return {name: _median_run([one[name] for one in runs]) for name in first if name != "sink"}
    return round(statistics.median(runs), 1)


def summarize(raw: dict[str, Figures]) -> dict[str, Any]:
    """Ratios peer / slimbase of CPU time per operation, and memory per Long record, from raw figures."""
    result: dict[str, Any] = {}
    for peer in ("rocksdb", "rocksdb-bloom", "forst", "hashmap"):
        name = peer.replace("-", "_")
        result[f"ratio_vs_{name}"] = _ratios(raw, peer, "cpu_ns")
        result[f"ratio_wall_vs_{name}"] = _ratios(raw, peer, "wall_ns")
    result["ratio_of_batched_get"] = _batched(raw)
    result["memory_per_long_record_bytes"] = {
        case: {backend: figures["memory_per_record_bytes"] for backend, figures in backends.items()}
        for case, backends in raw.items()
        if case.startswith("long_")
    }
    return result


def _ratios(raw: dict[str, Figures], peer: str, figure: str) -> dict[str, float]:
    ratios: dict[str, float] = {}
    for case, backends in raw.items():
        # ForSt reads on threads of its own, which the task thread's CPU time leaves out: see `_batched`.
        if case.startswith("async_") or "slimbase" not in backends or peer not in backends:
            continue
        for distribution, operations in backends["slimbase"]["operations"].items():
            suffix = "" if distribution == "uniform" else f"_{distribution}"
            for operation, figures in operations.items():
                other = backends[peer]["operations"].get(distribution, {}).get(operation)
                if other:
                    ratios[f"{case}_{operation}{suffix}"] = round(other[figure] / figures[figure], 2)
    return ratios


def _batched(raw: dict[str, Figures]) -> dict[str, float]:
    """How many times the cost of SlimBase's batched read another read costs.

    By CPU time of the task thread: SlimBase's executor with one read at a time, and each backend's synchronous read of the same state.
    ForSt reads on its own threads, so its batches are compared by CPU time of the process.
    """
    ratios: dict[str, float] = {}
    for case in [name for name in raw if name.startswith("async_") and "slimbase" in raw[name]]:
        ours = raw[case]["slimbase"]["operations"]["uniform"]
        ratios[f"{case}_alone"] = round(ours["get"]["cpu_ns"] / ours["get_batch"]["cpu_ns"], 2)
        for backend, figures in raw.get(case.removeprefix("async_"), {}).items():
            single = figures["operations"]["uniform"]["get"]
            ratios[f"{case}_{backend}_get"] = round(single["cpu_ns"] / ours["get_batch"]["cpu_ns"], 2)
        if "forst" in raw[case]:
            theirs = raw[case]["forst"]["operations"]["uniform"]["get_batch"]
            ratios[f"{case}_forst_batch"] = round(theirs["process_cpu_ns"] / ours["get_batch"]["process_cpu_ns"], 2)
    return ratios


def _pauses(run: Run) -> dict[str, object]:
    """Longest single operation of SlimBase while a Long state grows."""
    backend = next((one for one in run.backends if one.name == "slimbase"), None)
    if backend is None or not run.wants("growth") or not run.deadline.has(30):
        return {}
    arguments = {"case": "growth", "records": (5 if run.quick else 50) * MILLION, "managed-bytes": 4 * GIB}
    try:
        return run_java(MAIN, backend, arguments, heap=OTHER_HEAP)
    except ForkFailed as error:
        run.leave_out("growth slimbase", str(error))
        return {}
