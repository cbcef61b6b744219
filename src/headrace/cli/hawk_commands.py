"""`headrace agent`, `headrace hawk key | observe | simulate`: Hawk's processes, its key, its simulator; `hawk_hosts` has the rest.

Agent and observer replace this process, so that they carry nothing of the command line: an agent has to stay small.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import cyclopts
import msgspec
from rich.console import Console

from headrace.cli import hawk_hosts
from headrace.cli.face import Face, run
from headrace.core.errors import Invalid
from headrace.core.rand import unseeded
from headrace.guard.hawk.keys import host_key, new_key, read_key, write_key
from headrace.guard.hawk.options import HawkOptions
from headrace.guard.hawk.simulate import false_per_year_at_most, limits, simulate
from headrace.guard.hawk.simulate_faults import Rates
from headrace.guard.lab.timeline import quantile

ObserversOption = Annotated[
    str, cyclopts.Parameter(name="--observers", help="host:port of the three observers, separated by commas")
]
KeyOption = Annotated[Path, cyclopts.Parameter(name="--key-file", help="file with the key, readable by its owner only")]
MetricsOption = Annotated[
    str, cyclopts.Parameter(name="--metrics", help="host:port to serve GET /metrics on (Prometheus) [nowhere]")
]
ConfigOption = Annotated[Path | None, cyclopts.Parameter(name="--config", help="TOML file with [headrace.guard.hawk]")]
JsonOption = Annotated[bool, cyclopts.Parameter(name="--json", negative="", help="print one JSON object")]

hawk = cyclopts.App(
    name="hawk", help="Hawk finds dead hosts: its key, its observers, hosts it has retired, its simulator."
)
hawk.command(hawk_hosts.hosts)
hawk.command(hawk_hosts.retire_command, name="retire")
hawk.command(hawk_hosts.readmit)


class SimulationResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `hawk simulate --json` prints; times in s, verdicts counted."""

    seed: int
    hosts: int
    host_hours: float
    dead_after_ms: int
    deaths: int
    missed: int
    detect_s: dict[str, float]
    justified: int
    unfenced: int
    false: dict[str, int]
    false_per_year_at_most: float
    episodes: dict[str, int]


def agent(  # noqa: PLR0913 - one parameter per option of the command
    *,
    host: Annotated[str, cyclopts.Parameter(name="--host", help="name of this host")],
    observers: ObserversOption,
    key_file: KeyOption,
    pid_folder: Annotated[
        Path, cyclopts.Parameter(name="--pid-folder", help="where the supervisor of the TaskManagers keeps pid files")
    ],
    disk: Annotated[
        tuple[Path, ...], cyclopts.Parameter(name="--disk", help="folder to write to in self-checks; may be repeated")
    ] = (),
    rack: Annotated[
        str, cyclopts.Parameter(name="--rack", help="name of the rack; hosts of one rack fail together")
    ] = "",
    job_managers: Annotated[
        bool,
        cyclopts.Parameter(
            name="--job-managers",
            negative="",
            help="watch and fence JobManagers, too; only where another one can lead (high availability)",
        ),
    ] = False,
    dependency: Annotated[
        tuple[str, ...],
        cyclopts.Parameter(
            name="--dependency",
            help="what the jobs of this host need, asked every few seconds: NAME=kafka://HOST:PORT[,HOST:PORT…] or NAME=tcp://HOST:PORT; may be repeated",
        ),
    ] = (),
    metrics: MetricsOption = "",
    config: ConfigOption = None,
) -> None:
    """Run the Hawk agent of this host: heartbeats, watch over its TaskManagers, fencing."""
    words = ["--host", host, "--observers", observers, "--key-file", str(key_file), "--pid-folder", str(pid_folder)]
    words += [word for folder in disk for word in ("--disk", str(folder))]
    words += [word for each in dependency for word in ("--dependency", each)]
    words += ["--rack", rack] if rack else []
    words += ["--metrics", metrics] if metrics else []
    words += ["--job-managers"] if job_managers else []
    _become("headrace.guard.hawk.agent", words, config)


