"""State far larger than memory, driven for hours: does anything grow that should not? `make test-long` runs it at full length.

One process with SlimBase as its keyed state backend, within a hard limit of memory, page cache included. It loads `--gb` of values of 100 incompressible bytes under Long
keys, then mixes for `--minutes`: Zipf read-modify-writes and reads, uniform puts and removals, rows with a time to live; a checkpoint every `--checkpoint-s`. Values read are
checked, of every 64th key exactly. Each window's figures are printed; then what must hold, of which none is a time:

- the process holds no more than its budgets and a constant, and no more later than sooner;
- files here and checkpoints take no more than a few times the bytes that live, and no more later than sooner;
- bytes written a byte of change do not grow.

The first fifth of the windows is left out: files of the load are merged then. Of the rest the last third is compared with what came before: files by their peaks, since they grow until a
merge of nearly everything and shrink with it, the others by their means. How long the longest operation took is in
the report, with the number of windows in which one took more than a second: a bound on that is for a quiet machine, and `--stall-ms` sets one.

Without `--gb` it takes 20 GB, or what the disk has room for: files and checkpoints come to `DISK_SHARE` times the state. `--little-disk` leaves
files that a checkpoint has in its folder (`state.backend.slimbase.checkpoint-files.cache-size`), which halves that.

    python bench/state_hours.py --gb 20 --minutes 180 [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TextIO

from memory_limit import NoLimit, limited
from state_setup import BACKENDS, GIB, MIB, SCRATCH, ForkFailed, build_harness, java_command, machine, pinned
from state_tiers import RECORD_BYTES, VALUE_BYTES

MAIN = "io.headrace.statebench.tiers.Hours"
HEAP_BYTES = 384 * MIB
# Metaspace, code, threads and collector of the JVM, and the buffers that packing, merging and checkpoints have outside of the budget.
NATIVE_BYTES = 256 * MIB
PAGE_CACHE_BYTES = 128 * MIB
TTL_S = 60
LEFT_OUT_SHARE = 0.2
WINDOWS_MIN = 9
# Runs of six files of a size make a merge, so up to five runs of each size wait for one, and one is written while its six are still there: 2.4 was seen.
LOCAL_SHARE_MAX = 4.0
# A checkpoint has the files as they were, and the one before until it is complete.
CHECKPOINT_SHARE_MAX = 6.0
DISK_SHARE = 6.0
# Beside each other for a moment: what was loaded, or merged, and its upload. 2.1 was seen with 20 GB for half an hour, 2.6 with 1 GB.
LITTLE_DISK_SHARE = 3.0
LITTLE_DISK_OPTION = {"state.backend.slimbase.checkpoint-files.cache-size": "64 mb"}
STATE_GB = 20.0
STATE_GB_MIN = 1.0
# A merge of nearly everything falls into one part and not into the other. What checkpoints take is compared by peaks: it grew by a tenth from part to part when merges freed too little.
GROWTH_MAX = {"written_per_changed": 1.5, "local_share": 1.25, "checkpoint_share": 1.1, "resident_bytes": 1.02}
# What the JVM itself still takes when everything has been compiled and collected once: code, tables of the collector.
RESIDENT_SLACK_BYTES = 32 * MIB
STALL_MS = 1_000
Figures = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What must hold, and whether it did.

    Attributes:
        what: in words, with the figures.
    """

    what: str
    holds: bool


@dataclass(frozen=True)
class Result:
    """What a run was told and what it said.

    Attributes:
        setup: what it was told; bytes, GB, seconds.
        load: figures of the load, empty when it did not end.
        windows: of `windows_of`.
        end: the run's last line.
    """

    setup: Figures
    load: Figures
    windows: list[Figures]
    end: Figures


class NoRoom(Exception):
    """The disk cannot hold the state; says how much is needed."""


def windows_of(lines: Sequence[Figures], ttl_s: float) -> list[Figures]:
    """The windows in order, with live bytes including rows that have not expired, and shares of them."""
    windows = [dict(line) for line in lines if str(line.get("phase", "")).startswith("window_")]
    rows_before = 0
    for window in windows:
        rate = (window["row_count"] - rows_before) / window["wall_s"]
        rows_before = window["row_count"]
        rows = min(window["row_count"], rate * ttl_s)
        live = window["live_bytes"] + rows * RECORD_BYTES
        window["live_bytes"] = int(live)
        window["local_share"] = window["local_bytes"] / live
        window["checkpoint_share"] = window["checkpoint_bytes"] / live
        window["written_per_changed"] = window["written_bytes"] / max(1, window["changed_bytes"])
    return windows


def parts(windows: Sequence[Figures]) -> tuple[Sequence[Figures], Sequence[Figures]]:
    """Of the windows that count those before the last third, and that."""
    counted = windows[int(len(windows) * LEFT_OUT_SHARE) :]
    last = len(counted) // 3
    return counted[:-last], counted[-last:]


