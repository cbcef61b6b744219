"""What users read when their SQL is wrong, from the real planner; the texts are golden (`make golden` rewrites them)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.driver_alone import ROOT, alone_driver
from tests.golden import golden

from headrace.core.errors import HeadraceError, from_body
from headrace.flink.driver_client import DriverClient
from headrace.flink.protocol import ParseTable, Script, TableDef, Validate

pytestmark = pytest.mark.cluster

CASES = golden.HERE / "driver"
OPTIONS = {
    "beacons": {"connector": "datagen"},
    "play_minutes": {
        "connector": "kafka",
        "topic": "t",
        "properties.bootstrap.servers": "localhost:1",
        "format": "json",
    },
}


@pytest.fixture(scope="module")
def client() -> Iterator[DriverClient]:
    """A driver of its own."""
    with alone_driver() as driver, driver.client() as client:
        yield client


def tables() -> tuple[TableDef, ...]:
    """The tables of the golden pipelines."""
    return tuple(
        TableDef(name=name, ddl=(CASES / f"tables/{name}.sql").read_text(), options=options, file=f"tables/{name}.sql")
        for name, options in OPTIONS.items()
    )


@pytest.mark.parametrize("case", sorted(CASES.glob("table_*.sql")), ids=lambda path: path.stem)
def test_a_bad_table_file_is_explained(client: DriverClient, case: Path) -> None:
    """Each gets one sentence with file, line and column, and a hint."""
    with pytest.raises(HeadraceError) as caught:
        client.parse_table(ParseTable(Script(case.read_text(), f"tables/{case.name}")))
    golden.check(f"driver/{case.stem}.txt", f"{caught.value.kind}: {caught.value}")


@pytest.mark.parametrize("case", sorted(CASES.glob("pipeline_*.sql")), ids=lambda path: path.stem)
def test_a_bad_pipeline_is_explained(client: DriverClient, case: Path) -> None:
    """All problems are told, none of them twice, near names are offered."""
    script = Script(case.read_text(), f"pipelines/{case.name}")
    problems = client.validate(Validate(script=script, tables=tables(), plan=True)).problems
    assert problems
    golden.check(f"driver/{case.stem}.txt", "\n".join(f"{problem.kind}: {from_body(problem)}" for problem in problems))


def test_a_good_table_comes_back_whole(client: DriverClient) -> None:
    """Columns of each kind, key, watermark, partitions, options and comments, as Flink understood them."""
    ddl = """CREATE TABLE t (
      k BIGINT NOT NULL COMMENT 'the key', s STRING, d DECIMAL(5, 2), a ARRAY<STRING NOT NULL>, m MAP<STRING, INT>,
      r ROW<x INT, y STRING>, at_ms BIGINT, l TIMESTAMP_LTZ(3), `day` DATE,
      ts AS TO_TIMESTAMP_LTZ(at_ms, 3), off BIGINT METADATA FROM 'offset' VIRTUAL, part INT METADATA,
      WATERMARK FOR ts AS ts - INTERVAL '5' SECOND, PRIMARY KEY (k, s) NOT ENFORCED
    ) COMMENT 'about t' PARTITIONED BY (`day`) WITH ('layer' = 'ods', 'schema.0.name' = 'odd', 'comment' = 'odder')"""
    table = client.parse_table(ParseTable(Script(ddl, "t.sql")))
    rows = [
        f"{c.name} {c.type}{'' if c.nullable else ' NOT NULL'} {c.kind} {c.expression} {c.comment}".rstrip()
        for c in table.columns
    ]
    rest = f"{table.name} {table.primary_key} {table.watermark} {table.partitioned_by} {table.options} {table.comment}"
    golden.check("driver/parsed_table.txt", "\n".join([*rows, rest]))


def test_the_apps_tables_parse(client: DriverClient) -> None:
    """Every table file that ships parses."""
    files = sorted((ROOT / "apps").glob("*/tables/*.sql"))
    assert files
    for file in files:
        assert client.parse_table(ParseTable(Script(file.read_text("utf-8"), file.name))).columns
