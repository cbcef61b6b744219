"""Write docs/benchmarks/state.md and its plots from the JSON of `bench/state.py --into FILE`.

    python bench/state_report.py FILE [--out docs/benchmarks] [--note TEXT ...]

Pure rendering: nothing is measured or computed here but what a table shows.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from state_plot import Chart, render_chart, short
from state_setup import ROOT

PEERS = ("rocksdb", "rocksdb-bloom", "forst", "hashmap")
BACKENDS = ("slimbase", *PEERS)
Result = Mapping[str, Any]
# What state_tiers_report.py draws.
BEYOND_MEMORY = """## State larger than memory

Operations per second against data over memory, from 0.05 to 10 times, under a hard limit that counts the page cache; figures, restores, joins and Nexmark in
[state-tiers.md](state-tiers.md).

![Zipf 0.99, read-modify-write](state-tiers-zipf-rmw.svg)

![Zipf 0.99, get](state-tiers-zipf-get.svg)

![uniform, get](state-tiers-uniform-get.svg)

![uniform, blind put](state-tiers-uniform-put.svg)"""


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; the first column is text, the others are right-aligned."""
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    lines += ["| " + " | ".join("–" if cell is None else str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def write_files(files: Mapping[str, str], folder: Path) -> None:
    """Texts by file name into the folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")


def render_report(result: Result) -> dict[str, str]:
    """All files by name: the page and its plots."""
    files: dict[str, str] = {}
    parts = [_head(result)]
    if result.get("micro"):
        parts += [_micro(result, files), _memory(result)]
    if result.get("sql_group_by"):
        parts.append(_sql(result["sql_group_by"], files))
    if result.get("nexmark", {}).get("queries"):
        parts.append(_nexmark(result["nexmark"], files))
    if result.get("checkpoint", {}).get("slimbase"):
        parts.append(_checkpoint(result["checkpoint"]))
    parts.append(BEYOND_MEMORY)
    parts.append(_left_out(result))
    parts.append(_notes(result))
    files["state.md"] = "\n\n".join(part for part in parts if part) + "\n"
    return files


def _head(result: Result) -> str:
    machine = result["machine"]
    return f"""# State engine: measurements

Written by `bench/state_report.py` from the JSON of `bench/state.py{" --quick" if result["quick"] else ""}`; do not edit.

Machine: {machine["cores"]} cores, {machine["memory_gib"]} GiB, {machine["java"]}, transparent huge pages `{machine["huge_pages"]}`. Measured in
{result["elapsed_s"]:.0f} s. Ratios are peer ÷ SlimBase for times and SlimBase ÷ peer for rates: above 1, SlimBase is faster. Peers: `rocksdb` with 1 GiB
of fixed memory a slot, the same with Bloom filters, `forst` (its synchronous backend), `hashmap`. How it is measured stands at the head of
`bench/state_micro.py`, `bench/state_sql.py`, `bench/state_nexmark.py` and `bench/state_checkpoint.py`."""


def _operations(result: Result) -> dict[str, dict[str, float]]:
    """`case operation` to ns of task-thread CPU per backend, uniform keys."""
    groups: dict[str, dict[str, float]] = {}
    for case, backends in result["micro"].items():
        for backend in (name for name in BACKENDS if name in backends):
            for operation, figures in backends[backend]["operations"].get("uniform", {}).items():
                groups.setdefault(f"{case} {operation}", {})[backend] = figures["cpu_ns"]
    return groups


def _micro(result: Result, files: dict[str, str]) -> str:
    groups = _operations(result)
    own = {label: group for label, group in groups.items() if not label.startswith("suite_")}
    suite = {label.partition(" ")[2]: group for label, group in groups.items() if label.startswith("suite_")}
    parts = ["## Operations", "CPU time of the task thread per operation, ns, uniform keys; medians."]
    for name, title, chosen in (
        ("state-operations", "ns per operation (task thread)", own),
        ("state-suite", "cases of flink-benchmarks, ns per call", suite),
    ):
        if chosen:
            files[f"{name}.svg"] = render_chart(Chart(title, chosen, "ns, logarithmic", logarithmic=True))
            rows = [[label, *(_short(group.get(one)) for one in BACKENDS)] for label, group in chosen.items()]
            parts += [f"![{title}]({name}.svg)", table(["", *BACKENDS], rows)]
    parts += ["### Ratios", _ratio_table(result)]
    return "\n\n".join(parts)


def _ratio_table(result: Result) -> str:
    by_peer = {peer: result.get(f"ratio_vs_{peer.replace('-', '_')}", {}) for peer in PEERS}
    names = list(dict.fromkeys(name for ratios in by_peer.values() for name in ratios))
    return table(
        ["", *(f"vs {peer}" for peer in PEERS)],
        [[name, *(by_peer[peer].get(name) for peer in PEERS)] for name in names],
    )


def _memory(result: Result) -> str:
    sizes = result.get("memory_per_long_record_bytes", {})
    if not sizes:
        return ""
    rows = [[case, *(_short(backends.get(one)) for one in BACKENDS)] for case, backends in sizes.items()]
    parts = ["## Memory per Long record", "Growth of live heap and of resident memory outside of the heap, bytes."]
    parts.append(table(["", *BACKENDS], rows))
    pauses = result.get("pauses")
    if pauses:
        parts.append(
            f"Longest single operation while growing to {short(pauses['records'])} records: {pauses['longest_ms']:.2f} ms "
            f"({pauses['slow_over_1ms']} operations over 1 ms; {pauses['slow_with_collection']} more while the JVM collected, longest "
            f"{pauses['longest_with_collection_ms']:.1f} ms)."
        )
    return "\n\n".join(parts)


def _sql(sizes: Result, files: dict[str, str]) -> str:
    parts = [
        "## SQL GROUP BY from PyFlink",
        "datagen to blackhole, checkpoints every 10 s, 1 GiB managed memory, parallelism 1.",
    ]
    groups: dict[str, dict[str, float]] = {}
    rows = []
    for size, figures in sizes.items():
        for backend in (name for name in BACKENDS if name in figures):
            whole, steady = figures[backend]["rows_per_s"], figures[backend].get("steady_rows_per_s")
            groups.setdefault(f"{size} keys", {})[backend] = steady or whole
            ratio = (
                figures.get("ratio_rows_per_s", {}).get(backend),
                figures.get("ratio_steady_rows_per_s", {}).get(backend),
            )
            rows.append([f"{size} keys, {backend}", _short(whole), _short(steady), *ratio])
    files["state-sql.svg"] = render_chart(Chart("SQL GROUP BY, steady rows/s", groups, "rows/s"))
    head = ["", "rows/s, whole job", "rows/s, steady", "SlimBase is, whole", "steady"]
    return "\n\n".join([*parts, "![SQL GROUP BY](state-sql.svg)", table(head, rows)])


def _nexmark(nexmark: Result, files: dict[str, str]) -> str:
    queries = nexmark["queries"]
    names = sorted(queries, key=lambda name: int(name[1:]))
    chosen = [one for one in BACKENDS if any(one in query for query in queries.values())]
    groups = {
        name: {one: queries[name][one]["events_per_s"] for one in chosen if one in queries[name]} for name in names
    }
    files["state-nexmark.svg"] = render_chart(Chart("Nexmark, events/s", groups, "events/s"))
    peers = [one for one in chosen if one != "slimbase"]
    rows = [
        [
            name,
            *(_short(groups[name].get(one)) for one in chosen),
            *(queries[name].get(f"ratio_vs_{peer}") for peer in peers),
            {True: "yes", False: "**no**", None: "wall clock"}[queries[name]["same_results"]],
        ]
        for name in names
    ]
    means = [nexmark.get(f"geometric_mean_vs_{peer}") for peer in peers]
    rows.append(["geometric mean", *([None] * len(chosen)), *means, None])
    text = f"{short(nexmark['events'])} events at {short(nexmark['event_rate_per_s'])}/s of event time; the final rows are compared by hash."
    head = ["", *chosen, *(f"vs {peer}" for peer in peers), "same rows"]
    return "\n\n".join(["## Nexmark", text, "![Nexmark](state-nexmark.svg)", table(head, rows)])


def _checkpoint(checkpoint: Result) -> str:
    figures = (
        ("bytes_mean", "bytes, mean"),
        ("bytes_median", "bytes, median"),
        ("duration_ms_median", "duration, ms, median"),
        ("duration_ms_mean", "duration, ms, mean"),
        ("sync_ms_median", "synchronous part, ms, median"),
        ("sync_ms_max", "synchronous part, ms, longest"),
    )
    rows = [
        [
            label,
            *(_short(checkpoint.get(one, {}).get(name)) for one in ("slimbase", "rocksdb")),
            checkpoint.get(f"share_of_rocksdb_{name}"),
        ]
        for name, label in figures
    ]
    text = f"State of {checkpoint['state_bytes'] / 1e9:.1f} GB (values of 100 bytes); 1 % of the keys changes between two checkpoints, and compaction has time to finish; RocksDB uploads what it rewrote."
    return "\n\n".join(
        ["## Incremental checkpoints", text, table(["", "slimbase", "rocksdb", "share of rocksdb"], rows)]
    )


def _left_out(result: Result) -> str:
    if not result.get("left_out"):
        return ""
    lines = [f"- {note.splitlines()[0][:200]}" for note in result["left_out"]]
    return "\n".join(["## Left out", "", *lines])


def _notes(result: Result) -> str:
    if not result.get("notes"):
        return ""
    return "\n".join(["## Notes", "", *(f"- {note}" for note in result["notes"])])


def _short(value: float | None) -> str | None:
    return None if value is None else short(value)


def main() -> int:
    """Render and write all files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path, help="what `bench/state.py --into` wrote")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks")
    parser.add_argument(
        "--note", action="append", default=[], help="a line at the end: what the reader must know of these runs"
    )
    options = parser.parse_args()
    files = render_report({**json.loads(options.result.read_text("utf-8")), "notes": options.note})
    write_files(files, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
