"""Mapped rows. A value as a whole (a `Table`, a `JobSpec`) is msgspec JSON in a text column; columns exist for what is searched.

Times are ms since the epoch. Every change here needs a migration in `migrations/versions`; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, Integer, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Base of all mapped classes; constraint names are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class TableRow(Base):
    """A logical table in its newest declaration; older versions come with the schema service."""

    __tablename__ = "tables"

    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    project: Mapped[str] = mapped_column(String(64))
    layer: Mapped[str] = mapped_column(String(16))
    system: Mapped[str] = mapped_column(String(32))
    owner: Mapped[str] = mapped_column(String(128))
    file: Mapped[str] = mapped_column(String(256))
    fingerprint: Mapped[str] = mapped_column(String(64))
    spec: Mapped[str] = mapped_column(Text)
    created_at_ms: Mapped[int] = mapped_column(BigInteger)
    updated_at_ms: Mapped[int] = mapped_column(BigInteger)


class DimRow(Base):
    """A dim of a project; its text is a file below the home, here is only what it was."""

    __tablename__ = "dims"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    project: Mapped[str] = mapped_column(String(64))
    fingerprint: Mapped[str] = mapped_column(String(64))
    text: Mapped[str] = mapped_column(Text)
    updated_at_ms: Mapped[int] = mapped_column(BigInteger)


class JournalRow(Base):
    """One action of a person or a loop. Appended when it begins; only `measured` and `outcome` are filled in when it ends."""

    __tablename__ = "journal"
    __table_args__ = (Index("ix_journal_target", "target"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    at_ms: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(64))
    target: Mapped[str] = mapped_column(String(128))
    cause: Mapped[str] = mapped_column(Text)
    expected: Mapped[str] = mapped_column(Text)
    measured: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(String(16))
    ended_at_ms: Mapped[int] = mapped_column(BigInteger)


class JobRow(Base):
    """A job: what is wanted (`desired`, `spec`) and what the reconciler last did about it."""

    __tablename__ = "jobs"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    project: Mapped[str] = mapped_column(String(64))
    desired: Mapped[str] = mapped_column(String(16))
    spec: Mapped[str] = mapped_column(Text)
    fingerprint: Mapped[str] = mapped_column(String(64))
    flink_job_id: Mapped[str] = mapped_column(String(32))
    restore_path: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    error: Mapped[str] = mapped_column(Text)
    failures: Mapped[int] = mapped_column(Integer)
    next_attempt_at_ms: Mapped[int] = mapped_column(BigInteger)
    created_at_ms: Mapped[int] = mapped_column(BigInteger)
    updated_at_ms: Mapped[int] = mapped_column(BigInteger)


class AttemptRow(Base):
    """One submission of a job to the cluster, stored before it is sent, so that a lost answer can be looked up."""

    __tablename__ = "job_attempts"
    __table_args__ = (Index("ix_job_attempts_job", "job"),)

    flink_job_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    job: Mapped[str] = mapped_column(String(64))
    fingerprint: Mapped[str] = mapped_column(String(64))
    restored_from: Mapped[str] = mapped_column(Text)
    savepoint: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(String(16))
    submitted_at_ms: Mapped[int] = mapped_column(BigInteger)
    ended_at_ms: Mapped[int] = mapped_column(BigInteger)
