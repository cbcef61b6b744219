"""What all parts of `bench/state.py` share: the backends by name, the harness's jar, forks of the JVM, time that is left.

A backend is a name and options; nothing else here or in the harness knows one. The peers have 1 GiB of fixed memory a
slot in the micro harness and 1 GiB of managed memory in jobs.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

ROOT = Path(__file__).resolve().parent.parent
HARNESS = ROOT / "java" / "state-bench"
HARNESS_JAR = ROOT / "build" / "jars" / "bench" / "headrace-state-bench.jar"
SLIMBASE_JAR = ROOT / "build" / "jars" / "headrace" / "headrace-slimbase.jar"
SLIMBASE_FACTORY = "io.headrace.slimbase.SlimBaseStateBackendFactory"
SCRATCH = ROOT / "build" / "bench"
FORK_TIMEOUT_S = 1_800
GIB = 1 << 30
MIB = 1 << 20
# What Flink's own scripts open to the class path (`env.java.opts.all` of the shipped configuration), as far as used here.
OPENS = ("java.lang", "java.util", "java.nio", "java.lang.reflect", "java.util.concurrent", "sun.nio.ch")


@dataclass(frozen=True)
class Backend:
    """A backend under test.

    Attributes:
        options: Flink options that choose and tune it.
        fixed: options that give it 1 GiB in the micro harness, which has one operator a slot.
        jar: what must be on the class path besides Flink, or None.
        on_heap: whether it keeps state on the JVM's heap, which is then made large.
    """

    name: str
    options: Mapping[str, str]
    fixed: Mapping[str, str] = field(default_factory=dict)
    jar: Path | None = None
    on_heap: bool = False

    @property
    def is_there(self) -> bool:
        """Whether its jar was built."""
        return self.jar is None or self.jar.is_file()


def _rocksdb(name: str, **more: str) -> Backend:
    options = {"state.backend.type": "rocksdb", **{f"state.backend.rocksdb.{k}": v for k, v in more.items()}}
    return Backend(name, options, {"state.backend.rocksdb.memory.fixed-per-slot": "1g"})


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend("slimbase", {"state.backend.type": SLIMBASE_FACTORY}, jar=SLIMBASE_JAR),
        Backend(
            "slimbase-java",
            {"state.backend.type": SLIMBASE_FACTORY, "state.backend.slimbase.native.enabled": "OFF"},
            jar=SLIMBASE_JAR,
        ),
        _rocksdb("rocksdb"),
        _rocksdb("rocksdb-bloom", **{"use-bloom-filter": "true"}),
        Backend("forst", {"state.backend.type": "forst"}, {"state.backend.forst.memory.fixed-per-slot": "1g"}),
        Backend("hashmap", {"state.backend.type": "hashmap"}, on_heap=True),
    )
}


# `slimbase-java` is the same without its native library: to be asked for by name.
DEFAULT_BACKENDS = tuple(name for name in BACKENDS if name != "slimbase-java")


def pinned(backend: Backend) -> Backend:
    """The backend with a copy of its jar, so that a build in the middle of a run does not pull the classes away."""
    if backend.jar is None:
        return backend
    copy = SCRATCH / "jars" / f"{backend.jar.stem}-{backend.jar.stat().st_mtime_ns}.jar"
    copy.parent.mkdir(parents=True, exist_ok=True)
    if not copy.is_file():
        shutil.copyfile(backend.jar, copy)
    return dataclasses.replace(backend, jar=copy)


class Deadline:
    """Time that a part of the bench may still use; a part asks before each fork and leaves the rest out when it is over."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """Seconds left, negative when it is over."""
        return self._end - time.monotonic()

    def has(self, seconds: float) -> bool:
        """Whether something that takes about this long still fits."""
        return self.left_s >= seconds


@dataclass(frozen=True)
class Run:
    """How one run of the bench goes: which backends, how thoroughly, for how long.

    Attributes:
        notes: what was left out and why, for the reader of the result; appended to.
        state_bytes: size of a restored state, instead of the part's own.
    """

    backends: tuple[Backend, ...]
    quick: bool
    deadline: Deadline
    console: Console
    notes: list[str]
    cases: frozenset[str] = frozenset()
    repeats: int | None = None
    state_bytes: int | None = None

    def wants(self, case: str) -> bool:
        """Whether a case was chosen; all are when none was named."""
        return not self.cases or case in self.cases

    def leave_out(self, what: str, why: str) -> None:
        """Note something that was not measured."""
        self.notes.append(f"{what}: {why}")
        self.console.print(f"left out {what}: {why}")

    @contextmanager
    def bar(self, title: str, total: int) -> Iterator[Bar]:
        """A progress bar on stderr."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            yield Bar(progress, title, total)


