"""Hawk's decisions over a fleet: `python bench/hawk_simulation.py [--json] [--quick] [--hours H] [--seed N]`.

Plays 2,000 hosts for 10^6 host-hours (--quick: 4 x 10^4) with production's limits, then shorter and longer limits over a tenth of that:
how soon deaths are found against how often a host is convicted that is not dead. Deaths are made more frequent than in life, so that their
detection times have a distribution; false verdicts are counted per fleet-year, as the upper 95 % bound.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor

from headrace.cli.hawk_commands import SimulationResult, play
from headrace.guard.hawk.options import HawkOptions

HOSTS, HOURS, QUICK_HOURS = 2000, 500.0, 20.0
SWEEP_MS = (400, 600, 800, 1000, 1600, 2400)
SEED = 20_261


def row(result: SimulationResult) -> dict[str, object]:
    """One line of the curve."""
    return {
        "dead_after_ms": result.dead_after_ms,
        "seed": result.seed,
        "host_hours": result.host_hours,
        "deaths": result.deaths,
        "missed": result.missed,
        "detect_s": result.detect_s,
        "justified": result.justified,
        "unfenced": result.unfenced,
        "false": sum(result.false.values()),
        "false_by_kind": result.false,
        "false_per_year_at_most": result.false_per_year_at_most,
        "episodes": sum(result.episodes.values()),
    }


def main() -> int:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--hours", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=SEED)
    chosen = parser.parse_args()
    hours = chosen.hours or (QUICK_HOURS if chosen.quick else HOURS)
    default = HawkOptions().dead_after_ms
    # Ten parts with seeds of their own run beside each other.
    jobs = [(hours / 10, chosen.seed + part, default) for part in range(10)]
    jobs += [(hours / 10, chosen.seed, limit) for limit in SWEEP_MS]
    print(f"seed {chosen.seed}, {HOSTS * hours:,.0f} host-hours", file=sys.stderr)
    with ProcessPoolExecutor(2) as pool:
        futures = [pool.submit(play, HOSTS, part, seed, limit) for part, seed, limit in jobs]
        rows = [row(future.result()) for future in futures]
    parts, sweep = rows[:10], rows[10:]
    result = {
        "hosts": HOSTS,
        "host_hours": sum(float(str(each["host_hours"])) for each in parts),
        "false": sum(int(str(each["false"])) for each in parts),
        "unfenced": sum(int(str(each["unfenced"])) for each in parts),
        "missed": sum(int(str(each["missed"])) for each in parts),
        "deaths": sum(int(str(each["deaths"])) for each in parts),
        "parts": parts,
        "sweep": sweep,
    }
    print(json.dumps(result, indent=None if chosen.json else 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
