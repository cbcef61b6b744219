"""The driver and the REST client against the real stack: jobs run on the cluster, and survive the driver."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from tests.cluster.running import RunningStack
from tests.waiting import wait_until

from headrace.core.errors import Conflict, NotFound, Unavailable
from headrace.flink.driver_client import DriverClient
from headrace.flink.protocol import Compile, Explain, Query, Script, Submit, TableDef, Validate
from headrace.flink.rest import FlinkRest

pytestmark = pytest.mark.cluster

CONFIG = {"execution.checkpointing.interval": "1 s", "parallelism.default": "1"}
COUNT = Script("INSERT INTO counts SELECT k, COUNT(*) FROM ticks GROUP BY k", "pipelines/count.sql")


def ticks(**more: str) -> TableDef:
    """A generated source, endless unless told otherwise."""
    options = {"connector": "datagen", "rows-per-second": "200", "fields.k.length": "1", **more}
    return TableDef(
        name="ticks", ddl="CREATE TABLE ticks (k STRING NOT NULL, n BIGINT) WITH ('layer' = 'ods')", options=options
    )


COUNTS = TableDef(
    name="counts",
    ddl="CREATE TABLE counts (k STRING, n BIGINT) WITH ('layer' = 'dws')",
    options={"connector": "blackhole"},
)
TABLES = (ticks(), COUNTS)


def start(client: DriverClient, name: str, *, savepoint: str = "", script: Script = COUNT, job_id: str = "") -> str:
    """Submit and return the job id."""
    request = Submit(
        script=script, tables=TABLES, config=CONFIG, job_name=name, savepoint_path=savepoint, job_id=job_id
    )
    return client.submit(request).job_id


def test_a_job_runs_on_the_cluster_and_restarts_from_its_savepoint(
    client: DriverClient, flink: FlinkRest, stack: RunningStack
) -> None:
    """Submitted by the driver, seen by REST (so it is no MiniCluster), stopped with a savepoint, started from it."""
    target = f"file://{stack.home.savepoints}"
    job = start(client, "driver-savepoint")
    wait_until(lambda: flink.job(job).state == "RUNNING", timeout_s=60, what="the job to run")
    wait_until(
        lambda: flink.checkpoints(job).counts.completed > 0,
        timeout_s=60,
        what="a checkpoint: the config map reached the job",
    )
    vertex = flink.job(job).vertices[-1]
    wait_until(lambda: (flink.vertex_load(job, vertex.id).records_in_per_s or 0) > 0, timeout_s=60, what="a rate")
    assert flink.job_metrics(job, ["numRestarts"]) == {"numRestarts": 0.0}
    path = flink.stop_with_savepoint(job, target)
    wait_until(lambda: flink.job(job).state == "FINISHED", timeout_s=30, what="the job to end")
    with pytest.raises(NotFound):
        flink.stop_with_savepoint(job, target)

    other = Script("INSERT INTO counts SELECT k, MAX(n) FROM (SELECT DISTINCT k, n FROM ticks) GROUP BY k")
    # The adaptive scheduler restores after it has accepted the job, so a misfit is the job's failure, not the submission's.
    misfit = start(client, "driver-misfit", savepoint=path, script=other)
    wait_until(lambda: flink.job(misfit).state == "FAILED", timeout_s=60, what="the misfit to fail")
    assert "Cannot map checkpoint/savepoint state" in flink.failures(misfit)[0].stack
    with pytest.raises(NotFound):
        start(client, "driver-nowhere", savepoint=f"{target}/nothing-here")

    again = start(client, "driver-savepoint", savepoint=path)
    restored = wait_until(lambda: flink.checkpoints(again).latest.restored, timeout_s=60, what="the restore")
    assert restored.path
    assert Path(restored.path).name == Path(path).name
    flink.cancel(again)
    wait_until(lambda: flink.job(again).state == "CANCELED", timeout_s=30, what="the cancellation")


def test_a_chosen_job_id_makes_a_submission_safe_to_repeat(client: DriverClient, flink: FlinkRest) -> None:
    """The second submission with the same id is a Conflict; exactly one job runs."""
    job_id = uuid.uuid4().hex
    assert start(client, "driver-once", job_id=job_id) == job_id
    with pytest.raises(Conflict, match="a job with this id exists"):
        start(client, "driver-once", job_id=job_id)
    assert [job.id for job in flink.jobs() if job.name == "driver-once"].count(job_id) == 1
    wait_until(lambda: flink.job(job_id).state == "RUNNING", timeout_s=60, what="the job to run")
    flink.cancel(job_id)


def test_a_query_brings_typed_rows_up_to_its_limit(client: DriverClient) -> None:
    """Values of each family arrive as plain values; more rows than asked for are cut off and said so."""
    values = client.query(
        Query(
            script=Script(
                "SELECT 1, 'x', CAST(1.50 AS DECIMAL(5, 2)), TIMESTAMP '2020-01-01 00:00:00.120', TO_TIMESTAMP_LTZ(1000, 3),"
                " DATE '2020-02-01', ARRAY[1, 2], MAP['a', 1], CAST(NULL AS STRING), TRUE, 1e0"
            )
        )
    )
    assert values.rows == [
        [
            1,
            "x",
            "1.50",
            "2020-01-01 00:00:00.120",
            "1970-01-01 00:00:01.000Z",
            "2020-02-01",
            [1, 2],
            {"a": 1},
            None,
            True,
            1.0,
        ]
    ]
    some = client.query(
        Query(
            script=Script(
                "CREATE TEMPORARY VIEW v AS SELECT k, n FROM ticks;\nSELECT COUNT(*) AS c, k FROM v GROUP BY k"
            ),
            tables=(ticks(**{"rows-per-second": "10000", "number-of-rows": "2000"}),),
            limit=3,
        )
    )
    assert [column.name for column in some.columns] == ["c", "k"]
    assert len(some.rows) == 3
    assert some.truncated


def test_the_same_sql_runs_in_batch(client: DriverClient, flink: FlinkRest) -> None:
    """In batch mode, on a bounded source, the job finishes."""
    tables = (ticks(**{"rows-per-second": "10000", "number-of-rows": "2000"}), COUNTS)
    job = client.submit(Submit(script=COUNT, tables=tables, job_name="driver-batch", batch=True)).job_id
    wait_until(lambda: flink.job(job).state == "FINISHED", timeout_s=90, what="the batch job to finish")


def test_a_query_out_of_time_is_cancelled_on_the_cluster(client: DriverClient, flink: FlinkRest) -> None:
    """It does not go on holding slots."""
    endless = Query(
        script=Script("SELECT MAX(n) FROM ticks"),
        tables=(ticks(**{"rows-per-second": "10", "number-of-rows": "100000"}),),
        config={"pipeline.name": "driver-slow-query"},
    )
    with pytest.raises(Unavailable, match="did not finish in time"):
        client.query(endless, timeout_s=15)
    states = lambda: [job.state for job in flink.jobs() if job.name == "driver-slow-query"]  # noqa: E731
    wait_until(lambda: states() in ([], ["CANCELED"]), timeout_s=60, what="the query's job to be cancelled")


def test_tables_of_one_request_are_unknown_to_the_next(client: DriverClient) -> None:
    """Registered tables, created tables, views and settings end with their request."""
    script = "CREATE TABLE mine (k STRING) WITH ('connector' = 'blackhole'); CREATE VIEW v AS SELECT k FROM ticks; INSERT INTO mine SELECT k FROM v"
    assert client.validate(Validate(script=Script(script), tables=TABLES, plan=True)).check().sinks == ("mine",)
    for name in ("ticks", "v"):
        problems = client.validate(
            Validate(script=Script(f"INSERT INTO counts SELECT k, 1 FROM {name}"), tables=(COUNTS,))
        ).problems
        assert [problem.message for problem in problems] == [f"unknown table `{name}`"]
    problems = client.validate(Validate(script=Script("INSERT INTO mine SELECT 'a'"), tables=TABLES)).problems
    assert [problem.message for problem in problems] == ["unknown table `mine`"]


def test_plans_come_as_text_and_json(client: DriverClient) -> None:
    """Explain has all four parts; the compiled plan names source and sink."""
    plan = client.explain(Explain(script=COUNT, tables=TABLES))
    assert "LogicalAggregate" in plan.ast
    assert "Exchange(distribution=[hash[k]])" in plan.physical
    assert '"nodes"' in plan.json_plan
    compiled = client.compile(Compile(script=COUNT, tables=TABLES))
    assert (compiled.sources, compiled.sinks) == (("ticks",), ("counts",))
    assert '"flinkVersion"' in compiled.plan
    assert client.compile(Compile(script=COUNT, tables=TABLES)).plan == compiled.plan


def test_a_cluster_that_is_not_there_is_unavailable(client: DriverClient) -> None:
    """The driver gives up within seconds (Flink's own client tries for a minute)."""
    with pytest.raises(Unavailable, match="flink cluster cannot be reached"):
        client.submit(Submit(script=COUNT, tables=TABLES, job_name="nowhere", cluster="http://127.0.0.1:9"))


def test_the_driver_may_die_without_touching_jobs(client: DriverClient, flink: FlinkRest, stack: RunningStack) -> None:
    """A killed driver comes back by itself, is found by the same client, and the job never noticed."""
    job = start(client, "driver-survivor")
    wait_until(lambda: flink.job(job).state == "RUNNING", timeout_s=60, what="the job to run")
    before = client.ping().pid
    stack.kill("driver")

    def came_back() -> bool:
        try:
            return client.ping().pid != before
        except Unavailable:
            return False

    wait_until(came_back, timeout_s=240, what="a new driver")
    assert flink.job(job).state == "RUNNING"
    assert flink.job_metrics(job, ["numRestarts"]) == {"numRestarts": 0.0}
    flink.cancel(job)
