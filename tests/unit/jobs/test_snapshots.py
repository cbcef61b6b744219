"""Finding the newest state on disk."""

from __future__ import annotations

import os
from pathlib import Path

from tests.unit.platform_fakes import write_metadata

from headrace.jobs.snapshots import find_savepoint, newest_checkpoint, remove_checkpoints

ID = "ab" * 16


def test_the_newest_valid_checkpoint_wins(tmp_path: Path) -> None:
    """The highest number counts (10 before 9), unless its metadata is missing, empty or of something else."""
    for number in (9, 10):
        write_metadata(tmp_path / ID / f"chk-{number}")
    (tmp_path / ID / "chk-11").mkdir()
    (tmp_path / ID / "chk-12").mkdir()
    (tmp_path / ID / "chk-12/_metadata").write_bytes(b"")
    (tmp_path / ID / "chk-13").mkdir()
    (tmp_path / ID / "chk-13/_metadata").write_bytes(b"else")
    (tmp_path / ID / "shared").mkdir()
    assert newest_checkpoint(tmp_path, ID) == tmp_path / ID / "chk-10"


def test_no_folder_is_no_checkpoint(tmp_path: Path) -> None:
    """An attempt that never got that far has none."""
    assert newest_checkpoint(tmp_path, ID) is None


def test_savepoints_belong_to_their_attempt(tmp_path: Path) -> None:
    """Only those of the id count, the newest of them."""
    for name, at in (("savepoint-ababab-1", 10), ("savepoint-ababab-2", 20), ("savepoint-cdcdcd-3", 30)):
        write_metadata(tmp_path / "total" / name)
        os.utime(tmp_path / "total" / name, (at, at))
    assert find_savepoint(tmp_path, "total", ID) == tmp_path / "total" / "savepoint-ababab-2"


def test_only_an_attempt_s_own_folder_is_removed(tmp_path: Path) -> None:
    """Anything that is not a Flink id is refused, so that no path can be smuggled in."""
    write_metadata(tmp_path / ID / "chk-1")
    assert not remove_checkpoints(tmp_path, "..")
    assert not remove_checkpoints(tmp_path, "")
    assert remove_checkpoints(tmp_path, ID)
    assert not (tmp_path / ID).exists()
