"""The file of strikes and retired hosts: kept over restarts, written by the observer that acts and by operators' commands.

Format (JSON, version 1): `{"version": 1, "hosts": {"h7": {"strikes": [{"at_ms": …, "failure": "host_lost"}], "retired_ms": …, "by": "policy", "reason": "…"}}}`.
Replaced as a whole, under a lock file beside it, so that a command and the observer never overwrite each other's change. A damaged file is
said and left alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

import msgspec

from headrace.core.clock import Clock
from headrace.core.errors import Corrupt, HeadraceError, Throttled, Unavailable
from headrace.guard.hawk.model import FailureClass
from headrace.guard.hawk.options import HawkOptions
from headrace.guard.hawk.retirement import Record, decide_retirements, strike

VERSION = 1
WAITING_MAX = 4096  # strikes that wait for the file; a fleet's worst second
TURN_MS = 1000


class RosterFile(msgspec.Struct, frozen=True):
    """What the file holds."""

    version: int = VERSION
    hosts: dict[str, Record] = {}


def load(path: Path) -> dict[str, Record]:
    """All records; none when there is no file.

    Raises:
        Corrupt: it is not what this module writes, or of a newer version.
        Unavailable: it cannot be read.
    """
    try:
        found = msgspec.json.decode(path.read_bytes(), type=RosterFile)
    except FileNotFoundError:
        return {}
    except msgspec.MsgspecError as error:
        raise Corrupt(f"file of hosts is damaged: {error}", context={"path": path}, hint="move it away") from error
    except OSError as error:
        raise Unavailable(f"file of hosts cannot be read: {error.strerror}", context={"path": path}) from error
    if found.version != VERSION:
        raise Corrupt("file of hosts is of another version", context={"path": path, "version": found.version})
    return found.hosts


@contextlib.contextmanager
def changing(path: Path, *, wait: bool = True) -> Iterator[dict[str, Record]]:
    """The records, to be changed in place; written when they were, while nobody else can.

    Raises:
        Throttled: without `wait`, when somebody else is changing them.
        Corrupt: see `load`.
        Unavailable: the file cannot be read or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(f"{path}.lock", "ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError as error:
                raise Throttled("file of hosts is being changed", context={"path": path}) from error
            records = load(path)
            before = dict(records)
            yield records
            if records != before:
                temporary = path.with_name(f".{path.name}")
                temporary.write_bytes(msgspec.json.format(msgspec.json.encode(RosterFile(hosts=records))))
                os.replace(temporary, path)
    except OSError as error:
        raise Unavailable(f"file of hosts cannot be changed: {error.strerror}", context={"path": path}) from error


class Roster:
    """The acting observer's part: takes strikes from events, retires by policy, tells what changed."""

    def __init__(self, path: Path, *, options: HawkOptions, clock: Clock, tell: Callable[..., None]) -> None:
        self._path = path
        self._options = options
        self._clock = clock
        self._tell = tell
        self._waiting: deque[tuple[int, str, FailureClass]] = deque(maxlen=WAITING_MAX)
        self._gray: dict[str, set[str]] = {}
        self._due_ms = 0
        self._problem = ""
        self.retired: dict[str, str] = {}  # host → reason

    def hear(self, event: str, fields: Mapping[str, object]) -> None:
        """An event of this observer: a verdict is a strike, and so is each gray class that comes up."""
        host, now_ms = str(fields.get("host", "")), self._clock.now_ms()
        if event == "verdict":
            self._waiting.append((now_ms, host, FailureClass(str(fields["failure"]))))
        elif event == "host_gray":
            classes = fields.get("classes")
            now = {str(each) for each in classes} if isinstance(classes, Collection) else set()
            for failure in sorted(now - self._gray.get(host, set())):
                self._waiting.append((now_ms, host, FailureClass(failure)))
            self._gray[host] = now

    def turn(self, living: Callable[[], Collection[str]], now_ms: int) -> None:
        """Once a second: write strikes down, retire who is due, see what operators did; never raises for the file's sake."""
        if now_ms < self._due_ms:
            return
        self._due_ms = now_ms + TURN_MS
        try:
            retired = self._update(living())
        except Throttled:
            return  # a command is at it; the next turn sees what it did
        except HeadraceError as error:
            if error.message != self._problem:
                self._tell("roster_problem", reason=error.message)
            self._problem = error.message
            return
        self._problem = ""
        for host in sorted(self.retired.keys() - retired.keys()):
            self._tell("host_readmitted", host=host)
        for host in sorted(retired.keys() - self.retired.keys()):
            self._tell("host_retired", host=host, reason=retired[host])
        self.retired = retired

    def _update(self, living: Collection[str]) -> dict[str, str]:
        wall_ms, waiting = self._clock.now_ms(), tuple(self._waiting)
        with changing(self._path, wait=False) as records:
            for at_ms, host, failure in waiting:
                after = strike(records.get(host, Record()), failure, at_ms, self._options)
                if after.strikes:
                    records[host] = after
            records.update(decide_retirements(records, living, wall_ms, self._options))
            retired = {host: f"{one.reason} ({one.by})" for host, one in records.items() if one.retired_ms is not None}
        for _ in waiting:
            self._waiting.popleft()  # only now: what could not be written waits for the next turn
        return retired
