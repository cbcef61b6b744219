"""The life of real stacks: start, second start, side by side, crashes, a killed supervisor, state that survives."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import redis
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from tests.cluster.running import (
    RunningStack,
    assert_nothing_left,
    end_stack,
    headrace,
    headrace_json,
    processes_of,
    start_stack,
)
from tests.waiting import wait_until

from headrace.core.home import Home
from headrace.flink.profile import cluster_settings
from headrace.stack.assets import find_assets
from headrace.stack.orphans import start_ticks

pytestmark = pytest.mark.cluster
STORES = ("valkey", "kafka")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home whose stack, if any, is gone after the test."""
    yield tmp_path
    if (tmp_path / "run").exists():
        end_stack(tmp_path)


def valkey(stack: RunningStack) -> redis.Redis:
    """A client of the stack's Valkey."""
    host, _, port = stack.endpoints.redis.partition(":")
    return redis.Redis(host, int(port), decode_responses=True)


def option_classes() -> bytes:
    """The constants of all option classes of the Flink distribution; a misspelt key is in none of them."""
    jar = next((find_assets().flink_distribution() / "lib").glob("flink-dist*.jar"))
    with zipfile.ZipFile(jar) as archive:
        names = [name for name in archive.namelist() if name.startswith("org/apache/flink/") and "Options" in name]
        return b"\0".join(archive.read(name) for name in names)


def produce(stack: RunningStack, topic: str, value: str) -> None:
    """Make a topic and write one acknowledged row."""
    admin = AdminClient({"bootstrap.servers": stack.endpoints.kafka})
    admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])[topic].result(30)
    producer = Producer({"bootstrap.servers": stack.endpoints.kafka, "acks": "all"})
    producer.produce(topic, value)
    assert producer.flush(30) == 0


