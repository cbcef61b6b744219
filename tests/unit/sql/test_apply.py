"""Applying tables: all or nothing, idempotent, every mistake at its place."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tests.unit.platform_parts import CITY, ORDERS, TOTALS, Parts, make_parts, small_project

from headrace.core.errors import Conflict, HeadraceError, Invalid, Unavailable
from headrace.core.schema import Table
from headrace.sql.project import DimFile


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    """A control plane over fakes."""
    return make_parts(tmp_path)


def test_an_apply_creates_stores_and_publishes(parts: Parts) -> None:
    """Topics and OLAP tables exist, the catalog knows the tables, the data plane can read schema and dims, the journal tells."""
    applied = parts.applier.apply(small_project(), (CITY,), actor="test")
    assert [(change.kind, change.name, change.action) for change in applied.changes] == [
        ("table", "orders", "created"),
        ("table", "totals", "created"),
        ("dim", "city", "created"),
    ]
    assert sorted(parts.topics.specs) == ["dlq.orders", "ods.orders"]
    assert parts.olap.columns["totals"] == {"id": "String", "total": "Nullable(Int64)"}
    schema = msgspec.json.decode((parts.home.data / "schemas/orders.json").read_bytes(), type=Table)
    assert (schema.layer, schema.system, schema.retention, schema.options) == ("ods", "kafka", "1 d", {"key": "id"})
    assert (parts.home.data / "dims/city.csv").read_text() == CITY.text
    assert [(entry.action, entry.outcome) for entry in parts.journal.newest()] == [("table.apply", "done")]


def test_a_second_apply_changes_nothing(parts: Parts) -> None:
    """The same files again: everything unchanged, no file touched, nothing created."""
    parts.applier.apply(small_project(), (CITY,), actor="test")
    path = parts.home.data / "schemas/orders.json"
    before = path.stat().st_mtime_ns
    again = parts.applier.apply(small_project(), (CITY,), actor="test")
    assert {change.action for change in again.changes} == {"unchanged"}
    assert again.resources == ()
    assert path.stat().st_mtime_ns == before


def test_a_changed_table_gets_a_new_fingerprint(parts: Parts) -> None:
    """Only the changed table is stored anew, its age is kept."""
    parts.applier.apply(small_project(), (CITY,), actor="test")
    before = parts.catalog.get("orders")
    parts.clock.advance(5)
    changed = small_project(tables__orders=ORDERS.replace("amount BIGINT", "amount BIGINT,\n  currency STRING"))
    actions = {change.name: change.action for change in parts.applier.apply(changed, (CITY,), actor="test").changes}
    after = parts.catalog.get("orders")
    assert actions == {"orders": "changed", "totals": "unchanged", "city": "unchanged"}
    assert after.fingerprint != before.fingerprint
    assert (after.created_at_ms, after.updated_at_ms) == (before.created_at_ms, before.updated_at_ms + 5000)


@pytest.mark.parametrize(
    ("changed", "place", "says", "hints"),
    [
        ({"tables__totals": TOTALS.replace("total BIGINT", "total BROKEN")}, "tables/totals.sql:3:9", "BROKEN", ""),
        ({"tables__totals": TOTALS.replace("'dws'", "'dwz'")}, "tables/totals.sql:1:14", "unknown layer", "dws"),
        (
            {"tables__totals": TOTALS.replace("clickhouse", "clickhose")},
            "tables/totals.sql:1:14",
            "unknown system",
            "clickhouse",
        ),
        ({"tables__totals": TOTALS.replace("'layer' = 'dws', ", "")}, "tables/totals.sql:1:14", "no layer", "ods"),
        ({"tables__orders": ORDERS.replace("'key'", "'keys'")}, "tables/orders.sql:1:14", "unknown option", "key"),
        ({"tables__orders": ORDERS.replace("'1 d'", "'soon'")}, "tables/orders.sql:1:14", "retention", "7 d"),
        ({"tables__zz": ORDERS}, "tables/zz.sql:1:14", "two files declare one table", ""),
        ({"tables__totals": "SELECT 1"}, "tables/totals.sql:1:1", "not a CREATE TABLE", ""),
    ],
)
def test_one_wrong_table_changes_nothing(
    parts: Parts, changed: dict[str, str], place: str, says: str, hints: str
) -> None:
    """A mistake in one file is told with its place, and no table, topic or file appears."""
    with pytest.raises(HeadraceError) as caught:
        parts.applier.apply(small_project(**changed), (CITY,), actor="test")
    assert str(caught.value.place) == place
    assert says in caught.value.message
    assert hints in caught.value.hint
    assert (parts.catalog.entries(), parts.topics.specs, parts.olap.statements) == ([], {}, [])
    assert not (parts.home.data / "schemas").exists()


def test_a_broker_that_is_down_changes_no_catalog(parts: Parts) -> None:
    """What could not be created is not stored; the file that needed it is named, and the journal says failed."""
    parts.topics.down = True
    with pytest.raises(Unavailable) as caught:
        parts.applier.apply(small_project(), (CITY,), actor="test")
    assert str(caught.value.place) == "tables/orders.sql"
    assert parts.catalog.entries() == []
    assert parts.journal.newest()[0].outcome == "failed"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "dims/city.csv:1: a dim starts with a header"),
        ("city,city\n", "dims/city.csv:1: a dim starts with a header"),
        ("city,region\nx\n", "dims/city.csv:2: row has another number of fields"),
        ('city\n"x\n', "dims/city.csv:2: not CSV"),
    ],
)
def test_a_bad_dim_is_refused_at_its_line(parts: Parts, text: str, says: str) -> None:
    """Readers never get a dim that they cannot use."""
    with pytest.raises(Invalid) as caught:
        parts.applier.apply(small_project(), (DimFile("city", text),), actor="test")
    assert str(caught.value).startswith(says)
    assert parts.catalog.entries() == []


def test_a_table_of_another_project_is_not_taken_over(parts: Parts) -> None:
    """Names are global; the second project is told who has it."""
    parts.applier.apply(small_project(), (CITY,), actor="test")
    other = small_project(toml='name = "other"\n[dims]\ncity = "dims/city.csv"\n')
    with pytest.raises(Conflict, match="belongs to another project"):
        parts.applier.apply(other, (CITY,), actor="test")


def test_files_lost_in_a_crash_are_written_at_start(parts: Parts) -> None:
    """The store is the truth: published files come back from it."""
    parts.applier.apply(small_project(), (CITY,), actor="test")
    (parts.home.data / "schemas/orders.json").unlink()
    (parts.home.data / "dims/city.csv").write_text("half")
    reborn = parts.reborn()
    assert reborn.applier.publish_all() == 2
    assert (reborn.home.data / "dims/city.csv").read_text() == CITY.text
