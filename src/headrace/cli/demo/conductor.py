"""The demo, phase by phase: what happens when, and what is looked at meanwhile.

    bring up    stack, tables, pipelines (the commands a user would type)
    recover     only after an earlier run in the same folder: until what its fault has moved is given back
    calm        the crowd grows to its size; weights must not move
    degrade     CDN A crawls: sessions on it play their recorded stalls; the scheduler moves them away
    kill        the TaskManager that runs the jobs dies (SIGKILL)
    settle      the crowd goes on until the jobs run again and the next minute is readable
    judge       batch recount and all other guarantees (report.py)

`Conductor` owns the time line; it acts through the same interfaces that users have and marks each incident in the journal,
where the console's charts show it.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import msgspec

from headrace.cli.demo.clips import ClipLibrary
from headrace.cli.demo.observe import JobHealth, Loop, ReadableMinutes, WeightWatch
from headrace.cli.demo.replay import Crowd
from headrace.cli.demo.replayer import Replayer
from headrace.core.clock import Clock
from headrace.core.errors import Unavailable
from headrace.core.home import Endpoints, Home
from headrace.core.rand import Random
from headrace.serve.olap_client import OlapClient
from headrace.stack.client import ask
from headrace.stack.messages import Request

STREAM = "cmcd_raw"
CALM_SHARE, KILL_SHARE = 0.35, 0.65  # of the run: when A degrades, when the TaskManager dies
FAULTY_CDN = "A"
RAMP_S = 10.0  # weights are judged after the crowd is full
TICK_S = 0.5
WARM_S = 30.0  # just deployed jobs run cold code; a minute is judged when it ends after this
JUDGE_S = 12.0  # and so long before the TaskManager dies: watermark delay, the promised 3 s, and some
SUMMED_S = 70.0  # the minute after that one must end 10 s before the traffic does: the first sessions are summed up and silent then
RECOVER_MAX_S = 240.0  # what a failed CDN has lost is given back within two minutes
SETTLE_S = 45.0  # how long past its end a run goes on for jobs that are not back yet


class DemoPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What one demo does; `seconds` of traffic, `sessions` at once."""

    sessions: int = 2000
    seconds: float = 150.0
    seed: int = 1


@dataclass
class DemoRun:
    """What happened; times are wall ms."""

    started_ms: int = 0
    full_ms: int = 0
    calm_ms: int = 0
    degraded_ms: int = 0
    hit: int = 0
    killed_ms: int = 0
    killed: str = ""
    ended_ms: int = 0
    topic_before: int = 0
    phases: list[tuple[str, int]] = field(default_factory=list)


def start_delay_s(now_ms: int, *, first_s: float, last_s: float) -> float:
    """How long to wait so that a whole minute of the clock ends between `first_s` and `last_s` after the start, s.

    Pure; at most a minute. A window shorter than a minute is missed by some starts.
    """
    past_s = now_ms % 60_000 / 1000
    return next(
        wait
        for wait in range(61)
        if any(first_s <= 60 * n - past_s - wait <= max(first_s + 1, last_s) for n in (1, 2, 3))
    )


def command(*arguments: str, home: Home) -> None:
    """Run one `headrace` command as a user would, its words on our stderr.

    Raises:
        Unavailable: it failed; it has said why.
    """
    line = [sys.executable, "-m", "headrace.cli.main", *arguments, "--home", str(home.root)]
    if subprocess.run(line, stdout=sys.stderr, check=False).returncode != 0:
        raise Unavailable(
            f"`headrace {' '.join(arguments[:2])}` failed",
            hint="its own message is above; `headrace status` shows the stack",
        )


def bring_up(home: Home, app: Path, *, say: Callable[[str], None]) -> Endpoints:
    """Start the stack, apply the app's tables and deploy its pipelines; each is a no-op when it is so already."""
    say("starting the local stack")
    command("up", home=home)
    endpoints = home.load_stack().endpoints
    say(f"console: {endpoints.headraced}")
    command("table", "apply", str(app), home=home)
    command("job", "deploy", str(app), home=home)
    return endpoints


