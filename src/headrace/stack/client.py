"""How commands and tests reach a stack: spawn its supervisor, ask it, and clean up when it is gone."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from headrace.core.clock import Clock
from headrace.core.errors import ErrorBody, Internal, Invalid, Unavailable, from_body
from headrace.core.home import Home
from headrace.core.log import get_logger
from headrace.stack import orphans
from headrace.stack.logs import check_log_space, free_bytes, tail
from headrace.stack.messages import Answer, Launch, Request, StackStatus
from headrace.stack.supervisor import FAILED_FILE, LAUNCH_FILE, clear_run, take_lock

log = get_logger("headrace.stack")
SOCKET_PATH_LIMIT = 107  # sun_path of Linux has 108 bytes with the closing zero
SPAWN_TIMEOUT_S = 90.0  # the first start computes JVM parameters, which takes some seconds on a loaded machine
FAILED_EXIT_S = 10.0  # from saying why to being gone; an interpreter takes that long only on a very loaded machine
POLL_S = 0.05
SUSPEND_TIMEOUT_S = 75.0  # a savepoint that takes longer than a minute is given up by headraced
STOP_TIMEOUT_S = 120.0  # writing class archives on the first stop takes the longest


def ask(home: Home, request: Request, *, timeout_s: float = 30.0) -> Answer:
    """Send one request to the supervisor.

    Raises:
        Unavailable: no supervisor listens in this home, or it does not answer in time.
        HeadraceError: what the supervisor answered.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(timeout_s)
            sock.connect(str(home.supervisor_socket))
            sock.sendall(msgspec.json.encode(request) + b"\n")
            with sock.makefile("rb") as file:
                line = file.readline()
    except OSError as error:
        raise Unavailable(
            "no stack is running here", context={"home": home.root}, hint="start one: `headrace up`"
        ) from error
    if not line:
        raise Unavailable("supervisor closed the connection", context={"home": home.root}, hint="`headrace doctor`")
    answer = msgspec.json.decode(line, type=Answer)
    if answer.error is not None:
        raise from_body(answer.error)
    return answer


def status(home: Home) -> StackStatus:
    """The status of a running stack; raises as `ask`, or why the supervisor ended if it said so."""
    try:
        answer = ask(home, Request("status"))
    except Unavailable as error:
        failure = read_failure(home)
        raise (from_body(failure) if failure else error) from error
    if answer.status is None:
        raise Internal("supervisor answered without a status")
    return answer.status


def find_status(home: Home) -> StackStatus | None:
    """The status, or `None` if no supervisor answers."""
    try:
        return ask(home, Request("status")).status
    except Unavailable:
        return None


def spawn_supervisor(home: Home, launch: Launch, *, clock: Clock) -> None:
    """Start a supervisor for `home` and wait until it answers.

    Raises:
        Invalid: the path of the home is too long for Unix sockets.
        Unavailable: no space for logs, or whatever else the supervisor says it cannot start with.
    """
    if len(str(home.supervisor_socket).encode()) > SOCKET_PATH_LIMIT:
        raise Invalid(
            "path of the home is too long for Unix sockets",
            context={"home": home.root, "limit": SOCKET_PATH_LIMIT - len("/run/supervisor.sock")},
            hint="choose a shorter one with `--home`",
        )
    check_log_space(home.logs, free_bytes=free_bytes(home.logs))
    for folder in (home.run, home.logs):
        folder.mkdir(parents=True, exist_ok=True)
    (home.run / FAILED_FILE).unlink(missing_ok=True)
    (home.run / LAUNCH_FILE).write_bytes(msgspec.json.encode(launch))
    with (home.logs / "supervisor.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "headrace.stack.supervisor", "--home", str(home.root)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
            env=_environment(),
        )
    deadline = clock.monotonic_s() + SPAWN_TIMEOUT_S
    while find_status(home) is None:
        ended = process.poll() is not None
        failure = read_failure(home)
        if failure is not None:
            process.wait(FAILED_EXIT_S)
            (home.run / FAILED_FILE).unlink(missing_ok=True)
            raise from_body(failure)
        if ended or clock.monotonic_s() > deadline:
            raise Internal(
                "supervisor did not come up",
                context={"log": " | ".join(tail(home.logs / "supervisor.log", 3))},
                hint="`headrace doctor`",
            )
        clock.sleep(POLL_S)


def read_failure(home: Home) -> ErrorBody | None:
    """Why the last supervisor could not start, if it said so."""
    try:
        return msgspec.json.decode((home.run / FAILED_FILE).read_bytes(), type=ErrorBody)
    except (OSError, msgspec.MsgspecError):
        return None


def stop_stack(home: Home, *, clock: Clock) -> list[str]:
    """Stop a stack, running or half dead; nothing of it lives or lies around afterwards but data, logs and the view.

    Returns:
        Names of processes that had outlived their supervisor.

    Raises:
        Unavailable: the supervisor does not end in time.
    """
    asked = _ask_to_stop(home)
    deadline = clock.monotonic_s() + STOP_TIMEOUT_S
    lock = take_lock(home) if home.root.is_dir() else None
    while lock is None and home.root.is_dir():
        if clock.monotonic_s() > deadline:
            raise Unavailable(
                "supervisor does not stop", context={"home": home.root}, hint="look at logs/supervisor.log"
            )
        clock.sleep(POLL_S)
        asked = asked or _ask_to_stop(home)  # one that was still starting answers by now
        lock = take_lock(home)
    if lock is None:
        return []
    try:
        cleaned = orphans.clean_orphans(home.run, clock=clock)
        clear_run(home)
    finally:
        os.close(lock)
    return cleaned


def _ask_to_stop(home: Home) -> bool:
    """Have the supervisor stop everything; whether one answered."""
    found = find_status(home)
    if found is None:
        return False
    if any(process.name == "headraced" and process.state == "ready" for process in found.processes):
        suspend_jobs(home)
    ask(home, Request("stop"), timeout_s=STOP_TIMEOUT_S)
    return True


def suspend_jobs(home: Home) -> bool:
    """Have headraced stop all jobs with savepoints, which it resumes at the next start; returns whether it did.

    Without it nothing is lost either: jobs then start again from their last checkpoints.
    """
    address = urlsplit(home.load_stack().endpoints.headraced)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=SUSPEND_TIMEOUT_S)
    try:
        connection.request("POST", "/v1/jobs:suspend")
        return connection.getresponse().status == 200
    except OSError as error:
        log.warning("jobs_not_suspended", reason=str(error))
        return False
    finally:
        connection.close()


def _environment() -> dict[str, str]:
    source = str(Path(__file__).resolve().parents[2])
    current = os.environ.get("PYTHONPATH", "")
    return os.environ | {"PYTHONPATH": f"{source}:{current}" if current else source}
