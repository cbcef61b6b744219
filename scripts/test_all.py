"""Run every test group one after the other and sum up: `make test`, and with `--long` `make test-long`.

Groups keep the stores apart so that two cores are never asked to run everything at once: quick tests first, then the state
engine's in Rust and Java, then those that start a small process of their own, then those that share one full local stack, then the browser. A failing group
does not hide the ones behind it. The last line is the sum in the plain form that continuous integration reads.

Tests that live with processes, disks and clocks of a real machine are repeated once when few of a group fail. One that passes then is named as unstable at the
end, with what it said: it is to be mended, but does not hold back a change. Quick tests and the crates' are not repeated: whatever fails there is a fault.

`--long` runs the same chaos, differential and model tests with the whole numbers of kills and operations, for hours.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bootstrap import find_jdk

ROOT = Path(__file__).resolve().parent.parent
NO_TESTS = 5  # pytest's exit code for an empty group
TELLING = re.compile(
    r"^(E  |FAILED|ERROR|stack: )|\[ERROR\]|panicked"
)  # of a failed group, what is said again at the end
TELLING_LINES = 80
REPEATED_MAX = 3  # failed tests of a group; more are no accident
FAILED_TEST = re.compile(r"^(?:FAILED|ERROR) (\S+)")
FLAKES = re.compile(r"Flakes: (\d+)")  # Surefire's word for what passed when it was repeated
Counts = dict[str, int]


def pytest_counts(lines: Sequence[str]) -> Counts:
    """From pytest's closing line."""
    last = next((line for line in reversed(lines) if re.search(r"\d+ (passed|failed|error|skipped)", line)), "")
    found = re.findall(r"(\d+) (passed|failed|errors?|skipped)", last)
    return {word.rstrip("s"): int(number) for number, word in found}


def maven_counts(lines: Sequence[str]) -> Counts:
    """From Surefire's sums, one a module; lines of single classes name the class behind `--`."""
    counts = {"passed": 0, "failed": 0, "error": 0, "skipped": 0}
    pattern = re.compile(r"Tests run: (\d+), Failures: (\d+), Errors: (\d+), Skipped: (\d+)(?:, Flakes: \d+)?\s*$")
    for line in lines:
        if found := pattern.search(line):
            run, failed, errors, skipped = map(int, found.groups())
            counts["passed"] += run - failed - errors - skipped
            counts["failed"] += failed
            counts["error"] += errors
            counts["skipped"] += skipped
    return counts


def cargo_counts(lines: Sequence[str]) -> Counts:
    """From the result lines of all test binaries."""
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for line in lines:
        if found := re.search(r"test result: .* (\d+) passed; (\d+) failed; (\d+) ignored", line):
            for key, number in zip(counts, map(int, found.groups()), strict=True):
                counts[key] += number
    return counts


@dataclass(frozen=True)
class Group:
    """Tests of one kind: a command, and how to read its counts."""

    name: str
    command: Sequence[str]
    count: Callable[[Sequence[str]], Counts]
    env: Mapping[str, str] = field(default_factory=dict)
    # Added to the command, runs what failed again; nothing when that is not done, or the command does it by itself.
    repeat: Sequence[str] = ()
    # Argument that names the folder for temporary files, of a command that leaves some behind.
    scratch: str = ""


def pytest_group(name: str, *arguments: str, repeat: bool = False, **env: str) -> Group:
    """A group of Python tests."""
    command = [sys.executable, "-m", "pytest", "-q", "--durations=5", *arguments]
    return Group(
        name, command, pytest_counts, env, ("--last-failed", "--last-failed-no-failures", "none") if repeat else ()
    )


def maven_group(module: str, *properties: str) -> Group:
    """The tests of a Java module."""
    pom = str(ROOT / "java" / module / "pom.xml")
    command = ["mvn", "-B", "-ntp", "-f", pom, *properties, "test"]
    return Group(f"java {module}", command, maven_counts, {"JAVA_HOME": str(find_jdk())}, scratch="-Dtest.tmp=")


