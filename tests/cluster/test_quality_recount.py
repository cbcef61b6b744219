"""The live-quality SQL, in batch and as a stream on the real stack, against the recount in plain Python: every row of every table.

`HEADRACE_TEST_KILLS` sets how often the stream loses a TaskManager: once in `make test`, 50 times in `make test-long`.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from confluent_kafka import OFFSET_END, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from msgspec.structs import astuple, replace
from tests.cluster.running import RunningStack, headrace_json
from tests.unit.flows.quality_worlds import delivered, invented, recorded
from tests.waiting import wait_until

from headrace.core.clock import SystemClock
from headrace.flows.quality.oracle import Recount, Row, recount
from headrace.serve.olap_client import OlapClient
from headrace.stack.assets import find_assets

APP = Path(__file__).parents[2] / "apps/live-quality"
RUNNER = Path(__file__).parent / "quality_flink.py"
SEED = 20_260
INTERVAL_NAMES = tuple(
    [
        "sid",
        "session_ms",
        "from_ms",
        "to_ms",
        "cid",
        "region",
        "isp",
        "cdn",
        "state",
        "state_eff",
        "stalls",
        "errors",
        "br",
        "ltc",
    ]
)
INTERVAL_COLUMNS = len(INTERVAL_NAMES)  # the stored ones; the rest of `Interval` is the recount's own
PARTITIONS = 4
END = "end"  # region of the rows that only push the watermark on
SETTLED_MS = 120_000  # minutes and silences before the end are final this long after it
PATIENCE_S = 240
TTL = re.compile(r"(-- config: table\.exec\.state\.ttl = ).*")
KILLS = int(os.environ.get("HEADRACE_TEST_KILLS", "1"))
pytestmark = pytest.mark.cluster
Tables = dict[str, list[tuple[Any, ...]]]


def world(*, newest_ms: int) -> list[Row]:
    """Recorded and invented sessions with delay, repetition and disorder, all received before `newest_ms`."""
    random = Random(SEED)
    rows = recorded()[0] + invented(random, sessions=300)
    shift_ms = newest_ms - max(row.recv_ms for row in rows)
    shift_ms -= shift_ms % 1000
    moved = [replace(row, ts_ms=row.ts_ms + shift_ms, recv_ms=row.recv_ms + shift_ms) for row in rows]
    return delivered(moved, random)


def tables_of(counted: Recount) -> Tables:
    """The recount as rows of the tables."""
    return {
        "play_interval": [astuple(row)[:INTERVAL_COLUMNS] for row in counted.intervals],
        "play_session": [astuple(row) for row in counted.sessions],
        "qoe_1m": [key + minute.measures() for key, minute in counted.minutes.items()],
        "cell_1s": [key + cell.measures() for key, cell in counted.cells.items()],
        "beacon_late": [(row.sid, row.sn or 0, row.ts_ms) for row in counted.late],
    }


def assert_same(found: Iterable[tuple[Any, ...]], wanted: Iterable[tuple[Any, ...]], table: str) -> None:
    """The same rows, each as often; says which differ."""
    ours, theirs = sorted(found, key=repr), sorted(wanted, key=repr)
    lost, extra = set(theirs) - set(ours), set(ours) - set(theirs)
    assert (sorted(lost, key=repr)[:3], sorted(extra, key=repr)[:3]) == ([], []), table
    assert len(ours) == len(theirs), f"{table}: rows are repeated"


def encoded(row: Row) -> dict[str, Any]:
    """The row as the gateway writes it: what is unknown is left out."""
    return {key: value for key, value in msgspec.structs.asdict(row).items() if value is not None}


def run_batch(folder: Path, pipeline: str, rows: list[Row], tables: list[str]) -> Tables:
    """Run a pipeline file in batch mode over these rows in a MiniCluster."""
    (folder / "ods").mkdir(exist_ok=True)
    (folder / "ods/rows.json").write_text("".join(json.dumps(encoded(row)) + "\n" for row in rows))
    options = {name: {"connector": "filesystem", "path": f"{folder}/{name}", "format": "json"} for name in tables}
    options["cmcd_raw"] = {"connector": "filesystem", "path": f"{folder}/ods", "format": "json"}
    config = {"parallelism.default": "1"}
    jars = [jar.as_uri() for jar in find_assets().jars("headrace")]
    spec = {"app": str(APP), "pipeline": pipeline, "mode": "batch", "tables": options, "config": config, "jars": jars}
    (folder / "spec.json").write_text(json.dumps(spec))
    command = [str(find_assets().runtime_python), str(RUNNER), str(folder / "spec.json")]
    env = {**os.environ, "JVM_ARGS": "-Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1"}  # short-lived: C1 is faster
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert result.returncode == 0, result.stderr[-3000:]
    return {name: list(_written(folder / name)) for name in tables}


def _written(folder: Path) -> Iterator[tuple[Any, ...]]:
    for path in folder.rglob("part-*"):
        yield from (tuple(json.loads(line).values()) for line in path.read_text().splitlines())


@pytest.mark.timeout(900)
def test_sql_in_batch_equals_the_recount(tmp_path: Path) -> None:
    """Late, repeated and reordered rows of recorded and invented sessions: all five tables, row by row."""
    rows = world(newest_ms=1_795_400_000_000)
    found = run_batch(tmp_path, "quality.sql", rows, ["play_interval", "play_session", "qoe_1m", "beacon_late"])
    found |= run_batch(tmp_path, "cells.sql", rows, ["cell_1s"])
    found["beacon_late"] = sorted({row[:3] for row in found["beacon_late"]})
    wanted = tables_of(recount(rows))
    wanted["beacon_late"] = sorted(set(wanted["beacon_late"]))
    for table, expected in wanted.items():
        assert expected, f"{table}: nothing to compare"
        assert_same(found[table], expected, table)


@pytest.mark.timeout(1800 + 120 * KILLS)
def test_stream_equals_the_recount_after_disorder_and_kills(stack: RunningStack, tmp_path: Path) -> None:
    """The deployed jobs, fed through Kafka, lose TaskManagers on the way: 0 rows lost, 0 double, every row equal to the recount."""
    home = stack.home.root
    app = str(patient_app(tmp_path))
    headrace_json("table", "apply", app, home=home)
    forget_rows(stack, "ods.cmcd_raw")
    headrace_json("job", "deploy", app, "quality", "cells", home=home)
    rows = world(newest_ms=SystemClock().now_ms() - SETTLED_MS)
    cuts = [len(rows) * i // (KILLS + 1) for i in range(KILLS + 2)]
    with OlapClient(stack.endpoints.olap, timeout=timedelta(minutes=1)) as olap:
        for kill in range(KILLS):
            part = rows[cuts[kill] : cuts[kill + 1]]
            produce(stack, part)
            seen_ms = sorted(row.recv_ms for row in part)[len(part) // 2]
            what = f"half of the rows before kill {kill}"
            wait_until(functools.partial(has_seen, olap, seen_ms), timeout_s=PATIENCE_S, what=what, every_s=1)
            victim = f"taskmanager-{kill % 2 + 1}"
            stack.kill(victim)
            stack.wait_ready(victim)
        produce(stack, rows[cuts[KILLS] :])
        produce_end(stack, rows)
        wanted = tables_of(recount(rows))
        for table, expected in wanted.items():
            await_same(functools.partial(streamed, stack, olap, table), expected, table)
    for job in ("quality", "cells"):
        headrace_json("job", "stop", job, "--no-savepoint", home=home)


def patient_app(folder: Path) -> Path:
    """The app, but its state outlives the test: fifty kills take half an hour of restarts that back off, and cells are forgotten after ten minutes."""
    app = folder / "live-quality"
    shutil.copytree(APP, app)
    for pipeline in (app / "pipelines").glob("*.sql"):
        text, count = TTL.subn(r"\g<1>6 h", pipeline.read_text())
        assert count == 1 or pipeline.stem == "archive", f"{pipeline.name}: time to live not found"
        pipeline.write_text(text)
    return app


def has_seen(olap: OlapClient, recv_ms: int) -> bool:
    """Whether the cells hold a row received then or later."""
    found = olap.query("SELECT max(last_recv_ms) AS newest FROM cell_1s_olap")
    return bool(found) and int(found[0]["newest"] or 0) >= recv_ms


def forget_rows(stack: RunningStack, topic: str) -> None:
    """Other tests of the shared stack may have written beacons of today, which would make the rows here late."""
    admin = AdminClient({"bootstrap.servers": stack.endpoints.kafka})
    partitions = admin.list_topics(topic, timeout=30).topics[topic].partitions
    ends = [TopicPartition(topic, number, OFFSET_END) for number in partitions]
    for deleted in admin.delete_records(ends).values() if ends else ():
        deleted.result(30)


def produce(stack: RunningStack, rows: Iterable[Row], **where: int) -> None:
    """Into the ODS topic by session, acknowledged."""
    producer = Producer({"bootstrap.servers": stack.endpoints.kafka, "partitioner": "murmur2_random"})
    for row in rows:
        producer.produce("ods.cmcd_raw", key=row.sid, value=json.dumps(encoded(row)), **where)
        producer.poll(0)
    assert producer.flush(30) == 0


def produce_end(stack: RunningStack, rows: list[Row]) -> None:
    """One row per partition, far enough on that every window of the others closes."""
    end_ms = max(row.recv_ms for row in rows) + SETTLED_MS
    for partition in range(PARTITIONS):
        row = Row(sid=f"end-{partition}", ts_ms=end_ms, recv_ms=end_ms, e="t", sn=0, region=END, isp=END)
        produce(stack, [row], partition=partition)


def await_same(read: Callable[[], list[tuple[Any, ...]]], wanted: list[tuple[Any, ...]], table: str) -> None:
    """Wait until the table holds at least as many rows as wanted and then the right ones; the last difference is told."""
    expected = sorted(set(wanted) if table == "beacon_late" else wanted, key=repr)

    def same() -> bool:
        return sorted(read(), key=repr) == expected

    try:
        wait_until(same, timeout_s=PATIENCE_S, what=f"{table} to equal the recount", every_s=2)
    except AssertionError:
        assert_same(read(), expected, table)
        raise


def streamed(stack: RunningStack, olap: OlapClient, table: str) -> list[tuple[Any, ...]]:
    """What the jobs wrote, without the rows that pushed the watermark on."""
    if table == "play_interval":
        return [tuple(row[name] for name in INTERVAL_NAMES) for row in committed(stack, "dwd.play_interval")]
    rows = olap_rows(olap, "cell_1s_olap" if table == "cell_1s" else table)
    return [row[:3] for row in rows] if table == "beacon_late" else rows


def olap_rows(olap: OlapClient, table: str) -> list[tuple[Any, ...]]:
    """The newest row per key, columns as declared."""
    rows = olap.query(f"SELECT * EXCEPT (_version) FROM {table} FINAL WHERE region != '{END}'")
    return [tuple(_number(value) for value in row.values()) for row in rows]


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.lstrip("-").isdigit() else value


def committed(stack: RunningStack, topic: str) -> list[dict[str, Any]]:
    """All rows of a topic that a reader of committed transactions sees, absent columns as None."""
    consumer = Consumer(
        {
            "bootstrap.servers": stack.endpoints.kafka,
            "group.id": "recount",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    partitions = [TopicPartition(topic, number, 0) for number in consumer.list_topics(topic).topics[topic].partitions]
    consumer.assign(partitions)
    rows: list[dict[str, Any]] = []
    ended: set[int] = set()
    while len(ended) < len(partitions):
        message = consumer.poll(10)
        assert message is not None, "the broker does not answer"
        if message.error():
            ended.add(message.partition())
        else:
            rows.append({"ltc": None, "br": None, **json.loads(message.value())})
    consumer.close()
    return rows
