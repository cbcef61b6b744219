"""A cluster of several hosts on one machine: real Kafka, JobManager, TaskManagers, agents and observers.

    machine   keeper: kafka, jobmanager, driver, observer o1 (it acts on verdicts)
    h1 … hN   keeper: a TaskManager and the host's agent
    w2, w3    keeper: observers o2 and o3

Each host's processes are kept by a keeper of its own inside the namespace, so that they are started again after a crash, and
all die with the host. With `hawk=False` there are no agents and observers, with `stock=True` Flink has its own defaults
(addresses and folders aside): the cluster to compare with.
"""

from __future__ import annotations

import os
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
from headrace.flink.profile import cluster_settings
from headrace.flink.rest import FlinkRest
from headrace.guard.hawk.keys import host_key, new_key, write_key
from headrace.guard.lab.network import Network, environment
from headrace.stack import flinkhome, kafka
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
START_TIMEOUT_S = 240.0
POLL_S = 0.2
STOP_TIMEOUT_S = 60.0  # the first one to stop in order writes an archive of its classes
# Slots of a job on as many hosts as there are: TaskManagers that run a part of it are warm when they have to take over more.
# Packed on few (TASKS), a spare loads its classes first, which took 3 to 5 s on the two cores of the test machine.
SPREAD = {"taskmanager.load-balance.mode": "SLOTS"}
# A host's lost TaskManager is refilled once the spares have taken over. At once, its JVM would start on the few cores that all
# hosts of the lab share and slow down the very recovery that is measured; on a cluster it has its own host's cores.
REFILL_AFTER_MS = 5000


class LabSetup(msgspec.Struct, frozen=True, kw_only=True):
    """Size and kind of a lab's cluster; `task_manager_memory_mb` is a whole process."""

    hosts: int = 4
    slots: int = 2
    task_manager_memory_mb: int = 1536
    hawk: bool = True
    stock: bool = False
    settings: dict[str, str] = {}