def consume(stack: RunningStack, topic: str) -> str:
    """The first row of a topic."""
    consumer = Consumer(
        {"bootstrap.servers": stack.endpoints.kafka, "group.id": "test", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    try:
        row = wait_until(lambda: consumer.poll(1.0), timeout_s=60, what=f"a row of {topic}")
        value = row.value()
        assert isinstance(value, bytes)
        return value.decode()
    finally:
        consumer.close()


def test_second_up_is_a_no_op_that_says_so(stack: RunningStack) -> None:
    """Typing `up` twice changes nothing: same processes, and a sentence."""
    before = {row.name: row.pid for row in stack.status().processes}
    only = ",".join(before)
    result = headrace("up", "--only", only, home=stack.home.root)
    assert result.returncode == 0
    assert "already up" in result.stdout
    assert headrace_json("up", "--only", only, home=stack.home.root)["already_up"]
    assert {row.name: row.pid for row in stack.status().processes} == before


def test_flink_accepts_every_key_of_the_profile(stack: RunningStack) -> None:
    """Flink's own option classes know each key; the JobManager reports each value; TaskManagers offer their slots."""
    known = option_classes()
    assert [key for key in cluster_settings(stack.home) if key.encode() not in known] == []
    answer = httpx.get(f"{stack.endpoints.flink}/jobmanager/config", timeout=10).json()
    effective = {row["key"]: row["value"] for row in answer}
    expected = cluster_settings(stack.home)
    masked = {key for key, value in effective.items() if set(value) == {"*"}}  # Flink hides what may be a secret
    assert {key: effective.get(key) for key in expected if key not in masked} == {
        key: value for key, value in expected.items() if key not in masked
    }
    overview = httpx.get(f"{stack.endpoints.flink}/overview", timeout=10).json()
    assert (overview["taskmanagers"], overview["slots-total"]) == (2, 16)


def test_killed_task_manager_comes_back_under_its_name(stack: RunningStack) -> None:
    """`kill -9` of a TaskManager: it is restarted, registers again with the same resource id, and the crash is shown."""
    before = stack.process("taskmanager-2")
    os.kill(before.pid, signal.SIGKILL)
    wait_until(lambda: stack.process("taskmanager-2").pid not in (0, before.pid), timeout_s=30, what="a new process")
    stack.wait_ready("taskmanager-2")
    after = stack.process("taskmanager-2")
    assert after.restarts == before.restarts + 1
    assert after.crashes[-1].exit_code == -signal.SIGKILL

    def slots() -> bool:
        overview = httpx.get(f"{stack.endpoints.flink}/overview", timeout=10).json()
        return bool(overview["slots-total"] == 16 and overview["taskmanagers"] == 2)

    wait_until(slots, timeout_s=60, what="all slots")


def test_a_killed_driver_leaves_no_jvm(stack: RunningStack) -> None:
    """Not even one that cannot see that its standard input has ended, as while it starts: the supervisor ends what is left of the driver's session."""
    stack.wait_ready("driver")
    pid = stack.process("driver").pid
    (jvm,) = psutil.Process(pid).children()
    jvm.send_signal(signal.SIGSTOP)
    try:
        stack.kill("driver")
        wait_until(lambda: not jvm.is_running(), timeout_s=20, what="the end of its JVM")
    finally:
        if jvm.is_running():
            jvm.kill()
    stack.wait_ready("driver")


def test_status_and_logs_show_every_process(stack: RunningStack) -> None:
    """Each process has pid, memory, endpoint where it listens, a log and a measured start."""
    current = headrace_json("status", home=stack.home.root)
    assert current["ready"]
    for row in current["processes"]:
        assert row["pid"] > 0
        assert row["rss_bytes"] > 1 << 20
        assert row["start_ms"] >= 0
        assert Path(row["log"]).exists()
    assert "started" in headrace("logs", "kafka", "--lines", "1000", home=stack.home.root).stdout
    missing = headrace("logs", "kafak", home=stack.home.root)
    assert missing.returncode == 2
    assert "kafka" in missing.stderr


def test_two_stacks_do_not_disturb_one_another(tmp_path: Path) -> None:
    """Same key in both, other values; stopping one leaves the other."""
    homes = [tmp_path / "a", tmp_path / "b"]
    try:
        stacks = [start_stack(home, STORES) for home in homes]
        assert stacks[0].endpoints.kafka != stacks[1].endpoints.kafka
        for number, stack in enumerate(stacks):
            valkey(stack).set("who", str(number))
            produce(stack, "who", str(number))
        end_stack(homes[0])
        assert valkey(stacks[1]).get("who") == "1"
        assert consume(stacks[1], "who") == "1"
    finally:
        for home in homes:
            end_stack(home)


def test_state_survives_down_and_up_on_the_same_ports(home: Path) -> None:
    """A topic's row and a key are there after `down` and `up`, under the same addresses."""
    stack = start_stack(home, STORES)
    endpoints = stack.endpoints
    valkey(stack).set("kept", "yes")
    produce(stack, "kept", "yes")
    end_stack(home)
    stack = start_stack(home, STORES)
    assert stack.endpoints == endpoints
    assert valkey(stack).get("kept") == "yes"
    assert consume(stack, "kept") == "yes"


def test_killed_supervisor_is_cleaned_up_after(home: Path) -> None:
    """`kill -9` of the supervisor, even with children that missed the signal: `down` leaves nothing; `up` works again."""
    stack = start_stack(home, STORES)
    pids = [row.pid for row in stack.status().processes]
    os.kill(stack.status().supervisor_pid, signal.SIGKILL)
    result = headrace("down", home=home)
    assert result.returncode == 0, result.stderr
    assert not [pid for pid in pids if start_ticks(pid)]
    assert_nothing_left(home)
    start_stack(home, ["valkey"])


def test_up_after_a_killed_supervisor_starts_afresh(home: Path) -> None:
    """Without a `down` in between, `up` takes the orphans away and starts new processes."""
    stack = start_stack(home, ["valkey"])
    old = stack.process("valkey").pid
    os.kill(stack.status().supervisor_pid, signal.SIGKILL)
    stack = start_stack(home, ["valkey"])
    assert stack.process("valkey").pid != old
    assert not start_ticks(old)
    assert len(processes_of(home)) == 2  # the supervisor and valkey


@pytest.mark.parametrize("sign", ["run/supervisor.lock", "stack.json", "run/olap.pid"])
def test_a_demo_that_is_terminated_takes_its_stack_down(home: Path, sign: str) -> None:
    """However far it has come: the supervisor just started, about to answer, or starting processes."""
    words = ["demo", "--no-browser", "--seconds", "100", "--home", str(home)]
    process = subprocess.Popen(
        [sys.executable, "-m", "headrace.cli.main", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        wait_until(lambda: (home / sign).exists(), timeout_s=120, what=sign)
        process.terminate()
        output, _ = process.communicate(timeout=240)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 128 + signal.SIGTERM, output.decode()
    assert_nothing_left(home)


def test_taken_port_is_named_and_nothing_is_left(home: Path) -> None:
    """A port of the stack that somebody else holds: one sentence, a hint, exit code 1, no process."""
    start_stack(home, ["valkey"])
    end_stack(home)
    port = json.loads((home / "data" / "ports.json").read_text())["redis"]
    with socket.socket() as blocker:
        blocker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        blocker.bind(("127.0.0.1", port))
        blocker.listen()
        result = headrace("up", "--only", "valkey", home=home)
    assert result.returncode == 1
    assert f"port of redis is already taken, port=`{port}`" in result.stderr
    assert f"({os.getpid()})" in result.stderr
    assert "hint" in result.stderr
    assert processes_of(home) == []


def test_wrong_jdk_is_refused_before_anything_starts(home: Path, tmp_path: Path) -> None:
    """A configured JDK 25 is refused with a hint; nothing is started."""
    jdk = tmp_path / "jdk25"
    (jdk / "bin").mkdir(parents=True)
    (jdk / "bin" / "java").touch(mode=0o755)
    (jdk / "release").write_text('JAVA_VERSION="25.0.1"\n')
    result = headrace("up", "--only", "valkey", home=home, env={"HEADRACE_STACK_JAVA_HOME": str(jdk)})
    assert result.returncode == 1
    assert "25 at" in result.stderr
    assert "openjdk-17" in result.stderr
    assert_nothing_left(home)


def test_a_process_that_cannot_start_stops_the_rest(home: Path) -> None:
    """A failed `up` says which process, shows the end of its log, and leaves nothing running."""
    stack = start_stack(home, ["valkey"])
    end_stack(home)
    appendonly = Home(home).data / "valkey" / "appendonlydir"
    next(appendonly.glob("*.manifest")).write_text("damaged\n")
    result = headrace("up", "--only", "valkey", home=home)
    assert result.returncode == 1
    assert "valkey" in result.stderr
    assert "headrace logs valkey" in result.stderr
    assert_nothing_left(stack.home.root)
