"""Logs are bounded, and a disk without space costs lines, never a process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headrace.core.errors import Unavailable
from headrace.stack import logs
from headrace.stack.logs import LogWriter, check_log_space, free_bytes, tail


def test_log_rotates_and_forgets(tmp_path: Path) -> None:
    """Never more than the live file and `keep` old ones, none above the limit."""
    writer = LogWriter(tmp_path / "a.log", limit_bytes=100, keep=2)
    for number in range(50):
        writer.write(f"{number:09d}\n".encode())
    writer.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.log", "a.log.1", "a.log.2"]
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())
    assert tail(tmp_path / "a.log", 1) == ["000000049"]


def test_full_disk_drops_lines_says_so_and_recovers(tmp_path: Path) -> None:
    """/dev/full answers every write with ENOSPC, as a full disk does; when there is room again, writing goes on."""
    path = tmp_path / "a.log"
    path.symlink_to("/dev/full")
    writer = LogWriter(path, limit_bytes=1000, keep=1)
    writer.write(b"lost\n")
    assert writer.dropped_bytes == 5
    assert "No space left" in writer.problem
    path.unlink()
    writer.close()
    writer.write(b"kept\n")
    assert writer.problem == ""
    assert tail(path, 5) == ["kept"]


def test_unwritable_folder_does_not_raise(tmp_path: Path) -> None:
    """Any failure of the disk is handled alike."""
    (tmp_path / "file").touch()
    writer = LogWriter(tmp_path / "file" / "a.log", limit_bytes=1000, keep=1)
    writer.write(b"lost\n")
    assert writer.dropped_bytes == 5
    assert writer.problem


def test_stack_is_not_started_without_room_for_logs(tmp_path: Path) -> None:
    """`up` refuses before it starts anything, and says where space is missing."""
    with pytest.raises(Unavailable, match="no disk space for logs") as caught:
        check_log_space(tmp_path, free_bytes=1 << 20)
    assert caught.value.context == {"path": str(tmp_path), "free_mb": "1", "need_mb": "64"}
    check_log_space(tmp_path, free_bytes=logs.MIN_FREE_BYTES)


def test_free_space_is_asked_of_the_nearest_existing_folder(tmp_path: Path) -> None:
    """A home that does not exist yet lies on its parent's disk."""
    stats = os.statvfs(tmp_path)
    assert abs(free_bytes(tmp_path / "not" / "yet") - stats.f_bavail * stats.f_frsize) < 1 << 30
