"""The HTTP server of an application with live streams: on SIGTERM it ends the streams first, then shuts down.

An ordinary shutdown waits for open responses, and a stream is a response that never ends: without this, stopping `headraced`
while a page is open would always take the whole grace time.
"""

from __future__ import annotations

from socket import socket

import uvicorn
from litestar import Litestar

from headrace.console.live import LiveHub


class LiveServer(uvicorn.Server):
    """A server that knows the hub of its application."""

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Drop all pages (they reconnect by themselves), then wait for the rest."""
        app = self.config.app
        hub = app.state.get("live") if isinstance(app, Litestar) else None
        if isinstance(hub, LiveHub):
            hub.end_streams()
        await super().shutdown(sockets)
