"""Headless Chromium with a wall of real players: start, end in order, leave nothing behind."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

from headrace.cli.demo.pages import PageServer
from headrace.cli.demo.testbed import stop
from headrace.core.errors import Unavailable

END_TIMEOUT_S = 10.0
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--mute-audio",
    "--window-size=1000,800",
    "--remote-debugging-port=0",
)


class Wall:
    """One browser showing one frame a player."""

    def __init__(
        self, pages: PageServer, *, starts_s: Sequence[float], targets: Sequence[str], room: str, shim: bool = True
    ) -> None:
        self._pages = pages
        self.sids = [f"live-{index}" for index in range(len(starts_s))]
        query = [("sid", sid) for sid in self.sids] + [("at", str(round(start * 1000))) for start in starts_s]
        query += [("target", target) for target in targets] + [("room", room), ("shim", "on" if shim else "off")]
        self._profile = Path(tempfile.mkdtemp(prefix="headrace-players-"))
        command = ["chromium", *FLAGS, f"--user-data-dir={self._profile}", f"{pages.url}/wall.html?{urlencode(query)}"]
        try:
            self._process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
            )
        except OSError as error:
            raise Unavailable(
                f"cannot start Chromium: {error}", hint="apt-get install chromium, or `make demo-live`"
            ) from error

    def close(self) -> None:
        """Let the pages write their sums, then end the browser and remove its profile."""
        self._pages.stop_players = True
        self._pages.done.wait(END_TIMEOUT_S)
        stop(self._process)
        shutil.rmtree(self._profile, ignore_errors=True)
