"""Class archives: only complete ones are kept, and only few."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headrace.stack.archive import KEEP, MARKERS, adopt_archive


def written(folder: Path) -> tuple[Path, tuple[str, ...]]:
    """An archive that a process has just written, and the command that did."""
    temporary = folder / "kafka-1.tmp"
    temporary.write_text("classes")
    return temporary, ("java", f"-XX:ArchiveClassesAtExit={temporary}", "kafka.Kafka")


def test_archive_of_a_ready_process_is_adopted(tmp_path: Path) -> None:
    """The next start finds it under its final name."""
    temporary, argv = written(tmp_path)
    assert adopt_archive(str(tmp_path / "kafka-abc.jsa"), argv, complete=True)
    assert not temporary.exists()
    assert (tmp_path / "kafka-abc.jsa").read_text() == "classes"


def test_archive_of_a_process_that_was_stopped_young_is_thrown_away(tmp_path: Path) -> None:
    """It would lack most classes and never be replaced."""
    _, argv = written(tmp_path)
    assert not adopt_archive(str(tmp_path / "kafka-abc.jsa"), argv, complete=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["taskmanager", "failover"])
def test_archive_of_a_spare_that_did_no_work_is_thrown_away(tmp_path: Path, kind: str) -> None:
    """It would speed up the start, and leave the first job, which a spare must take over at once, as slow as ever."""
    for worked in (False, True):
        temporary = tmp_path / f"{kind}-1.tmp"
        temporary.write_bytes(b"classes " + (MARKERS[kind] if worked else b""))
        argv = ("java", f"-XX:ArchiveClassesAtExit={temporary}", "Main")
        assert adopt_archive(str(tmp_path / f"{kind}-abc.jsa"), argv, complete=True) is worked
        assert not temporary.exists()


def test_a_process_that_wrote_none_changes_nothing(tmp_path: Path) -> None:
    """A killed process writes no archive."""
    argv = ("java", f"-XX:ArchiveClassesAtExit={tmp_path / 'kafka-1.tmp'}")
    assert not adopt_archive(str(tmp_path / "kafka-abc.jsa"), argv, complete=True)
    assert not adopt_archive(str(tmp_path / "kafka-abc.jsa"), ("java",), complete=True)


def test_old_archives_of_the_same_kind_go(tmp_path: Path) -> None:
    """Each changed jar makes a new archive; the disk must not fill with old ones."""
    for number in range(5):
        path = tmp_path / f"kafka-{number}.jsa"
        path.touch()
        os.utime(path, ns=(number, number))
    (tmp_path / "jobmanager-0.jsa").touch()
    _, argv = written(tmp_path)
    adopt_archive(str(tmp_path / "kafka-new.jsa"), argv, complete=True)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["jobmanager-0.jsa", "kafka-4.jsa", "kafka-new.jsa"]
    assert len(kept) - 1 == KEEP
