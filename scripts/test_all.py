"""Run every test group one after the other and sum up: `make test`.

Groups keep the stores apart so that two cores are never asked to run everything at once: quick tests first, then those
that start a small process of their own, then those that share one full local stack, then the browser. A failing group
does not hide the ones behind it. The last line is the sum in the plain form that continuous integration reads.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GROUPS = (
    ("quick", ["tests/unit", "tests/golden", "tests/tidy"]),
    ("behaviour", ["tests/behaviour"]),
    ("stack", ["tests/cluster", "-p", "no:randomly"]),
    ("chaos", ["tests/chaos", "-p", "no:randomly"]),
    ("browser", ["tests/browser", "-p", "no:randomly"]),
)
NO_TESTS = 5  # pytest's exit code for an empty group


def run_group(name: str, arguments: list[str]) -> tuple[dict[str, int], bool]:
    """Run one group; returns its counts by outcome and whether it ended well."""
    started = time.monotonic()
    print(f"\n=== {name} ===", flush=True)
    command = [sys.executable, "-m", "pytest", "-q", "--durations=5", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    last = ""
    for line in process.stdout or []:
        print(line, end="", flush=True)
        if re.search(r"\d+ (passed|failed|error|skipped)", line):
            last = line
    code = process.wait()
    counts = {
        word.rstrip("s"): int(number) for number, word in re.findall(r"(\d+) (passed|failed|errors?|skipped)", last)
    }
    print(f"=== {name}: {counts} in {time.monotonic() - started:.0f} s", flush=True)
    return counts, code in (0, NO_TESTS)


def main() -> int:
    """Run all groups; exit code 1 when one failed or nothing ran."""
    total = {"passed": 0, "failed": 0, "error": 0, "skipped": 0}
    well = True
    for name, arguments in GROUPS:
        if not (ROOT / arguments[0]).is_dir():
            continue
        counts, ended_well = run_group(name, arguments)
        well = well and ended_well
        for key in total:
            total[key] += counts.get(key, 0)
    print(f"\n{total['passed']} passed, {total['failed'] + total['error']} failed, {total['skipped']} skipped")
    return 0 if well and total["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
