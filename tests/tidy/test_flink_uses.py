"""`java/flink-uses.txt` is what the built jars use."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_flink_uses_are_current() -> None:
    """A new use of a Flink class shows up in the listing, so that it is reviewed."""
    built = list((ROOT / "build" / "jars" / "headrace").glob("*.jar"))
    if not built or shutil.which("jdeps") is None:
        pytest.skip("no built jar or no JDK")
    done = subprocess.run(
        [sys.executable, "scripts/flink_uses.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
