"""Write docs/benchmarks/state-tiers.md and its curves from the JSON of `bench/state.py --tiers --into FILE`.

    python bench/state_tiers_report.py FILE [--out docs/benchmarks] [--note TEXT ...]

Pure rendering: nothing is measured or computed here but what a table shows.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curve_plot import render_curves
from state_plot import short
from state_report import table, write_files
from state_restores import FIGURES
from state_setup import MIB, ROOT
from state_tiers import BACKENDS, CHECKPOINT_RATIO, JOIN_READ_EVERY, PEERS, PHASES
from svg_chart import Chart

Result = Mapping[str, Any]
TITLES = {
    "zipf_rmw": "Zipf 0.99, read-modify-write",
    "zipf_get": "Zipf 0.99, get",
    "uniform_get": "uniform, get",
    "uniform_put": "uniform, blind put",
}
ENDS = {
    "throttled": "does not fit: refused",
    "out_of_heap": "does not fit: heap",
    "killed": "does not fit: killed",
    "too_slow": "took too long",
    "failed": "**failed**",
}


def render_report(result: Result) -> dict[str, str]:
    """All files by name: the page and its curves."""
    files: dict[str, str] = {}
    parts = [_head(result)]
    if result.get("tiers", {}).get("curve"):
        parts += [_curves(result["tiers"], files), _table(result["tiers"]), _checkpoints(result["tiers"])]
    if "tiers_join" in result:
        parts.append(_join(result["tiers_join"]))
    for part, title in (("tiers_restore", "Restore"), ("tiers_rescale", "Rescale 2 to 3")):
        if part in result:
            parts.append(_restores(result[part], title))
    if "tiers_growth" in result:
        parts.append(_growth(result["tiers_growth"]))
    if "tiers_nexmark" in result:
        parts.append(_nexmark(result["tiers_nexmark"]))
    if result.get("notes"):
        parts.append("\n".join(["## Notes", "", *(f"- {note}" for note in result["notes"])]))
    files["state-tiers.md"] = "\n\n".join(part for part in parts if part) + "\n"
    return files


def _head(result: Result) -> str:
    machine = result["machine"]
    setup = result.get("tiers", {}).get("setup", {})
    memory = (
        f"Managed memory {setup['managed_bytes'] >> 20} MiB, heap {setup['heap_bytes'] >> 20} MiB, hard limit of the process and its page cache "
        f"{setup['limit_bytes'] >> 20} MiB, the same for all (`hashmap` has the managed memory on its heap). "
        if setup
        else ""
    )
    return f"""# State larger than memory: measurements

Written by `bench/state_tiers_report.py` from the JSON of `bench/state.py --tiers`; do not edit.

