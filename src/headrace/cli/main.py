"""The `headrace` command: parse, call one function, print. Each module of commands registers itself on the app."""

from __future__ import annotations

import cyclopts

from headrace import __version__
from headrace.cli import bench_commands, demo_commands, job_commands, stack_commands, table_commands
from headrace.core.log import setup_logging

app = cyclopts.App(name="headrace", version=__version__, help="Real-time data platform around Apache Flink.")
stack_commands.register(app)
table_commands.register(app)
job_commands.register(app)
demo_commands.register(app)
bench_commands.register(app)


def main() -> None:
    """Entry point of the console script."""
    setup_logging(level="WARNING")
    app()


if __name__ == "__main__":
    main()
