"""The `headrace` command: parse, call one function, print. Each module of commands registers itself on the app."""

from __future__ import annotations

import cyclopts

from headrace import __version__
from headrace.cli import bench_commands, stack_commands
from headrace.core.log import setup_logging

# Loaded when they are called: they need the catalog's database or half of the platform, 0.8 of 1.0 s of every other command's start.
LAZY = {
    "table": ("table_commands:tables", "Tables of the catalog."),
    "journal": (
        "table_commands:journal",
        "Show what people and loops did, newest first: cause, expected effect, measured effect.",
    ),
    "job": ("job_commands:jobs", "Jobs: pipelines that run."),
    "state": ("state_commands:state", "State of jobs in checkpoints and savepoints."),
    "agent": (
        "hawk_commands:agent",
        "Run the Hawk agent of this host: heartbeats, watch over its TaskManagers, fencing.",
    ),
    "hawk": ("hawk_commands:hawk", "Hawk finds dead hosts: its key, its observers, its simulator."),
    "chaos": ("chaos_commands:chaos", "Cause failures on purpose and record what they cost."),
    "demo": (
        "demo_commands:demo",
        "Replay real players by the thousand, degrade a CDN, kill a TaskManager, and report every guarantee.",
    ),
    "demo-live": ("demo_commands:demo_live", "Play live video over two throttled CDNs and steer real players (root)."),
}

app = cyclopts.App(name="headrace", version=__version__, help="Real-time data platform around Apache Flink.")
stack_commands.register(app)
bench_commands.register(app)
for _name, (_target, _help) in LAZY.items():
    app.command(f"headrace.cli.{_target}", name=_name, help=_help)


def main() -> None:
    """Entry point of the console script."""
    setup_logging(level="WARNING")
    app()


if __name__ == "__main__":
    main()
