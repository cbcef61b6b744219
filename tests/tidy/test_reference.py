"""The generated reference is what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

KEY = re.compile(r'ConfigOptions\s*\.key\(\s*"([^"]+)"')
ROOT = Path(__file__).resolve().parents[2]


def test_reference_pages_are_current() -> None:
    """`make docs` would change nothing."""
    done = subprocess.run(
        [sys.executable, "scripts/reference.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_option_of_slimbase_is_in_the_reference() -> None:
    """Also one that is declared in another class than the page is made from."""
    sources = (ROOT / "java/slimbase-backend/src/main").rglob("*.java")
    keys = {key for path in sources for key in KEY.findall(path.read_text("utf-8"))}
    page = (ROOT / "docs/reference/slimbase.md").read_text("utf-8")
    assert keys == set(re.findall(r"^\| `([^`]+)`", page, re.MULTILINE))
