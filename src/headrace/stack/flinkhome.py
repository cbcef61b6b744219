"""The private FLINK_HOME of a stack: links to the wheel and to our jars, its own configuration.

    flink/bin, opt, plugins   links to the wheel's folders, which are never edited
    flink/lib/*.jar           one link per jar: the wheel's, then connectors, formats and Headrace's own
    flink/conf                config.yaml (cluster profile + addresses of this stack), log4j-console.properties

JobManager and TaskManagers run as plain `java` commands in the foreground, with the memory arguments that Flink's own
`BashJavaUtils` computes, as `jobmanager.sh` and `taskmanager.sh` would; the answers are kept, since asking starts a JVM.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import msgspec

from headrace.core.errors import Internal
from headrace.stack.assets import FLINK_JAR_GROUPS
from headrace.stack.context import StackContext

JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
WARM_UP = "io.headrace.warmup.WarmUp"  # goes in front of a main class
WARM_UP_OPTIONS = "headrace.warm-up"
_RESULT = "BASH_JAVA_UTILS_EXEC_RESULT:"
_UTILS_TIMEOUT_S = 60
_LINKED_FOLDERS = ("bin", "opt", "plugins")
# What Flink's own config.yaml ships as env.java.opts.all for JDK 17 and 21.
_OPEN_PACKAGES = (
    *(
        f"--add-exports=jdk.compiler/com.sun.tools.javac.{name}=ALL-UNNAMED"
        for name in ("api", "file", "parser", "tree", "util")
    ),
    "--add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED",
    "--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
    *(
        f"--add-opens=java.base/{name}=ALL-UNNAMED"
        for name in (
            "java.lang",
            "java.net",
            "java.io",
            "java.nio",
            "sun.nio.ch",
            "java.lang.reflect",
            "java.text",
            "java.time",
            "java.util",
            "java.util.concurrent",
            "java.util.concurrent.atomic",
            "java.util.concurrent.locks",
        )
    ),
)
_LOG4J = """\
status = error
rootLogger.level = INFO
rootLogger.appenderRef.out.ref = Out
appender.out.name = Out
appender.out.type = CONSOLE
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %-60c %x - %m%n
logger.pekko.name = org.apache.pekko
logger.pekko.level = WARN
logger.kafka.name = org.apache.kafka
logger.kafka.level = WARN
logger.connector.name = org.apache.flink.kafka.shaded.org.apache.kafka
logger.connector.level = WARN
logger.hadoop.name = org.apache.hadoop
logger.hadoop.level = WARN
logger.netty.name = org.jboss.netty.channel.DefaultChannelPipeline
logger.netty.level = OFF
"""


class JvmParameters(msgspec.Struct, frozen=True):
    """JVM arguments and dynamic Flink properties of one kind of process."""

    jvm: tuple[str, ...]
    dynamic: tuple[str, ...]


def local_settings(context: StackContext) -> dict[str, str]:
    """The settings that are addresses, sizes and folders of this very stack; they win over the profile."""
    home, options, ports = context.home, context.options, context.ports
    return {
        "jobmanager.rpc.address": context.host,
        "jobmanager.rpc.port": str(ports["flink-rpc"]),
        "jobmanager.bind-host": context.host,
        "jobmanager.memory.process.size": f"{options.job_manager_memory_mb}m",
        "rest.address": context.host,
        "rest.bind-address": context.host,
        "rest.port": str(ports["flink"]),
        "rest.bind-port": str(ports["flink"]),
        "taskmanager.host": context.host,
        "taskmanager.bind-host": context.host,
        "taskmanager.memory.process.size": f"{options.task_manager_memory_mb}m",
        "taskmanager.numberOfTaskSlots": str(options.task_slots),
        "process.working-dir": str(home.data / "flink"),
        "blob.storage.directory": str(home.tmp / "flink-blobs"),
        "io.tmp.dirs": str(home.tmp / "flink"),
        "web.tmpdir": str(home.tmp / "flink"),
        "web.upload.dir": str(home.tmp / "flink"),
        "env.java.home": str(context.jdk.home),
        "env.java.opts.all": " ".join(_OPEN_PACKAGES),
        "env.log.dir": str(home.logs),
        "execution.checkpointing.dir": home.checkpoints.as_uri(),
        "execution.checkpointing.savepoint-dir": home.savepoints.as_uri(),
    }


def render_config(settings: dict[str, str]) -> str:
    """`config.yaml`: one flat key per line, values as JSON strings, which are YAML too.

    `env.java.home` stays bare because Flink's shell scripts read that line with sed.
    """
    return "".join(
        f"{key}: {value if key == 'env.java.home' else json.dumps(value)}\n" for key, value in sorted(settings.items())
    )


def write_flink_home(context: StackContext) -> None:
    """Make or refresh the view; links that changed are replaced."""
    target, wheel = context.home.flink, context.assets.flink_distribution()
    (target / "conf").mkdir(parents=True, exist_ok=True)
    (target / "lib").mkdir(exist_ok=True)
    (target / "log").mkdir(exist_ok=True)
    for name in _LINKED_FOLDERS:
        _link(target / name, wheel / name)
    jars = {jar.name: jar for jar in lib_jars(context)}
    for stale in (target / "lib").iterdir():
        if stale.name not in jars:
            stale.unlink()
    for name, jar in jars.items():
        _link(target / "lib" / name, jar)
    settings = context.flink_settings | local_settings(context)
    (target / "conf" / "config.yaml").write_text(render_config(settings), "utf-8")
    for name in ("log4j-console.properties", "log4j.properties", "log4j-cli.properties", "log4j-session.properties"):
        (target / "conf" / name).write_text(_LOG4J, "utf-8")
    for folder in (
        context.home.tmp / "flink",
        context.home.data / "flink",
        context.home.checkpoints,
        context.home.savepoints,
    ):
        folder.mkdir(parents=True, exist_ok=True)


def lib_jars(context: StackContext) -> list[Path]:
    """The jars of `lib`: the wheel's, then those of our groups."""
    wheel = sorted((context.assets.flink_distribution() / "lib").glob("*.jar"))
    return [*wheel, *(jar for group in FLINK_JAR_GROUPS for jar in context.assets.jars(group))]


