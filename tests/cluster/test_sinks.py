"""The own table sinks against the real stack: exact under kills of a TaskManager and of the store, clear when rows are rejected."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import redis
from tests.cluster.running import RunningStack
from tests.waiting import wait_until

from headrace.flink.driver_client import DriverClient
from headrace.flink.protocol import Script, Submit
from headrace.serve.olap_client import OlapClient

ROWS = 120_000
RATE_PER_S = 6_000  # 20 s: long enough to kill something in between
JOB_TIMEOUT_S = 240
CONFIG = {
    "parallelism.default": "1",
    "execution.checkpointing.interval": "1 s",
    "table.exec.sink.require-on-conflict": "false",
    "table.exec.sink.upsert-materialize": "NONE",
}
SOURCE = f"""
CREATE TEMPORARY TABLE numbers_in (id BIGINT) WITH (
  'connector' = 'datagen', 'fields.id.kind' = 'sequence', 'fields.id.start' = '0',
  'fields.id.end' = '{ROWS - 1}', 'rows-per-second' = '{RATE_PER_S}');
"""


@pytest.fixture
def olap(stack: RunningStack) -> Iterator[OlapClient]:
    """A client of the stack's OLAP host."""
    stack.wait_ready("olap", "jobmanager", "taskmanager-1", "taskmanager-2", "driver", "valkey")
    with OlapClient(stack.endpoints.olap) as client:
        yield client


def _submit(stack: RunningStack, name: str, script: str) -> str:
    with DriverClient(stack.endpoints.driver) as driver:
        job = driver.submit(Submit(script=Script(SOURCE + script), config=CONFIG, job_name=name), timeout_s=120)
    return job.job_id


def _wait(stack: RunningStack, job_id: str, state: str) -> None:
    def reached() -> bool:
        answer = stack.flink_json(f"/jobs/{job_id}")
        if "errors" in answer:
            # While a job fails over Flink may say that it did not get to know in time.
            return False
        now = answer["state"]
        assert now == state or now not in ("FINISHED", "FAILED", "CANCELED"), f"job is {now}"
        return bool(now == state)

    wait_until(reached, timeout_s=JOB_TIMEOUT_S, what=f"job {state}", every_s=0.5)


def _task_manager_of(stack: RunningStack, job_id: str) -> str:
    """The TaskManager that runs the last vertex, which is the sink."""
    vertex = stack.flink_json(f"/jobs/{job_id}")["vertices"][-1]["id"]
    return str(stack.flink_json(f"/jobs/{job_id}/vertices/{vertex}")["subtasks"][0]["taskmanager-id"])


def _clickhouse(stack: RunningStack, table: str, more: str = "") -> str:
    return f"""
    CREATE TEMPORARY TABLE out_t (id BIGINT, name STRING, PRIMARY KEY (id) NOT ENFORCED) WITH (
      'connector' = 'clickhouse', 'url' = '{stack.endpoints.olap}', 'table' = '{table}'{more});
    INSERT INTO out_t SELECT id, 'n' || CAST(id AS STRING) FROM numbers_in;"""


def _create(olap: OlapClient, table: str) -> None:
    olap.execute(
        f"CREATE TABLE {table} (id Int64, name String, _version UInt64) ENGINE = ReplacingMergeTree(_version) ORDER BY id"
    )


def _assert_exact(olap: OlapClient, table: str) -> None:
    rows = olap.query(
        f"SELECT count() AS n, sum(id) AS s, countIf(name != concat('n', toString(id))) AS bad FROM {table} FINAL"
    )
    assert rows == [{"n": ROWS, "s": ROWS * (ROWS - 1) // 2, "bad": 0}]


def test_clickhouse_is_exact_though_a_task_manager_dies(stack: RunningStack, olap: OlapClient) -> None:
    """Every row is there once (read with FINAL) after the TaskManager that ran the sink was killed."""
    _create(olap, "sink_kill")
    job = _submit(
        stack, "sink-kill", _clickhouse(stack, "sink_kill", ", 'version-column' = '_version', 'sink.gzip' = 'true'")
    )
    wait_until(
        lambda: olap.query("SELECT count() AS n FROM sink_kill")[0]["n"] > ROWS // 6, timeout_s=120, what="first rows"
    )
    stack.kill(_task_manager_of(stack, job))
    _wait(stack, job, "FINISHED")
    _assert_exact(olap, "sink_kill")


def test_clickhouse_bridges_a_restart_of_the_store(stack: RunningStack, olap: OlapClient) -> None:
    """Killing the OLAP host costs no row and restarts no job: the sink repeats until the store is back."""
    _create(olap, "sink_store")
    job = _submit(stack, "sink-store", _clickhouse(stack, "sink_store"))
    wait_until(
        lambda: olap.query("SELECT count() AS n FROM sink_store")[0]["n"] > ROWS // 6, timeout_s=120, what="first rows"
    )
    stack.kill("olap")
    _wait(stack, job, "FINISHED")
    _assert_exact(olap, "sink_store")
    failures = stack.flink_json(f"/jobs/{job}/exceptions")
    assert failures.get("exceptionHistory", {}).get("entries", []) == []


def test_redis_holds_the_newest_though_a_task_manager_dies(stack: RunningStack, olap: OlapClient) -> None:
    """Each key holds its last row, never an older one that a replay wrote again."""
    host, _, port = stack.endpoints.redis.rpartition(":")
    script = f"""
    CREATE TEMPORARY TABLE out_r (k BIGINT, id BIGINT, name STRING, PRIMARY KEY (k) NOT ENFORCED) WITH (
      'connector' = 'redis', 'host' = '{host}', 'port' = '{port}', 'key-template' = 'sink:{{k}}',
      'version-column' = 'id', 'ttl' = '1 h');
    INSERT INTO out_r SELECT MOD(id, 100), id, 'n' || CAST(id AS STRING) FROM numbers_in;"""
    with redis.Redis(host=host, port=int(port), decode_responses=True) as store:
        job = _submit(stack, "sink-redis", script)
        wait_until(
            lambda: int(str(store.hget("sink:7", "id") or 0)) > ROWS // 6, timeout_s=120, what="first rows in Redis"
        )
        stack.kill(_task_manager_of(stack, job))
        _wait(stack, job, "FINISHED")
        for k in range(100):
            newest = ROWS - 100 + k
            assert store.hgetall(f"sink:{k}") == {"k": str(k), "id": str(newest), "name": f"n{newest}"}
        assert 0 < int(str(store.pttl("sink:0"))) <= 3_600_000


def test_rejected_rows_fail_the_job_with_a_hint(stack: RunningStack, olap: OlapClient) -> None:
    """A column that the store lacks ends the job with the store's words, the status and what to do."""
    olap.execute("CREATE TABLE sink_bad (id Int64) ENGINE = MergeTree ORDER BY id")
    job = _submit(stack, "sink-bad", _clickhouse(stack, "sink_bad", ", 'sink.retries' = '0'"))

    def failure() -> str:
        history = stack.flink_json(f"/jobs/{job}/exceptions").get("exceptionHistory", {}).get("entries", [])
        return str(history[0]["stacktrace"]) if history else ""

    text = wait_until(failure, timeout_s=120, what="the job's failure", every_s=0.5)
    httpx.patch(f"{stack.endpoints.flink}/jobs/{job}?mode=cancel")
    assert "ClickHouse rejects the rows" in text
    assert "No such column name" in text
    assert "hint: compare the table's columns" in text
