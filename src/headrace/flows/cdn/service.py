"""The CDN scheduler's process: `python -m headrace.flows.cdn.service --home H`.

Every `tick_s`: rows that Kafka has delivered are in the window (collect); facts, decisions (`Scheduler.round`: evaluate, decide);
Redis, then the logs (realize). The parts are handed in and can be replaced. What fails is outlived:
- no input: the last weights stay and the reason says so (`decide`, hold); they are rewritten, so readers see that we live;
- Redis away: deciding goes on, the next round writes everything again;
- OLAP or log topic away: rows queue up to a bound, then the oldest are lost and counted;
- `cdn.csv` wrong or missing: the last good one stays, at first nothing is decided: there is nothing to decide about;
- killed: the next process reads each cell's state from Redis before its first decision of that cell. Without Redis it waits with
  deciding, because it would start from default weights and move everybody.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated

import msgspec
import uvloop

from headrace.core.clock import Clock, SystemClock
from headrace.core.config import Options, load_options, option, options
from headrace.core.errors import HeadraceError, Unavailable
from headrace.core.home import Home, resolve_home
from headrace.core.log import get_logger, setup_logging
from headrace.flows.cdn.collect import CellSource, KafkaCells
from headrace.flows.cdn.model import CellKey, CellState, Decision, Rules
from headrace.flows.cdn.realize import KafkaLog, LogSink, OlapLog, Sifter, render_record, render_row
from headrace.flows.cdn.scheduler import Scheduler
from headrace.serve.cdns import Cdn, DimFile, parse_cdns
from headrace.serve.decisions import DecisionStore, SchedulerHeartbeat, SteerRecord, open_redis
from headrace.serve.olap_client import AsyncOlapClient
from headrace.serve.steering_table import UNKNOWN_CELL, parse_localities

INPUT_TOPIC = "dws.cell_1s"
LOG_TOPIC = "ads.decision_log"
NO_CDNS: tuple[Cdn, ...] = ()
NO_CELLS: tuple[CellKey, ...] = (UNKNOWN_CELL,)
_log = get_logger("headrace.flows.cdn.service")


@options("flows.cdn-service")
class ServiceOptions(Options, frozen=True):
    """Settings of the scheduler's process."""

    tick_s: Annotated[
        float, option("Time between decisions; shorter reacts sooner and costs CPU per cell.", unit="s", ge=0.1, le=10)
    ] = 0.5
    keep_log_s: Annotated[
        float, option("How often an unchanged cell is written to the decision log.", unit="s", ge=0.1, le=3600)
    ] = 1.0


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """The replaceable parts of the loop."""

    source: CellSource
    store: DecisionStore
    logs: tuple[LogSink, ...]


