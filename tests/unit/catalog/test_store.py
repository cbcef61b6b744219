"""The database: migrations agree with the mapping, damaged files are told apart, the journal only grows."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from headrace.catalog.journal import Act, Journal
from headrace.catalog.models import Base
from headrace.catalog.store import open_store
from headrace.core.errors import Corrupt, Invalid
from headrace.testing.fakes import FakeClock


def test_migrations_lead_to_the_mapped_schema(tmp_path: Path) -> None:
    """A fresh database has exactly the tables, columns and indexes that the classes map."""
    store = open_store(tmp_path / "a.db")
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_opening_again_keeps_what_was_stored(tmp_path: Path) -> None:
    """A second start migrates nothing and loses nothing; the file is in WAL mode."""
    clock = FakeClock()
    store = open_store(tmp_path / "a.db")
    with Journal(store, clock).recording(Act("me", "x.do", "x", "because")):
        pass
    store.close()
    assert len(Journal(open_store(tmp_path / "a.db"), clock).newest()) == 1
    assert sqlite3.connect(tmp_path / "a.db").execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_that_is_no_database_is_corrupt(tmp_path: Path) -> None:
    """The sentence names the file and a way out."""
    (tmp_path / "a.db").write_text("these are no pages of a database, " * 50)
    with pytest.raises(Corrupt) as caught:
        open_store(tmp_path / "a.db")
    assert str(tmp_path / "a.db") == caught.value.context["path"]


def test_a_database_of_a_newer_headrace_is_refused(tmp_path: Path) -> None:
    """An unknown revision is not touched."""
    open_store(tmp_path / "a.db").close()
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Corrupt, match="of another version"):
        open_store(tmp_path / "a.db")


def test_the_journal_tells_begin_end_failure_and_cut_off(tmp_path: Path) -> None:
    """Entries are there while the action runs, completed after it, and marked when the process died in between."""
    clock = FakeClock()
    store = open_store(tmp_path / "a.db")
    journal = Journal(store, clock)
    with journal.recording(Act("me", "a.do", "t", "because", "better")) as effect:
        assert journal.newest()[0].outcome == "begun"
        clock.advance(2)
        effect.measured = "good"
    with pytest.raises(Invalid), journal.recording(Act("me", "b.do", "t", "because")):
        raise Invalid("it is wrong", hint="do it right")
    failed, done = journal.newest()
    assert (done.outcome, done.measured, done.ended_at_ms - done.at_ms) == ("done", "good", 2000)
    assert (failed.outcome, failed.measured) == ("failed", "it is wrong\nhint: do it right")
    journal._begin(Act("me", "c.do", "t", "because"))
    assert journal.close_cut_off() == 1
    assert journal.newest(1)[0].outcome == "cut_off"