def classpath(context: StackContext) -> str:
    """The class path in the order of Flink's scripts: all of lib, the distribution last.

    It names the jars themselves, not the links of the view, so that all stacks of a checkout share one class archive.
    """
    jars = sorted(lib_jars(context), key=lambda jar: (jar.name.startswith("flink-dist"), jar.name))
    return ":".join(str(jar) for jar in jars)


def jvm_parameters(context: StackContext) -> tuple[JvmParameters, JvmParameters]:
    """Memory arguments of JobManager and TaskManager, from Flink's own calculation; kept under `build/cache`.

    Raises:
        Internal: Flink refuses the sizes; carries its words.
    """
    memory = {
        key: value
        for key, value in sorted((context.flink_settings | local_settings(context)).items())
        if ".memory." in key or key == "taskmanager.numberOfTaskSlots"
    }
    key = hashlib.sha256(json.dumps([memory, str(context.assets.flink_distribution())]).encode()).hexdigest()[:16]
    cache = context.assets.cache / f"flink-jvm-{key}.json"
    try:
        return msgspec.json.decode(cache.read_bytes(), type=tuple[JvmParameters, JvmParameters])
    except (OSError, msgspec.MsgspecError):
        pass
    with ThreadPoolExecutor(2) as pool:
        job, task = pool.map(
            lambda command: _ask_flink(context, command), ("GET_JM_RESOURCE_PARAMS", "GET_TM_RESOURCE_PARAMS")
        )
    cache.parent.mkdir(parents=True, exist_ok=True)
    temporary = cache.with_suffix(f".{os.getpid()}")
    temporary.write_bytes(msgspec.json.encode((job, task)))
    temporary.replace(cache)
    return job, task


def job_manager_command(context: StackContext, parameters: JvmParameters, jvm: tuple[str, ...]) -> tuple[str, ...]:
    """Argv of the JobManager."""
    extra = ("-XX:+UseSerialGC", *jvm, *_profile_options(context, "jobmanager"))
    stands_by = context.flink_settings.get("high-availability.type", "NONE").upper() != "NONE"
    warm, main = _warm_up(context, "jobmanager", JOB_MANAGER) if stands_by else ((), (JOB_MANAGER,))
    return _java(context, "jobmanager", main, (*parameters.jvm, *extra, *warm), parameters.dynamic)


