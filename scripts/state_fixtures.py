"""Make the checkpoints and savepoints that tests/unit/state reads: real files of a real Flink, small enough to keep.

Run with the second environment: `runtimes/flink/.venv/bin/python scripts/state_fixtures.py [DIR] [--jar JAR]`. Two jobs run in a
MiniCluster: SQL (group, distinct, window, join, rank) and DataStream with Python state and timers. Each runs on hashmap and on
rocksdb (with `--jar` on SlimBase); each is kept as canonical savepoint, native savepoint (not of rocksdb: large, and like its checkpoint)
and last checkpoint, one zip per backend and job.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pyflink.common import Configuration, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from pyflink.datastream.state import ListStateDescriptor, MapStateDescriptor, ValueStateDescriptor
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment

ROOT = Path(__file__).resolve().parent.parent
ROWS = 60
WAIT_S = 60
SLIMBASE = "io.headrace.slimbase.SlimBaseStateBackendFactory"
MAX_PARALLELISM = {"hashmap": 8, "rocksdb": 200, SLIMBASE: 128}
SOURCE = """
CREATE TABLE orders (
  id BIGINT, city STRING, price DECIMAL(10, 2), weight DECIMAL(30, 4), note STRING, paid BOOLEAN, made TIMESTAMP(3),
  WATERMARK FOR made AS made - INTERVAL '1' SECOND
) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'csv', 'source.monitor-interval' = '1 s')
"""
QUERIES = {
    "totals (city STRING, n BIGINT, price DECIMAL(38, 2), weight DECIMAL(30, 4), note STRING, notes BIGINT)": """
        SELECT city, COUNT(*), SUM(price), MAX(weight), MIN(note), COUNT(DISTINCT note) FROM orders GROUP BY city""",
    "windows (city STRING, starts TIMESTAMP(3), n BIGINT)": """
        SELECT city, window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(made), INTERVAL '1' DAY))
        GROUP BY city, window_start, window_end""",
    "pairs (id BIGINT, city STRING)": "SELECT a.id, b.city FROM orders a JOIN orders b ON a.id = b.id",
    "best (id BIGINT, price DECIMAL(10, 2))": """
        SELECT id, price FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY city ORDER BY price DESC) AS r FROM orders) WHERE r <= 2""",
}


def write_orders(folder: Path) -> None:
    """Sixty orders of five cities, some fields null, as CSV."""
    folder.mkdir(parents=True)
    cities = ["Porto", "Bergen", "Köln", "a city with a long name", "Lima"]
    lines = []
    for n in range(ROWS):
        note = "" if n % 7 == 0 else f"note {n % 4}"
        made = f"2026-01-01 00:{n:02d}:00.000"
        lines.append(f"{n},{cities[n % 5]},{n}.25,{n}00000000000000000.5,{note},{str(n % 2 == 0).lower()},{made}")
    (folder / "orders.csv").write_text("\n".join(lines) + "\n", "utf-8")


def settings(backend: str, folder: Path) -> Configuration:
    """A MiniCluster's configuration for one backend."""
    config = Configuration()
    for key, value in {
        "state.backend.type": backend,
        "execution.checkpointing.incremental": "true",
        "execution.checkpointing.dir": f"file://{folder}/checkpoints",
        "execution.checkpointing.interval": "2 s",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.snapshot-compression": "true" if backend == "rocksdb" else "false",
        "execution.checkpointing.data-inline-threshold": "1 kb",
        "parallelism.default": "2",
        "pipeline.max-parallelism": str(MAX_PARALLELISM[backend]),
        "taskmanager.numberOfTaskSlots": "4",
        "taskmanager.memory.managed.size": "256 mb",
        "python.executable": sys.executable,
        "python.fn-execution.bundle.time": "200",
    }.items():
        config.set_string(key, value)
    if backend == SLIMBASE:
        config.set_string("pipeline.jars", os.environ["SLIMBASE_JAR"])
    return config


