"""A feed server: the console's HTTP API over a `World`, with the real static files, in threads of the test process.

`Feed.start` listens, `stop` drops all clients, and a later `start` takes the same port again, as a restarted `headraced` does.
By hand, to look at the pages: `python -m tests.browser.feed 23701`.
"""

from __future__ import annotations

import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec

from headrace.console import live_model as m
from headrace.console.failure_model import FailuresTick
from tests.browser.world import HISTORY_S, World
from tests.browser.world_failures import failures

STATIC = Path(__file__).parents[2] / "src/headrace/console/static"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class Feed:
    """One server over one world; `offset_ms` moves the story, `frozen_ms` stops its clock."""

    def __init__(self, world: World, *, port: int = 0) -> None:
        self.world = world
        self.port = port
        self.frozen_ms: int | None = None
        self.clients = 0
        self._server: ThreadingHTTPServer | None = None
        self._stopping = threading.Event()

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"http://127.0.0.1:{self.port}/"

    def now_ms(self) -> int:
        """The story's time."""
        return self.frozen_ms if self.frozen_ms is not None else time.time_ns() // 1_000_000

    def start(self) -> None:
        """Listen; the first start picks a free port unless one was given."""
        self._stopping = threading.Event()
        handler = type("Handler", (_Handler,), {"feed": self, "stopping": self._stopping})
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Drop every client and stop listening."""
        self._stopping.set()
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Handler(BaseHTTPRequestHandler):
    feed: Feed
    stopping: threading.Event
    protocol_version = "HTTP/1.0"

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        selection = m.Selection(region=query.get("region", ""), isp=query.get("isp", ""), room=query.get("room", ""))
        world, now = self.feed.world, self.feed.now_ms()
        if url.path == "/v1/live":
            self._live(
                selection, query.get("job", ""), query.get("state_of", ""), failures_too=bool(query.get("failures"))
            )
        elif url.path == "/v1/quality/board":
            self._json(world.board(now, selection))
        elif url.path.startswith("/v1/jobs/"):
            self._json(world.detail(now))
        else:
            self._file(url.path)

    def _json(self, value: object) -> None:
        self._answer("application/json", msgspec.json.encode(value))

    def _file(self, path: str) -> None:
        file = STATIC / (path.lstrip("/") or "index.html")
        if not file.is_file():
            self.send_error(404)
            return
        self._answer(TYPES.get(file.suffix, "application/octet-stream"), file.read_bytes())

    def _answer(self, content_type: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _live(self, selection: m.Selection, job: str, state_of: str, *, failures_too: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.feed.clients += 1
        try:
            self._send("snapshot", self._snapshot(self.feed.now_ms(), selection, job, state_of))
            if failures_too:
                self._send("failures", self._failures())
            while not self.stopping.wait(1.0):
                now = self.feed.now_ms()
                world = self.feed.world
                self._send("overview", m.OverviewTick(world.overview(now), world.overview_series(now - 2000, now)))
                self._send(
                    "quality",
                    m.QualityTick(world.board(now, selection), world.quality_series(now - 5000, now, selection)),
                )
                self._send("jobs", m.JobsTick(self._jobs(now, job)))
                if state_of:
                    self._send("state", m.StateTick(world.state(now, state_of), world.state_series(now - 6000, now)))
                if failures_too:
                    self._send("failures", self._failures())
        except OSError:
            pass
        finally:
            self.feed.clients -= 1

    def _failures(self) -> FailuresTick:
        world, now = self.feed.world, self.feed.now_ms()
        sources = world.reaches(now, ["failures"])
        return FailuresTick(failures(now, empty=world.empty, alarmed=world.alarmed, sources=sources))

    def _jobs(self, now: int, job: str) -> m.Jobs:
        rows = self.feed.world.overview(now).jobs
        return m.Jobs(
            at_ms=now, jobs=rows, detail=self.feed.world.detail(now) if any(row.name == job for row in rows) else None
        )

    def _snapshot(self, now: int, selection: m.Selection, job: str, state_of: str) -> m.Snapshot:
        world = self.feed.world
        return m.Snapshot(
            at_ms=now, sample_ms=1000, history_s=HISTORY_S, overview=world.overview(now), quality=world.board(now, selection), jobs=self._jobs(now, job),
            overview_history=world.overview_series(now - HISTORY_S * 1000, now), quality_history=world.quality_series(now - HISTORY_S * 1000, now, selection),
            state=world.state(now, state_of), state_history=world.state_series(now - HISTORY_S * 1000, now),
        )  # fmt: skip

    def _send(self, event: str, value: object) -> None:
        self.wfile.write(b"event: " + event.encode() + b"\ndata: " + msgspec.json.encode(value) + b"\n\n")
        self.wfile.flush()


if __name__ == "__main__":
    feed = Feed(World(origin_ms=time.time_ns() // 1_000_000 - 330_000), port=int(sys.argv[1]))
    feed.start()
    threading.Event().wait()
