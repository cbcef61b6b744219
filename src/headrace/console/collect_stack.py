"""Processes, as the supervisor reports them over its control socket."""

from __future__ import annotations

from headrace.console.live_model import Process
from headrace.core.home import Home
from headrace.stack.client import status
from headrace.stack.messages import ProcessStatus, StackStatus


class StackCollector:
    """Asks the supervisor of one home."""

    name = "supervisor"

    def __init__(self, home: Home) -> None:
        self._home = home

    def collect(self) -> StackStatus:
        """The whole status; raises `Unavailable` when no supervisor answers."""
        return status(self._home)

    def close(self) -> None:
        """Nothing is kept open."""


def render_process(one: ProcessStatus, *, now_ms: int) -> Process:
    """A process as the page shows it; a crash loop is named as such."""
    detail = "keeps crashing" if one.looping else one.log_problem
    if one.crashes and not detail and one.state != "ready":
        detail = f"crashed {len(one.crashes)} times"
    return Process(
        name=one.name,
        state=one.state,
        pid=one.pid or None,
        restarts=one.restarts,
        cpu_ratio=one.cpu_percent / 100 if one.pid else None,
        rss_bytes=one.rss_bytes or None,
        uptime_ms=now_ms - one.started_at_ms if one.pid and one.started_at_ms else None,
        endpoint=one.endpoint,
        detail=detail,
    )