def figure(windows: Sequence[Figures], name: str) -> float:
    """Of a share of live bytes the peak, of others the mean."""
    return max(float(one[name]) for one in windows) if name.endswith("_share") else mean(windows, name)


def mean(windows: Sequence[Figures], name: str) -> float:
    """Mean of a figure; of bytes written a byte changed, the sums' ratio."""
    if name == "written_per_changed":
        written, changed = (sum(one[key] for one in windows) for key in ("written_bytes", "changed_bytes"))
        return float(written / max(1, changed))
    return float(sum(one[name] for one in windows) / len(windows))


def held_bytes_max(budget_bytes: int) -> int:
    """What the process may hold, page cache aside."""
    return budget_bytes + HEAP_BYTES + NATIVE_BYTES


def judge(
    windows: Sequence[Figures], end: Mapping[str, Any], budget_bytes: int, stall_ms: float | None
) -> list[Verdict]:
    """What must hold of a run. Pure.

    Args:
        windows: of `windows_of`.
        end: the run's last line.
        budget_bytes: SlimBase's memory budget.
        stall_ms: longest time that an operation may take, or None for no bound.
    """
    ended = end.get("end") == "done"
    said = ", ".join(str(end[name]) for name in ("end", "message") if end.get(name))
    verdicts = [Verdict(f"came to its end with right values: {said}", ended)]
    if len(windows) < WINDOWS_MIN:
        return [*verdicts, Verdict(f"at least {WINDOWS_MIN} windows to compare: {len(windows)}", False)]
    held = max(window["resident_bytes"] for window in windows)
    bound = held_bytes_max(budget_bytes)
    verdicts.append(Verdict(f"process holds at most {bound >> 20} MiB: {held >> 20}", held <= bound))
    for name, most in (("local_share", LOCAL_SHARE_MAX), ("checkpoint_share", CHECKPOINT_SHARE_MAX)):
        worst = max(window[name] for window in windows)
        verdicts.append(Verdict(f"{name} at most {most}: {worst:.2f}", worst <= most))
    before_last, last = parts(windows)
    for name, most in GROWTH_MAX.items():
        before, after = figure(before_last, name), figure(last, name)
        most_after = most * before + (RESIDENT_SLACK_BYTES if name == "resident_bytes" else 0)
        verdicts.append(Verdict(f"{name} grows at most {most} times: {before:.3g} to {after:.3g}", after <= most_after))
    if stall_ms is not None:
        longest = max(window["longest_ms"] for window in windows)
        verdicts.append(Verdict(f"no operation takes more than {stall_ms:.0f} ms: {longest:.0f}", longest <= stall_ms))
    return verdicts


def say_window(window: Mapping[str, Any]) -> str:
    """A window's line of the report."""
    return (
        f"{window['phase']:>11}: {window['operations'] / window['wall_s']:9,.0f} ops/s, written {window['written_per_changed']:5.2f}, "
        f"here {window['local_share']:4.2f}, checkpoints {window['checkpoint_share']:4.2f}, holds {window['resident_bytes'] >> 20:5} MiB, "
        f"p99 < {window['p99_below_ns'] / 1e6:7.3f} ms, p99.99 < {window['p9999_below_ns'] / 1e6:8.3f}, longest {window['longest_ms']:7.1f}, "
        f"checkpoint {window['checkpoint_ms_longest']:7.0f}, "
        f"disk {window['disk_reads'] / window['wall_s']:6,.0f} reads/s of {window['disk_read_ms']:6.3f} ms, "
        f"runs {window['runs_most']:4}, waited {window['waited_ms']:6} ms"
        + (f", long in {window['stalled_in']}" if window.get("stalled_in") else "")
    )


