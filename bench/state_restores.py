"""The parts of `bench/state.py --tiers` about large checkpoints: restore, rescale, growth; within the hard limit of memory that state_tiers.py sets.

- `restore`: a state many times the memory is loaded, checkpointed, given up and restored; time to the first record read and written, and to full speed.
- `rescale`: the same from two subtasks to three; the slowest of the three counts, since each would run in a slot of its own.
- `growth`: `restore` at a tenth of the size too: how checkpoint and restore times grow with the state.

All on one disk: a checkpoint is a folder beside the backend's own files, and what of it is in the page cache is within the limit.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from state_setup import GIB, Run
from state_tiers import LOAD_S_PER_MILLION, PEERS, RECORD_BYTES, VALUE_BYTES, Figures, chosen, fork, note

MAIN = "io.headrace.statebench.tiers.Restores"
# Ten times the managed memory of a fork, by default; the table asks for 10 GB, see `--state-gb`.
STATE_BYTES = 5 * GIB // 2
STATE_BYTES_QUICK = GIB // 4
# The same number of changes at each size, so that only the size of the state differs.
CHANGED_RECORDS = 20_000
WATCH_MS = 15_000
FULL_SPEED = 0.8
FIGURES = ("first_record_ms", "full_speed_ms", "checkpoint_full_ms", "checkpoint_incremental_ms")


def full_speed_ms(windows: Sequence[int], window_ms: int, first_record_ms: float) -> float:
    """When a restored subtask has come to 80 % of the speed that it has in the last quarter of what was watched, in ms from the begin of the restore."""
    settled = statistics.median(windows[-max(1, len(windows) // 4) :])
    reached = next(i for i, operations in enumerate(windows) if operations >= FULL_SPEED * settled)
    return first_record_ms + (reached + 1) * window_ms


def summarize(phases: Mapping[str, Figures]) -> dict[str, float]:
    """The slowest subtask's figures of a fork."""
    summary: dict[str, float] = {}
    restores = [one for name, one in phases.items() if name.startswith("restore_")]
    if restores:
        summary["first_record_ms"] = round(max(one["first_record_ms"] for one in restores), 1)
        summary["full_speed_ms"] = round(
            max(full_speed_ms(one["windows"], one["windows_ms"], one["first_record_ms"]) for one in restores), 1
        )
    for kind in ("full", "incremental"):
        taken = [one for name, one in phases.items() if name.startswith(f"{kind}_")]
        if taken:
            summary[f"checkpoint_{kind}_ms"] = round(max(one["sync_ms"] + one["async_ms"] for one in taken), 1)
    return summary


def shares(raw: Mapping[str, Any], ours: str = "slimbase") -> dict[str, float]:
    """SlimBase's share of each peer's times."""
    found: dict[str, float] = {}
    for peer in (name for name in PEERS if name in raw and ours in raw):
        for figure in FIGURES:
            if figure in raw[ours] and raw[peer].get(figure):
                found[f"{figure}_share_of_{peer}"] = round(raw[ours][figure] / raw[peer][figure], 3)
    return found


def _measure(run: Run, what: str, state_bytes: int, *, before: int, after: int) -> Figures:
    backends = [backend for backend in chosen(run) if not backend.on_heap]
    raw: Figures = {}
    records = state_bytes // RECORD_BYTES
    with run.bar(what, len(backends)) as bar:
        for backend in backends:
            bar.now(f"{state_bytes / 1e9:.1f} GB, {backend.name}")
            if run.deadline.has(records / 1e6 * LOAD_S_PER_MILLION + 2 * after * WATCH_MS / 1_000):
                arguments = {
                    "records": records,
                    "value-bytes": VALUE_BYTES,
                    "before": before,
                    "after": after,
                    "changed": CHANGED_RECORDS,
                    "watch-ms": WATCH_MS // 3 if run.quick else WATCH_MS,
                }
                figures = fork(MAIN, backend, arguments)
                raw[backend.name] = {**summarize(figures["phases"]), **figures}
                note(run, f"{what} {backend.name}", figures)
            else:
                run.leave_out(f"{what} {backend.name}", "no time left")
            bar.step()
    return raw


def _bytes(run: Run) -> int:
    return run.state_bytes or (STATE_BYTES_QUICK if run.quick else STATE_BYTES)


def measure_restore(run: Run) -> Figures:
    """Restore with the same parallelism."""
    raw = _measure(run, "restore", _bytes(run), before=1, after=1)
    return {"tiers_restore": {"state_bytes": _bytes(run), **raw, **shares(raw)}}


def measure_rescale(run: Run) -> Figures:
    """From two subtasks to three."""
    raw = _measure(run, "rescale", _bytes(run), before=2, after=3)
    return {"tiers_rescale": {"state_bytes": _bytes(run), **raw, **shares(raw)}}


def measure_growth(run: Run) -> Figures:
    """How many times longer things take with ten times the state."""
    sizes = (_bytes(run) // 10, _bytes(run))
    small, large = (_measure(run, "growth", size, before=1, after=1) for size in sizes)
    grown = {
        backend: {
            figure: round(large[backend][figure] / small[backend][figure], 2)
            for figure in FIGURES
            if large[backend].get(figure) and small.get(backend, {}).get(figure)
        }
        for backend in large
    }
    return {"tiers_growth": {"state_bytes": sizes, "small": small, "large": large, "grown": grown}}
