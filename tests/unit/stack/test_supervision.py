"""The supervisor with small real processes: crash, restart, kill, stop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.waiting import wait_until_async

from headrace.core.clock import SystemClock
from headrace.stack.child import Child
from headrace.stack.options import StackOptions
from headrace.stack.orphans import start_ticks
from headrace.stack.probes import AliveProbe
from headrace.stack.specs import Prepare, ProcessSpec

SLEEPER = "import signal; print('up', flush=True); signal.pause()"
LARGE_BYTES = 256 << 20
OPTIONS = StackOptions(restart_backoff_ms=10, restart_backoff_max_ms=100)


def make_child(folder: Path, code: str, **changes: object) -> Child:
    """A child that runs Python code and is ready at once."""
    (folder / "run").mkdir(exist_ok=True)
    fields: dict[str, object] = {
        "name": "valkey",
        "argv": (sys.executable, "-c", code),
        "probe": AliveProbe(0.0),
        "cwd": str(folder),
        "stop_timeout_s": 0.5,
        **changes,
    }
    spec = ProcessSpec(**fields)  # type: ignore[arg-type]
    return Child(spec, options=OPTIONS, run=folder / "run", logs=folder / "logs", clock=SystemClock())


async def until(predicate: Callable[[], object], what: str) -> None:
    """Wait for a condition; generous, because machines that run all tests at once are slow."""
    await wait_until_async(predicate, timeout_s=30, what=what)


def drive(child: Child, scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a child's life beside a scenario, then stop it."""

    async def body() -> None:
        life = asyncio.create_task(child.live([]))
        try:
            await scenario()
        finally:
            await child.stop()
            await asyncio.wait_for(life, 5)

    asyncio.run(body())


def test_a_killed_process_is_started_again_and_counted(tmp_path: Path) -> None:
    """SIGKILL from anywhere is a crash: it is restarted, and the status says so."""
    child = make_child(tmp_path, SLEEPER)

    async def scenario() -> None:
        await until(child.ready.is_set, "readiness")
        first = child.kill()
        await until(lambda: child.ready.is_set() and child.pid not in (0, first), "the restart")
        status = child.status()
        assert status.restarts == 1
        assert status.crashes[0].exit_code == -9
        assert not start_ticks(first)

    drive(child, scenario)


def test_a_crash_loop_is_shown_and_its_history_is_bounded(tmp_path: Path) -> None:
    """A process that cannot start backs off and is named a crash loop."""
    child = make_child(tmp_path, "raise SystemExit(3)")

    async def scenario() -> None:
        await until(lambda: child.status().looping, "the crash loop")
        status = child.status()
        assert {crash.exit_code for crash in status.crashes} == {3}
        assert [crash.backoff_ms for crash in status.crashes[:5]] == [10, 20, 40, 80, 100]

    drive(child, scenario)


def test_a_program_that_is_absent_is_a_crash_not_an_exception(tmp_path: Path) -> None:
    """The supervisor outlives a broken installation, and the log says what is missing."""
    child = make_child(tmp_path, "", argv=("/no/such/program",))

    async def scenario() -> None:
        await until(lambda: child.status().restarts, "the failed start")

    drive(child, scenario)
    assert "cannot start" in (tmp_path / "logs" / "valkey.log").read_text()


def test_stop_kills_what_ignores_sigterm_and_removes_the_pid_file(tmp_path: Path) -> None:
    """Nothing survives a stop."""
    child = make_child(tmp_path, f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}")
    pids: list[int] = []

    async def scenario() -> None:
        await until(lambda: (tmp_path / "logs" / "valkey.log").exists(), "the first line")
        pids.append(child.pid)

    drive(child, scenario)
    assert child.state == "stopped"
    assert not start_ticks(pids[0])
    assert list((tmp_path / "run").iterdir()) == []


def test_helpers_of_a_crashed_process_are_killed_before_it_is_restarted(tmp_path: Path) -> None:
    """A driver that crashes leaves no JVM behind that would hold its port."""
    code = f"import subprocess,sys; print(subprocess.Popen([sys.executable,'-c',{SLEEPER!r}]).pid, flush=True)"
    child = make_child(tmp_path, code)
    log = tmp_path / "logs" / "valkey.log"

    async def scenario() -> None:
        await until(lambda: child.status().restarts, "the crash")
        helper = int(log.read_text().split()[0])
        await until(lambda: not start_ticks(helper), "the helper's end")

    drive(child, scenario)


def test_stop_waits_for_helpers_that_take_long_to_die(tmp_path: Path) -> None:
    """SIGKILL takes effect when the memory is given back; `down` that says earlier that nothing lives is wrong."""
    large = f"memory = bytearray(b'x') * {LARGE_BYTES}; {SLEEPER}"
    code = f"import subprocess,sys; print(subprocess.Popen([sys.executable,'-c',{large!r}]).pid, flush=True); {SLEEPER}"
    child = make_child(tmp_path, code)
    log = tmp_path / "logs" / "valkey.log"

    async def scenario() -> None:
        await until(lambda: log.exists() and log.read_text().count("up") == 2, "the helper")

    drive(child, scenario)
    (helper,) = (int(word) for word in log.read_text().split() if word.isdigit())
    assert not start_ticks(helper)


def test_a_planned_restart_is_no_crash(tmp_path: Path) -> None:
    """`restart` gives a new process without back-off and without a crash in the history."""
    child = make_child(tmp_path, SLEEPER)

    async def scenario() -> None:
        await until(child.ready.is_set, "readiness")
        first = child.pid
        await child.restart()
        await until(lambda: child.pid not in (0, first), "the new process")
        assert child.status().crashes == ()

    drive(child, scenario)


def test_preparation_runs_once(tmp_path: Path) -> None:
    """Storage is formatted before the first start only."""
    marker = tmp_path / "marker"
    prepare = Prepare((sys.executable, "-c", f"open({str(marker)!r}, 'a').write('x')"), str(marker))
    child = make_child(tmp_path, SLEEPER, prepare=prepare)

    async def scenario() -> None:
        await until(child.ready.is_set, "readiness")
        child.kill()
        await until(lambda: child.status().restarts and child.ready.is_set(), "the restart")

    drive(child, scenario)
    assert marker.read_text() == "x"


def test_children_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    """The kernel tells them by SIGTERM, even if nobody ever comes to clean up."""
    code = (
        "import asyncio,sys; from pathlib import Path; from tests.unit.stack.test_supervision import *\n"
        f"child = make_child(Path({str(tmp_path)!r}), SLEEPER)\n"
        "async def main():\n"
        "    life = asyncio.create_task(child.live([])); await until(child.ready.is_set, 'x')\n"
        "    print(child.pid, flush=True); await life\n"
        "asyncio.run(main())\n"
    )

    async def scenario() -> None:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        pid = int(await process.stdout.readline())
        process.kill()
        await process.wait()
        await until(lambda: not start_ticks(pid), "the child's end")

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_both_outputs_reach_the_log(tmp_path: Path, name: str) -> None:
    """What a process says on either stream is in its log."""
    child = make_child(tmp_path, f"import sys,signal; print('hello', file=sys.{name}, flush=True); signal.pause()")
    log = tmp_path / "logs" / "valkey.log"

    async def scenario() -> None:
        await until(lambda: log.exists() and "hello" in log.read_text(), "the line")

    drive(child, scenario)
