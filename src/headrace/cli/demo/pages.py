"""The small web server that real players load: page, hls.js, a master playlist per session, and what they post back.

    GET  /wall.html /player.html /shim.js /hls.js     the page
    GET  /master.m3u8?sid=...                         two pathways, steering by our endpoint
    POST /js                                          rows of the page's own stopwatch and log
    POST /cmcd                                        a second CMCD target: the recorder's copy of every event report
    GET  /control, POST /done                         orderly end

Every row posted is kept, in order, with its receive time: that is the recording.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from headrace.core.clock import Clock

BODY_BYTES_MAX = 1 << 20
ROWS_MAX = 200_000  # four players write about 15 rows/s: hours
VARIANTS = ((0, 1_720_400, "640x360"), (1, 510_400, "320x180"))
CODECS = "avc1.42c01e,mp4a.40.2"


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A browser that closes a connection early is no error of ours."""


class PageServer:
    """Serves the players and keeps what they post in `rows`."""

    def __init__(
        self, players: Path, clock: Clock, *, cdns: Mapping[str, str], steering: str | None, first: str
    ) -> None:
        self.rows: list[dict[str, Any]] = []
        self.done = threading.Event()
        self.stop_players = False
        self._players, self._clock, self._cdns = players, clock, dict(cdns)
        self._steering, self._first = steering, first
        self._server = _QuietServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def keep(self, kind: str, **fields: Any) -> None:
        """Append one row to the recording."""
        if len(self.rows) < ROWS_MAX:
            self.rows.append({"t": self._clock.now_ms() / 1000, "k": kind, **fields})

    def master(self, sid: str) -> str:
        """The master playlist of one session: both pathways, the first one first."""
        lines = ["#EXTM3U", "#EXT-X-VERSION:6"]
        if self._steering:
            server = f"{self._steering}?sid={quote(sid)}"
            lines.append(f'#EXT-X-CONTENT-STEERING:SERVER-URI="{server}",PATHWAY-ID="{self._first}"')
        for cdn in sorted(self._cdns, key=lambda name: name != self._first) if self._steering else [self._first]:
            for number, bandwidth, size in VARIANTS:
                lines.append(
                    f'#EXT-X-STREAM-INF:BANDWIDTH={bandwidth},RESOLUTION={size},CODECS="{CODECS}",PATHWAY-ID="{cdn}",STABLE-VARIANT-ID="v{number}"'
                )
                lines.append(f"http://{self._cdns[cdn]}/v{number}.m3u8")
        return "\n".join(lines) + "\n"

    def receive(self, path: str, body: bytes) -> None:
        """Keep the rows of one POST."""
        if path == "/js":
            for row in json.loads(body):
                self.keep("js", ev=row)
        elif path == "/cmcd":
            for line in body.decode().splitlines():
                self.keep("cmcd", wire=line)
        elif path == "/done":
            self.done.set()

    def file(self, path: str) -> tuple[bytes, str]:
        """Content and type of a page file."""
        names = {"/hls.js": "node_modules/hls.js/dist/hls.min.js"}
        kind = "text/javascript" if path.endswith(".js") else "text/html; charset=utf-8"
        return (self._players / names.get(path, path.lstrip("/"))).read_bytes(), kind

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                url = urlsplit(self.path)
                if url.path == "/master.m3u8":
                    sid = parse_qs(url.query).get("sid", [""])[0]
                    self._answer(server.master(sid).encode(), "application/vnd.apple.mpegurl")
                elif url.path == "/control":
                    self._answer(json.dumps({"stop": server.stop_players}).encode(), "application/json")
                elif url.path in {"/wall.html", "/player.html", "/shim.js", "/hls.js"}:
                    self._answer(*server.file(url.path))
                else:
                    self.send_error(404)

            def do_POST(self) -> None:
                size = min(int(self.headers.get("Content-Length", 0)), BODY_BYTES_MAX)
                server.receive(urlsplit(self.path).path, self.rfile.read(size))
                self._answer(b"{}", "application/json")

            def _answer(self, body: bytes, kind: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Keep quiet: the recording is the log."""

        return Handler
