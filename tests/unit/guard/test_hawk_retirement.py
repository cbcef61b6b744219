"""Hosts that fail again and again get no work until somebody has looked at them; the last ones always do."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.waiting import wait_until

from headrace.cli.main import app
from headrace.core.clock import BootClock
from headrace.core.errors import Corrupt, Throttled
from headrace.guard.hawk.agent import Agent, AgentSetup
from headrace.guard.hawk.keys import host_key
from headrace.guard.hawk.model import FailureClass
from headrace.guard.hawk.observer import Observer, ObserverSetup
from headrace.guard.hawk.options import HawkOptions
from headrace.guard.hawk.retirement import (
    STRIKES_MAX,
    Record,
    count_strikes,
    decide_retirements,
    retire,
    strike,
)
from headrace.guard.hawk.roster import TURN_MS, Roster, changing, load
from headrace.testing import FakeClock

OPTIONS = HawkOptions(retire_strikes=3, retire_window_s=3600, retire_hosts_min=2)
LOST, PROCESS, GRAY, RACK = (
    FailureClass.HOST_LOST,
    FailureClass.PROCESS_LOST,
    FailureClass.SLOW_DISK,
    FailureClass.RACK_LOST,
)
KEY = b"k" * 32
NOW = 1_800_000_000_000
MINUTE, HOUR = 60_000, 3_600_000


def record(*failures: FailureClass, at_ms: int = NOW) -> Record:
    """A record with these strikes, a second apart, the last at `at_ms`."""
    made = Record()
    for index, failure in enumerate(failures, 1 - len(failures)):
        made = strike(made, failure, at_ms + index * 1000, OPTIONS)
    return made


def test_strikes_count_for_a_while() -> None:
    """Convictions and gray classes; three lost processes are one; a lost rack is nobody's fault."""
    assert count_strikes(record(LOST, GRAY, LOST), NOW, OPTIONS) == 3
    assert count_strikes(record(LOST, GRAY, LOST), NOW + HOUR, OPTIONS) == 0
    assert count_strikes(record(PROCESS, PROCESS), NOW, OPTIONS) == 0
    assert count_strikes(record(PROCESS, PROCESS, LOST, PROCESS), NOW, OPTIONS) == 2
    assert record(RACK, RACK, RACK) == Record()


def test_a_record_is_bounded_and_forgets() -> None:
    """A host that flaps for a week costs no more than its window."""
    flapping = record(*[LOST] * 500)
    assert len(flapping.strikes) == STRIKES_MAX
    assert len(strike(flapping, LOST, NOW + 2 * HOUR, OPTIONS).strikes) == 1


def test_too_many_strikes_retire_a_host() -> None:
    """Not one fewer, and only once; 0 retires nobody."""
    living = ["a", "b", "c", "d"]
    records = {"a": record(LOST, GRAY), "b": record(LOST, LOST, LOST)}
    (found,) = decide_retirements(records, living, NOW, OPTIONS).items()
    assert (found[0], found[1].retired_ms, found[1].by, found[1].reason) == ("b", NOW, "policy", "3 strikes in 1 h")
    assert decide_retirements({"b": found[1]}, living, NOW, OPTIONS) == {}
    nobody = msgspec.structs.replace(OPTIONS, retire_strikes=0)
    assert decide_retirements(records, living, NOW, nobody) == {}


def test_enough_living_hosts_are_always_left() -> None:
    """The worst are retired first; one that is dead takes no living host away; retired ones are no help."""
    bad = {"a": record(LOST, LOST, LOST), "b": record(*[LOST] * 5), "c": record(*[LOST] * 4)}
    assert list(decide_retirements(bad, ["a", "b", "c", "d"], NOW, OPTIONS)) == ["b", "c"]
    assert list(decide_retirements(bad, ["a", "b", "c"], NOW, OPTIONS)) == ["b"]
    assert list(decide_retirements(bad, ["a", "c"], NOW, OPTIONS)) == ["b"]
    assert decide_retirements(bad, ["a"], NOW, OPTIONS) == {}
    gone = {**bad, "d": retire(Record(), "ann", "fan", NOW), "e": retire(Record(), "ann", "fan", NOW)}
    assert list(decide_retirements(gone, ["a", "b", "c", "d", "e"], NOW, OPTIONS)) == ["b"]


class Told:
    """Events with their fields."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def __call__(self, event: str, **fields: Any) -> None:
        """One event."""
        self.events.append((event, fields.get("host", fields.get("reason"))))


def roster(path: Path, clock: FakeClock) -> tuple[Roster, Told]:
    """The observer's part, and what it tells."""
    told = Told()
    return Roster(path, options=OPTIONS, clock=clock, tell=told), told


LIVING = ("a", "b", "c")


def test_the_policy_acts_once_and_an_operator_undoes_it(tmp_path: Path) -> None:
    """Over a restart of the observer; after the re-admission the record is clean."""
    path, clock = tmp_path / "hosts.json", FakeClock(NOW)
    one, told = roster(path, clock)
    for turn in range(3):
        one.hear("verdict", {"host": "a", "failure": LOST, "process": ""})
        one.turn(lambda: LIVING, turn * TURN_MS)
    one.turn(lambda: LIVING, 3 * TURN_MS)
    assert told.events == [("host_retired", "a")]
    assert list(one.retired) == ["a"]
    again, told = roster(path, clock)
    again.turn(lambda: LIVING, 0)
    assert told.events == [("host_retired", "a")]  # the new process says what it found
    with pytest.raises(SystemExit) as ended:
        app(["hawk", "readmit", "a", "--file", str(path)])
    assert ended.value.code in (0, None)
    again.turn(lambda: LIVING, TURN_MS)
    assert told.events[-1] == ("host_readmitted", "a")
    assert load(path) == {}