@hawk.command
def observe(  # noqa: PLR0913 - one parameter per option of the command
    *,
    name: Annotated[str, cyclopts.Parameter(name="--name", help="name of this observer")],
    bind: Annotated[str, cyclopts.Parameter(name="--bind", help="host:port to listen on")],
    key_file: KeyOption,
    peers: Annotated[
        str, cyclopts.Parameter(name="--peers", help="name=host:port of the other observers, separated by commas")
    ] = "",
    driver: Annotated[
        Path | None,
        cyclopts.Parameter(name="--driver", help="socket of a Flink driver; with it this observer acts on verdicts"),
    ] = None,
    events: Annotated[
        Path | None, cyclopts.Parameter(name="--events", help="file for events, one JSON object a line")
    ] = None,
    hosts_file: Annotated[
        Path | None,
        cyclopts.Parameter(name="--hosts-file", help="file of strikes and retired hosts, for the one that acts"),
    ] = None,
    metrics: MetricsOption = "",
    config: ConfigOption = None,
) -> None:
    """Run a Hawk observer; three of them, on different hosts, find the dead ones."""
    words = ["--name", name, "--bind", bind, "--peers", peers, "--key-file", str(key_file)]
    words += ["--driver", str(driver)] if driver else []
    words += ["--events", str(events)] if events else []
    words += ["--hosts-file", str(hosts_file)] if hosts_file else []
    words += ["--metrics", metrics] if metrics else []
    _become("headrace.guard.hawk.observer", words, config)


@hawk.command
def key(
    file: Annotated[Path, cyclopts.Parameter(help="where to write the key")],
    /,
    *,
    host: Annotated[str, cyclopts.Parameter(name="--host", help="make this host's key from the cluster's")] = "",
    cluster_key: Annotated[
        Path | None, cyclopts.Parameter(name="--cluster-key", help="the cluster's key; needed with --host")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make the cluster's key, or the key of one host from it; a file that is there is never overwritten."""
    run(lambda face: _key(face, file, host, cluster_key), as_json=as_json)


@hawk.command(name="simulate")
def simulate_command(
    *,
    hosts: Annotated[int, cyclopts.Parameter(name="--hosts", help="hosts of the fleet")] = 2000,
    hours: Annotated[float, cyclopts.Parameter(name="--hours", help="hours of the fleet's time")] = 50,
    seed: Annotated[int | None, cyclopts.Parameter(name="--seed", help="seed of all randomness [a new one]")] = None,
    dead_after_ms: Annotated[
        int, cyclopts.Parameter(name="--dead-after-ms", help="silence that means death; the other limits follow it")
    ] = HawkOptions().dead_after_ms,
    as_json: JsonOption = False,
) -> None:
    """Play Hawk's decisions over a fleet: detection times, false verdicts."""
    chosen = unseeded().randrange(1 << 32) if seed is None else seed
    run(lambda face: face.show(play(hosts, hours, chosen, dead_after_ms), _render_simulation), as_json=as_json)


def play(hosts: int, hours: float, seed: int, dead_after_ms: int) -> SimulationResult:
    """One simulation as a result to print."""
    result = simulate(hosts, hours, seed=seed, rates=Rates(), options=limits(dead_after_ms))
    return SimulationResult(
        seed=seed,
        hosts=hosts,
        host_hours=result.host_hours,
        dead_after_ms=dead_after_ms,
        deaths=result.deaths,
        missed=result.missed,
        detect_s={name: quantile(result.detection_ms, share) / 1000 for name, share in (("p50", 0.5), ("p99", 0.99))}
        if result.detection_ms
        else {},
        justified=result.justified,
        unfenced=result.unfenced,
        false=result.false,
        false_per_year_at_most=round(false_per_year_at_most(result.false_total, result.host_hours, hosts), 3),
        episodes=result.episodes,
    )


def _key(face: Face, file: Path, host: str, cluster_key: Path | None) -> None:
    if bool(host) != bool(cluster_key):
        raise Invalid("--host and --cluster-key belong together", hint="a host's key is made from the cluster's")
    write_key(file, host_key(read_key(cluster_key), host) if cluster_key else new_key())
    face.show({"file": str(file), "host": host}, lambda made, out: out.print(f"key written to {made['file']}"))


def _render_simulation(result: SimulationResult, out: Console) -> None:
    out.print(f"seed {result.seed}: {result.host_hours:,.0f} host-hours, limit {result.dead_after_ms} ms")
    out.print(f"  deaths {result.deaths}, missed {result.missed}, found after {result.detect_s} s")
    out.print(f"  hosts that nobody could reach for that long: {result.justified}, not fenced {result.unfenced}")
    out.print(f"  false verdicts {sum(result.false.values())} {result.false or ''}")
    out.print(f"  at most {result.false_per_year_at_most} a year in a fleet of {result.hosts} (95 %)")


def _become(module: str, words: list[str], config: Path | None) -> None:
    sys.stdout.flush()
    words += ["--config", str(config)] if config else []
    os.execv(sys.executable, [sys.executable, "-m", module, *words])