class Bar:
    """One bar: says what runs now, and steps."""

    def __init__(self, progress: Progress, title: str, total: int) -> None:
        self._progress, self._title = progress, title
        self._task = progress.add_task(title, total=total)

    def now(self, what: str) -> None:
        """Name what runs."""
        self._progress.update(self._task, description=f"{self._title}: {what}")

    def step(self) -> None:
        """One more is done."""
        self._progress.advance(self._task)


class ForkFailed(Exception):
    """A measured process did not end well; holds the end of what it said."""


def build_harness() -> None:
    """Build the harness's jar with Maven unless it is newer than its sources.

    Raises:
        ForkFailed: Maven failed.
    """
    sources = [HARNESS / "pom.xml", *(HARNESS / "src").rglob("*.*")]
    if HARNESS_JAR.is_file() and HARNESS_JAR.stat().st_mtime > max(path.stat().st_mtime for path in sources):
        return
    command = ["mvn", "-q", "-B", "-f", str(HARNESS / "pom.xml"), "package"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ForkFailed(f"maven failed, output=`{(done.stdout + done.stderr)[-2_000:]}`")


def flink_lib() -> Path:
    """The folder of the distribution's jars.

    Raises:
        FileNotFoundError: the Flink environment is not installed.
    """
    found = sorted(ROOT.glob("runtimes/flink/.venv/lib/python*/site-packages/pyflink/lib"))
    if not found:
        raise FileNotFoundError("no Flink environment, hint: run `make setup`")
    return found[0]


def run_java(main: str, backend: Backend, arguments: Mapping[str, object], *, heap: str) -> dict[str, Any]:
    """Fork a JVM that drives one backend, and return the object that it printed last.

    The heap is touched beforehand, so that resident memory tells what is outside of it.

    Raises:
        ForkFailed: the fork ended with an error or took longer than `FORK_TIMEOUT_S`.
    """
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH, prefix=f"{backend.name}-") as folder:
        command = java_command(backend, main, {"folder": folder, **arguments}, heap=heap)
        return json.loads(last_line(command))  # type: ignore[no-any-return]


def java_command(backend: Backend, main: str, arguments: Mapping[str, object], *, heap: str) -> list[str]:
    """The command of a fork that drives one backend; a folder for its files is still to be named."""
    command = [*_java(backend, heap), main]
    for name, value in arguments.items():
        command += [f"--{name}", str(value)]
    for option, value in {**backend.options, **backend.fixed}.items():
        command += ["--conf", f"{option}={value}"]
    return command


def _java(backend: Backend, heap: str) -> list[str]:
    jars = [str(HARNESS_JAR.parent / "*"), *([str(backend.jar)] if backend.jar else []), str(flink_lib() / "*")]
    opens = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENS]
    return [java(), f"-Xms{heap}", f"-Xmx{heap}", "-XX:+AlwaysPreTouch", *opens, "-cp", ":".join(jars)]


def java() -> str:
    """The JVM that measures: `JAVA_HOME`'s, else the first on the path."""
    home = os.environ.get("JAVA_HOME")
    return str(Path(home) / "bin" / "java") if home else shutil.which("java") or "java"


def last_line(command: Sequence[str], *, stdin: str = "", env: Mapping[str, str] | None = None) -> str:
    """Run a command; the last line of what it printed.

    Raises:
        ForkFailed: it ended with an error, said nothing, or took longer than `FORK_TIMEOUT_S`.
    """
    lines = all_lines(command, stdin=stdin, env=env)
    return lines[-1]


def all_lines(
    command: Sequence[str], *, stdin: str = "", env: Mapping[str, str] | None = None, may_fail: bool = False
) -> list[str]:
    """Run a command; all lines that it printed.

    Raises:
        ForkFailed: it ended with an error (unless it may), said nothing, or took longer than `FORK_TIMEOUT_S`.
    """
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=FORK_TIMEOUT_S,
            env={**os.environ, **(env or {})},
        )
    except subprocess.TimeoutExpired as error:
        raise ForkFailed(f"took too long, timeout_s={FORK_TIMEOUT_S}") from error
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    if (done.returncode != 0 and not may_fail) or not lines:
        raise ForkFailed(f"code={done.returncode}, output=`{(done.stdout + done.stderr)[-3_000:]}`")
    return lines


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    version = subprocess.run([java(), "-version"], capture_output=True, text=True, check=False).stderr.splitlines()
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    hugepages = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(memory_bytes / GIB, 1),
        "java": version[0] if version else "",
        "python": sys.version.split()[0],
        "huge_pages": hugepages.read_text().strip() if hugepages.is_file() else "",
        "load_1min": round(os.getloadavg()[0], 2),
    }