def test_each_gray_class_is_one_strike_however_often_it_is_told(tmp_path: Path) -> None:
    """A class that stays is not new; one that comes back is."""
    one, _ = roster(tmp_path / "hosts.json", FakeClock(NOW))
    for classes in (["slow_disk"], ["slow_disk", "full_disk"], ["full_disk"], ["slow_disk"]):
        one.hear("host_gray", {"host": "a", "classes": classes})
    one.turn(lambda: LIVING, 0)
    assert [each.failure for each in load(tmp_path / "hosts.json")["a"].strikes] == [
        "slow_disk",
        "full_disk",
        "slow_disk",
    ]


def test_a_file_that_cannot_be_used_is_said_once_and_no_strike_is_lost(tmp_path: Path) -> None:
    """Detection goes on; what waited is written when the file is well again."""
    path = tmp_path / "hosts.json"
    path.write_bytes(b"{nonsense")
    one, told = roster(path, FakeClock(NOW))
    one.hear("verdict", {"host": "a", "failure": LOST})
    for turn in range(3):
        one.turn(lambda: LIVING, turn * TURN_MS)
    assert [event for event, _ in told.events] == ["roster_problem"]
    assert path.read_bytes() == b"{nonsense"
    path.unlink()
    one.turn(lambda: LIVING, 3 * TURN_MS)
    assert len(load(path)["a"].strikes) == 1


def test_the_observer_does_not_wait_for_a_command(tmp_path: Path) -> None:
    """While somebody holds the lock it turns on, and writes at the next turn."""
    path = tmp_path / "hosts.json"
    one, told = roster(path, FakeClock(NOW))
    one.hear("verdict", {"host": "a", "failure": LOST})
    with open(f"{path}.lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        one.turn(lambda: LIVING, 0)
        with pytest.raises(Throttled), changing(path, wait=False):
            pass
    assert told.events == []
    one.turn(lambda: LIVING, TURN_MS)
    assert len(load(path)["a"].strikes) == 1


def test_other_versions_are_refused(tmp_path: Path) -> None:
    """A newer Headrace's file is not overwritten by an older one."""
    path = tmp_path / "hosts.json"
    path.write_bytes(b'{"version": 2, "hosts": {}}')
    with pytest.raises(Corrupt, match="another version"), changing(path):
        pass
    assert json.loads(path.read_bytes())["version"] == 2


def test_an_observer_keeps_what_its_file_says_and_what_policy_decides(tmp_path: Path) -> None:
    """The real one over loopback: an operator's word is seen within a turn of the file, counted, and handed to what tells Flink."""
    clock, path = BootClock(), tmp_path / "hosts.json"
    flink: Any = object()  # never asked: its threads are not started
    setup = ObserverSetup("o1", KEY, ("127.0.0.1", 0), {}, hosts_file=path)
    observer = Observer(setup, clock=clock, flink=flink)
    agent = Agent(AgentSetup("h1", host_key(KEY, "h1"), (observer._socket.getsockname(),), tmp_path), clock=clock)
    with changing(path) as records:
        records["h1"] = retire(Record(), "ann", "fan", NOW)

    def kept() -> bool:
        agent.turn()
        observer.turn()
        assert observer._realizer is not None
        return list(observer._realizer._kept_off) == ["h1"]

    wait_until(kept, timeout_s=60, what="the retired host")
    assert "headrace_hawk_observer_retired_hosts 1" in observer.metrics_text()
    wait_until(lambda: kept() and observer._core.living() == {"h1"}, timeout_s=60, what="the agent to join")
    observer.tell("verdict", host="h2", failure=LOST, process="", votes=[])
    wait_until(lambda: kept() and "h2" in load(path), timeout_s=60, what="the strike")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Exit code and all output of a command."""
    with pytest.raises(SystemExit) as ended:
        app(["hawk", *words])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out + captured.err


def test_operators_retire_and_readmit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a reason that is kept; twice is a conflict; a name that is not retired gets the nearest that is."""
    path = tmp_path / "hosts.json"
    file = ("--file", str(path))
    assert "none is retired" in run(capsys, "hosts", *file)[1]
    assert run(capsys, "retire", "h7", "--reason", "fan is loud", *file)[0] == 0
    assert load(path)["h7"].reason == "fan is loud"
    assert run(capsys, "retire", "h7", *file)[0] != 0
    code, text = run(capsys, "readmit", "h77", *file)
    assert code != 0
    assert "h7" in text
    with changing(path) as records:
        records["h8"] = strike(Record(), LOST, NOW * 2, OPTIONS)
    shown = json.loads(run(capsys, "hosts", "--json", *file)[1])
    assert [(row["host"], row["retired"], row["strikes"]) for row in shown] == [("h7", True, 0), ("h8", False, 1)]
    assert run(capsys, "readmit", "h7", *file)[0] == 0
    assert "h7" not in load(path)