class Remember(KeyedProcessFunction):
    """Python state of every kind, and a timer far away."""

    def open(self, context: RuntimeContext) -> None:
        """Register the states."""
        self.count = context.get_state(ValueStateDescriptor("count", Types.LONG()))
        self.seen = context.get_list_state(ListStateDescriptor("seen", Types.STRING()))
        self.by_note = context.get_map_state(MapStateDescriptor("by_note", Types.STRING(), Types.LONG()))

    def process_element(self, value: tuple[int, str], ctx: KeyedProcessFunction.Context):
        """Count, list and map what comes."""
        self.count.update((self.count.value() or 0) + 1)
        self.seen.add(f"order {value[0]}")
        self.by_note.put(f"note {value[0] % 3}", value[0])
        ctx.timer_service().register_processing_time_timer(4_000_000_000_000)
        yield value


def submit_sql(config: Configuration, orders: Path) -> object:
    """The SQL job: one statement set, one job."""
    tables = StreamTableEnvironment.create(StreamExecutionEnvironment.get_execution_environment(config))
    tables.get_config().set("table.exec.state.ttl", "1 d")
    tables.get_config().set("pipeline.name", "orders")
    tables.execute_sql(SOURCE.format(path=orders))
    statements = tables.create_statement_set()
    for sink, query in QUERIES.items():
        tables.execute_sql(f"CREATE TABLE {sink} WITH ('connector' = 'blackhole')")
        statements.add_insert_sql(f"INSERT INTO {sink.split()[0]} {query}")
    return statements.execute().get_job_client()


def submit_python(config: Configuration, orders: Path) -> object:
    """The DataStream job, over the same source."""
    env = StreamExecutionEnvironment.get_execution_environment(config)
    tables = StreamTableEnvironment.create(env)
    tables.execute_sql(SOURCE.format(path=orders))
    stream = tables.to_data_stream(tables.sql_query("SELECT id, city FROM orders"))
    pairs = stream.map(lambda row: (row[0], row[1]), output_type=Types.TUPLE([Types.LONG(), Types.STRING()]))
    remembered = pairs.key_by(lambda pair: pair[1], key_type=Types.STRING()).process(
        Remember(), output_type=Types.TUPLE([Types.LONG(), Types.STRING()])
    )
    remembered.name("remember").uid("remember").print()
    return env.execute_async("remember")


def keep(client: object, work: Path, target: Path, savepoints: tuple[str, ...]) -> None:
    """Wait until the job has read everything, then keep savepoints and a checkpoint of it."""
    deadline = time.monotonic() + WAIT_S
    while not any(int(path.parent.name[4:]) >= 3 for path in (work / "checkpoints").glob("*/chk-*/_metadata")):
        if time.monotonic() > deadline:
            raise SystemExit(f"no third checkpoint in {WAIT_S} s")
        time.sleep(0.2)
    formats = get_gateway().jvm.org.apache.flink.core.execution.SavepointFormatType
    for name in savepoints:
        made = client._j_job_client.triggerSavepoint(f"file://{work}/{name}", getattr(formats, name.upper())).get()
        shutil.move(made.removeprefix("file:"), target / name)
    client.cancel().result()
    last = max((work / "checkpoints").glob("*/chk-*/_metadata"), key=lambda path: int(path.parent.name[4:]))
    shutil.copytree(last.parent.parent, target / "checkpoint")


def make(backend: str, submit: Callable[[Configuration, Path], object], target: Path) -> None:
    """One job on one backend, into one zip."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        work, kept = Path(temporary) / "work", Path(temporary) / "kept"
        work.mkdir()
        kept.mkdir()
        write_orders(work / "orders")
        formats = ("canonical",) if backend == "rocksdb" else ("canonical", "native")
        keep(submit(settings(backend, work), work / "orders"), work, kept, formats)
        shutil.make_archive(str(target), "zip", kept)
    sys.stdout.write(f"{target.name}.zip: {target.with_suffix('.zip').stat().st_size} bytes\n")


def main() -> None:
    """All jobs on all backends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "tests/unit/state/fixtures")
    parser.add_argument("--jar", help="the jar of SlimBase: makes its fixtures instead")
    options = parser.parse_args()
    if options.jar:
        os.environ["SLIMBASE_JAR"] = f"file://{Path(options.jar).resolve()}"
    backends = {"slimbase": SLIMBASE} if options.jar else {"hashmap": "hashmap", "rocksdb": "rocksdb"}
    for short, backend in backends.items():
        make(backend, submit_sql, options.folder / f"sql-{short}")
        make(backend, submit_python, options.folder / f"python-{short}")


if __name__ == "__main__":
    main()
