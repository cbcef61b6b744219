"""Events with fields, to stderr: JSON lines, or short coloured lines on a terminal.

`log = get_logger("headrace.stack")`, then `log.info("process_started", name="kafka", pid=12)`. The first word is the
event's name and never changes; values go into fields. Rows of users' data and secrets are never logged.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

_LEVEL_COLOURS = {"DEBUG": "2", "INFO": "36", "WARNING": "33", "ERROR": "31", "CRITICAL": "31;1"}


class Logger:
    """A thin face over `logging` that takes fields as keywords."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, **fields: object) -> None:
        """Detail for a developer; off by default."""
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """A fact worth a line: one per decision, also for "keep"."""
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Something to look at that was handled."""
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, *, exc: BaseException | None = None, **fields: object) -> None:
        """A failure that was handled at a loop's top; `exc` adds the traceback."""
        self._log(logging.ERROR, event, fields, exc)

    def _log(self, level: int, event: str, fields: dict[str, object], exc: BaseException | None = None) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, extra={"fields": fields}, exc_info=exc)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        row: dict[str, object] = {
            "at": at,
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
        }
        row.update(getattr(record, "fields", {}))
        if record.exc_info:
            row["traceback"] = self.formatException(record.exc_info)
        return json.dumps(row, default=str)


class _TerminalFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        at = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        pairs = " ".join(f"{key}={value}" for key, value in getattr(record, "fields", {}).items())
        colour = _LEVEL_COLOURS.get(record.levelname, "0")
        line = f"{at} \x1b[{colour}m{record.getMessage()}\x1b[0m {pairs}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def get_logger(name: str) -> Logger:
    """The logger of a module, by its dotted name."""
    return Logger(name)


def setup_logging(*, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send all events to `stream` (stderr by default); called once by each process's entry."""
    out = stream or sys.stderr
    handler = logging.StreamHandler(out)
    handler.setFormatter(_TerminalFormatter() if out.isatty() else _JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("httpx", "httpcore", "uvicorn.access", "asyncio", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