def run(options: argparse.Namespace) -> Result:
    """Run the process.

    Raises:
        NoLimit: memory cannot be limited here.
        NoRoom: the disk has too little.
        ForkFailed: the harness cannot be built.
    """
    build_harness()
    budget_bytes = int(options.managed_gib * GIB)
    SCRATCH.mkdir(parents=True, exist_ok=True)
    free_bytes = shutil.disk_usage(options.folder or SCRATCH).free
    backend, share = pinned(BACKENDS["slimbase"]), DISK_SHARE
    if options.little_disk:
        backend, share = replace(backend, options={**backend.options, **LITTLE_DISK_OPTION}), LITTLE_DISK_SHARE
    with (
        limited(held_bytes_max(budget_bytes) + PAGE_CACHE_BYTES) as limit,
        tempfile.TemporaryDirectory(dir=options.folder or SCRATCH, prefix="hours-") as folder,
    ):
        setup = {
            "state_gb": size_gb(options.gb, free_bytes, share),
            "budget_bytes": budget_bytes,
            "limit_bytes": held_bytes_max(budget_bytes) + PAGE_CACHE_BYTES,
            "free_bytes": free_bytes,
            "is_little_disk": options.little_disk,
            "checkpoint_s": options.checkpoint_s,
            "ttl_s": TTL_S,
        }
        arguments = {
            "folder": folder,
            "managed-bytes": budget_bytes,
            "memory-stat": limit.stat,
            "conf": "execution.checkpointing.incremental=true",
            "records": int(setup["state_gb"] * 1e9 / RECORD_BYTES),
            "value-bytes": VALUE_BYTES,
            "minutes": options.minutes,
            "window-ms": options.window_s * 1_000,
            "checkpoint-ms": options.checkpoint_s * 1_000,
            "ttl-ms": TTL_S * 1_000,
        }
        command = java_command(backend, MAIN, arguments, heap=f"{HEAP_BYTES // MIB}m")
        command.insert(1, "-XX:+UseG1GC")
        lines, code = _follow(limit.wrap(command), sys.stderr if options.json else sys.stdout)
    return Result(
        setup,
        load=next((line for line in lines if line.get("phase") == "load"), {}),
        windows=windows_of(lines, TTL_S),
        end=next((line for line in lines if "end" in line), {"end": f"killed, code={code}"}),
    )


def size_gb(wanted: float | None, free_bytes: int, share: float = DISK_SHARE) -> float:
    """State to drive: what was asked for, else as much as fits, at most `STATE_GB`. Pure.

    Raises:
        NoRoom: the disk has too little.
    """
    fits = free_bytes / 1e9 / share
    size = min(STATE_GB, fits) if wanted is None else wanted
    if size > fits or size < min(STATE_GB_MIN, wanted or STATE_GB_MIN):
        raise NoRoom(
            f"disk has too little room, state_gb={size:.1f}, free_gb={free_bytes / 1e9:.0f}, "
            f"needed_gb={max(size, STATE_GB_MIN) * share:.0f}, hint: name another folder with --folder"
        )
    return size


def _follow(command: Sequence[str], progress: TextIO) -> tuple[list[Figures], int]:
    """Lines as they come, so that whoever waits for hours sees how it goes; and the exit code."""
    lines: list[Figures] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for text in process.stdout or ():
            if not text.startswith("{"):
                continue
            lines.append(json.loads(text))
            windows = windows_of(lines, TTL_S)
            is_window = str(lines[-1].get("phase", "")).startswith("window_")
            print(
                say_window(windows[-1]) if is_window else f"{lines[-1].get('phase', 'end')}: {text.strip()}",
                file=progress,
                flush=True,
            )
    return lines, process.returncode


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; sizes and times may come from the environment."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    told = os.environ.get("SLIMBASE_STATE_GB")
    parser.add_argument("--gb", type=float, default=float(told) if told else None, help="of keys and values")
    parser.add_argument("--managed-gib", type=float, default=1.0, help="SlimBase's memory budget")
    parser.add_argument(
        "--minutes", type=int, default=int(os.environ.get("SLIMBASE_STATE_MINUTES", "180")), help="after the load"
    )
    parser.add_argument("--window-s", type=int, default=60)
    parser.add_argument("--checkpoint-s", type=int, default=10)
    parser.add_argument("--stall-ms", type=float, default=None, help="fail when an operation takes longer")
    parser.add_argument("--little-disk", action="store_true", help="leave files that a checkpoint has in its folder")
    parser.add_argument("--folder", default=None, help="where files are; default: build/bench")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(words)


def main() -> int:
    """Run, print, judge; exit code 1 when something does not hold."""
    options = parse()
    try:
        result = run(options)
    except (NoLimit, NoRoom) as error:
        print(f"skipped: {error}\n0 passed, 1 skipped")
        return 0
    except ForkFailed as error:
        print(f"{error}\n0 passed, 1 failed")
        return 1
    verdicts = judge(result.windows, result.end, result.setup["budget_bytes"], options.stall_ms)
    stalls = sum(window["longest_ms"] > STALL_MS for window in result.windows)
    if options.json:
        told = {**vars(result), "machine": machine()}
        print(json.dumps({**told, "windows_with_stall": stalls, "verdicts": [vars(one) for one in verdicts]}))
    for verdict in verdicts:
        print(
            f"{'holds' if verdict.holds else 'FAILED'}: {verdict.what}", file=sys.stderr if options.json else sys.stdout
        )
    failed = sum(not verdict.holds for verdict in verdicts)
    if not options.json:
        print(f"windows with an operation over {STALL_MS} ms: {stalls} of {len(result.windows)}")
        print(f"{len(verdicts) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
