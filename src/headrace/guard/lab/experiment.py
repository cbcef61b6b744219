"""Run faults against a lab's cluster and record what happens: one timeline an injection, the books at the end.

Before an injection the job runs on all hosts' slots that it needs, output is fresh and a checkpoint has completed. The victim is a host that
runs tasks of the job. Afterwards the fault is undone, all TaskManagers register again, and the books are kept on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError, Unavailable
from headrace.core.log import get_logger
from headrace.core.rand import Random
from headrace.flink.driver_client import DriverClient
from headrace.flink.profile import job_config
from headrace.flink.rest import FlinkRest
from headrace.guard.lab.cluster import LabCluster, task_manager
from headrace.guard.lab.faults import FAULTS, Fault
from headrace.guard.lab.timeline import Event, Timeline, convicted, moments, read_events
from headrace.guard.lab.workload import Books, Workload

log = get_logger("headrace.guard.lab")
STEADY_DELAY_MS = 400  # output is fresh: exchanges, a buffer's time-out and the readers' poll
PATIENCE_S = 120.0
POLL_S = 0.1
AFTER_S = 3.0  # watched on after output flows, for a second restart that a bad verdict would cause
SETTLE_S = 3.0
STOCK_JOB = {
    "execution.checkpointing.mode": "EXACTLY_ONCE",
    "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
}


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to run: faults by name, in this order, `repeats` times each."""

    cases: Sequence[str]
    repeats: int = 1
    rate_per_s: int = 400
    parallelism: int = 4
    checkpoint_interval: str = "1 s"
    job: dict[str, str] = {}


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """All timelines of an experiment, and its books."""

    timelines: tuple[Timeline, ...]
    books: Books


