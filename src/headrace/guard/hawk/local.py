"""Hawk for one machine: `python -m headrace.guard.hawk.local --home H`, a process of the local stack.

There is one host, so there is nobody to observe it and nothing to fence, and one JobManager, so that no other could lead. What is left is what costs most on one machine: a
TaskManager that dies, or stands still, is told to Flink at once instead of after refused or missing heartbeats. The stack's supervisor starts it
again; until then the spare has its tasks.
"""

from __future__ import annotations

import argparse
import selectors
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from headrace.core.clock import Clock, SystemClock
from headrace.core.home import Home
from headrace.core.log import get_logger, setup_logging
from headrace.flink.driver_client import DriverClient
from headrace.guard.hawk.events import EventLog
from headrace.guard.hawk.model import FailureClass, ProcessReport, Verdict
from headrace.guard.hawk.options import HawkOptions
from headrace.guard.hawk.processes import ProcessWatch
from headrace.guard.hawk.realize import Order, Realizer, ResourceManager

log = get_logger("headrace.guard.hawk.local")
REFRESH_MS = 200
KEEP_OPEN_S = (
    10.0  # an idle machine does not feel it, and a JobManager that was restarted is reached again within that time
)
HOST = "local"
EVENTS_FILE = "hawk.events"  # in the folder of pid files, where the console finds it


class LocalHawk:
    """Watches the TaskManagers of one home and tells Flink when one is lost."""

    def __init__(self, folder: Path, flink: ResourceManager, *, clock: Clock) -> None:
        self._clock = clock
        self._events = EventLog(folder / EVENTS_FILE, HOST, clock=clock)
        self._selector = selectors.DefaultSelector()
        self._watch = ProcessWatch(
            folder, self._selector, options=HawkOptions(), tell=log.warning, now=lambda: self._now_ms()
        )
        self._told: set[int] = set()
        self.realizer = Realizer(
            flink, clock=clock, tell=self._tell, still_holds=self._still_holds, heard=lambda _: None
        )
        self._stopping = False

    def stop(self) -> None:
        """End after this turn."""
        self._stopping = True

    def run(self) -> None:
        """Watch until told to stop."""
        self.realizer.start_telling(keep_open_s=KEEP_OPEN_S)
        while not self._stopping:
            for order in self.turn(REFRESH_MS):
                self.realizer.order(order)
        self.realizer.stop()
        self._watch.close()

    def turn(self, wait_ms: float) -> list[Order]:
        """Wait for an end, or a while; returns the verdicts on what has ended."""
        for key, _ in self._watch.wait(wait_ms):
            key.data(key.fileobj)
        now_ms = self._now_ms()
        self._watch.refresh(now_ms)
        if not self._watch.news:
            return []
        self._watch.news = False
        lost = [each for each in self._watch.reports(now_ms) if each.lost_pid and each.lost_pid not in self._told]
        self._told = {each.lost_pid for each in self._watch.reports(now_ms)}
        return [self._order(report) for report in lost]

    def _order(self, report: ProcessReport) -> Order:
        failure = FailureClass.PROCESS_FROZEN if report.frozen else FailureClass.PROCESS_LOST
        self._tell("verdict", host=HOST, process=report.name, pid=report.lost_pid, failure=failure)
        verdict = Verdict(HOST, failure, report.name, report.lost_pid)
        return Order(verdict, (report.name,), self._clock.monotonic_s())

    def _tell(self, event: str, **fields: object) -> None:
        """One event: a line of log and one of the event log; called from two threads."""
        log.warning(event, **fields)
        self._events.write(event, fields)

    def _still_holds(self, order: Order) -> bool:
        reports = self._watch.reports(self._now_ms())
        return all(each.pid == 0 for each in reports if each.name == order.verdict.process)

    def _now_ms(self) -> int:
        return round(self._clock.monotonic_s() * 1000)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of the process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", required=True, type=Path)
    home = Home(parser.parse_args(arguments).home)
    setup_logging()
    hawk = LocalHawk(home.run, DriverClient(home.driver_socket), clock=SystemClock())
    signal.signal(signal.SIGTERM, lambda *_: hawk.stop())
    signal.signal(signal.SIGINT, lambda *_: hawk.stop())
    log.info("hawk_started", home=str(home.root))
    hawk.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
