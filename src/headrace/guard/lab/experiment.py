"""Run faults against a lab's cluster and record what happens: one timeline an injection, the books at the end.

Before an injection the job runs on all hosts' slots that it needs, output is fresh and a checkpoint has completed. The victim is a host that
runs tasks of the job. Afterwards the fault is undone, all TaskManagers register again, and the books are kept on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError, Unavailable
from headrace.core.log import get_logger
from headrace.core.rand import Random
from headrace.flink.driver_client import DriverClient
from headrace.flink.profile import job_config
from headrace.flink.rest import FlinkRest
from headrace.guard.hawk.events import HawkEvent
from headrace.guard.lab.cluster import LabCluster, task_manager
from headrace.guard.lab.fault import Fault
from headrace.guard.lab.faults import FAULTS
from headrace.guard.lab.timeline import Timeline, convicted, find_signs, has_sign, moments, read_events
from headrace.guard.lab.workload import Books, Workload

log = get_logger("headrace.guard.lab")
STEADY_DELAY_MS = 400  # output is fresh: exchanges, a buffer's time-out and the readers' poll
PATIENCE_S = 240.0  # as for a start: beside other work on two cores, output took more than 120 s to become fresh
SIGNS_PATIENCE_S = 30.0
POLL_S = 0.1
NAME_WIDTH = 24  # of a vertex's name, in a sentence
AFTER_S = 3.0  # watched on after output flows, for a second restart that a bad verdict would cause
SETTLE_S = 3.0
# Flink forgets a job's failures when it has run for `reset-backoff-threshold` (30 s in the profile). Sooner, each injection waits half as long again as the one
# before: after twenty of them in nine minutes a job stood still for 23 s.
CALM_S = 32.0
FILL_BYTES_PER_S = 4 << 20  # at which a job on two cores that Kafka shares takes in what it holds; patience, no promise
STOCK_JOB = {
    "execution.checkpointing.mode": "EXACTLY_ONCE",
    "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
}


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to run: faults by name, in this order, `repeats` times each.

    Args:
        hold_s: how long faults last that nothing is lost by; 0 is as each fault says.
        state_bytes: of keyed state that the job holds besides its counts, about.
    """

    cases: Sequence[str]
    repeats: int = 1
    rate_per_s: int = 400
    parallelism: int = 4
    checkpoint_interval: str = "1 s"
    job: dict[str, str] = {}
    hold_s: float = 0.0
    state_bytes: int = 0


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """All timelines of an experiment, and its books; `stopped` says why it ended before its last fault, if it did.

    `state_bytes` is the size of the job's checkpoint before the first fault, as Flink counts it.
    """

    timelines: tuple[Timeline, ...]
    books: Books
    stopped: str = ""
    state_bytes: int = 0


