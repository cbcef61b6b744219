"""The folder of one stack ("home") and the file that tells others where its processes listen.

`<home>/stack.json` is written by the supervisor, atomically, each time an endpoint changes; every other process and
command finds the stack through `load_stack`. Two homes are two stacks.

    stack.json        this module's `StackInfo`
    run/              pid files, sockets (supervisor.sock, driver.sock)
    logs/<name>.log   one per process
    data/             kafka, valkey, olap, checkpoints, savepoints, archive, headrace.db: survives `down`
    tmp/              removed by `down`
    flink/            the private FLINK_HOME view
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from headrace.core.errors import Corrupt, Unavailable

HOME_ENV = "HEADRACE_HOME"


class Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """Where the processes of a stack listen; `host:port`, `http://host:port`, or the path of a Unix socket."""

    kafka: str
    flink: str
    redis: str
    olap: str
    headraced: str
    gateway: str
    steering: str
    driver: str


class StackInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What `<home>/stack.json` holds."""

    version: int = 1
    home: str
    supervisor_pid: int
    started_at_ms: int
    endpoints: Endpoints


class Home:
    """Paths below one stack's folder; makes none of them."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.stack_file = self.root / "stack.json"
        self.run = self.root / "run"
        self.logs = self.root / "logs"
        self.data = self.root / "data"
        self.tmp = self.root / "tmp"
        self.flink = self.root / "flink"
        self.database = self.data / "headrace.db"
        self.checkpoints = self.data / "checkpoints"
        self.savepoints = self.data / "savepoints"
        self.archive = self.data / "archive"
        self.supervisor_socket = self.run / "supervisor.sock"
        self.driver_socket = self.run / "driver.sock"

    def load_stack(self) -> StackInfo:
        """Read `stack.json`.

        Raises:
            Unavailable: there is no running stack in this home.
            Corrupt: the file is not what the supervisor writes.
        """
        try:
            return msgspec.json.decode(self.stack_file.read_bytes(), type=StackInfo)
        except FileNotFoundError as error:
            raise Unavailable(
                "no stack is running here", context={"home": self.root}, hint="start one: `headrace up`"
            ) from error
        except msgspec.MsgspecError as error:
            raise Corrupt(
                f"stack file is damaged: {error}",
                context={"path": self.stack_file},
                hint="`headrace down`, then `headrace up`",
            ) from error


def resolve_home(explicit: str | None, env: Mapping[str, str] = os.environ) -> Home:
    """The home to use: the `--home` option, else `HEADRACE_HOME`, else `.headrace` in the current folder."""
    return Home(Path(explicit or env.get(HOME_ENV) or ".headrace"))
