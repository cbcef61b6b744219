from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import ErrorBody, Invalid, NotFound, Place
from headrace.core.schema import Column
from headrace.flink.protocol import (
    FRAME_HEADER,
    Answer,
    Call,
    Compile,
    Compiled,
    Explain,
    Explained,
    ParsedTable,
    ParseTable,
    Ping,
    Pong,
    Query,
    Request,
    Response,
    Rows,
    Script,
    Statement,
    Submit,
    Submitted,
    TableDef,
    Validate,
    Validated,
    check_frame_size,
    decode_body,
    encode_frame,
)

SCRIPT = Script("INSERT INTO b SELECT * FROM a", "pipelines/p.sql")
TABLES = (TableDef(name="a", ddl="CREATE TABLE a (x INT)", options={"connector": "datagen"}, file="tables/a.sql"),)
REQUESTS: list[Request] = [
    Ping(),
    ParseTable(SCRIPT),
    Validate(script=SCRIPT, tables=TABLES, config={"k": "v"}, plan=True),
    Explain(script=SCRIPT, batch=True),
    Compile(script=SCRIPT),
    Submit(script=SCRIPT, tables=TABLES, job_name="p", job_id="a" * 32, savepoint_path="file:///s"),
    Query(script=SCRIPT, limit=7),
]
COLUMN = Column(name="x", type="INT", nullable=False, comment="c")
RESPONSES: list[Response] = [
    Pong(flink_version="2.3.0", pid=1, jvm_pid=2, uptime_ms=3, requests=4),
    ParsedTable(name="a", columns=(COLUMN,), watermark=("ts", "ts - 1"), options={"layer": "ods"}),
    Validated(
        statements=(Statement("insert", 1, 1, "b"),), problems=(ErrorBody("Invalid", "m", place=Place("f", 1, 2)),)
    ),
    Explained(ast="a", physical="p", execution="e", json_plan="{}"),
    Compiled(plan="{}", sources=("a",)),
    Submitted(job_id="a" * 32, cluster="http://h:1"),
    Rows(columns=(COLUMN,), rows=[[None, True, 1, 1.5, "s", b"b", [1], {"k": 1}]], truncated=True),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda each: type(each).__name__)
def test_requests_survive_the_wire(request_: Request) -> None:
    """A call that is encoded and decoded is the same call."""
    call = Call(7, request_, 1.5)
    frame = encode_frame(call)
    assert FRAME_HEADER.unpack(frame[:4])[0] == len(frame) - 4
    assert decode_body(frame[4:], Call) == call


@pytest.mark.parametrize("response", RESPONSES, ids=lambda each: type(each).__name__)
def test_responses_survive_the_wire(response: Response) -> None:
    """An answer that is encoded and decoded is the same answer."""
    answer = Answer(id=7, response=response, elapsed_ms=2.0)
    assert decode_body(encode_frame(answer)[4:], Answer) == answer


def test_unknown_fields_of_a_newer_end_are_ignored() -> None:
    """A newer client may add a field without breaking an older driver."""
    body = msgspec.msgpack.encode({"id": 1, "request": {"op": "ping", "new": 1}, "newer": 2})
    assert decode_body(body, Call) == Call(1, Ping())


@pytest.mark.parametrize("size", [0, 11])
def test_frames_have_a_bound(size: int) -> None:
    """Empty and too large frames are refused before their body is read."""
    with pytest.raises(Invalid, match="frame is"):
        check_frame_size(size, limit_bytes=10)


def test_a_request_too_big_is_not_sent() -> None:
    """The client refuses by itself, and says how big it is and how big it may be."""
    with pytest.raises(Invalid) as caught:
        encode_frame(Call(1, ParseTable(Script("x" * 100))), limit_bytes=50)
    assert caught.value.context["limit_bytes"] == "50"
    assert caught.value.hint == "send fewer tables or a shorter script"


@given(st.binary(max_size=200))
def test_garbage_is_invalid_never_a_crash(body: bytes) -> None:
    """Whatever the bytes, decoding gives a call or Invalid."""
    try:
        outcome = repr(decode_body(body, Call))
    except Invalid as error:
        outcome = error.message
    assert outcome.startswith(("Call(", "frame is not a call"))


def test_check_raises_the_first_problem_and_counts_the_rest() -> None:
    """`check` gives the value when all is well, and else the first problem of its own kind."""
    assert Validated().check() == Validated()
    problems = (ErrorBody("NotFound", "unknown table `a`", place=Place("f", 3, 4)), ErrorBody("Invalid", "other"))
    with pytest.raises(NotFound) as caught:
        Validated(problems=problems).check()
    assert caught.value.place == Place("f", 3, 4)
    assert caught.value.context == {"more_problems": "1"}
