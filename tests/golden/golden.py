"""Golden texts: what a user reads is compared, letter by letter, with a file that a person has looked at."""

from __future__ import annotations

import os
from pathlib import Path

REWRITE_ENV = "HEADRACE_GOLDEN"
HERE = Path(__file__).parent


def check(path: Path | str, text: str) -> None:
    """Compare `text` with the golden file (relative to tests/golden); `make golden` (HEADRACE_GOLDEN=1) rewrites it."""
    file = HERE / path
    wanted = text.rstrip("\n") + "\n"
    if os.environ.get(REWRITE_ENV) == "1":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(wanted, "utf-8")
        return
    assert file.exists(), f"{file} does not exist: run `make golden` and look at what it writes"
    assert wanted == file.read_text("utf-8"), f"differs from {file}: if it is meant, `make golden`"
