"""What users read when their SQL is wrong, from the real planner; the texts are golden (`make golden` rewrites them)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.driver_alone import alone_driver
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
