"""How a run of `bench/state.py` goes: the parts one after another within their time, and runs of several calls as one."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from rich.console import Console

import state_checkpoint
import state_micro
import state_nexmark
import state_restores
import state_sql
import state_tiers
import state_tiers_nexmark
from memory_limit import limited
from state_setup import BACKENDS, DEFAULT_BACKENDS, Backend, Deadline, Run, build_harness, machine, pinned

PARTS = {
    "micro": state_micro.measure,
    "sql": state_sql.measure,
    "nexmark": state_nexmark.measure,
    "checkpoint": state_checkpoint.measure,
}
# Of `--tiers`: what happens when state is larger than memory. Restores and Nexmark are asked for by name: they take as long again.
TIER_PARTS = {
    "curve": state_tiers.measure_curve,
    "join": state_tiers.measure_join,
    "restore": state_restores.measure_restore,
    "rescale": state_restores.measure_rescale,
    "growth": state_restores.measure_growth,
    "nexmark": state_tiers_nexmark.measure_nexmark,
}
TIER_PARTS_DEFAULT = ("curve", "join")
TIERS_QUICK_S = 240.0
TIERS_FULL_S = 40 * 60.0
# Shares of a quick run's 10 minutes; what a part does not use goes to those after it.
QUICK_S = 570.0
QUICK_SHARES = {"micro": 0.42, "sql": 0.25, "nexmark": 0.2, "checkpoint": 0.13}
FULL_S = 6 * 3_600.0


def choose_backends(
    names: str, console: Console, notes: list[str], default: Collection[str] = DEFAULT_BACKENDS
) -> tuple[Backend, ...]:
    """The named backends, or the default ones; one whose jar was not built is left out with a note."""
    wanted = [BACKENDS[name] for name in (names.split(",") if names else default)]
    for backend in wanted:
        if not backend.is_there:
            notes.append(f"{backend.name}: its jar is not built")
            console.print(f"left out {backend.name}: no {backend.jar}, hint: run `make setup`")
    return tuple(pinned(backend) for backend in wanted if backend.is_there)


def measure(
    parts: Collection[str],
    console: Console,
    *,
    quick: bool,
    backends: str = "",
    cases: Collection[str] = (),
    repeats: int | None = None,
) -> dict[str, Any]:
    """Run the parts (names of `PARTS`) one after another; an empty choice of backends or cases means all."""
    notes: list[str] = []
    chosen = choose_backends(backends, console, notes)
    build_harness()
    result: dict[str, Any] = {"bench": "state", "quick": quick, "machine": machine()}
    begin = time.monotonic()
    share = 0.0
    for name in parts:
        share += QUICK_SHARES[name] / sum(QUICK_SHARES[part] for part in parts)
        end_s = share * QUICK_S if quick else FULL_S
        deadline = Deadline(end_s - (time.monotonic() - begin))
        result |= PARTS[name](Run(chosen, quick, deadline, console, notes, frozenset(cases), repeats))
    return {**result, "left_out": notes, "elapsed_s": round(time.monotonic() - begin, 1)}


def measure_tiers(
    parts: Collection[str],
    console: Console,
    *,
    quick: bool,
    backends: str = "",
    cases: Collection[str] = (),
    state_bytes: int | None = None,
) -> dict[str, Any]:
    """Run the tiers' parts (names of `TIER_PARTS`) one after another.

    Raises:
        NoLimit: the memory of a process cannot be limited here, so nothing would be measured that the parts are about.
    """
    notes: list[str] = []
    chosen = choose_backends(backends, console, notes, state_tiers.BACKENDS)
    with limited(state_tiers.LIMIT_BYTES):
        pass  # before anything is built or loaded
    build_harness()
    result: dict[str, Any] = {"bench": "state-tiers", "quick": quick, "machine": machine()}
    begin = time.monotonic()
    # A size of its own is somebody's who has the time for it.
    deadline = Deadline(TIERS_QUICK_S if quick else FULL_S if state_bytes else TIERS_FULL_S)
    for name in parts:
        run = Run(chosen, quick, deadline, console, notes, frozenset(cases), state_bytes=state_bytes)
        result |= TIER_PARTS[name](run)
    return {**result, "left_out": notes, "elapsed_s": round(time.monotonic() - begin, 1)}


def merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Both, the new one's figures where both have one."""
    merged = dict(old)
    for name, value in new.items():
        both = isinstance(value, dict) and isinstance(old.get(name), dict)
        merged[name] = merge(old[name], value) if both else value
    return merged


def merge_runs(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Results of two calls as one: notes of both, times added, ratios and means computed anew over all of them."""
    merged = merge(old, new)
    merged["left_out"] = [*old.get("left_out", []), *new.get("left_out", [])]
    merged["elapsed_s"] = round(old.get("elapsed_s", 0) + new["elapsed_s"], 1)
    if "nexmark" in merged:
        merged["nexmark"] |= state_nexmark.means(merged["nexmark"]["queries"])
    if "checkpoint" in merged:
        merged["checkpoint"] |= state_checkpoint.ratios(merged["checkpoint"])
    if "tiers" in merged:
        merged["tiers"]["ratios"] = state_tiers.ratios_of(merged["tiers"]["curve"])
    if "tiers_nexmark" in merged:
        merged["tiers_nexmark"] |= state_tiers_nexmark.means(merged["tiers_nexmark"]["queries"])
    if "tiers_join" in merged:
        merged["tiers_join"] |= state_tiers.join_shares(merged["tiers_join"])
    for part in ("tiers_restore", "tiers_rescale"):
        if part in merged:
            merged[part] |= state_restores.shares(merged[part])
    if "micro" in merged:
        merged |= state_micro.summarize(merged["micro"])
    return merged
