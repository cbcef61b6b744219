"""The OLAP host as a process: it stops in order, loses nothing that it acknowledged, and stays responsive."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx

from tests.behaviour.olap.conftest import Host
from tests.waiting import wait_until

TABLE = "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n"
ENDLESS = "SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 1"


def test_orderly_stop_keeps_the_data(own_host: Host) -> None:
    """SIGTERM ends the process with 0 and a later start has the rows."""
    own_host.start()
    own_host.sql(TABLE)
    own_host.sql("INSERT INTO t SELECT number FROM numbers(1000)")
    assert own_host.stop() == 0
    own_host.start()
    assert own_host.sql("SELECT count(), sum(n) FROM t") == "1000\t499500\n"


def test_stop_ends_running_queries(own_host: Host) -> None:
    """A query that would run on does not keep the process beyond its grace."""
    own_host.start()
    with ThreadPoolExecutor(1) as pool:

        def ask() -> None:
            with suppress(httpx.TransportError):
                own_host.http.post("/", content=ENDLESS)

        pool.submit(ask)
        running = "SELECT count() FROM system.processes WHERE query LIKE '%sipHash64(number)%'"
        wait_until(lambda: int(own_host.sql(running)) > 1, timeout_s=20, what="the query to run")
        assert own_host.stop() == 0


def test_kill_loses_nothing_acknowledged(own_host: Host) -> None:
    """After SIGKILL in the midst of INSERTs every acknowledged row is there, once, and the directory opens."""
    own_host.start()
    own_host.sql(TABLE)
    acknowledged: list[int] = []
    lock = threading.Lock()

    def insert(batch: int) -> None:
        rows = "".join(f'{{"n":{batch * 10 + i}}}\n' for i in range(10)).encode()
        with suppress(httpx.TransportError):
            if own_host.insert("INSERT INTO t FORMAT JSONEachRow", rows).status_code == 200:
                with lock:
                    acknowledged.append(batch)

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(insert, batch) for batch in range(2000)]
        wait_until(lambda: len(acknowledged) > 100, timeout_s=60, what="100 acknowledged INSERTs")
        own_host.stop(hard=True)
        for future in futures:
            future.cancel()
    own_host.start()
    present = set(map(int, own_host.sql("SELECT n FROM t").split()))
    assert {batch * 10 + i for batch in acknowledged for i in range(10)} <= present
    assert own_host.sql("SELECT count() = uniqExact(n) FROM t") == "1\n"
    # Batches are whole or absent.
    assert all({n - n % 10 + i for i in range(10)} <= present for n in present)


def test_full_lanes_refuse_with_503(own_host: Host) -> None:
    """Beyond running and waiting queries the answer is code 202 at once, and /ping and INSERTs go on."""
    own_host.start(HEADRACE_SERVE_OLAP_CONCURRENT_QUERIES="1", HEADRACE_SERVE_OLAP_WAITING="1")
    own_host.sql(TABLE)
    with ThreadPoolExecutor(2) as pool:
        slow = [pool.submit(own_host.http.post, "/", params={"max_execution_time": "8"}, content=ENDLESS) for _ in "ab"]

        def refused() -> bool:
            # One that came before the two slow queries gets a lane or waits in line: it gives up and asks again.
            with suppress(httpx.ReadTimeout):
                answer = own_host.http.post("/", content="SELECT 1", timeout=0.3)
                return answer.status_code == 503 and answer.headers["x-clickhouse-exception-code"] == "202"
            return False

        wait_until(refused, timeout_s=7, what="a refusal")
        assert own_host.answers()
        assert own_host.insert("INSERT INTO t FORMAT JSONEachRow", b'{"n":1}').status_code == 200
        # The asking above may itself have taken the place of one of them.
        assert 408 in {future.result().status_code for future in slow} <= {408, 503}
    assert own_host.sql("SELECT count() FROM t") == "1\n"


def test_port_already_taken(own_host: Host) -> None:
    """A second host on the port ends at once and says what is wrong."""
    own_host.start()
    command = [sys.executable, "-m", "headrace.serve.olap", "--home", f"{own_host.home}2", "--port", str(own_host.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "cannot listen" in done.stderr
    assert "hint: " in done.stderr


def test_directory_in_use(own_host: Host) -> None:
    """A second host on the same home ends at once and says so; the first is not disturbed."""
    own_host.start()
    own_host.sql(TABLE)
    other = Host(own_host.home)
    command = [sys.executable, "-m", "headrace.serve.olap", "--home", str(own_host.home), "--port", str(other.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "OLAP data cannot be opened" in done.stderr
    assert own_host.sql("SELECT count() FROM t") == "0\n"


def test_bad_option_is_told(own_host: Host) -> None:
    """An option out of range ends the process with its name."""
    command = [sys.executable, "-m", "headrace.serve.olap", "--home", str(own_host.home), "--port", str(own_host.port)]
    env = {"HEADRACE_SERVE_OLAP_WAITING": "-1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)
    assert done.returncode == 1
    assert "waiting" in done.stderr
