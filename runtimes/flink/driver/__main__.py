"""Entry: `python -m driver --socket S --home H`, in the Flink environment, with PYTHONPATH=src.

The socket file appears when the JVM answers; it is warmed meanwhile, when nobody asks. Exit codes: 0 after SIGTERM, 2 when it cannot start, 70 when a call
hung, 71 when the JVM was lost; the supervisor restarts it in the last two cases.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

import pyflink
from py4j.protocol import Py4JError

from driver.jvm import start_jvm
from driver.operations import Operations
from driver.server import Server
from headrace.core.clock import SystemClock
from headrace.core.errors import HeadraceError
from headrace.core.home import Home
from headrace.core.log import get_logger, setup_logging

log = get_logger("headrace.driver")
EXIT_CANNOT_START = 2


def main() -> int:
    """Parse the command line, start and warm the JVM, serve."""
    parser = argparse.ArgumentParser(prog="driver", description="The Flink driver of a Headrace stack.")
    parser.add_argument("--socket", type=Path, required=True, help="Unix socket to serve on")
    parser.add_argument("--home", type=Path, required=True, help="home of the stack")
    parser.add_argument("--flink-home", type=Path, help="FLINK_HOME with lib/ (default: <home>/flink, else the wheel)")
    parser.add_argument("--jars", type=Path, nargs="*", default=[], help="more jars for the class path")
    parser.add_argument("--log-level", default="INFO")
    options = parser.parse_args()
    setup_logging(level=options.log_level)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    home = Home(options.home)
    own_view = options.flink_home or home.flink
    flink_home = own_view if (own_view / "lib").is_dir() else Path(pyflink.__file__).parent
    home.tmp.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="driver-", dir=home.tmp) as work:
        try:
            return _serve(home, flink_home, options.socket, jars=options.jars, work=Path(work))
        except HeadraceError as error:
            log.error("driver_cannot_start", message=str(error))
            return EXIT_CANNOT_START


def _serve(home: Home, flink_home: Path, path: Path, *, jars: list[Path], work: Path) -> int:
    clock = SystemClock()
    begin = clock.monotonic_s()
    jvm = start_jvm(flink_home, jars=jars, work=work, clock=clock)
    try:
        started = clock.monotonic_s()
        operations = Operations(jvm, home, clock)
        log.info("jvm_started", start_s=round(started - begin, 1))
        threading.Thread(target=_warm_up, args=(operations,), name="warm-up", daemon=True).start()
        server = Server(operations, path, clock=clock, jvm_alive=lambda: jvm.alive)
        return asyncio.run(server.serve())
    finally:
        jvm.stop()


def _warm_up(operations: Operations) -> None:
    try:
        operations.warm_up()
    except (HeadraceError, Py4JError) as error:  # a JVM that is gone is noticed by the server; a cold one still plans
        log.warning("warm_up_failed", reason=str(error))


if __name__ == "__main__":
    code = main()
    # Worker threads may hang in a call to a JVM that is gone; nothing is left to flush but the log.
    sys.stderr.flush()
    os._exit(code)