class LabCluster:
    """The running cluster; a context manager that leaves nothing behind but its home."""

    def __init__(self, home: Home, setup: LabSetup, *, clock: Clock) -> None:
        self.home = home
        self.setup = setup
        self.network = Network()
        self.hosts = tuple(f"h{number}" for number in range(1, setup.hosts + 1))
        self._clock = clock
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
        return f"http://{self.context.host}:{self.context.ports['flink']}"

    def rest(self) -> FlinkRest:
        """A client of the JobManager."""
        return FlinkRest(self.flink, self._clock)

    def events(self) -> Path:
        """Events of the observer that acts."""
        return self.home.run / MACHINE / "o1.events"

    def task_manager_pid(self, host: str) -> int:
        """Pid of a host's TaskManager, 0 when it does not run."""
        path = self.home.run / host / f"{task_manager(host)}.pid"
        try:
            return int(msgspec.json.decode(path.read_bytes())["pid"])
        except (OSError, msgspec.MsgspecError, KeyError):
            return 0

    def start_host(self, host: str) -> None:
        """Start a host's keeper, and with it all of its processes."""
        self._keep(host, [self._task_manager(host), *([self._agent(host)] if self._with_hawk else [])])

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
        self.network.heal(host)
        self.start_host(host)

    def wait_task_managers(self, count: int, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Block until Flink counts this many TaskManagers, all of them heard within the last seconds."""
        self._wait(lambda: self._registered() >= count, f"{count} TaskManagers", timeout_s)

    def close(self) -> None:
        """Stop everything in reverse order."""
        for host in self.hosts:
            if host in self._keepers:
                self.network.signal(host, signal.SIGCONT)
        # Hosts first: a TaskManager that is stopped while its JobManager goes away waits for it.
        self._stop_keepers([host for host in self._keepers if host in self.hosts])
        self._stop_keepers(list(self._keepers))
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
        witnesses = WITNESSES if self._with_hawk else ()
        self.network.open((*self.hosts, *witnesses))
        self._context = context = self._plan()
        flinkhome.write_flink_home(context)
        kafka.write_config(context)
        if self._with_hawk:
            self._write_keys()
        self._keep(MACHINE, [*self._machine_specs(), *([self._observer("o1")] if self._with_hawk else [])])
        for number, witness in enumerate(witnesses, 2):
            self._keep(witness, [self._observer(f"o{number}")])
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
        )
        profile = {} if self.setup.stock else cluster_settings(home) | SPREAD
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
        for host in self.hosts:
            write_key(self.home.run / f"{host}.key", host_key(key, host))

    def _machine_specs(self) -> list[ProcessSpec]:
        return [_alive(spec) for spec in build_specs(self.context, ["kafka", "jobmanager", "driver"])]

    def _task_manager(self, host: str) -> ProcessSpec:
        (spec,) = build_specs(self.context, [task_manager(host)])
        address = self.network.address(host)
        # One folder a host: nothing of one host's disk may help another.
        own = {
            "taskmanager.host": address,
            "taskmanager.bind-host": address,
            "process.working-dir": str(self.home.data / "flink" / host),
        }
        words = [word for key, value in own.items() for word in ("-D", f"{key}={value}")]
        return msgspec.structs.replace(_alive(spec), argv=(*spec.argv, *words))

    def _agent(self, host: str) -> ProcessSpec:
        words = ("--observers", ",".join(f"{ip}:{HAWK_PORT}" for ip in self._observers().values()), "--host", host)
        keys = ("--key-file", str(self.home.run / f"{host}.key"), "--pid-folder", str(self.home.run / host))
        disks = ("--disk", str(self.home.data))
        return self._python("agent", "headrace.guard.hawk.agent", (*words, *keys, *disks))

    def _observer(self, name: str) -> ProcessSpec:
        addresses = self._observers()
        peers = ",".join(f"{peer}={ip}:{HAWK_PORT}" for peer, ip in addresses.items() if peer != name)
        words = ["--name", name, "--bind", f"{addresses[name]}:{HAWK_PORT}", "--peers", peers]
        folder = self.home.run / (MACHINE if name == "o1" else f"w{name[1:]}")
        words += ["--key-file", str(self.home.run / "hawk.key"), "--events", str(folder / f"{name}.events")]
        if name == "o1":
            words += ["--driver", str(self.home.driver_socket)]
        return self._python(f"observer-{name}", "headrace.guard.hawk.observer", words)

    def _observers(self) -> dict[str, str]:
        return {
            "o1": self.network.gateway,
            **{f"o{number}": self.network.address(witness) for number, witness in enumerate(WITNESSES, 2)},
        }

    def _python(self, name: str, module: str, words: Sequence[str]) -> ProcessSpec:
        source = Path(__file__).resolve().parents[3]
        return ProcessSpec(
            name=name,
            argv=(sys.executable, "-m", module, *words),
            probe=AliveProbe(),
            env={"PYTHONPATH": str(source)},
            cwd=str(self.home.tmp),
        )

    def _keep(self, host: str, specs: Sequence[ProcessSpec]) -> None:
        folder = self.home.run / host
        folder.mkdir(parents=True, exist_ok=True)
        write_specs(folder / "specs.json", specs)
        source = str(Path(__file__).resolve().parents[3])
        words = ["--specs", str(folder / "specs.json"), "--run", str(folder), "--logs", str(self.home.logs / host)]
        enter = [] if host == MACHINE else self.network.enter(host)
        lab = os.getpid()
        with (self.home.logs / f"keeper-{host}.log").open("ab") as output:
            self._keepers[host] = subprocess.Popen(
                [*enter, sys.executable, "-m", "headrace.stack.keeper", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**environment(), "PYTHONPATH": source, "HEADRACE_STACK_RESTART_BACKOFF_MS": str(REFILL_AFTER_MS)},
                preexec_fn=lambda: bind_to(lab),  # whatever ends the lab ends its keepers, and they their processes
            )

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