Machine: {machine["cores"]} cores, {machine["memory_gib"]} GiB, {machine["java"]}. {memory}Values of 100 incompressible bytes under Long keys; one thread; wall time. Peers: `rocksdb` with
Bloom filters and the managed memory as its fixed memory, `forst` (its synchronous backend, on the same disk), `hashmap` where it fits. How it is measured stands at
the head of `bench/state_tiers.py` and `bench/state_restores.py`."""


def _ratios(tiers: Result) -> list[str]:
    return sorted(tiers["curve"], key=float)


def _phase(tiers: Result, ratio: str, backend: str, phase: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = tiers["curve"][ratio].get(backend, {}).get("phases", {}).get(phase, {})
    return found


def _curves(tiers: Result, files: dict[str, str]) -> str:
    parts = ["## Operations per second against data over memory"]
    for phase, title in TITLES.items():
        series = {
            backend: [
                (float(ratio), 1e9 / _phase(tiers, ratio, backend, phase)["wall_ns"])
                for ratio in _ratios(tiers)
                if _phase(tiers, ratio, backend, phase)
            ]
            for backend in BACKENDS
        }
        drawn = {backend: points for backend, points in series.items() if points}
        name = f"state-tiers-{phase.replace('_', '-')}.svg"
        files[name] = render_curves(Chart(title, drawn, "bytes of keys and values over managed memory", "operations/s"))
        parts.append(f"![{title}]({name})")
    return "\n\n".join(parts)


def _cell(tiers: Result, ratio: str, backend: str, phase: str) -> str | None:
    fork = tiers["curve"][ratio].get(backend)
    if fork is None:
        return None
    figures = fork["phases"].get(phase)
    return short(figures["wall_ns"] / 1e3) if figures else ENDS.get(fork["end"], fork["end"])


def _table(tiers: Result) -> str:
    rows = []
    for ratio in _ratios(tiers):
        for phase in PHASES:
            versus = [tiers["ratios"].get(f"{ratio}_{phase}_vs_{peer}") for peer in PEERS]
            rows.append([f"{ratio}x {TITLES[phase]}", *(_cell(tiers, ratio, one, phase) for one in BACKENDS), *versus])
    head = ["us/op, wall", *BACKENDS, *(f"vs {peer}" for peer in PEERS)]
    text = "Microseconds of wall time per operation; `vs` is peer ÷ SlimBase: above 1, SlimBase is faster."
    amplification = [
        [
            f"{ratio}x {TITLES[phase]}",
            *(_phase(tiers, ratio, one, phase).get("write_amplification") for one in BACKENDS),
        ]
        for ratio in _ratios(tiers)
        for phase in ("zipf_rmw", "uniform_put")
    ]
    writes = "Bytes written to the disk per byte of change, without checkpoints, what compaction writes until it is done included."
    return "\n\n".join(
        [text, table(head, rows), "## Write amplification", writes, table(["", *BACKENDS], amplification)]
    )


def _checkpoints(tiers: Result) -> str:
    ratio = f"{CHECKPOINT_RATIO:g}"
    rows = []
    for phase in ("zipf_rmw_checkpointed", "uniform_put_checkpointed"):
        for figure, label, scale in (
            ("wall_ns", "us/op", 1e-3),
            ("longest_ms", "longest operation, ms", 1.0),
            ("write_amplification", "bytes written per byte of change", 1.0),
        ):
            cells = [
                short(found[figure] * scale)
                if (found := _phase(tiers, ratio, one, phase)) and figure in found
                else None
                for one in BACKENDS
            ]
            rows.append([f"{TITLES[phase.removesuffix('_checkpointed')]}, {label}", *cells])
    if not any(cell for row in rows for cell in row[1:]):
        return ""
    text = f"At {ratio}x, an incremental checkpoint every 4 s beside the operations."
    return "\n\n".join(["## With checkpoints", text, table(["", *BACKENDS], rows)])


def _join(join: Result) -> str:
    rows = []
    for backend in (one for one in BACKENDS if one in join):
        found = join[backend]["phases"].get("window")
        if found:
            rows.append(
                [
                    backend,
                    short(found["wall_ns"] / 1e3),
                    found["write_amplification"],
                    join.get(f"write_amplification_share_of_{backend}"),
                    round(found["rows_decoded"] / max(1, found["reads"]), 1),
                ]
            )
        else:
            rows.append([backend, ENDS.get(join[backend]["end"], join[backend]["end"]), None, None, None])
    text = (
        f"Rows come, every {JOIN_READ_EVERY}th reads the last eighth of its key's window, and leave with the window: {short(join['live_rows'])} rows of 116 bytes live "
        f"({join['ratio']:g}x the memory), {short(join['rows'])} more come."
    )
    head = ["", "us a row, wall", "bytes written per byte of rows", "SlimBase's share", "rows decoded a read"]
    return "\n\n".join(["## Join", text, table(head, rows)])


def _restores(part: Result, title: str) -> str:
    rows = [
        [
            backend,
            *(short(part[backend][one]) if one in part[backend] else None for one in FIGURES),
            None if part[backend]["end"] == "done" else ENDS.get(part[backend]["end"]),
        ]
        for backend in BACKENDS
        if backend in part
    ]
    shares = [
        [f"SlimBase's share of {peer}", *(part.get(f"{one}_share_of_{peer}") for one in FIGURES), None]
        for peer in PEERS
        if f"{FIGURES[0]}_share_of_{peer}" in part
    ]
    head = ["", "first record, ms", "full speed, ms", "full checkpoint, ms", "incremental, ms", ""]
    text = f"{part['state_bytes'] / 1e9:.1f} GB of keys and values; the slowest subtask."
    return "\n\n".join([f"## {title}", text, table(head, rows + shares)])


def _growth(part: Result) -> str:
    small, large = part["state_bytes"]
    rows = [
        [backend, *(part["grown"].get(backend, {}).get(one) for one in FIGURES)]
        for backend in BACKENDS
        if backend in part["large"]
    ]
    head = ["", "first record", "full speed", "full checkpoint", "incremental, 20,000 records"]
    text = f"Times at {large / 1e9:.1f} GB over those at {small / 1e9:.2f} GB."
    return "\n\n".join(["## Growth with the state", text, table(head, rows)])


def _nexmark(part: Result) -> str:
    rows = []
    for name, query in part["queries"].items():
        cells = [
            short(query[one]["events_per_s"]) if "events_per_s" in query.get(one, {}) else None for one in BACKENDS
        ]
        sizes = [short(query["state_bytes"] / MIB), short(query["managed_bytes"] / MIB)]
        versus = [query.get(f"ratio_vs_{peer}") for peer in PEERS]
        rows.append([name, *sizes, *cells, *versus, "yes" if query["same_results"] else "**no**"])
    rows.append(
        [
            "geometric mean",
            *[None] * (2 + len(BACKENDS)),
            *(part.get(f"geometric_mean_vs_{one}") for one in PEERS),
            None,
        ]
    )
    head = ["", "state, MiB", "memory, MiB", *BACKENDS, *(f"vs {peer}" for peer in PEERS), "same rows"]
    text = (
        f"Whole SQL jobs, {short(part['events'])} events; the state is what `hashmap` wrote as its largest full checkpoint, the managed memory "
        f"{1 / part['ratio']:.2f} of it, within a hard limit too."
    )
    return "\n\n".join(["## Nexmark, events/s", text, table(head, rows)])


def main() -> int:
    """Render and write all files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path, help="what `bench/state.py --tiers --into` wrote")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks")
    parser.add_argument("--note", action="append", default=[], help="a line at the end")
    options = parser.parse_args()
    files = render_report({**json.loads(options.result.read_text("utf-8")), "notes": options.note})
    write_files(files, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