class Conductor:
    """Runs one demo against a stack that is up."""

    def __init__(
        self, plan: DemoPlan, *, home: Home, endpoints: Endpoints, library: ClipLibrary, clock: Clock, random: Random
    ) -> None:
        self.plan = plan
        self.run_facts = DemoRun()
        self.crowd = Crowd(library, random, size=plan.sessions, tag=f"d{clock.now_ms() // 1000 % 1_000_000}")
        self.replayer = Replayer(
            self.crowd, gateway=endpoints.gateway, steering=endpoints.steering, stream=STREAM, clock=clock
        )
        self.minutes = ReadableMinutes(endpoints.olap, clock, since_ms=clock.now_ms())
        self.health = JobHealth(endpoints.flink, clock)
        self.weights = WeightWatch(OlapClient(endpoints.olap), clock)
        self._home, self._endpoints, self._clock = home, endpoints, clock

    def play(self, say: Callable[[str], None]) -> DemoRun:
        """Run all phases; returns when the traffic has ended."""
        run = self.run_facts
        last_s = min(self.plan.seconds * KILL_SHARE - JUDGE_S, self.plan.seconds - SUMMED_S)
        self._clock.sleep(start_delay_s(self._clock.now_ms(), first_s=WARM_S, last_s=last_s))
        run.started_ms = self._clock.now_ms()
        traffic = threading.Thread(target=lambda: asyncio.run(self.replayer.run()), daemon=True)
        with Loop(self._clock, self.minutes.step), Loop(self._clock, self.health.step):
            traffic.start()
            self._recover(say)
            run.calm_ms = self._clock.now_ms()
            self._phase("calm", f"{self.plan.sessions} sessions over CDN A and B", say)
            self._wait(self.plan.seconds * CALM_SHARE)
            self._degrade(say)
            self._wait(self.plan.seconds * KILL_SHARE)
            self._kill(say)
            self._wait(self.plan.seconds)
            self._wait_recovered(say)
            self.replayer.stop()
            traffic.join()
            run.ended_ms = self._clock.now_ms()
            self._phase("drain", "traffic ended", say)
        return run

    def _recover(self, say: Callable[[str], None]) -> None:
        """Let the crowd flow until weights stand still, when an earlier run has left them moved."""
        if not self.weights.are_away():
            return
        self._phase("recover", "an earlier run's fault is being given back", say)
        deadline = self._clock.monotonic_s() + RECOVER_MAX_S
        while self._clock.monotonic_s() < deadline:
            self._note_full()
            if self.run_facts.full_ms and self.weights.stand_still(since_ms=self.run_facts.full_ms):
                return
            self._clock.sleep(TICK_S)
        say("weights still move; going on")

    def _degrade(self, say: Callable[[str], None]) -> None:
        run = self.run_facts
        run.degraded_ms = self._clock.now_ms()
        run.hit = self.replayer.do(lambda crowd: crowd.degrade(FAULTY_CDN, run.degraded_ms))
        self._phase("degrade", f"CDN {FAULTY_CDN} crawls: {run.hit} sessions are on it", say)

    def _kill(self, say: Callable[[str], None]) -> None:
        run = self.run_facts
        run.killed = self.busiest_taskmanager()
        run.killed_ms = self._clock.now_ms()
        ask(self._home, Request("kill", (run.killed,)))
        self._phase("kill", f"{run.killed} killed", say)

    def busiest_taskmanager(self) -> str:
        """The process name of the TaskManager with the fewest free slots."""
        found = httpx.get(f"{self._endpoints.flink}/taskmanagers", timeout=5.0, trust_env=False).json()["taskmanagers"]
        return str(min(found, key=lambda row: row["freeSlots"] - row["slotsNumber"])["id"])

    def _wait(self, until_s: float) -> None:
        """Wait until that many seconds since calm began have passed, noting when the crowd is full."""
        while self._clock.now_ms() < self.run_facts.calm_ms + until_s * 1000:
            self._note_full()
            self._clock.sleep(TICK_S)

    def _note_full(self) -> None:
        if not self.run_facts.full_ms and len(self.crowd.alive) >= self.plan.sessions:
            self.run_facts.full_ms = self._clock.now_ms()

    def _wait_recovered(self, say: Callable[[str], None]) -> None:
        run = self.run_facts
        deadline = self._clock.monotonic_s() + SETTLE_S
        while self.health.recovery_s(run.killed_ms) is None and self._clock.monotonic_s() < deadline:
            self._clock.sleep(TICK_S)
        if self.health.recovery_s(run.killed_ms) is None:
            say("the jobs are not back yet")

    def _phase(self, name: str, text: str, say: Callable[[str], None]) -> None:
        at_ms = self._clock.now_ms()
        self.run_facts.phases.append((name, at_ms))
        say(f"{(at_ms - self.run_facts.started_ms) / 1000:6.1f} s  {name:8} {text}")
        body = {
            "text": f"{name}: {text}"[:200],
            "subject": FAULTY_CDN if name == "degrade" else self.run_facts.killed,
            "actor": "demo",
        }
        try:
            httpx.post(f"{self._endpoints.headraced}/v1/journal/marks", json=body, timeout=5.0, trust_env=False)
        except httpx.HTTPError:
            say("          (the console's journal does not answer; going on)")
