from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import Invalid
from headrace.flink.statements import SqlStatement, split_statements


def texts(sql: str) -> list[str]:
    """The statements' texts."""
    return [statement.text for statement in split_statements(sql, file="f.sql")]


@pytest.mark.parametrize(
    ("sql", "wanted"),
    [
        ("", []),
        ("  -- only; a comment\n/* and; another */ ;;", []),
        ("SELECT 1;SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT 'a;''b'; SELECT 2;", ["SELECT 'a;''b'", "SELECT 2"]),
        ("SELECT `a;``b` FROM t;", ["SELECT `a;``b` FROM t"]),
        ("SELECT 1 -- no; end\n + 1;", ["SELECT 1 -- no; end\n + 1"]),
        ("SELECT 1 // no; end\n + 1;", ["SELECT 1 // no; end\n + 1"]),
        ("SELECT 'http://x;y' -- '\n;", ["SELECT 'http://x;y'"]),
        ("SELECT /* ' ; ` */ 1; SELECT /**/ 2", ["SELECT /* ' ; ` */ 1", "SELECT /**/ 2"]),
        (
            "SELECT * FROM t /*+ OPTIONS('k' = 'a;b') */; SELECT 2",
            ["SELECT * FROM t /*+ OPTIONS('k' = 'a;b') */", "SELECT 2"],
        ),
        ("SELECT '--'; SELECT '/*'; SELECT 3", ["SELECT '--'", "SELECT '/*'", "SELECT 3"]),
        ("\ufeffSELECT 1;", ["SELECT 1"]),
        ("SELECT 'ä;语'; SELECT 表 FROM t", ["SELECT 'ä;语'", "SELECT 表 FROM t"]),
        (
            "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT CASE WHEN x THEN 1 END FROM t; INSERT INTO b SELECT 2; END; SELECT 3",
            [
                "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT CASE WHEN x THEN 1 END FROM t; INSERT INTO b SELECT 2; END",
                "SELECT 3",
            ],
        ),
    ],
)
def test_semicolons_end_statements_only_where_they_should(sql: str, wanted: list[str]) -> None:
    """Semicolons in strings, names, comments, hints and statement sets end nothing; blanks and comments are no statement."""
    assert texts(sql) == wanted


@pytest.mark.parametrize(
    ("sql", "message", "line", "column"),
    [
        ("SELECT 1;\n  SELECT 'abc", "string is not closed", 2, 10),
        ("SELECT `abc\n;", "quoted name is not closed", 1, 8),
        ("/* a\nb", "comment is not closed", 1, 1),
        ("SELECT 'it''s", "string is not closed", 1, 8),
    ],
)
def test_what_is_not_closed_is_shown_where_it_opens(sql: str, message: str, line: int, column: int) -> None:
    """The place is that of the opening mark, not the end of the file."""
    with pytest.raises(Invalid) as caught:
        split_statements(sql, file="p.sql")
    place = caught.value.place
    assert caught.value.message == message
    assert place is not None
    assert (place.file, place.line, place.column) == ("p.sql", line, column)


def test_places_are_those_of_the_file() -> None:
    """A statement knows where it starts, and its padded text has every character at its place in the file."""
    sql = "-- head\nSET 'a' = 'b';\r\n\tINSERT INTO t\n  SELECT x"
    second = split_statements(sql, file="f.sql")[1]
    assert (second.line, second.column) == (3, 2)
    assert second.padded.split("\n")[2].index("INSERT") == 1
    token = second.find("x")
    assert token is not None
    assert (token.line, token.column) == (4, 10)


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("CREATE TEMPORARY VIEW IF NOT EXISTS `my view` AS SELECT 1", "my view"),
        ("create view v as select 1", "v"),
        ("CREATE TABLE t (a INT)", "t"),
        ("INSERT INTO t SELECT 1", ""),
        ("CREATE", ""),
    ],
)
def test_defined_names(sql: str, name: str) -> None:
    """CREATE statements name what they make."""
    assert split_statements(sql, file="f")[0].defines() == name


@given(st.text(alphabet="a;'`-/*\n \r\t{é", max_size=60))
def test_nothing_is_lost_and_nothing_hangs(sql: str) -> None:
    """Any text is either refused with a place inside it, or cut into pieces of it, in order."""
    line = 1
    statements: list[SqlStatement] = []
    try:
        statements = split_statements(sql, file="f")
    except Invalid as error:
        line = error.place.line if error.place else 0
    assert 1 <= line <= sql.count("\n") + 1
    position = 0
    for statement in statements:
        position = sql.index(statement.text, position) + len(statement.text)
