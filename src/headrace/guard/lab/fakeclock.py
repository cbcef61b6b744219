"""A wall clock that can be bent while a process runs, by libfaketime."""

from __future__ import annotations

import os
from pathlib import Path

FOLDERS = Path("/usr/lib")
LIBRARY = "*/faketime/libfaketimeMT.so.1"  # the one for programs with threads


def find_library(folders: Path = FOLDERS) -> Path | None:
    """The library to load into a process, None when it is not installed."""
    return next(iter(sorted(folders.glob(LIBRARY))), None)


def environment(library: Path, file: Path) -> dict[str, str]:
    """What a process needs that is to take its wall clock from `file`; monotonic clocks stay true."""
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


def set_offset(file: Path, seconds: int) -> None:
    """Bend the clock of whoever reads `file`; atomic, since it is read at any time."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}")
    temporary.write_text(f"{seconds:+d}\n")
    os.replace(temporary, file)
