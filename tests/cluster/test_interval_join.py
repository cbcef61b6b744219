"""A pipeline's SQL interval join on SlimBase reads by range when the stack's driver submits it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.cluster.running import RunningStack
from tests.waiting import wait_until

from headrace.flink.driver_client import DriverClient
from headrace.flink.protocol import Script, Submit, TableDef
from headrace.flink.rest import FlinkRest

BY_RANGE = "interval join reads by range"
ROWS = 4_000
JOIN = Script(
    "INSERT INTO pairs SELECT l.k, l.id, r.k, r.id FROM lefts l FULL JOIN rights r ON l.k = r.k"
    " AND l.ts BETWEEN r.ts - INTERVAL '5' SECOND AND r.ts + INTERVAL '1' SECOND AND MOD(l.id + r.id, 3) <> 0",
    "pipelines/pairs.sql",
)
pytestmark = pytest.mark.cluster


def tables(folder: Path, out: str) -> tuple[TableDef, ...]:
    """Two inputs of rows out of order, but none late, with a hot key and one that the other lacks; a folder for pairs."""
    random_ = random.Random(1)
    defs = []
    for name, own_key in (("lefts", 5), ("rights", 6)):
        lines = (
            f"{random_.choice((1, 1, 1, 2, 3, 4, own_key))},{row},{1_700_000_000_000 + row * 50 + random_.randint(-4_000, 4_000)}"
            for row in range(ROWS)
        )
        (folder / f"{name}.csv").write_text("\n".join(lines), "utf-8")
        ddl = (
            f"CREATE TABLE {name} (k BIGINT, id BIGINT, ms BIGINT, ts AS TO_TIMESTAMP_LTZ(ms, 3),"
            " WATERMARK FOR ts AS ts - INTERVAL '10' SECOND) WITH ('layer' = 'ods')"
        )
        defs.append(TableDef(name=name, ddl=ddl, options=_csv(folder / f"{name}.csv")))
    ddl = "CREATE TABLE pairs (lk BIGINT, lid BIGINT, rk BIGINT, rid BIGINT) WITH ('layer' = 'dws')"
    return (*defs, TableDef(name="pairs", ddl=ddl, options=_csv(folder / out)))


def _csv(path: Path) -> dict[str, str]:
    return {"connector": "filesystem", "path": f"file://{path}", "format": "csv"}


def pairs(client: DriverClient, flink: FlinkRest, folder: Path, *, by_range: bool) -> list[str]:
    """Run the join to its end; the lines that it wrote, sorted."""
    out = f"by-range-{by_range}".lower()
    config = {
        "parallelism.default": "1",
        "execution.checkpointing.interval": "2 s",
        "state.backend.slimbase.interval-join.range-read": str(by_range).lower(),
    }
    job = client.submit(Submit(script=JOIN, tables=tables(folder, out), config=config, job_name=out)).job_id
    wait_until(lambda: flink.job(job).state == "FINISHED", timeout_s=120, what="the join to end")
    return sorted(line for path in (folder / out).rglob("part-*") for line in path.read_text("utf-8").splitlines())


@pytest.mark.timeout(400)
def test_a_pipelines_join_reads_by_range(
    client: DriverClient, flink: FlinkRest, stack: RunningStack, tmp_path: Path
) -> None:
    """A FULL JOIN that the driver submits gives the same pairs with and without the range read, which the TaskManager's log tells of."""
    before = _says_range(stack)
    expected = pairs(client, flink, tmp_path, by_range=False)
    assert _says_range(stack) == before
    assert len(expected) > ROWS
    assert any(line.startswith(",") for line in expected)
    assert any(line.endswith(",") for line in expected)
    assert pairs(client, flink, tmp_path, by_range=True) == expected
    assert _says_range(stack) > before


def _says_range(stack: RunningStack) -> int:
    logs = stack.home.logs.rglob("*taskmanager*")
    return sum(path.read_text("utf-8", "replace").count(BY_RANGE) for path in logs if path.is_file())
