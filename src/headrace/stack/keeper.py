"""Keep the processes of one host running: `python -m headrace.stack.keeper --specs FILE --run FOLDER --logs FOLDER`.

What the stack's supervisor is for a whole stack on one machine, a keeper is for one host of a standalone cluster: it starts
what the file lists, starts again what ends, and stops all in order on SIGTERM. Spares are kept by it: one TaskManager more than
the jobs need is a line more in the file. Pid files in the run folder tell the host's Hawk agent what to watch. How soon
a crashed process is started again is `headrace.stack.restart-backoff-ms`, from the environment.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from headrace.core.clock import Clock, SystemClock
from headrace.core.config import load_options
from headrace.core.errors import Conflict, HeadraceError, Invalid
from headrace.core.log import get_logger, setup_logging
from headrace.stack import orphans
from headrace.stack.child import Child
from headrace.stack.options import StackOptions
from headrace.stack.specs import ProcessSpec

log = get_logger("headrace.stack.keeper")


def write_specs(path: Path, specs: Sequence[ProcessSpec]) -> None:
    """Write the file that a keeper is started with."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(list(specs))))


def read_specs(path: Path) -> list[ProcessSpec]:
    """The processes to keep.

    Raises:
        Invalid: the file cannot be read, is not a list of processes, or names one twice.
    """
    try:
        specs = msgspec.json.decode(path.read_bytes(), type=list[ProcessSpec])
    except (OSError, msgspec.MsgspecError) as error:
        raise Invalid(f"list of processes cannot be read: {error}", context={"path": path}) from error
    if len({spec.name for spec in specs}) != len(specs):
        raise Invalid("two processes have one name", context={"path": path})
    return specs


async def keep(specs: Sequence[ProcessSpec], *, run: Path, logs: Path, options: StackOptions, clock: Clock) -> None:
    """Run all processes until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    children = [Child(spec, options=options, run=run, logs=logs, clock=clock) for spec in specs]
    tasks = [asyncio.create_task(child.live([]), name=child.spec.name) for child in children]
    await stop.wait()
    await asyncio.gather(*(child.stop() for child in children))
    await asyncio.gather(*tasks, return_exceptions=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of a keeper's process; exit code 1 when it cannot start."""
    parser = argparse.ArgumentParser(prog="keeper", description="Keep the processes of one host running.")
    parser.add_argument("--specs", required=True, type=Path)
    parser.add_argument("--run", required=True, type=Path, help="folder of pid files, of this keeper only")
    parser.add_argument("--logs", required=True, type=Path)
    chosen = parser.parse_args(arguments)
    setup_logging()
    clock = SystemClock()
    try:
        specs = read_specs(chosen.specs)
        for folder in (chosen.run, chosen.logs):
            folder.mkdir(parents=True, exist_ok=True)
        if orphans.lock_folder(chosen.run) is None:
            raise Conflict(
                "another keeper runs here", context={"run": chosen.run}, hint="give each host its own folder"
            )
        cleaned = orphans.clean_orphans(chosen.run, clock=clock)
        if cleaned:
            log.warning("orphans_cleaned", names=cleaned)
        options = load_options(StackOptions, env=os.environ)
        asyncio.run(keep(specs, run=chosen.run, logs=chosen.logs, options=options, clock=clock))
    except HeadraceError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
