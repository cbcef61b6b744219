"""What goes over the supervisor's control socket: one JSON object per line, a request and its answer."""

from __future__ import annotations

import msgspec

from headrace.core.errors import ErrorBody
from headrace.core.home import Endpoints
from headrace.stack.backoff import Crash
from headrace.stack.options import StackOptions

LINE_LIMIT = 1 << 20  # bytes; a status of 30 processes with full histories is below 100 kB


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """What `up` hands to a new supervisor in `<home>/run/launch.json`."""

    options: StackOptions
    flink_settings: dict[str, str]
    names: tuple[str, ...]


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request; `names` for start, kill, restart and wait-ready, where empty means all."""

    op: str
    names: tuple[str, ...] = ()
    timeout_s: float = 60.0


class Phase(msgspec.Struct, frozen=True):
    """A measured part of the start."""

    name: str
    at_ms: int
    duration_ms: int


class ProcessStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One process as `status` shows it; `state` is waiting, preparing, starting, ready, backoff, stopping or stopped."""

    name: str
    state: str
    pid: int = 0
    started_at_ms: int = 0
    ready_at_ms: int = 0
    start_ms: int = 0
    restarts: int = 0
    looping: bool = False
    cpu_percent: float = 0.0
    rss_bytes: int = 0
    endpoint: str = ""
    log: str = ""
    log_problem: str = ""
    crashes: tuple[Crash, ...] = ()


class StackStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The whole stack."""

    home: str
    supervisor_pid: int
    started_at_ms: int
    at_ms: int
    ready: bool
    processes: tuple[ProcessStatus, ...]
    timeline: tuple[Phase, ...] = ()
    endpoints: Endpoints


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """An answer: `error` when the request failed, else `ok`."""

    ok: bool
    error: ErrorBody | None = None
    status: StackStatus | None = None