class SchedulerService:
    """The loop around `Scheduler`."""

    def __init__(self, home: Home, parts: Parts, *, rules: Rules, settings: ServiceOptions, clock: Clock) -> None:
        dims = home.data / "dims"
        self._parts, self._clock, self._settings = parts, clock, settings
        self._cdns = DimFile(dims / "cdn.csv", parse_cdns, default=NO_CDNS, log=_log)
        self._cells = DimFile(dims / "ip_prefix.csv", _parse_cells, default=NO_CELLS, log=_log)
        self._recovered: set[CellKey] = set()
        self._sifter = Sifter(keep_log_s=settings.keep_log_s)
        self._stored = True
        self._rounds = self._decisions = 0
        self.scheduler = Scheduler(rules)
        self.failures = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Collect and decide until `stop` is set, then flush the logs."""
        reader = asyncio.create_task(self._collect_for_ever())
        while not stop.is_set():
            began = self._clock.monotonic_s()
            await self.tick()
            await _wait(stop, self._settings.tick_s - (self._clock.monotonic_s() - began))
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        await asyncio.gather(*(log.close() for log in self._parts.logs))
        await asyncio.to_thread(self._parts.source.close)
        await self._parts.store.close()
        _log.info("scheduler_stopped", rounds=self._rounds, decisions=self._decisions)

    async def _collect_for_ever(self) -> None:
        while True:
            try:
                rows = await asyncio.to_thread(self._parts.source.read)
                self.scheduler.window.extend(rows, now_ms=self._clock.now_ms())
            except Exception as error:  # loop top: count, log, go on
                self.failures += 1
                _log.error("collect_failed", exc=error)
                await self._clock.sleep_async(1.0)

    async def tick(self) -> list[Decision]:
        """One round; what was decided. Never raises."""
        try:
            return await self._round()
        except Exception as error:  # loop top: count, log, go on
            self.failures += 1
            _log.error("round_failed", exc=error)
            return []

    async def _round(self) -> list[Decision]:
        self._cdns.refresh()
        self._cells.refresh()
        cells = self.scheduler.known | self.scheduler.window.cells() | set(self._cells.value)
        if not self._cdns.value or not await self._recover(cells - self._recovered):
            return []
        self.scheduler.known |= cells
        decided = self.scheduler.round(self._cdns.value, now_ms=self._clock.now_ms())
        self._rounds += 1
        await self._store({one.decision.cell: render_record(one.decision) for one in decided})
        rows = [render_row(one) for one in self._sifter.sift(decided)]
        for log in self._parts.logs:
            log.put(rows)
        for one in decided:
            self._tell(one.decision)
        return [one.decision for one in decided]

    async def _recover(self, cells: set[CellKey]) -> bool:
        """Take over the state that an earlier process left in Redis; False if Redis cannot be asked."""
        if not cells:
            return True
        try:
            records, damaged = await self._parts.store.load(sorted(cells))
        except Unavailable as error:
            if self._stored:
                _log.warning("state_not_recovered", error=str(error), waiting="for redis")
            self._stored = False
            return False
        for one in damaged:
            _log.warning("decision_damaged", error=str(one), kept="default weights")
        for cell, record in records.items():
            self.scheduler.states[cell] = _recovered_state(cell, record)
        self._recovered |= cells
        _log.info("state_recovered", cells=len(cells), found=len(records))
        return True

    async def _store(self, records: dict[CellKey, SteerRecord]) -> None:
        now_ms = self._clock.now_ms()
        newest_ms = self.scheduler.window.newest_ms
        fresh = newest_ms > 0 and now_ms - newest_ms <= self.scheduler.rules.stale_s * 1_000
        heartbeat = SchedulerHeartbeat(
            ts_ms=now_ms,
            pid=os.getpid(),
            mode="deciding" if fresh else "holding",
            cells=len(records),
            decisions=self._decisions,
            last_input_ts_ms=newest_ms,
            log_dropped=sum(log.dropped for log in self._parts.logs),
        )
        try:
            await self._parts.store.store(records, heartbeat)
        except Unavailable as error:
            if self._stored:
                _log.warning("decisions_not_stored", error=str(error))
            self._stored = False
        else:
            if not self._stored:
                _log.info("decisions_stored_again")
            self._stored = True

    def _tell(self, decision: Decision) -> None:
        if decision.action in ("keep", "hold"):
            _log.debug("decision", cell=decision.cell, action=decision.action, reason=decision.reason)
            return
        self._decisions += 1
        lag_ms = decision.at_ms - decision.last_input_ms if decision.last_input_ms else None
        _log.info(
            "decision",
            cell=decision.cell,
            action=decision.action,
            weights=decision.weights,
            before=decision.before,
            reason=decision.reason,
            ttl_s=decision.ttl_s,
            inputs_hash=decision.inputs_hash,
            input_age_ms=lag_ms,
        )


def _recovered_state(cell: CellKey, record: SteerRecord) -> CellState:
    """The state in a record; if it cannot be read, the weights alone."""
    try:
        state = msgspec.json.decode(record.state, type=CellState)
    except msgspec.MsgspecError as error:
        _log.warning("state_damaged", cell=cell, error=str(error), kept="weights")
    else:
        if state.weights.keys() == record.weights.keys():
            return state
    return CellState.from_weights(record.weights, version=record.version, ttl_s=record.ttl_s)


def _parse_cells(text: str, file: str) -> tuple[CellKey, ...]:
    return parse_localities(text, file).cells


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), max(seconds, 0.001))
    except TimeoutError:
        return


async def serve(home: Home, *, rules: Rules, settings: ServiceOptions, clock: Clock) -> None:
    """Run the scheduler of a stack until SIGTERM or SIGINT."""
    endpoints = home.load_stack().endpoints
    olap = OlapLog(AsyncOlapClient(endpoints.olap), clock=clock)
    parts = Parts(
        source=KafkaCells(bootstrap=endpoints.kafka, topic=INPUT_TOPIC, clock=clock),
        store=DecisionStore(open_redis(endpoints.redis)),
        logs=(olap, KafkaLog(bootstrap=endpoints.kafka, topic=LOG_TOPIC)),
    )
    olap.start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    _log.info("scheduler_started", kafka=endpoints.kafka, redis=endpoints.redis, tick_s=settings.tick_s)
    await SchedulerService(home, parts, rules=rules, settings=settings, clock=clock).run(stop)


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM; gives the exit code."""
    parser = argparse.ArgumentParser(
        prog="headrace.flows.cdn.service", description="Decide which CDN carries which share."
    )
    parser.add_argument("--home", help="the stack's folder")
    arguments = parser.parse_args(argv)
    setup_logging()
    try:
        rules = load_options(Rules, env=os.environ)
        settings = load_options(ServiceOptions, env=os.environ)
        uvloop.run(serve(resolve_home(arguments.home), rules=rules, settings=settings, clock=SystemClock()))
    except HeadraceError as error:
        _log.error("scheduler_not_started", error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