def task_manager_command(
    context: StackContext, name: str, parameters: JvmParameters, jvm: tuple[str, ...]
) -> tuple[str, ...]:
    """Argv of a TaskManager; its fixed resource id lets it find its local state after a restart."""
    own = (
        *("-D", f"taskmanager.resource-id={name}"),
        *("-D", f"io.tmp.dirs={context.home.tmp / name}"),
    )
    extra = ("-XX:+UseG1GC", *jvm, *_profile_options(context, "taskmanager"))
    warm, main = _warm_up(context, name, TASK_MANAGER)
    return _java(context, name, main, (*parameters.jvm, *extra, *warm), (*own, *parameters.dynamic))


def warm_mark(context: StackContext, name: str) -> Path:
    """The file that a process writes its pid to when its warm-up has ended, see `headrace.stack.warm-up-after-s`."""
    return context.home.run / f"{name}.warm"


def _warm_up(context: StackContext, name: str, main: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """JVM options and main classes of a process that warms up, or of one that does not."""
    if not context.options.warm_up_after_s:
        return (), (main,)
    words = {
        "after": context.options.warm_up_after_s,
        "kafka": f"{context.host}:{context.ports['kafka']}",
        "state": context.flink_settings.get("state.backend.type", "hashmap"),
        "folder": context.home.tmp / f"{name}-warm-up",
        "mark": warm_mark(context, name),
    }
    text = ",".join(f"{key}={quote(str(value), safe='/:')}" for key, value in words.items())
    return (f"-D{WARM_UP_OPTIONS}={text}",), (WARM_UP, main)


def _profile_options(context: StackContext, kind: str) -> list[str]:
    """What Flink's shell scripts would read from the configuration."""
    return shlex.split(context.flink_settings.get(f"env.java.opts.{kind}", ""))


def _java(
    context: StackContext, name: str, main: tuple[str, ...], jvm: tuple[str, ...], arguments: tuple[str, ...]
) -> tuple[str, ...]:
    conf = context.home.flink / "conf"
    log4j = f"file:{conf / 'log4j-console.properties'}"
    manager = ("-Djava.security.manager=allow",) if context.jdk.version > 17 else ()
    return (
        str(context.jdk.java),
        *jvm,
        *_OPEN_PACKAGES,
        *manager,
        f"-Dlog.file={context.home.logs / name}.log",
        f"-Dlog4j.configuration={log4j}",
        f"-Dlog4j.configurationFile={log4j}",
        "-classpath",
        classpath(context),
        *main,
        "--configDir",
        str(conf),
        *arguments,
    )


def _ask_flink(context: StackContext, command: str) -> JvmParameters:
    wheel = context.assets.flink_distribution()
    dist = next((wheel / "lib").glob("flink-dist*.jar"))
    argv = [
        str(context.jdk.java),
        "-XX:TieredStopAtLevel=1",
        "-XX:-UsePerfData",
        "-classpath",
        f"{wheel / 'bin' / 'bash-java-utils.jar'}:{dist}",
        "org.apache.flink.runtime.util.bash.BashJavaUtils",
        command,
        "--configDir",
        str(context.home.flink / "conf"),
    ]
    result = subprocess.run(argv, capture_output=True, text=True, timeout=_UTILS_TIMEOUT_S, check=False)
    lines = [line.removeprefix(_RESULT) for line in result.stdout.splitlines() if line.startswith(_RESULT)]
    if len(lines) != 2:
        words = (result.stdout + result.stderr).strip().splitlines()[-3:]
        raise Internal("flink refuses its memory settings", context={"command": command, "answer": " | ".join(words)})
    return JvmParameters(tuple(shlex.split(lines[0])), tuple(shlex.split(lines[1])))


def _link(link: Path, target: Path) -> None:
    if link.is_symlink() and link.readlink() == target:
        return
    link.unlink(missing_ok=True)
    link.symlink_to(target)
