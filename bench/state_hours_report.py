"""Write a page of docs/benchmarks and its chart from the JSON of `bench/state_hours.py --json`.

    python bench/state_hours_report.py FILE [--name state-hours] [--out docs/benchmarks] [--commit HASH] [--notes FILE]

Pure rendering: nothing is computed here but sums, means and extremes of windows.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from panel_plot import Panel, render_panels
from state_hours import STALL_MS, held_bytes_max, mean
from state_report import table, write_files
from state_setup import MIB, ROOT

Window = Mapping[str, Any]
NAME = "state-hours"
ROWS = 12


def render_report(result: Mapping[str, Any]) -> dict[str, str]:
    """All files by name: the page and its chart.

    Raises:
        ValueError: the run has no windows.
    """
    windows = result["windows"]
    if not windows:
        raise ValueError("no windows to report")
    name = result.get("name", NAME)
    title = f"{result['setup']['state_gb']:g} GB of state, {result['setup']['budget_bytes'] / 2**30:g} GiB of memory"
    parts = [
        f"# {title}",
        "Written by `bench/state_hours_report.py` from the JSON of `bench/state_hours.py --json`; do not edit.",
        _setup(result),
        _summary(windows),
        f"![{title}]({name}.svg)",
        _table(windows),
        "## What must hold",
        "\n".join(f"- {'Holds' if one['holds'] else '**Failed**'}: {one['what']}" for one in result["verdicts"]),
        result.get("notes", "").strip(),
    ]
    return {f"{name}.md": "\n\n".join(part for part in parts if part) + "\n", f"{name}.svg": _chart(title, result)}


def _setup(result: Mapping[str, Any]) -> str:
    setup, load, machine = result["setup"], result["load"], result["machine"]
    commit = f"Commit {result['commit']}; " if result.get("commit") else ""
    where = (
        "files that a checkpoint has stay in its folder (`--little-disk`: `state.backend.slimbase.checkpoint-files.cache-size`)"
        if setup["is_little_disk"]
        else "files are in `io.tmp.dirs` and in the checkpoints' folder"
    )
    return (
        f"{commit}{machine['cores']} cores, {machine['memory_gib']} GiB, {machine['java']}, {setup['free_bytes'] / 1e9:.0f} GB of disk free. "
        f"{load['operations'] / 1e6:.0f} million keys with values of 100 incompressible bytes; the process with its share of the page cache is limited to "
        f"{setup['limit_bytes'] / 2**30:.2f} GiB; {where}, on the same disk. Loading took {load['wall_s']:.0f} s. Then Zipf read-modify-writes and reads, uniform puts and removals, and rows with a "
        f"time to live of {setup['ttl_s']} s, for {_minutes(result['windows']):.0f} minutes, with a checkpoint every {setup['checkpoint_s']} s. Values that are read are checked, of every 64th key exactly."
    )


def _minutes(windows: Sequence[Window]) -> float:
    return float(sum(window["wall_s"] for window in windows) / 60)


def _rate(window: Window) -> float:
    return float(window["operations"] / window["wall_s"])


def _summary(windows: Sequence[Window]) -> str:
    rates = [_rate(window) for window in windows]
    whole = sum(window["operations"] for window in windows) / sum(window["wall_s"] for window in windows)
    stalls = sum(window["longest_ms"] > STALL_MS for window in windows)
    return (
        f"**{whole:,.0f} operations a second** in the mean, {min(rates):,.0f} to {max(rates):,.0f} by window; the longest operation took "
        f"**{max(window['longest_ms'] for window in windows):,.0f} ms**, {stalls} of {len(windows)} windows had one over {STALL_MS:,} ms, and appends waited "
        f"{sum(window['waited_ms'] for window in windows):,} ms for merges in all."
    )


def _chart(title: str, result: Mapping[str, Any]) -> str:
    windows = result["windows"]
    ends, past_s = [], 0.0
    for window in windows:
        past_s += window["wall_s"]
        ends.append(past_s / 60)

    def points(value: Callable[[Window], float]) -> list[tuple[float, float]]:
        return [(end, value(window)) for end, window in zip(ends, windows, strict=True)]

    held = held_bytes_max(result["setup"]["budget_bytes"]) / MIB
    panels = [
        Panel("operations/s", {"": points(_rate)}),
        Panel(
            f"longest operation of the window, ms ({STALL_MS:,} dashed)",
            {"": points(lambda one: max(1.0, one["longest_ms"]))},
            is_log=True,
            bound=STALL_MS,
        ),
        Panel("bytes written a byte of change", {"": points(lambda one: one["written_per_changed"])}, is_log=True),
        Panel(
            "bytes of files over live bytes",
            {
                "checkpoints": points(lambda one: one["checkpoint_share"]),
                "here": points(lambda one: one["local_share"]),
            },
        ),
        Panel("process, MiB (its bound dashed)", {"": points(lambda one: one["resident_bytes"] / MIB)}, bound=held),
        Panel("runs of files, most of the window", {"": points(lambda one: one["runs_most"])}),
    ]
    return render_panels(title, panels, "minutes after the load")


def _table(windows: Sequence[Window]) -> str:
    size = max(1, -(-len(windows) // ROWS))
    rows = []
    for first in range(0, len(windows), size):
        some = windows[first : first + size]
        rates = [_rate(window) for window in some]

        def most(name: str, some: Sequence[Window] = some) -> float:
            return max(float(window[name]) for window in some)

        rows.append(
            [
                f"{first + 1}–{first + len(some)}" if len(some) > 1 else f"{first + 1}",
                f"{sum(rates) / len(rates):,.0f}",
                f"{min(rates):,.0f}",
                f"{mean(some, 'written_per_changed'):.2f}",
                f"{most('local_share'):.2f}",
                f"{most('checkpoint_share'):.2f}",
                f"{most('resident_bytes') / MIB:,.0f}",
                f"{most('runs_most'):.0f}",
                f"{sum(window['waited_ms'] for window in some):,}",
                f"{most('p99_below_ns') / 1e6:.3f}",
                f"{most('p9999_below_ns') / 1e6:.3f}",
                f"{most('longest_ms'):,.0f}",
                f"{most('checkpoint_ms_longest'):,.0f}",
                f"{mean(some, 'disk_read_ms'):.3f}",
            ]
        )
    head = [
        "window",
        "ops/s",
        "slowest",
        "written / changed",
        "here / live",
        "checkpoints / live",
        "process MiB",
        "runs",
        "waited ms",
    ]
    head += ["p99 < ms", "p99.99 < ms", "longest ms", "longest checkpoint ms", "read of the disk ms"]
    text = "Means of ops/s, of bytes written and of the disk's reads, the sum of waits, and of the others the greatest of a row's windows."
    return "\n\n".join([table(head, rows), text])


def main() -> int:
    """Render and write all files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path, help="what `bench/state_hours.py --json` wrote")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks")
    parser.add_argument("--name", default=NAME, help="of the page, without its ending")
    parser.add_argument("--commit", default="", help="what was measured")
    parser.add_argument("--notes", type=Path, help="Markdown for the end of the page")
    options = parser.parse_args()
    notes = options.notes.read_text("utf-8") if options.notes else ""
    more = {"name": options.name, "commit": options.commit, "notes": notes}
    files = render_report({**json.loads(options.result.read_text("utf-8")), **more})
    write_files(files, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
