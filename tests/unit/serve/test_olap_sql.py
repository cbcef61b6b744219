"""What may reach the embedded engine, and where an INSERT's data begins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.serve import olap_sql
from headrace.serve.olap_errors import ClickHouseError
from headrace.serve.olap_sql import Policy, judge, split_insert

REFUSED = [
    "CREATE TABLE t (`a` int) ENGINE = Kafka('x')",
    "CREATE TABLE t (`a` int) ENGINE = `Kafka`",
    "CREATE OR REPLACE TABLE t (`a` int) ENGINE = URL('http://x', CSV)",
    "CREATE TABLE x AS y ENGINE = S3('x')",
    "CREATE TABLE a (`x` int) ENGINE = Memory PARALLEL WITH CREATE TABLE b (`x` int) ENGINE = Kafka",
    "CREATE TABLE a (`x` int) ENGINE = Memory PARALLEL WITH CREATE USER b",
    "CREATE MATERIALIZED VIEW v ENGINE = Kafka AS SELECT 1",
    "CREATE TABLE t (`a` int) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = s3)",
    "CREATE TABLE t (`a` int) ENGINE = MergeTree ORDER BY a AS SELECT * FROM url('x')",
    "CREATE TABLE t AS file('x')",
    "CREATE TABLE t (`a` int, `b` ALIAS file('x'))",
    "CREATE DATABASE d ENGINE = MySQL('a')",
    "CREATE DICTIONARY d (`a` int) PRIMARY KEY a SOURCE(HTTP(URL 'x')) LAYOUT(FLAT())",
    "CREATE OR REPLACE DICTIONARY d (`a` int) PRIMARY KEY a SOURCE(HTTP(URL 'x')) LAYOUT(FLAT())",
    "CREATE NAMED COLLECTION x AS a = 1",
    "CREATE USER x",
    "SELECT * FROM File('x')",
    "SELECT * FROM `url` ('x')",
    "SELECT file('/etc/passwd')",
    "SELECT * FROM `/etc/passwd`",
    "SELECT * FROM default.`../x.csv`",
    "SELECT * FROM `http://h/x.csv`",
    "SELECT 1 INTO OUTFILE 'x'",
    "INSERT INTO t FROM INFILE 'x' FORMAT CSV",
    "INSERT INTO FUNCTION file('x') SELECT 1",
    "SELECT 1 SETTINGS default_table_engine = 'Kafka'",
    "SET default_table_engine = 'Kafka'",
    "SYSTEM SHUTDOWN",
    "ATTACH TABLE t FROM '/x' (`a` int) ENGINE = Kafka",
    "BACKUP TABLE t TO Disk('x', 'y')",
    "GRANT ALL ON *.* TO x",
    "EXECUTE AS x SELECT 1",
    "DROP DATABASE default",
    "DESCRIBE TABLE file('x')",
]
ALLOWED = [
    "SELECT 1",
    "WITH 1 AS x SELECT x",
    "SELECT engine FROM system.tables WHERE engine = 'Kafka'",
    "SELECT 'ENGINE = Kafka', 'file(1)'",
    "SELECT * FROM numbers(10)",
    "SELECT `bytes/s` FROM t",
    "CREATE TABLE t (`a` int, `engine` String) ENGINE = ReplacingMergeTree(v) ORDER BY a",
    "CREATE MATERIALIZED VIEW v TO t AS SELECT 1",
    "CREATE DATABASE d ENGINE = Atomic",
    "ALTER TABLE t (ADD COLUMN b int)",
    "DROP TABLE IF EXISTS t SYNC",
    "OPTIMIZE TABLE t FINAL",
    "SHOW TABLES",
    "INSERT INTO t SELECT * FROM u",
]


@pytest.mark.parametrize("sql", REFUSED)
def test_what_reaches_outside_is_refused(sql: str) -> None:
    """Each is refused as access denied, with a hint, whatever the case or quoting of the name."""
    with pytest.raises(ClickHouseError) as caught:
        judge(sql, Policy())
    assert caught.value.code == 497
    assert caught.value.status == 403
    assert "hint: " in caught.value.text


@pytest.mark.parametrize("sql", ALLOWED)
def test_ordinary_statements_pass(sql: str) -> None:
    """Words that only look dangerous, in strings, columns and comparisons, refuse nothing."""
    judge(sql, Policy())


def test_a_newer_engine_s_functions_are_refused() -> None:
    """What the running engine offers beyond the harmless table functions is refused without being named here."""
    policy = olap_sql.policy_for(["numbers", "BrandNewLake"])
    judge("SELECT * FROM numbers(1)", policy)
    with pytest.raises(ClickHouseError):
        judge("SELECT * FROM brandnewlake('x')", policy)


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("SELECT 1 FORMAT JSON", "JSON"),
        ("SELECT 1 FORMAT JSON SETTINGS max_threads = 1", "JSON"),
        ("SELECT 1 AS FORMAT FORMAT CSV", "CSV"),
        ("SELECT format FROM t", ""),
        ("SELECT format('{}', 1)", ""),
    ],
)
def test_format_clause_is_found(sql: str, name: str) -> None:
    """Only a FORMAT at the end is one."""
    assert judge(sql, Policy()).format == name


@pytest.mark.parametrize(
    ("text", "head", "name", "data"),
    [
        ('INSERT INTO t FORMAT JSONEachRow\n{"a":1}', "INSERT INTO t FORMAT JSONEachRow", "JSONEachRow", '{"a":1}'),
        ("insert into t (a, b) format CSV 1,2", "insert into t (a, b) format CSV", "CSV", "1,2"),
        ("INSERT INTO t VALUES (1, 'FORMAT x')", "INSERT INTO t FORMAT Values", "Values", " (1, 'FORMAT x')"),
        (
            "INSERT INTO t (`values`) /* FORMAT X */ FORMAT TSV\n1",
            "INSERT INTO t (`values`) /* FORMAT X */ FORMAT TSV",
            "TSV",
            "1",
        ),
        ("-- c\nINSERT INTO `a;b` FORMAT RowBinary", "-- c\nINSERT INTO `a;b` FORMAT RowBinary", "RowBinary", ""),
        ("INSERT INTO t FORMAT RowBinary\n\n\x00", "INSERT INTO t FORMAT RowBinary", "RowBinary", "\n\x00"),
    ],
)
def test_data_of_an_insert_is_found(text: str, head: str, name: str, data: str) -> None:
    """The head ends with the format's name; of what follows, blanks and one line end are no data."""
    found = split_insert(text)
    assert found is not None
    assert (found.head, found.format, text[found.data_at :]) == (head, name, data)


@pytest.mark.parametrize(
    "sql", ["SELECT 1", "", "INSERT INTO t SELECT 1", "INSERT INTO t (a) WITH x AS (SELECT 1) SELECT 1"]
)
def test_statements_without_data(sql: str) -> None:
    """Queries and INSERT … SELECT carry none."""
    assert split_insert(sql) is None


def test_insert_that_names_no_data_is_a_syntax_error() -> None:
    """An INSERT must say where its rows come from."""
    with pytest.raises(ClickHouseError) as caught:
        split_insert("INSERT INTO t")
    assert caught.value.code == 62


@given(st.text(max_size=200))
def test_any_text_is_split_or_refused(text: str) -> None:
    """No text makes the lexer fail otherwise or hang."""
    list(olap_sql.tokens(text))
    for statement in (text, f"INSERT INTO t {text}"):
        try:
            split_insert(statement)
            judge(statement, Policy())
        except ClickHouseError:
            continue
