"""Opening the database: a sync engine (callers run it in worker threads), WAL, and migration to the newest schema.

SQLite allows one writer at a time; WAL lets readers go on meanwhile, and a busy writer is waited for. Transactions that write
begin immediately, because an upgrade of a read transaction fails at once instead of waiting.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session, sessionmaker

from headrace.core.errors import Corrupt

BUSY_TIMEOUT_MS = 10_000  # longest write is one apply of 500 tables, measured below 1 s
MIGRATIONS = "headrace.catalog:migrations"


class Store:
    """The database of one stack; safe for threads, each unit of work takes its own session."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.sessions: sessionmaker[Session] = sessionmaker(engine, expire_on_commit=False)

    def close(self) -> None:
        """Release all connections."""
        self.engine.dispose()


def open_store(path: Path) -> Store:
    """Open the SQLite file, making and migrating it as needed.

    Raises:
        Corrupt: the file is no database, or was written by a newer Headrace.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin_immediately)
    try:
        migrate(engine)
    except DatabaseError as error:
        engine.dispose()
        raise Corrupt(
            f"the catalog's database cannot be opened: {error.orig}",
            context={"path": path},
            hint="restore it from a copy, or move it away and apply the projects again",
        ) from error
    except CommandError as error:
        engine.dispose()
        raise Corrupt(
            f"the catalog's database is of another version: {error}",
            context={"path": path},
            hint="it was written by a newer Headrace: update, or use another home",
        ) from error
    return Store(engine)


def migrate(engine: Engine) -> None:
    """Bring the schema to the newest revision; a no-op when it is there."""
    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by `_begin_immediately`, not by the driver
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_immediately(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
