"""A cluster of several hosts on one machine: real Kafka, JobManager, TaskManagers, agents and observers.

    machine   keeper: kafka, jobmanager, driver, observer o1 (it acts on verdicts)
    h1 … hN   keeper: a TaskManager and the host's agent
    w2, w3    keeper: observers o2 and o3
    j1, j2    with `failover`: a JobManager and the host's agent each; then the machine has none, and machine, w2 and w3 a ZooKeeper peer

Each host's processes are kept by a keeper of its own inside the namespace, so that they are started again after a crash, and
all die with the host. With `hawk=False` there are no agents and observers, with `stock=True` Flink has its own defaults
(addresses and folders aside): the cluster to compare with.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from confluent_kafka.admin import AdminClient

from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError, Unavailable
from headrace.core.home import Home
from headrace.core.log import get_logger
from headrace.flink.driver_client import DriverClient
from headrace.flink.profile import cluster_settings
from headrace.flink.protocol import ListTaskManagers
from headrace.flink.rest import FlinkRest
from headrace.guard.hawk.keys import host_key, new_key, write_key
from headrace.guard.lab import disk, failover, fakeclock
from headrace.guard.lab.network import Network, environment
from headrace.stack import flinkhome, kafka, orphans
from headrace.stack.assets import find_assets
from headrace.stack.child import bind_to
from headrace.stack.context import StackContext
from headrace.stack.jdk import choose_jdk, system_jdks
from headrace.stack.keeper import write_specs
from headrace.stack.options import StackOptions
from headrace.stack.ports import load_or_plan_ports
from headrace.stack.probes import AliveProbe
from headrace.stack.specs import ProcessSpec, build_specs

log = get_logger("headrace.guard.lab")
HAWK_PORT = 7946
MACHINE = "machine"
WITNESSES = ("w2", "w3")
KAFKA = "kafka"
START_TIMEOUT_S = 240.0
POLL_S = 0.2
SELF_CHECK_S = 1  # of the agents in a lab with disks: a class is on after 3 bad checks and off after 6 good ones, which takes 45 s by default
STOP_TIMEOUT_S = 60.0  # the first one to stop in order writes an archive of its classes
# Slots of a job on as many hosts as there are: TaskManagers that run a part of it are warm when they have to take over more.
# Packed on few (TASKS), a spare loads its classes first, which took 3 to 5 s on the two cores of the test machine.
SPREAD = {"taskmanager.load-balance.mode": "SLOTS"}
# A host's lost TaskManager is refilled once the spares have taken over. At once, its JVM would start on the few cores that all
# hosts of the lab share and slow down the very recovery that is measured; on a cluster it has its own host's cores.
REFILL_AFTER_MS = 5000
WARM_UP_AFTER_S = 10  # sooner than elsewhere: the next fault comes within a minute


class LabSetup(msgspec.Struct, frozen=True, kw_only=True):
    """Size and kind of a lab's cluster; `task_manager_memory_mb` is a whole process.

    With `disks` each host has a disk of its own, and the checkpoints have one; with `clocks` agents and observers have wall clocks that can be bent;
    with `failover` there are two JobManagers on hosts of their own, and a ZooKeeper ensemble; with `warm` spares warm up, and are waited for; with `retires`
    hosts that fail again and again are retired, which the victims of a whole matrix would be.
    """

    hosts: int = 4
    slots: int = 2
    task_manager_memory_mb: int = 1536
    hawk: bool = True
    stock: bool = False
    disks: bool = False
    clocks: bool = False
    failover: bool = False
    warm: bool = False
    retires: bool = False
    settings: dict[str, str] = {}


class LabCluster:
    """The running cluster; a context manager that leaves nothing behind but its home."""

    def __init__(self, home: Home, setup: LabSetup, *, clock: Clock) -> None:
        self.home = home
        self.setup = setup
        self.network = Network()
        self.hosts = tuple(f"h{number}" for number in range(1, setup.hosts + 1))
        self.job_hosts = failover.JOB_HOSTS if setup.failover else ()
        self._clock = clock
        self.disks: dict[str, disk.Disk] = {}
        self._checkpoints: disk.Disk | None = None
        self._keepers: dict[str, subprocess.Popen[bytes]] = {}
        self._context: StackContext | None = None

    def __enter__(self) -> LabCluster:
        """Start everything; returns when all TaskManagers have registered."""
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything."""
        self.close()

    @property
    def context(self) -> StackContext:
        """Addresses and folders."""
        assert self._context is not None
        return self._context

    @property
    def kafka(self) -> str:
        """Address of the broker."""
        return f"{self.context.host}:{self.context.ports['kafka']}"

    @property
    def flink(self) -> str:
        """Address of the JobManager's REST interface."""
        return f"http://{self.job_manager_address()}:{self.context.ports['flink']}"

    def job_manager_address(self) -> str:
        """Where a JobManager lives; with several, any of those that run: each answers for the leader."""
        running = [host for host in self.job_hosts if orphans.start_ticks(self.flink_pid(host))]
        host = (running or self.job_hosts or ("",))[0]
        return self.network.address(host) if host else self.context.host

    def rest(self) -> FlinkRest:
        """A client of the JobManager, whichever lives."""
        transport = failover.LivingTransport(self.job_manager_address) if self.job_hosts else None
        return FlinkRest(self.flink, self._clock, transport=transport)

    def leader_host(self) -> str:
        """The host whose JobManager leads; empty while none does, and where there is but one."""
        try:
            with DriverClient(self.home.driver_socket) as driver:
                node = driver.list_task_managers(ListTaskManagers()).node
        except HeadraceError:
            return ""
        return next((host for host in self.job_hosts if self.network.address(host) == node), "")

    def has_standby(self) -> bool:
        """Whether all JobManagers answer; where there is but one, that is not asked."""
        for host in self.job_hosts:
            address = f"http://{self.network.address(host)}:{self.context.ports['flink']}"
            try:
                with FlinkRest(address, self._clock) as rest:
                    rest.overview()
            except HeadraceError:
                return False
        return True

    def is_warm(self) -> bool:
        """Whether all Flink processes have run tasks or what stands for them; not asked where spares are cold."""
        if not self.setup.warm:
            return True
        names = {host: task_manager(host) for host in self.hosts}
        names |= {host: failover.job_manager_name(host) for host in self.job_hosts}
        return all(self._is_warm(host, name) for host, name in names.items())

    def _is_warm(self, host: str, name: str) -> bool:
        try:
            return int(flinkhome.warm_mark(self.context, name).read_text()) == self.process_pid(host, name)
        except (OSError, ValueError):
            return False

    def events(self) -> Path:
        """Events of the observer that acts."""
        return self.home.run / MACHINE / "o1.events"

    def event_files(self) -> list[Path]:
        """Events of all observers."""
        return sorted(self.home.run.glob("*/o*.events"))

    @property
    def hosts_file(self) -> Path:
        """Strikes and retired hosts."""
        return self.home.data / "hawk-hosts.json"

    def keeper_pid(self, host: str) -> int:
        """The keeper of a host."""
        return self._keepers[host].pid

    def disk_root(self, host: str) -> Path:
        """A host's own disk as the lab can reach it."""
        return Path(f"/proc/{self.keeper_pid(host)}/root{self.disks[host].folder}")

    def clock_file(self, host: str, name: str) -> Path:
        """What bends the wall clock of an agent or observer."""
        return self.home.run / host / f"{name}.clock"

    def now_ms(self) -> int:
        """Wall ms."""
        return self._clock.now_ms()

    def pause(self, seconds: float) -> None:
        """Wait while a fault lasts."""
        self._clock.sleep(seconds)

    def wait_for(self, done: Callable[[], bool], what: str, *, timeout_s: float) -> None:
        """Wait between the steps of a fault.

        Raises:
            Unavailable: it did not come in time.
        """
        self._wait(done, what, timeout_s)

    def task_manager_pid(self, host: str) -> int:
        """Pid of a host's TaskManager, 0 when it does not run."""
        return self.process_pid(host, task_manager(host))

    def flink_pid(self, host: str) -> int:
        """Pid of what a host is for: its JobManager or its TaskManager; 0 when it was never started."""
        return self.process_pid(host, failover.job_manager_name(host) if host in self.job_hosts else task_manager(host))

    def process_pid(self, host: str, name: str) -> int:
        """Pid of a process as its host's keeper has started it; 0 when it was never started."""
        try:
            return int(msgspec.json.decode((self.home.run / host / f"{name}.pid").read_bytes())["pid"])
        except (OSError, msgspec.MsgspecError, KeyError):
            return 0

    def start_host(self, host: str) -> None:
        """Start a host's keeper, and with it all of its processes."""
        if host in WITNESSES:
            observer = [self._observer(f"o{host[1:]}")] if self._with_hawk else []
            self._keep(host, [*observer, *self._zookeeper(host)])
            return
        flink = self._job_manager(host) if host in self.job_hosts else self._task_manager(host)
        self._keep(host, [flink, *([self._agent(host)] if self._with_hawk else [])])

    def kill_host(self, host: str) -> None:
        """The host vanishes: its link first, so that nothing can say good-bye, then all of its processes."""
        self.network.cut(host)
        self.network.signal(host, signal.SIGKILL)

    def freeze_host(self, host: str) -> None:
        """All processes of the host stand still; its kernel goes on."""
        self.network.signal(host, signal.SIGSTOP)

    def agent_pids(self, host: str) -> list[int]:
        """The host's agent."""
        path = self.home.run / host / "agent.pid"
        return [int(msgspec.json.decode(path.read_bytes())["pid"])]

    def revive_host(self, host: str) -> None:
        """A host that vanished boots again."""
        self.network.signal(host, signal.SIGKILL)
        keeper = self._keepers.pop(host, None)
        if keeper is not None:
            keeper.wait()
        if host in self.disks:
            self.disks[host].repair(self._clock)
        self.network.heal(host)
        self.start_host(host)

    def wait_task_managers(self, count: int, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Block until Flink counts this many TaskManagers, all of them heard within the last seconds."""
        self._wait(lambda: self._registered() >= count, f"{count} TaskManagers", timeout_s)

    def close(self) -> None:
        """Stop everything in reverse order."""
        for host in (*self.hosts, *self.job_hosts, *WITNESSES):
            if host in self._keepers:
                self.network.signal(host, signal.SIGCONT)
        for host in self.disks:
            if host in self._keepers:
                disk.thaw(self.disk_root(host))
        # Hosts first: a TaskManager that is stopped while its JobManager goes away waits for it.
        self._stop_keepers([host for host in self._keepers if host in self.hosts])
        self._stop_keepers([host for host in self._keepers if host in self.job_hosts])
        self._stop_keepers(list(self._keepers))
        self._free_disks()
        self.network.close()

    def _stop_keepers(self, names: Sequence[str]) -> None:
        keepers = [self._keepers.pop(name) for name in names]
        for keeper in keepers:
            keeper.terminate()
        for keeper in keepers:
            try:
                keeper.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                keeper.kill()
                keeper.wait()

    # --- start ---

    @property
    def _with_hawk(self) -> bool:
        return self.setup.hawk and not self.setup.stock

    def _start(self) -> None:
        witnesses = WITNESSES if self._with_hawk or self.setup.failover else ()
        self.network.open((*self.hosts, *self.job_hosts, *witnesses))
        self._context = context = self._plan()
        # Hosts of the lab reach no name server, and ZooKeeper's client asks for the name of each address: 5 to 10 s, each time.
        (self.home.data / "hosts").write_text(self.network.names(MACHINE))
        flinkhome.write_flink_home(context)
        kafka.write_config(context)
        if self._with_hawk:
            self._write_keys()
        if self.setup.disks:
            self._make_disks()
        self._keep(MACHINE, [*self._machine_specs(), *([self._observer("o1")] if self._with_hawk else [])])
        for host in (*witnesses, *self.job_hosts):
            self.start_host(host)
        self._wait(self._kafka_answers, "kafka", START_TIMEOUT_S)
        self._wait(lambda: self._registered() >= 0, "jobmanager", START_TIMEOUT_S)
        for host in self.hosts:
            self.start_host(host)
        self.wait_task_managers(len(self.hosts))
        self._wait(self.home.driver_socket.exists, "driver", START_TIMEOUT_S)

    def _plan(self) -> StackContext:
        home = self.home
        for folder in (home.run, home.logs, home.data, home.tmp):
            folder.mkdir(parents=True, exist_ok=True)
        assets = find_assets()
        assets.check()
        options = StackOptions(
            task_managers=self.setup.hosts,
            task_slots=self.setup.slots,
            task_manager_memory_mb=self.setup.task_manager_memory_mb,
            warm_up_after_s=WARM_UP_AFTER_S if self.setup.warm else 0,
        )
        profile = {} if self.setup.stock else cluster_settings(home) | SPREAD
        if self.setup.failover:
            profile |= failover.high_availability(home, self._zookeepers())
        return StackContext(
            home=home,
            assets=assets,
            jdk=choose_jdk("", env=os.environ, installed=system_jdks()),
            ports=load_or_plan_ports(home.data / "ports.json", home.root, base=0),
            options=options,
            flink_settings=profile | self.setup.settings,
            host=self.network.gateway,
        )

    def _write_keys(self) -> None:
        key = new_key()
        for path in self.home.run.glob("*.key"):
            path.unlink()
        write_key(self.home.run / "hawk.key", key)
        for host in (*self.hosts, *self.job_hosts):
            write_key(self.home.run / f"{host}.key", host_key(key, host))

    def _machine_specs(self) -> list[ProcessSpec]:
        names = ["kafka", "driver"] if self.setup.failover else ["kafka", "jobmanager", "driver"]
        return [*map(_alive, build_specs(self.context, names)), *self._zookeeper(MACHINE)]

    def _zookeepers(self) -> dict[int, str]:
        """The ensemble: number → address."""
        addresses = (self.network.gateway, *map(self.network.address, WITNESSES))
        return dict(enumerate(addresses, 1))

    def _zookeeper(self, host: str) -> list[ProcessSpec]:
        if not self.setup.failover:
            return []
        number = (MACHINE, *WITNESSES).index(host) + 1
        return [failover.zookeeper(self.context, number, self._zookeepers())]

    def _job_manager(self, host: str) -> ProcessSpec:
        return failover.job_manager(self.context, failover.job_manager_name(host), self.network.address(host))

    def _task_manager(self, host: str) -> ProcessSpec:
        (spec,) = build_specs(self.context, [task_manager(host)])
        address = self.network.address(host)
        # One folder a host: nothing of one host's disk may help another.
        own = {
            "taskmanager.host": address,
            "taskmanager.bind-host": address,
            "process.working-dir": str(self._local(host) / "flink" / host),
        }
        if host in self.disks:
            own["io.tmp.dirs"] = str(self.disks[host].folder / "tmp")
        words = [word for key, value in own.items() for word in ("-D", f"{key}={value}")]
        return msgspec.structs.replace(_alive(spec), argv=(*spec.argv, *words))

    def _agent(self, host: str) -> ProcessSpec:
        words = ("--observers", ",".join(f"{ip}:{HAWK_PORT}" for ip in self._observers().values()), "--host", host)
        keys = ("--key-file", str(self.home.run / f"{host}.key"), "--pid-folder", str(self.home.run / host))
        more = ["--disk", str(self._local(host)), "--dependency", f"{KAFKA}=kafka://{self.kafka}"]
        more += ["--job-managers"] if host in self.job_hosts else []
        spec = self._python("agent", "headrace.guard.hawk.agent", (*words, *keys, *more), clock=(host, "agent"))
        often = {"HEADRACE_GUARD_HAWK_SELF_CHECK_S": str(SELF_CHECK_S)} if host in self.disks else {}
        return msgspec.structs.replace(spec, env=spec.env | often)

    def _observer(self, name: str) -> ProcessSpec:
        addresses = self._observers()
        peers = ",".join(f"{peer}={ip}:{HAWK_PORT}" for peer, ip in addresses.items() if peer != name)
        words = ["--name", name, "--bind", f"{addresses[name]}:{HAWK_PORT}", "--peers", peers]
        host = MACHINE if name == "o1" else f"w{name[1:]}"
        words += ["--key-file", str(self.home.run / "hawk.key")]
        words += ["--events", str(self.home.run / host / f"{name}.events")]
        if name == "o1":
            words += ["--driver", str(self.home.driver_socket), "--hosts-file", str(self.hosts_file)]
        spec = self._python(f"observer-{name}", "headrace.guard.hawk.observer", words, clock=(host, name))
        policy = {} if self.setup.retires else {"HEADRACE_GUARD_HAWK_RETIRE_STRIKES": "0"}
        return msgspec.structs.replace(spec, env=spec.env | policy)

    def _observers(self) -> dict[str, str]:
        return {
            "o1": self.network.gateway,
            **{f"o{number}": self.network.address(witness) for number, witness in enumerate(WITNESSES, 2)},
        }

    def _python(self, name: str, module: str, words: Sequence[str], *, clock: tuple[str, str]) -> ProcessSpec:
        source = Path(__file__).resolve().parents[3]
        library = fakeclock.find_library() if self.setup.clocks else None
        bent: dict[str, str] = {}
        if library is not None:
            file = self.clock_file(*clock)
            fakeclock.set_offset(file, 0)
            bent = fakeclock.environment(library, file)
        return ProcessSpec(
            name=name,
            argv=(sys.executable, "-m", module, *words),
            probe=AliveProbe(),
            env={"PYTHONPATH": str(source), **bent},
            cwd=str(self.home.tmp),
        )

    def _keep(self, host: str, specs: Sequence[ProcessSpec]) -> None:
        folder = self.home.run / host
        folder.mkdir(parents=True, exist_ok=True)
        write_specs(folder / "specs.json", specs)
        source = str(Path(__file__).resolve().parents[3])
        logs = self.disks[host].folder / "logs" if host in self.disks else self.home.logs / host
        words = ["--specs", str(folder / "specs.json"), "--run", str(folder), "--logs", str(logs)]
        enter = [] if host == MACHINE else self.network.enter(host)
        if host in self.disks:
            enter += self.disks[host].mounting()
        lab = os.getpid()
        with (self.home.logs / f"keeper-{host}.log").open("ab") as output:
            self._keepers[host] = subprocess.Popen(
                [*enter, sys.executable, "-m", "headrace.stack.keeper", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={
                    **environment(),
                    "PYTHONPATH": source,
                    "HEADRACE_STACK_RESTART_BACKOFF_MS": str(REFILL_AFTER_MS),
                    "HEADRACE_STACK_RESTART_BACKOFF_MAX_MS": str(REFILL_AFTER_MS),  # a lab kills again and again
                    "JAVA_TOOL_OPTIONS": f"-Djdk.net.hosts.file={self.home.data / 'hosts'}",
                },
                preexec_fn=lambda: bind_to(lab),  # whatever ends the lab ends its keepers, and they their processes
            )

    # --- disks ---

    def _local(self, host: str) -> Path:
        """Where a host keeps what is its own."""
        return self.disks[host].folder if host in self.disks else self.home.data

    def _make_disks(self) -> None:
        disk.clear_stale()
        self._checkpoints = disk.Disk(self.home.tmp, "checkpoints", self.home.checkpoints)
        self._checkpoints.make()
        self._checkpoints.mount()
        for host in self.hosts:
            made = disk.Disk(self.home.tmp, host, self.home.data / "disks" / host)
            made.make()
            self.disks[host] = made

    def _free_disks(self) -> None:
        """Hosts' logs lie on their disks; they are kept with the others."""
        for host, used in self.disks.items():
            used.throttle(0)
            used.wait_unused(self._clock)
            used.mount()
            shutil.copytree(used.folder / "logs", self.home.logs / host, dirs_exist_ok=True)
            used.umount()
            used.free()
        self.disks.clear()
        if self._checkpoints is not None:
            self._checkpoints.umount()
            self._checkpoints.free()
            self._checkpoints = None

    # --- readiness ---

    def _registered(self) -> int:
        try:
            with self.rest() as rest:
                return rest.overview().taskmanagers
        except HeadraceError:
            return -1

    def _kafka_answers(self) -> bool:
        try:
            return bool(AdminClient({"bootstrap.servers": self.kafka, "log_level": 0}).list_topics(timeout=2).brokers)
        except Exception:  # the client has one exception for everything; not answering yet is not an error
            return False

    def _wait(self, done: Callable[[], bool], what: str, timeout_s: float) -> None:
        deadline = self._clock.monotonic_s() + timeout_s
        while not done():
            if self._clock.monotonic_s() > deadline:
                raise Unavailable(
                    "lab is not ready in time",
                    context={"waits_for": what, "timeout_s": timeout_s},
                    hint=f"look at the logs in {self.home.logs}",
                )
            self._clock.sleep(POLL_S)


def task_manager(host: str) -> str:
    """Flink's resource id of the TaskManager on a host."""
    return f"taskmanager-{host[1:]}"


def _alive(spec: ProcessSpec) -> ProcessSpec:
    """The same process without a probe: those of the stack ask the loopback address."""
    return msgspec.structs.replace(spec, probe=AliveProbe())
