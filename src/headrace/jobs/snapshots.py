"""Savepoints and retained checkpoints on disk: which is the newest that a job can start from.

    <checkpoints>/<flink job id>/chk-<n>/_metadata
    <savepoints>/<job>/savepoint-<first 6 digits of the flink job id>-<random>/_metadata

A `_metadata` counts as valid when it begins with Flink's magic number; a checkpoint that was cut off while being written has none or an empty one
(Flink writes it last). Only local folders; object stores come with remote targets.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

METADATA = "_metadata"
_MAGIC = (0x4960672D).to_bytes(4, "big")  # org.apache.flink.runtime.checkpoint.Checkpoints.HEADER_MAGIC_NUMBER
_CHECKPOINT = re.compile(r"^chk-(\d+)$")
_ID_DIGITS = 6
_JOB_ID = re.compile(r"^[0-9a-f]{32}$")


def newest_checkpoint(checkpoints: Path, flink_job_id: str) -> Path | None:
    """The valid checkpoint with the highest number of one attempt, or None."""
    found = [
        (int(match.group(1)), path)
        for path in _folders(checkpoints / flink_job_id)
        if (match := _CHECKPOINT.match(path.name)) and is_valid(path)
    ]
    return max(found)[1] if found else None


def find_savepoint(savepoints: Path, job: str, flink_job_id: str) -> Path | None:
    """The newest valid savepoint that this attempt left, or None."""
    prefix = f"savepoint-{flink_job_id[:_ID_DIGITS]}-"
    found = [path for path in _folders(savepoints / job) if path.name.startswith(prefix) and is_valid(path)]
    return max(found, key=lambda path: path.stat().st_mtime_ns) if found else None


def is_valid(folder: Path) -> bool:
    """Whether Flink finished writing this savepoint or checkpoint."""
    try:
        with (folder / METADATA).open("rb") as metadata:
            return metadata.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def remove_checkpoints(checkpoints: Path, flink_job_id: str) -> bool:
    """Delete the folder of an attempt that nothing needs any more; returns whether there was one."""
    folder = checkpoints / flink_job_id
    if not _JOB_ID.match(flink_job_id) or not folder.is_dir():
        return False
    shutil.rmtree(folder, ignore_errors=True)
    return True


def _folders(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
