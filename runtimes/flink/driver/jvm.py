"""Start and watch the one JVM that PyFlink talks to.

PyFlink would start it itself, with its standard error in a pipe that nobody reads (a chatty JVM then blocks for ever),
with the log in site-packages and without the connectors. So the process is started here, with the class path of the
stack's FLINK_HOME view, and PyFlink is told its port. The JVM's standard input is a pipe from us: when the driver dies,
however, the JVM reads the end of it and exits.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import py4j.java_gateway
import py4j.protocol
import pyflink
from py4j.java_gateway import JavaClass
from pyflink import java_gateway

from headrace.core.clock import Clock
from headrace.core.errors import Unavailable

# Planner heap; `-XX:+ExitOnOutOfMemoryError` and the supervisor answer for a script that needs more.
HEAP_MIB = 512
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 3.0
_MAIN = "org.apache.flink.client.python.PythonGatewayServer"


class Jvm:
    """The gateway JVM: `gateway.jvm` is the way in; `alive` is asked by the server's watch."""

    def __init__(self, process: subprocess.Popen[bytes], gateway: Any, configuration: Path) -> None:
        self.process = process
        self.gateway = gateway
        self.view = gateway.jvm
        self.configuration = configuration  # folder of Flink's config.yaml
        joins = self.view.io.headrace.slimbase.join.SqlIntervalJoins
        # Without SlimBase's jar the name is a package to py4j, not a class.
        self._interval_joins = joins if isinstance(joins, JavaClass) else None

    def read_joins_by_range(self, environment: Any) -> None:
        """Let jobs that the TableEnvironment submits read interval joins by range; nothing where SlimBase's jar is not there."""
        if self._interval_joins:
            self._interval_joins.install(environment)

    @property
    def alive(self) -> bool:
        """Whether the process is still there."""
        return self.process.poll() is None

    def stop(self) -> None:
        """Close its standard input, which ends it; kill it when it does not go."""
        if self.process.stdin:
            self.process.stdin.close()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def class_path(flink_home: Path, jars: Sequence[Path]) -> list[str]:
    """Jars of the FLINK_HOME view (all of `lib`), the Python bridge from `opt`, and `jars`.

    Raises:
        Unavailable: a part is missing.
    """
    wheel = Path(pyflink.__file__).parent
    library = sorted((flink_home / "lib").glob("*.jar"))
    bridge = sorted((flink_home / "opt").glob("flink-python*.jar")) or sorted((wheel / "opt").glob("flink-python*.jar"))
    missing = [str(jar) for jar in jars if not jar.is_file()]
    if not library or not bridge or missing:
        raise Unavailable(
            "flink jars are missing",
            context={"flink_home": flink_home, "missing": ", ".join(missing) or "lib/*.jar"},
            hint="`make setup`, then `headrace up`",
        )
    return [str(jar) for jar in [*library, *bridge[:1], *jars]]


def start_jvm(
    flink_home: Path, *, jars: Sequence[Path], work: Path, clock: Clock, env: Mapping[str, str] = os.environ
) -> Jvm:
    """Start the JVM and connect PyFlink to it; `work` is a private folder for its temporary files.

    Raises:
        Unavailable: no java, or the JVM ended or said nothing within START_TIMEOUT_S.
    """
    port_file = work / "gateway.port"
    port_file.unlink(missing_ok=True)
    java = str(Path(env["JAVA_HOME"]) / "bin" / "java") if env.get("JAVA_HOME") else "java"
    command = [
        java,
        f"-Xmx{HEAP_MIB}m",
        "-XX:+UseSerialGC",
        # The quick compiler only: planning code runs too seldom for the optimizing one to pay its own way (warm-up
        # 21 s instead of 35 s, one start each at different loads; validation was not compared).
        "-XX:TieredStopAtLevel=1",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:+IgnoreUnrecognizedVMOptions",
        f"-Djava.io.tmpdir={work}",
        f"-Dlog4j.configurationFile={Path(__file__).with_name('log4j2.properties')}",
        *_opened_modules(),
        *env.get("HEADRACE_DRIVER_JVM_ARGS", "").split(),
        "-cp",
        os.pathsep.join(class_path(flink_home, jars)),
        _MAIN,
    ]
    child_env = {**env, "_PYFLINK_CONN_INFO_PATH": str(port_file), "FLINK_CONF_DIR": str(flink_home / "conf")}
    try:
        # A group of its own keeps a terminal's Ctrl-C from it. The session stays ours: by it a supervisor finds what we leave behind when we are ended
        # while the JVM starts, before it looks at its standard input.
        process = subprocess.Popen(
            command, env=child_env, stdin=subprocess.PIPE, stdout=sys.stderr.fileno(), process_group=0
        )
    except FileNotFoundError as error:
        raise Unavailable(
            "java was not found", context={"java": java}, hint="`make setup` installs a JDK 17"
        ) from error
    _wait_for_port(process, port_file, clock)
    os.environ["PYFLINK_GATEWAY_PORT"] = str(struct.unpack("!I", port_file.read_bytes()[:4])[0])
    gateway = _connect()
    # PyFlink replaces some Java exceptions by Python ones that have lost their causes; py4j's own keep the object.
    py4j.java_gateway.get_return_value = py4j.protocol.get_return_value
    return Jvm(process, gateway, flink_home / "conf")


def _connect() -> Any:
    """PyFlink's gateway, with its watchdog registered before its 40 imports, not after.

    The JVM exits when no watchdog is registered within 10 s, which a loaded machine can need for the imports alone.
    """
    import_view = java_gateway.import_flink_view
    java_gateway.import_flink_view = lambda _: None
    try:
        gateway = java_gateway.get_gateway()
    finally:
        java_gateway.import_flink_view = import_view
    import_view(gateway)
    return gateway


def _wait_for_port(process: subprocess.Popen[bytes], port_file: Path, clock: Clock) -> None:
    deadline = clock.monotonic_s() + START_TIMEOUT_S
    while not (port_file.is_file() and port_file.stat().st_size >= 4):
        if process.poll() is not None:
            raise Unavailable(
                "the planner's JVM ended at once",
                context={"exit_code": process.returncode},
                hint="its reason stands above in this log; Flink 2.3 needs a JDK 17 or 21",
            )
        if clock.monotonic_s() > deadline:
            process.kill()
            raise Unavailable("the planner's JVM did not start", context={"timeout_s": START_TIMEOUT_S})
        clock.sleep(0.02)


def _opened_modules() -> list[str]:
    """The module openings that Flink's own config.yaml asks for on JDK 17 and 21."""
    exports = [
        "java.rmi/sun.rmi.registry",
        *(f"jdk.compiler/com.sun.tools.javac.{p}" for p in ("api", "file", "parser", "tree", "util")),
        "java.security.jgss/sun.security.krb5",
    ]
    opens = [
        f"java.base/{p}"
        for p in (
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
    ]
    return [f"--add-exports={p}=ALL-UNNAMED" for p in exports] + [f"--add-opens={p}=ALL-UNNAMED" for p in opens]