class Experiment:
    """A job on a lab's cluster, to which faults are done."""

    def __init__(
        self,
        lab: LabCluster,
        plan: Plan,
        *,
        clock: Clock,
        random: Random,
        report: Callable[[Timeline], None],
        progress: Callable[[float, float], None] = lambda _done_s, _all_s: None,
    ) -> None:
        self._lab = lab
        self._plan = plan
        self._clock = clock
        self._random = random
        self._report = report
        self._progress = progress
        self._workload = Workload(lab.kafka, rate_per_s=plan.rate_per_s, clock=clock, state_bytes=plan.state_bytes)
        self._job_id = ""
        self._state_bytes = 0

    def run(self) -> Outcome:
        """Submit the job, do all faults, balance the books; after a fault that is never recovered from no other one is done.

        Raises:
            Unavailable: the cluster does not become steady before the first fault.
        """
        self._workload.prepare()
        self._workload.start()
        timelines: list[Timeline] = []
        stopped = ""
        try:
            with self._lab.rest() as rest:
                self._submit()
                self._wait_steady(rest, patience_s=PATIENCE_S + self._plan.state_bytes / FILL_BYTES_PER_S)
                self._state_bytes = self._checkpoint_bytes(rest)
                stopped = self._inject_all(rest, timelines)
            books = self._workload.balance()
        finally:
            self._workload.stop()
        return Outcome(timelines=tuple(timelines), books=books, stopped=stopped, state_bytes=self._state_bytes)

    def _inject_all(self, rest: FlinkRest, timelines: list[Timeline]) -> str:
        """Do all faults, and be steady after each; returns why that ended early, or nothing."""
        for _ in range(self._plan.repeats):
            for case in self._plan.cases:
                begun_ms = self._clock.now_ms()
                try:
                    self._wait_calm(timelines)
                    timelines.append(self._inject(FAULTS[case], rest))
                    self._report(timelines[-1])
                    self._wait_steady(rest)
                except HeadraceError as error:
                    log.error("fault_not_recovered", case=case, reason=str(error))
                    waited = error.context.get("for", error.message)
                    if not timelines or timelines[-1].fault_ms < begun_ms:
                        broken = Timeline(case=case, host="", fault_ms=begun_ms, problem=f"waited in vain for {waited}")
                        timelines.append(broken)
                        self._report(broken)
                    return f"not steady after {case}: waited in vain for {waited}"
        return ""

    def _submit(self) -> None:
        # Failed checkpoints for as many seconds as the profile's 10 are at its own interval, which is ten times this one.
        ours = {"execution.checkpointing.tolerable-failed-checkpoints": "100"}
        profile = STOCK_JOB if self._lab.setup.stock else job_config(self._lab.home) | ours
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

    def _wait_steady(self, rest: FlinkRest, *, patience_s: float = PATIENCE_S) -> None:
        """All TaskManagers there and warm, all tasks running, output fresh, a checkpoint since."""
        self._lab.wait_task_managers(len(self._lab.hosts))
        self._until(self._lab.has_standby, "a JobManager to stand by")
        self._until(self._lab.is_warm, "spares to be warm")
        since_ms = self._clock.now_ms()
        self._until(
            lambda: self._workload.caught_up_at_ms(since_ms, delay_ms=STEADY_DELAY_MS) is not None,
            "fresh output",
            patience_s=patience_s,
        )
        # Of all keys: a partition that has much to fill up with is behind the others.
        self._until(
            lambda: self._workload.flowing_at_ms(since_ms) is not None, "output of all keys", patience_s=patience_s
        )
        since_ms = self._clock.now_ms()
        self._until(lambda: self._checkpointed(rest, since_ms), "a checkpoint")
        self._until(lambda: not self._lab.setup.disks or not self._gray(), "hosts to be well")
        self._clock.sleep(SETTLE_S * self._random.random())  # faults fall at any time of heartbeats and checkpoints

    def _wait_calm(self, timelines: Sequence[Timeline]) -> None:
        """Let the job run for so long that its last restart does not slow down the next."""
        last = timelines[-1] if timelines else None
        if last is not None and last.restarts:
            since_ms = last.running_ms or last.flowing_ms or last.fault_ms
            self._clock.sleep(max(0.0, CALM_S - (self._clock.now_ms() - since_ms) / 1000))

    def _inject(self, fault: Fault, rest: FlinkRest) -> Timeline:
        victim = self._leader() if fault.leader else self._victim(rest)
        run = _Injection(fault, victim, self._lab, fault_ms=self._clock.now_ms())
        self._workload.watch_gaps(run.fault_ms)
        fault.inject(self._lab, run.host)
        run.injected_ms = self._clock.now_ms()
        log.warning("fault_injected", case=fault.name, host=run.host)
        try:
            if fault.recovers:
                self._hold(run)  # the job runs on at first: what it has to recover from comes later
            since_ms = run.injected_ms if fault.lost else self._clock.now_ms()
            if fault.lost or fault.recovers:
                self._until(lambda: self._recovered(run, rest, since_ms) is not None, f"recovery from {fault.name}")
            self._wait_signs(run)
            # Recovered jobs are watched on for a second restart that a bad verdict would cause.
            if fault.lost or fault.recovers:
                self._clock.sleep(AFTER_S)
            else:
                self._hold(run)
        finally:
            run.end(self._clock.now_ms())
            fault.undo(self._lab, run.host)
        if not fault.lost:
            self._clock.sleep(AFTER_S)
        since_ms = run.injected_ms if fault.lost else self._clock.now_ms() - 1
        self._until(
            lambda: self._workload.caught_up_at_ms(since_ms, delay_ms=STEADY_DELAY_MS) is not None, "catching up"
        )
        return self._timeline(run, rest)

    def _hold(self, run: _Injection) -> None:
        """Let a fault last; note meanwhile when output flowed on, since rows are not kept for ever."""
        hold_s = self._plan.hold_s or run.fault.hold_s
        begun_s = self._clock.monotonic_s()
        while (done_s := self._clock.monotonic_s() - begun_s) < hold_s:
            self._progress(done_s, hold_s)
            if not run.fault.recovers:
                self._note_flow(run)
            self._clock.sleep(min(1.0, hold_s - done_s))

    def _note_flow(self, run: _Injection) -> None:
        run.flowing_ms = run.flowing_ms or self._workload.flowing_at_ms(run.injected_ms)
        if run.flowing_ms and not run.caught_up_ms:
            run.caught_up_ms = self._workload.caught_up_at_ms(run.flowing_ms, delay_ms=STEADY_DELAY_MS)

    def _wait_signs(self, run: _Injection) -> None:
        """Until all verdicts were given and signs told, or for a while: one that is missing is judged, and is no reason to end."""
        deadline = self._clock.monotonic_s() + SIGNS_PATIENCE_S
        while run.is_missing_something() and self._clock.monotonic_s() < deadline:
            self._clock.sleep(POLL_S)

    def _timeline(self, run: _Injection, rest: FlinkRest) -> Timeline:
        fault_ms, host = run.fault_ms, run.host
        until_ms = run.undone_ms if run.fault.reboots else self._clock.now_ms()
        events = [event for event in self._events(fault_ms) if event.at_ms < until_ms]
        # The states' times of a job are those of its newest execution; what failed, and when, is kept over restarts.
        failed = sorted(each.at_ms for each in rest.failures(self._job_id) if fault_ms <= each.at_ms < until_ms)
        restored_ms = self._restored_ms(run, rest)
        if run.fault.leader or restored_ms is not None:
            # What was before a new leader restored the job is not in its history.
            failed = [restored_ms or fault_ms, *failed]
        recovered = bool(failed) and run.fault.recovers
        flowing_ms = self._flowing_ms(run, rest, failed[0] if recovered else run.injected_ms, restarted=recovered)
        seen = moments(events, host)
        return Timeline(
            case=run.fault.name,
            host=host,
            fault_ms=fault_ms,
            suspect_ms=seen.get("suspect_ms"),
            verdict_ms=seen.get("verdict_ms"),
            told_ms=seen.get("told_ms"),
            restarting_ms=failed[0] if failed else None,
            running_ms=self._all_running_ms(rest) if failed else None,
            flowing_ms=flowing_ms,
            caught_up_ms=run.caught_up_ms
            or self._workload.caught_up_at_ms(flowing_ms or fault_ms, delay_ms=STEADY_DELAY_MS),
            restarts=len(failed),
            zombie_cpu_ms=run.zombie_ms,
            verdicts=convicted(events),
            hosts=run.hosts,
            gap_ms=self._workload.longest_gap_ms(fault_ms),
            signs=run.signs,
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

    def _leader(self) -> str:
        self._until(lambda: bool(self._lab.leader_host()), "a leader")
        return self._lab.leader_host()

    def _flowing_ms(self, run: _Injection, rest: FlinkRest, since_ms: int, *, restarted: bool = False) -> int | None:
        """When all keys flowed again.

        Tasks go on for a while after their JobManager's end, or when it gives them up without reaching them: what they give out is no recovery.
        """
        if not run.fault.leader and not restarted:
            return run.flowing_ms or self._workload.flowing_at_ms(since_ms)
        lacks_leader = run.fault.leader and self._restored_ms(run, rest) is None
        if lacks_leader or (running_ms := self._all_running_ms(rest)) is None:
            return None
        return self._workload.flowing_at_ms(since_ms, arrived_from_ms=running_ms)

    def _restored_ms(self, run: _Injection, rest: FlinkRest) -> int | None:
        """When a new leader took the job over; None while none has."""
        begun_ms = rest.job(self._job_id).timestamps_ms.get("INITIALIZING", 0)
        return begun_ms if begun_ms >= run.fault_ms else None

    def _recovered(self, run: _Injection, rest: FlinkRest, since_ms: int) -> int | None:
        if not run.zombie.marked and run.is_convicted(self._lab.events()):
            run.zombie.mark()
        try:
            return self._flowing_ms(run, rest, since_ms)
        except HeadraceError:
            return None  # nobody leads yet

    def _gray(self) -> bool:
        """Whether the newest word on a host is that it is ill."""
        newest = {event.host: event.classes for event in self._events(0) if event.event == "host_gray"}
        return any(newest.values())

    def _events(self, since_ms: int) -> list[HawkEvent]:
        return read_events(self._lab.events(), since_ms=since_ms)

    def _checkpointed(self, rest: FlinkRest, since_ms: int) -> bool:
        try:
            latest = rest.checkpoints(self._job_id).latest.completed
        except HeadraceError:
            return False
        return latest is not None and latest.triggered_at_ms >= since_ms

    def _checkpoint_bytes(self, rest: FlinkRest) -> int:
        latest = rest.checkpoints(self._job_id).latest.completed
        return latest.state_bytes if latest is not None else 0

    def _all_running_ms(self, rest: FlinkRest) -> int | None:
        times = [
            at_ms for vertex in rest.job(self._job_id).vertices for at_ms in rest.running_since(self._job_id, vertex.id)
        ]
        return max(times) if times and min(times) > 0 else None

    def _until(self, done: Callable[[], bool], what: str, *, patience_s: float = PATIENCE_S) -> None:
        deadline = self._clock.monotonic_s() + patience_s
        while not done():
            if self._clock.monotonic_s() > deadline:
                raise Unavailable(
                    "lab waited in vain",
                    context={"for": what, "timeout_s": patience_s, "job": self._situation()},
                    hint=f"look at the logs in {self._lab.home.logs}",
                )
            self._clock.sleep(POLL_S)

    def _situation(self) -> str:
        """Where the job stands, for whoever has waited for it in vain."""
        try:
            with self._lab.rest() as rest:
                job = rest.job(self._job_id)
                failures = rest.failures(self._job_id, limit=1)
        except HeadraceError as error:
            return error.message
        tasks = ", ".join(f"{vertex.name[:NAME_WIDTH]} {vertex.status}" for vertex in job.vertices)
        return f"{job.state}; {tasks}; {failures[0].stack.partition(chr(10))[0] if failures else 'never failed'}"


class _Injection:
    """A fault that is under way."""

    def __init__(self, fault: Fault, host: str, lab: LabCluster, *, fault_ms: int) -> None:
        self.fault = fault
        self.host = host
        self.hosts = fault.hits(lab.hosts, host)
        self.fault_ms = self.injected_ms = fault_ms
        self.flowing_ms: int | None = None
        self.caught_up_ms: int | None = None
        self.zombie = _Zombie(lab.flink_pid(host))
        self.zombie_ms: int | None = None
        self.undone_ms = fault_ms
        self.signs: tuple[str, ...] = ()
        # By position and not by time: an observer whose clock jumps writes times of its own.
        self._offsets = {path: path.stat().st_size for path in lab.event_files()}

    def events(self) -> list[HawkEvent]:
        """What all observers told since it began."""
        return [event for path, offset in self._offsets.items() for event in read_events(path, offset=offset)]

    def is_convicted(self, path: Path) -> bool:
        """Whether the observer that writes there has convicted the victim."""
        events = read_events(path, offset=self._offsets.get(path, 0))
        return any(event.event == "verdict" and event.host == self.host for event in events)

    def is_missing_something(self) -> bool:
        """Whether something has to be told, a verdict or another sign, and was not yet."""
        events = self.events()
        told, named = find_signs(events), {name.split("/")[0] for name in convicted(events)}
        lost = self.hosts if self.fault.lost else ()
        return not all(has_sign(told, sign) for sign in self.fault.signs_of(self.host)) or not named.issuperset(lost)

    def end(self, now_ms: int) -> None:
        """The fault is about to be undone."""
        self.undone_ms = now_ms
        self.signs = find_signs(self.events())
        self.zombie_ms = self.zombie.used_ms() if self.fault.lost else None


class _Zombie:
    """CPU time that a lost TaskManager uses after its verdict."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._marked: int | None = None

    @property
    def marked(self) -> bool:
        """Whether the verdict has been given."""
        return self._marked is not None

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