class Experiment:
    """A job on a lab's cluster, to which faults are done."""

    def __init__(
        self, lab: LabCluster, plan: Plan, *, clock: Clock, random: Random, report: Callable[[Timeline], None]
    ) -> None:
        self._lab = lab
        self._plan = plan
        self._clock = clock
        self._random = random
        self._report = report
        self._workload = Workload(lab.kafka, rate_per_s=plan.rate_per_s, clock=clock)
        self._job_id = ""

    def run(self) -> Outcome:
        """Submit the job, do all faults, balance the books.

        Raises:
            Unavailable: the cluster does not become steady before a fault, or a fault is never recovered from.
        """
        self._workload.prepare()
        self._workload.start()
        timelines = []
        try:
            with self._lab.rest() as rest:
                self._submit()
                for _ in range(self._plan.repeats):
                    for case in self._plan.cases:
                        self._wait_steady(rest)
                        timelines.append(self._inject(FAULTS[case], rest))
                        self._report(timelines[-1])
                self._wait_steady(rest)
            books = self._workload.balance()
        finally:
            self._workload.stop()
        return Outcome(timelines=tuple(timelines), books=books)

    def _submit(self) -> None:
        profile = STOCK_JOB if self._lab.setup.stock else job_config(self._lab.home)
        config = {
            **profile,
            "execution.checkpointing.dir": self._lab.home.checkpoints.as_uri(),
            "execution.checkpointing.interval": self._plan.checkpoint_interval,
            "execution.checkpointing.min-pause": "200 ms",
            **self._plan.job,
        }
        request = self._workload.submit_request(
            self._lab.flink, parallelism=self._plan.parallelism, config=config, run=f"{self._clock.now_ms():x}"
        )
        with DriverClient(self._lab.home.driver_socket) as driver:
            self._job_id = driver.submit(request).job_id

    def _wait_steady(self, rest: FlinkRest) -> None:
        """All TaskManagers there, all tasks running, output fresh, a checkpoint since."""
        self._lab.wait_task_managers(len(self._lab.hosts))
        since_ms = self._clock.now_ms()
        self._until(
            lambda: self._workload.caught_up_at_ms(since_ms, delay_ms=STEADY_DELAY_MS) is not None, "fresh output"
        )
        since_ms = self._clock.now_ms()
        self._until(lambda: self._checkpointed(rest, since_ms), "a checkpoint")
        self._clock.sleep(SETTLE_S * self._random.random())  # faults fall at any time of heartbeats and checkpoints

    def _inject(self, fault: Fault, rest: FlinkRest) -> Timeline:
        host = self._victim(rest)
        pid = self._lab.task_manager_pid(host)
        fault_ms = self._clock.now_ms()
        fault.inject(self._lab, host)
        injected_ms = self._clock.now_ms()
        log.warning("fault_injected", case=fault.name, host=host)
        zombie = _Zombie(pid)
        try:
            if fault.lost:
                self._until(
                    lambda: self._recovered(fault_ms, injected_ms, host, zombie) is not None,
                    f"recovery from {fault.name}",
                )
                self._clock.sleep(AFTER_S)
            else:
                self._clock.sleep(fault.hold_s)
        finally:
            zombie_ms = zombie.used_ms()
            fault.undo(self._lab, host)
        if not fault.lost:
            self._clock.sleep(AFTER_S)
        since_ms = injected_ms if fault.lost else self._clock.now_ms() - 1
        self._until(
            lambda: self._workload.caught_up_at_ms(since_ms, delay_ms=STEADY_DELAY_MS) is not None, "catching up"
        )
        return self._timeline(fault, host, fault_ms, rest, injected_ms=injected_ms, zombie_ms=zombie_ms)

    def _timeline(
        self, fault: Fault, host: str, fault_ms: int, rest: FlinkRest, *, injected_ms: int, zombie_ms: int | None
    ) -> Timeline:
        events = self._events(fault_ms)
        # The states' times of a job are those of its newest execution; what failed, and when, is kept over restarts.
        failed = sorted(each.at_ms for each in rest.failures(self._job_id) if each.at_ms >= fault_ms)
        flowing_ms = self._workload.flowing_at_ms(injected_ms)
        seen = moments(events, host)
        return Timeline(
            case=fault.name,
            host=host,
            fault_ms=fault_ms,
            suspect_ms=seen.get("suspect_ms"),
            verdict_ms=seen.get("verdict_ms"),
            told_ms=seen.get("told_ms"),
            restarting_ms=failed[0] if failed else None,
            running_ms=self._all_running_ms(rest) if failed else None,
            flowing_ms=flowing_ms,
            caught_up_ms=self._workload.caught_up_at_ms(flowing_ms or fault_ms, delay_ms=STEADY_DELAY_MS),
            restarts=len(failed),
            zombie_cpu_ms=zombie_ms,
            verdicts=convicted(events),
        )

    def _victim(self, rest: FlinkRest) -> str:
        busy = {
            location
            for vertex in rest.job(self._job_id).vertices
            for location in rest.hosts_of(self._job_id, vertex.id)
        }
        hosts = [host for host in self._lab.hosts if task_manager(host) in busy]
        if not hosts:
            raise Unavailable("no host runs tasks of the job", context={"job": self._job_id})
        return self._random.choice(hosts)

    def _recovered(self, fault_ms: int, injected_ms: int, host: str, zombie: _Zombie) -> int | None:
        if any(event.event == "verdict" and event.host == host for event in self._events(fault_ms)):
            zombie.mark()
        return self._workload.flowing_at_ms(injected_ms)

    def _events(self, since_ms: int) -> list[Event]:
        return read_events(self._lab.events(), since_ms=since_ms)

    def _checkpointed(self, rest: FlinkRest, since_ms: int) -> bool:
        try:
            latest = rest.checkpoints(self._job_id).latest.completed
        except HeadraceError:
            return False
        return latest is not None and latest.triggered_at_ms >= since_ms

    def _all_running_ms(self, rest: FlinkRest) -> int | None:
        times = [
            at_ms for vertex in rest.job(self._job_id).vertices for at_ms in rest.running_since(self._job_id, vertex.id)
        ]
        return max(times) if times and min(times) > 0 else None

    def _until(self, done: Callable[[], bool], what: str) -> None:
        deadline = self._clock.monotonic_s() + PATIENCE_S
        while not done():
            if self._clock.monotonic_s() > deadline:
                raise Unavailable(
                    "lab waited in vain",
                    context={"for": what, "timeout_s": PATIENCE_S},
                    hint=f"look at the logs in {self._lab.home.logs}",
                )
            self._clock.sleep(POLL_S)


class _Zombie:
    """CPU time that a lost TaskManager uses after its verdict."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._marked: int | None = None

    def mark(self) -> None:
        """The verdict has been given; counted from the first call on."""
        if self._marked is None:
            self._marked = _cpu_ms(self._pid)

    def used_ms(self) -> int | None:
        """CPU time since the mark; None when the process was or is gone, or there was no verdict."""
        now = _cpu_ms(self._pid)
        return None if self._marked is None or now is None else now - self._marked


def _cpu_ms(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) * 10
