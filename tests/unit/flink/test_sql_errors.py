from __future__ import annotations

import pytest

from headrace.core.errors import Conflict, HeadraceError, Invalid, NotFound, Place, Unavailable
from headrace.flink.sql_errors import JavaCause, Known, explain_failure, refine
from headrace.flink.statements import split_statements

START = Place("pipelines/p.sql", 3, 1)
KNOWN = Known(tables=["cmcd_raw", "play_interval"], columns=["sid", "cid"], functions=["max", "map"])
VALIDATION = "org.apache.flink.table.api.ValidationException"
PARSER = "org.apache.flink.table.api.SqlParserException"


def explain(*causes: tuple[str, str]) -> HeadraceError:
    """What a user sees for a chain of Java causes."""
    return explain_failure([JavaCause(*cause) for cause in causes], start=START, known=KNOWN, operation="t")


def test_unknown_table_offers_near_names() -> None:
    """The place is Flink's, the near names are those known."""
    text = "SQL validation failed. From line 4, column 39 to line 4, column 46: Object 'cmcd_rav' not found"
    error = explain((VALIDATION, f"SQL validation failed. {text}"), (VALIDATION, text))
    assert isinstance(error, NotFound)
    assert str(error) == "pipelines/p.sql:4:39: unknown table `cmcd_rav`\nhint: nearest: cmcd_raw"


def test_unknown_sink_is_found_in_the_statement() -> None:
    """Flink names no place for a sink: it is the name behind INTO."""
    error = explain(
        (
            VALIDATION,
            "Cannot find table '`c`.`d`.`play_intervall`' in any of the catalogs [c], nor as a temporary table.",
        )
    )
    statement = split_statements("\n\nINSERT INTO\n  play_intervall SELECT 1", file="f")[0]
    assert refine(error, statement).place == Place("pipelines/p.sql", 4, 3)
    assert error.hint == "nearest: play_interval"


def test_without_any_table_the_hint_is_to_apply_some() -> None:
    """An empty catalog is said to be empty."""
    causes = [JavaCause(VALIDATION, "From line 1, column 1 to line 1, column 2: Object 'x' not found")]
    error = explain_failure(causes, start=START, known=Known(), operation="t")
    assert error.hint == "no tables are known yet: `headrace table apply`"


@pytest.mark.parametrize(
    ("message", "sentence", "hint"),
    [
        ('SQL parse failed. Encountered "," at line 1, column 23.\nWas expecting one of:\n    "PRIMARY" ...\n    <IDENTIFIER> ...\n    ', "unexpected `,`", "expected: PRIMARY, a name"),
        ('Encountered "y" at line 3, column 3.\nWas expecting one of:\n    ")" ...\n    "," ...\n' + "".join(f'    "W{i}X" ...\n' for i in range(9)), "unexpected `y`", "is a comma missing before it?"),
        ('Encountered "timestamp" at line 1, column 1.\nWas expecting one of:\n    "PRIMARY" ...\n    <IDENTIFIER> ...\n', "unexpected reserved word `timestamp`", "put it in back-ticks if it is a name"),
        ('Encountered "<EOF>" at line 1, column 10.\nWas expecting one of:\n    "ABS" ...\n', "statement ends too early", "a bracket or a clause is not finished"),
        ('Encountered "\\"" at line 1, column 31.\nWas expecting one of:\n    "ABS" ...\n' + "".join(f'    "W{i}" ...\n' for i in range(9)), 'unexpected `"`', "a string stands in single quotes, a name in back-ticks"),
        ('Encountered "FORM" at line 1, column 10.\nWas expecting one of:\n    "FROM" ...\n    "WHERE" ...\n', "unexpected `FORM`", "did you mean FROM?"),
    ],
)  # fmt: skip
def test_syntax_errors_are_cut_down(message: str, sentence: str, hint: str) -> None:
    """Of hundreds of expected tokens, at most a few are shown, and only when they help."""
    error = explain((PARSER, message))
    assert isinstance(error, Invalid)
    assert (error.message, error.hint) == (sentence, hint)
    assert error.place is not None
    assert error.place != START


def test_a_misspelt_keyword_is_found() -> None:
    """Flink reads `SELEC 1` as an expression and names no place."""
    error = explain((PARSER, "SQL parse failed. Non-query expression encountered in illegal context"))
    statement = split_statements("\n\nINSERT INTO t SELEC 1", file="f")[0]
    assert str(refine(error, statement)) == "pipelines/p.sql:3:15: unexpected `SELEC`\nhint: did you mean SELECT?"


def test_missing_place_is_the_statements_start() -> None:
    """Without a place from Flink, the statement's start is shown."""
    error = explain((VALIDATION, "Aggregate expressions cannot be nested"))
    assert error.place == START


@pytest.mark.parametrize(
    ("root", "kind", "message"),
    [
        ("[Internal server error., <Exception on server side:\norg.apache.flink.runtime.client.DuplicateJobSubmissionException: Job has already been submitted.\n\tat x", Conflict, "a job with this id exists"),
        ("Cannot find checkpoint or savepoint file/directory 'file:///nope' on file system 'file'.", NotFound, "cannot find checkpoint or savepoint file/directory 'file:///nope' on file system 'file'"),
        ("Invocation of [LocalRpcInvocation(DispatcherGateway.submitJob(ExecutionPlan, Duration))] at recipient [x] timed out. This", Unavailable, "cluster did not answer the submission in time"),
        ("Failed to rollback to checkpoint/savepoint x. Cannot map checkpoint/savepoint state for operator y to the new program", Invalid, "savepoint does not fit the job: failed to rollback to checkpoint/savepoint x. Cannot map checkpoint/savepoint state for operator y to the new program"),
    ],
)  # fmt: skip
def test_refused_submissions(root: str, kind: type[HeadraceError], message: str) -> None:
    """What the cluster says about a job is told apart by kind."""
    error = explain(("T", "Failed to execute sql"), ("F", "Failed to execute job 'j'."), ("R", root))
    assert type(error) is kind
    assert error.message == message


def test_a_cluster_that_is_not_there_is_unavailable() -> None:
    """Connection failures are retryable and point at the status."""
    error = explain(("T", "Failed to execute sql"), ("java.net.ConnectException", "Connection refused"))
    assert isinstance(error, Unavailable)
    assert error.message == "flink cluster cannot be reached: Connection refused"
