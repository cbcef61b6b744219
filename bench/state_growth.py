"""Pauses while a keyed Long state grows to 50 M records: no update may take longer than 5 ms.

`python bench/state_growth.py [--json] [--quick] [--records N]`. One JVM, SlimBase, object keys as a job has them. Counted are updates of more than 5 ms of wall
time and of the thread's CPU time; on a shared machine only the second speaks of SlimBase. Needs 5 GB for 50 M records; `--quick` takes 5 M.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from state_micro import MAIN
from state_setup import BACKENDS, GIB, build_harness, machine, pinned, run_java

RECORDS = 50_000_000
RECORDS_QUICK = 5_000_000
# 24 bytes of record, 8 of slot at half of 13/16, and room for the log's last segments: 60 a record.
BYTES_PER_RECORD = 60
PERCENTILES = (0.5, 0.99, 0.9999, 0.999999)


def percentiles(histogram: dict[str, int]) -> dict[str, int]:
    """Upper bounds in ns from counts by powers of two: `{"1024": 7}` are 7 updates below 1,024 ns."""
    total = sum(histogram.values())
    found: dict[str, int] = {}
    for share in PERCENTILES:
        seen = 0
        for bound, count in sorted((int(bound), count) for bound, count in histogram.items()):
            seen += count
            if seen >= share * total:
                found[f"p{share * 100:g}"] = bound
                break
    return found


def measure(records: int) -> dict[str, Any]:
    """Fork the harness and add percentiles to what it says.

    Raises:
        ForkFailed: the fork ended with an error.
    """
    build_harness()
    arguments = {"case": "growth", "records": records, "managed-bytes": records * BYTES_PER_RECORD + GIB // 2}
    figures = run_java(MAIN, pinned(BACKENDS["slimbase"]), arguments, heap="1g")
    return {**figures, "wall_below_ns": percentiles(figures["histogram_below_ns"]), "machine": machine()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help=f"{RECORDS_QUICK:,} records")
    parser.add_argument("--records", type=int)
    words = parser.parse_args()
    result = measure(words.records or (RECORDS_QUICK if words.quick else RECORDS))
    if words.json:
        json.dump(result, sys.stdout)
        print()
        return
    print(
        f"records {result['records']:,}; updates over 5 ms: {result['wall_over_5ms']} wall, {result['cpu_over_5ms']} CPU"
    )
    print(
        f"longest: {max(result['longest_ms'], result['longest_with_collection_ms']):.2f} ms wall, {result['longest_cpu_ms']:.2f} ms CPU"
    )
    print("wall below, ns: " + ", ".join(f"{name} {bound:,}" for name, bound in result["wall_below_ns"].items()))


if __name__ == "__main__":
    main()
