"""Hawk's decisions over a fleet: `python bench/hawk_simulation.py [--json] [--quick] [--hours H] [--seed N] [--processes N]
[--only fleet|curves] [--parts FILE] [--seconds S] [--plots FOLDER]`.

Plays 2,000 hosts for 10^6 host-hours (--quick: 4 x 10^4) with production's limits, in parts with seeds of their own; then

    limits  shorter and longer limits: how soon deaths are found, many of them, against how often a host is convicted that is not dead, in 2 x 10^4
            host-hours (shorter limits are suspicious of a few lost packets, which costs the simulator much)
    loss    one host that loses this share of its packets each way for 10 s, many times: how often it is convicted
    pause   one machine that gets no CPU for so long, many times: how often it stops its TaskManagers, how often it is convicted

Deaths are made more frequent than in life, so that their detection times have a distribution. False verdicts are counted per
fleet-year, as the upper 95 % bound; when there were none that is the rule of three, so that less than one a year takes 5.3 x 10^7
host-hours (--hours 26500). Such a run can be made in pieces: with --parts each part is written to FILE (JSON lines), a part that is there
is not played again, and --seconds says when to begin no more.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from itertools import islice
from pathlib import Path

import msgspec

from hawk_plot import render_lines
from headrace.core.rand import seeded
from headrace.guard.hawk.options import HawkOptions
from headrace.guard.hawk.simulate import (
    Result,
    distribution,
    false_per_year_at_most,
    limits,
    merge,
    play_episode,
    simulate,
    split,
)
from headrace.guard.hawk.simulate_faults import LEAD_MS, Rates, burst, draw_episode, pause
from headrace.guard.lab.timeline import quantile
from svg_chart import Chart

HOSTS, HOURS, QUICK_HOURS, PART_HOURS = 2000, 500.0, 20.0, 50.0
SWEEP_MS = (400, 600, 800, 1000, 1600, 2400)
LOSSES = (0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98)
PAUSES_MS = (200, 400, 600, 800, 900, 1000, 1100, 1200, 1300, 1400, 1500, 1600, 1800, 2400)
BURST_MS = 10_000
TRIES, QUICK_TRIES = 400, 50
SWEEP_HOURS = 10.0
SEED = 20_261
Curves = dict[str, list[dict[str, object]]]


class Part(msgspec.Struct, frozen=True):
    """A part of the main run, and the CPU seconds that it took."""

    seed: int
    cpu_s: float
    result: Result


def play_part(hours: float, seed: int, dead_after_ms: int) -> Part:
    """Play one part."""
    begun_s = time.process_time()
    result = simulate(HOSTS, hours, seed=seed, rates=Rates(), options=limits(dead_after_ms))
    return Part(seed, time.process_time() - begun_s, result)


def try_loss(loss: float, tries: int, seed: int) -> dict[str, object]:
    """Shares of bursts with this loss in which the host was convicted, and in which it stopped its TaskManagers without that."""
    random, result, options = seeded(seed), Result(), HawkOptions()
    for _ in range(tries):
        start_ms = LEAD_MS + random.randrange(options.heartbeat_interval_ms)
        play_episode(result, burst(start_ms, BURST_MS, loss), Rates(), options, random)
    return {
        "loss": loss,
        "convicted": result.false_total / tries,
        "held": result.pauses / tries,
        "unfenced": result.unfenced,
    }


def try_pause(pause_ms: int, tries: int, seed: int) -> dict[str, object]:
    """Shares of pauses of this length after which the host was convicted, and in which it stopped its TaskManagers without that."""
    random, result, options = seeded(seed), Result(), HawkOptions()
    for _ in range(tries):
        start_ms = LEAD_MS + random.randrange(options.heartbeat_interval_ms)
        play_episode(result, pause(start_ms, pause_ms), Rates(), options, random)
    convicted = result.false_total + result.justified
    return {"pause_ms": pause_ms, "convicted": convicted / tries, "held": result.pauses / tries}


def try_deaths(dead_after_ms: int, tries: int, seed: int) -> Result:
    """Deaths with these limits."""
    random, result, options = seeded(seed), Result(), limits(dead_after_ms)
    for _ in range(tries):
        play_episode(result, draw_episode("death", HOSTS, random, options), Rates(), options, random)
    return result


def describe(result: Result) -> dict[str, object]:
    """A result in figures."""
    detection_s = [value / 1000 for value in result.detection_ms]
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {
        "host_hours": result.host_hours,
        "false": result.false_total,
        "false_by_kind": result.false,
        "false_per_year_at_most": round(false_per_year_at_most(result.false_total, result.host_hours, HOSTS), 3),
        "deaths": result.deaths,
        "missed": result.missed,
        "detect_s": {name: quantile(detection_s, share) for name, share in shares.items()} if detection_s else {},
        "justified": result.justified,
        "unfenced": result.unfenced,
        "paused": result.pauses,
        "braked": result.braked,
        "episodes": result.episodes,
        "played": result.played,
        "steps": result.steps,
    }


def load_parts(path: Path | None) -> dict[int, Part]:
    """Parts that an earlier run has left, by seed."""
    if path is None or not path.exists():
        return {}
    parts = [msgspec.json.decode(line, type=Part) for line in path.read_bytes().splitlines()]
    return {part.seed: part for part in parts}


def run_parts(hours: float, seed: int, *, processes: int, keep: Path | None, seconds: float) -> list[Part]:
    """The main run in parts; those that `keep` holds are not played again, and none begins after `seconds`."""
    begun_s, done = time.monotonic(), load_parts(keep)
    wanted = split(hours, seed, max(1, round(hours / PART_HOURS)))
    found = [done[own] for _, own in wanted if own in done]
    missing = iter([(part, own) for part, own in wanted if own not in done])
    with ProcessPoolExecutor(processes) as pool:
        running = {pool.submit(play_part, *one, HawkOptions().dead_after_ms) for one in islice(missing, processes)}
        while running:
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                found.append(future.result())
                say(found)
                if keep is not None:
                    with keep.open("ab") as file:
                        file.write(msgspec.json.encode(found[-1]) + b"\n")
                if time.monotonic() - begun_s < seconds:
                    more = islice(missing, 1)
                    running |= {pool.submit(play_part, *one, HawkOptions().dead_after_ms) for one in more}
    return found


def say(parts: Sequence[Part]) -> None:
    """One line of progress."""
    host_hours = sum(part.result.host_hours for part in parts)
    false = sum(part.result.false_total for part in parts)
    cpu_s = sum(part.cpu_s for part in parts)
    print(f"seed {parts[-1].seed}: {host_hours:,.0f} host-hours, {false} false, {cpu_s:.0f} CPU s", file=sys.stderr)


def run_curves(hours: float, seed: int, *, processes: int, tries: int) -> Curves:
    """Shorter and longer limits, loss, pauses."""
    with ProcessPoolExecutor(processes) as pool:
        sweep = {limit: pool.submit(play_part, hours, seed, limit) for limit in SWEEP_MS}
        deaths = {limit: pool.submit(try_deaths, limit, tries, seed) for limit in SWEEP_MS}
        lossy = [pool.submit(try_loss, loss, tries, seed) for loss in LOSSES]
        paused = [pool.submit(try_pause, length, tries, seed) for length in PAUSES_MS]
        rows = []
        for limit, one in sweep.items():
            both = merge([one.result().result, deaths[limit].result()])
            rows.append({"dead_after_ms": limit, **describe(both)})
        return {"limits": rows, "loss": [one.result() for one in lossy], "pause": [one.result() for one in paused]}


def draw(folder: Path, total: Result, curves: Curves) -> None:
    """The plots of docs/benchmarks/recovery.md, those that there are figures for."""
    found = [(at_ms / 1000, share) for at_ms, share in distribution(total.detection_ms)]
    title, axis = f"Simulated deaths found ({total.deaths})", "seconds after the death"
    figures = {"hawk-detection.svg": Chart(title, {"found": found}, axis, "share of deaths")} if found else {}
    for name, title, axis in (
        ("loss", "One host that loses packets each way for 10 s", "share of packets lost each way"),
        ("pause_ms", "One machine that gets no CPU for a while", "ms of pause"),
    ):
        rows = curves.get(name.removesuffix("_ms"), [])
        series = {line: [(float(row[name]), float(row[line])) for row in rows] for line in ("convicted", "held")}  # type: ignore[arg-type]
        if rows:
            figures[f"hawk-{name.removesuffix('_ms')}.svg"] = Chart(title, series, axis, "share of hosts")
    for name, lines in figures.items():
        (folder / name).write_text(render_lines(lines), "utf-8")


def main() -> int:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--hours", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--plots", type=Path)
    parser.add_argument("--parts", type=Path)
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--only", choices=("fleet", "curves"))
    chosen = parser.parse_args()
    hours = chosen.hours or (QUICK_HOURS if chosen.quick else HOURS)
    print(f"seed {chosen.seed}, {HOSTS * hours:,.0f} host-hours", file=sys.stderr)
    result: dict[str, object] = {"hosts": HOSTS, "seed": chosen.seed}
    total = Result()
    if chosen.only != "curves":
        parts = run_parts(hours, chosen.seed, processes=chosen.processes, keep=chosen.parts, seconds=chosen.seconds)
        total = merge(part.result for part in parts)
        result |= {"parts": len(parts), "cpu_s": round(sum(part.cpu_s for part in parts), 1), **describe(total)}
    curves: Curves = {}
    if chosen.only != "fleet":
        tries = QUICK_TRIES if chosen.quick else TRIES
        curves = run_curves(min(hours, SWEEP_HOURS), chosen.seed, processes=chosen.processes, tries=tries)
        result |= curves
    if chosen.plots is not None:
        draw(chosen.plots, total, curves)
    print(json.dumps(result, indent=None if chosen.json else 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