def groups(*, long: bool) -> list[Group]:
    """What to run, in this order."""
    cargo = shutil.which("cargo")
    if long:
        simulator = [cargo or "", "run", "--release", "-q", "-p", "slimbase-sim", "--", "--ops", "20000000"]
        # The stable compiler has the sanitizer; only its flag is not stable. It needs a --target, or build scripts get it, too.
        crates = ["-p", "slimbase", "-p", "slimbase-sim", "-p", "slimbase-jni"]
        sanitized = [cargo or "", "test", "--release", "-q", "--target", "host-tuple", *crates]
        sanitizer = {
            "RUSTC_BOOTSTRAP": "1",
            "RUSTFLAGS": "-Zsanitizer=address",
            "CARGO_TARGET_DIR": str(ROOT / "build/sanitized"),
        }
        return [
            *([Group("address sanitizer", sanitized, cargo_counts, sanitizer)] if cargo else []),
            *([Group("simulator", simulator, cargo_counts)] if cargo else []),
            maven_group(
                "slimbase-backend",
                "-Ptests",
                "-Dslimbase.ops=1000000",
                "-Dslimbase.seeds=50",
                "-Dslimbase.model.ops=1000000",
                "-Dslimbase.ownership.steps=5",
                "-Dslimbase.crash.keys=2500",
                "-Dslimbase.fail.every=1",
            ),
            Group("state for hours", [sys.executable, "bench/state_hours.py"], pytest_counts),
            pytest_group(
                "chaos",
                "tests/chaos",
                "tests/cluster/test_quality_recount.py",
                "-p",
                "no:randomly",
                HEADRACE_TEST_KILLS="50",
            ),
        ]
    return [
        pytest_group("quick", "tests/unit", "tests/golden", "tests/tidy"),
        *([Group("crates", [cargo, "test", "--release", "-q", "--workspace"], cargo_counts)] if cargo else []),
        maven_group("connectors", "-Dsurefire.rerunFailingTestsCount=1"),
        maven_group("slimbase-backend", "-Ptests", "-Dsurefire.rerunFailingTestsCount=1"),
        pytest_group("behaviour", "tests/behaviour", repeat=True),
        pytest_group("stack", "tests/cluster", "-p", "no:randomly", repeat=True),
        pytest_group("chaos", "tests/chaos", "-p", "no:randomly", repeat=True),
        pytest_group("browser", "tests/browser", "-p", "no:randomly", repeat=True),
    ]


@dataclass(frozen=True)
class Outcome:
    """How a group's run ended."""

    counts: Counts
    well: bool
    telling: Sequence[str] = ()  # what failed tests said, those too that passed when they were repeated
    unstable: int = 0
    failed: frozenset[str] = frozenset()  # tests by pytest's name; one that fails and whose fixture then does is one


def run_command(group: Group, command: Sequence[str]) -> Outcome:
    """Run it, and print what it prints."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **group.env},
    )
    lines = []
    for line in process.stdout or []:
        print(line, end="", flush=True)
        lines.append(line)
    code = process.wait()
    well = code == 0 or (group.count is pytest_counts and code == NO_TESTS)
    unstable = max((int(number) for number in FLAKES.findall("".join(lines))), default=0)
    telling = [] if well and not unstable else [line for line in lines if TELLING.search(line)][:TELLING_LINES]
    failed = frozenset(found[1] for line in lines if (found := FAILED_TEST.match(line)))
    return Outcome(group.count(lines), well, telling, unstable, failed)


def failures(counts: Counts) -> int:
    """Failed tests, and those that could not begin."""
    return counts.get("failed", 0) + counts.get("error", 0)


def run_group(group: Group) -> Outcome:
    """Run one group, and again what failed, see above."""
    started = time.monotonic()
    print(f"\n=== {group.name} ===", flush=True)
    with tempfile.TemporaryDirectory(prefix="headrace-tests-") as folder:
        outcome = run_command(group, [*group.command, group.scratch + folder] if group.scratch else group.command)
    failed = len(outcome.failed)
    if group.repeat and 0 < failed <= REPEATED_MAX:
        print(f"=== {group.name}: {failed} failed, once more ===", flush=True)
        repeated = run_command(group, [*group.command, *group.repeat])
        if repeated.well and repeated.counts.get("passed", 0) == failed:
            counts = {**outcome.counts, "failed": 0, "error": 0, "passed": outcome.counts.get("passed", 0) + failed}
            outcome = Outcome(counts, True, outcome.telling, failed)
    print(f"=== {group.name}: {outcome.counts} in {time.monotonic() - started:.0f} s", flush=True)
    return outcome


def main() -> int:
    """Run all groups; exit code 1 when one failed or nothing ran."""
    parser = argparse.ArgumentParser(description="Run all tests.")
    parser.add_argument("--long", action="store_true", help="the whole numbers of kills and operations")
    total = {"passed": 0, "failed": 0, "error": 0, "skipped": 0}
    well = True
    telling: list[str] = []
    for group in groups(long=parser.parse_args().long):
        outcome = run_group(group)
        well = well and outcome.well
        if outcome.telling:
            title = "what failed" if not outcome.well else f"{outcome.unstable} unstable, passed when repeated"
            telling += [f"=== {group.name}, {title} ===\n", *outcome.telling]
        for key in total:
            total[key] += outcome.counts.get(key, 0)
    print("".join(telling), end="")
    print(f"\n{total['passed']} passed, {failures(total)} failed, {total['skipped']} skipped")
    return 0 if well and total["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
