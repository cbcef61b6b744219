"""The OLAP host answers as ClickHouse's HTTP interface does."""

from __future__ import annotations

import gzip
import json
import struct
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from headrace.core.errors import Invalid, NotFound, Unavailable
from headrace.serve.olap_client import OlapClient
from tests.behaviour.olap.conftest import Host

KEYED = "CREATE TABLE t (k String, v Int64, ver UInt64) ENGINE = ReplacingMergeTree(ver) ORDER BY k"


def _rows(count: int, start: int = 0) -> bytes:
    return b"".join(b'{"k":"k%d","v":%d,"ver":1}\n' % (i, i) for i in range(start, start + count))


def test_query_comes_from_url_body_or_both(host: Host) -> None:
    """The body is appended to `?query=`; GET and POST read alike."""
    assert host.http.get("/", params={"query": "SELECT 1"}).text == "1\n"
    assert host.sql("SELECT 2") == "2\n"
    assert host.sql("+ 1", query="SELECT 2") == "3\n"


def test_format_comes_from_clause_parameter_or_default(host: Host) -> None:
    """FORMAT wins over `default_format`, which wins over TabSeparated; the content type follows."""
    assert host.sql("SELECT 1 AS x, 'a' AS s") == "1\ta\n"
    assert host.sql("SELECT 1 AS x", default_format="JSONEachRow") == '{"x":1}\n'
    answer = host.http.post("/", params={"default_format": "CSV"}, content="SELECT 1 AS x FORMAT JSONCompact")
    assert answer.json()["data"] == [[1]]
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["x-clickhouse-format"] == "JSONCompact"


def test_replacing_merge_tree_keeps_the_newest(host: Host) -> None:
    """FINAL reads one row per key, the one with the largest version."""
    host.sql(KEYED)
    host.sql("INSERT INTO t VALUES ('a', 1, 1), ('a', 3, 3)")
    host.sql("INSERT INTO t FORMAT JSONEachRow\n" + '{"k":"a","v":2,"ver":2}')
    assert host.sql("SELECT k, v FROM t FINAL") == "a\t3\n"


def test_materialized_view_fills(host: Host) -> None:
    """Rows inserted reach a materialized view, and the summary counts both."""
    host.sql(KEYED)
    host.sql("CREATE TABLE s (total Int64) ENGINE = SummingMergeTree ORDER BY tuple()")
    host.sql("CREATE MATERIALIZED VIEW m TO s AS SELECT sum(v) AS total FROM t")
    assert host.insert("INSERT INTO t FORMAT JSONEachRow", _rows(10)).status_code == 200
    assert host.sql("SELECT sum(total) FROM s") == "45\n"
    host.sql("DROP TABLE m SYNC")


def test_row_binary_may_begin_with_any_byte(host: Host) -> None:
    """Binary rows in the body are taken as they are, also when they begin with what looks like blanks."""
    host.sql("CREATE TABLE b (n UInt8, s String) ENGINE = MergeTree ORDER BY n")
    data = b"".join(bytes([n]) + b"\x02\n'" for n in (10, 32, 13, 0))
    answer = host.insert("INSERT INTO b FORMAT RowBinary", data)
    assert json.loads(answer.headers["x-clickhouse-summary"])["written_rows"] == "4"
    assert host.sql("SELECT groupArray(n) FROM (SELECT n FROM b ORDER BY n)") == "[0,10,13,32]\n"


def test_row_binary_with_names_and_types_comes_back(host: Host) -> None:
    """What SELECT writes over several chunks, INSERT reads as one stream."""
    host.sql("CREATE TABLE r (number UInt64) ENGINE = MergeTree ORDER BY number")
    sql = "SELECT number FROM numbers(200000) FORMAT RowBinaryWithNamesAndTypes"
    stream = host.http.post("/", content=sql).content
    assert stream.count(b"\x01\x06number\x06UInt64") == 1
    assert len(stream) == len(b"\x01\x06number\x06UInt64") + 8 * 200_000
    assert host.insert("INSERT INTO r FORMAT RowBinaryWithNamesAndTypes", stream).status_code == 200
    assert host.sql("SELECT count(), sum(number) FROM r") == "200000\t19999900000\n"
    assert struct.unpack_from("<Q", stream, 15 + 8 * 70_000) == (70_000,)


def test_header_stands_once_in_a_streamed_csv(host: Host) -> None:
    """Chunks are joined under one header."""
    text = host.sql("SELECT number AS n FROM numbers(200000) FORMAT CSVWithNames")
    lines = text.splitlines()
    assert lines[0] == '"n"'
    assert lines[1:] == [str(n) for n in range(200_000)]


def test_gzip_body(host: Host) -> None:
    """Compressed rows count like plain ones; a cut stream writes nothing."""
    host.sql(KEYED)
    packed = gzip.compress(_rows(1000))
    headers = {"Content-Encoding": "gzip"}
    assert host.insert("INSERT INTO t FORMAT JSONEachRow", packed, **headers).status_code == 200
    cut = host.insert("INSERT INTO t FORMAT JSONEachRow", gzip.compress(_rows(10, 5000))[:-20], **headers)
    assert cut.status_code == 400
    assert cut.headers["x-clickhouse-exception-code"] == "354"
    assert host.sql("SELECT count() FROM t") == "1000\n"


def test_big_insert_is_streamed(host: Host) -> None:
    """40 MB of rows go in whole while memory stays flat."""
    host.sql(KEYED)
    before = host.rss_bytes()
    answer = host.insert("INSERT INTO t FORMAT JSONEachRow", _rows(1_000_000))
    assert answer.status_code == 200
    assert host.sql("SELECT count(), sum(v) FROM t") == "1000000\t499999500000\n"
    assert host.rss_bytes() - before < 400_000_000


def test_large_result_is_streamed(host: Host) -> None:
    """A 400 MB result passes through without being held, and every row arrives."""
    host.sql("SELECT 1")
    before, peak, size, lines = host.rss_bytes(), 0, 0, 0
    sql = "SELECT number, repeat('x', 90) FROM numbers(4000000) SETTINGS max_execution_time = 300"
    with host.http.stream("POST", "/", content=sql) as answer:
        for index, chunk in enumerate(answer.iter_raw()):
            size += len(chunk)
            lines += chunk.count(b"\n")
            if index % 50 == 0:
                peak = max(peak, host.rss_bytes())
    assert lines == 4_000_000
    assert size > 380_000_000
    assert peak - before < 200_000_000


def test_slow_reader_holds_back_the_query(host: Host) -> None:
    """A client that stops reading and leaves costs no memory, and its query ends."""
    before = host.rss_bytes()
    sql = "SELECT number, repeat('x', 90) FROM numbers(100000000)"
    with host.http.stream("POST", "/", content=sql) as answer:
        next(answer.iter_raw())
        assert host.rss_bytes() - before < 200_000_000
    assert host.sql("SELECT 1") == "1\n"


def test_concurrent_inserts_and_queries(host: Host) -> None:
    """Many small INSERTs at once are all there afterwards, and none is refused within the limits."""
    host.sql(KEYED)

    def insert(batch: int) -> int:
        return host.insert("INSERT INTO t FORMAT JSONEachRow", _rows(10, batch * 10)).status_code

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(insert, range(200))) == {200}
    assert host.sql("SELECT count(), uniqExact(k) FROM t FINAL") == "2000\t2000\n"


def test_settings_and_parameters(host: Host) -> None:
    """Other URL parameters are settings of this query only; `param_x` fills `{x:Type}`."""
    assert host.sql("SELECT getSetting('max_threads')", max_threads="1") == "1\n"
    assert host.sql("SELECT {s:String}, {n:UInt8}", param_s="it's", param_n="7") == "it\\'s\t7\n"


def test_database_parameter(host: Host) -> None:
    """`database` chooses where unqualified names are looked up."""
    host.sql("CREATE DATABASE IF NOT EXISTS other")
    host.sql("CREATE TABLE x (a UInt8) ENGINE = MergeTree ORDER BY a", database="other")
    host.sql("INSERT INTO x VALUES (1)", database="other")
    assert host.sql("SELECT * FROM other.x") == "1\n"
    assert host.http.post("/", params={"database": "nope"}, content="SELECT 1").status_code == 404
    host.sql("DROP DATABASE other SYNC")


BAD: list[tuple[str, int, int]] = [
    ("SELEC 1 FROM", 62, 400),
    ("SELECT 1; SELECT 2", 62, 400),
    ("", 62, 400),
    ("SELECT nope", 47, 404),
    ("SELECT * FROM nope", 60, 404),
    ("INSERT INTO nope FORMAT JSONEachRow\n{}", 60, 404),
    ("INSERT INTO t FORMAT Nope\n1", 73, 400),
    ('INSERT INTO t FORMAT JSONEachRow\n{"k":"a","v":"no","ver":1}', 27, 400),
    ('INSERT INTO t FORMAT JSONEachRow\n{"unknown":1}', 117, 400),
    ("INSERT INTO t", 62, 400),
    ("CREATE TABLE x (a Int32) /* ' */ ENGINE /* ( */ = Kafka('b', 't', 'g', 'CSV')", 497, 403),
    ("CREATE TABLE x (a Int32) ENGINE “Kafka”", 497, 403),
    ("SELECT * FROM '/etc/passwd'", 497, 403),
    ("SELECT * FROM file('/etc/passwd', LineAsString)", 497, 403),
    ("SELECT 1 INTO OUTFILE 'x'", 497, 403),
]


@pytest.mark.parametrize(("sql", "code", "status"), BAD)
def test_bad_input(host: Host, sql: str, code: int, status: int) -> None:
    """Each fails with ClickHouse's text and number, and the host goes on."""
    host.sql(KEYED)
    answer = host.http.post("/", content=sql)
    assert (answer.headers["x-clickhouse-exception-code"], answer.status_code) == (str(code), status), answer.text
    assert answer.text.startswith(f"Code: {code}. DB::Exception: ")
    assert "formatQuery" not in answer.text
    assert host.sql("SELECT count() FROM t") == "0\n"


def test_identifier_parameter_cannot_name_a_file(host: Host) -> None:
    """A path in a parameter of type Identifier is refused as it is in the text."""
    answer = host.http.post("/", params={"param_t": "/etc/passwd"}, content="SELECT * FROM {t:Identifier}")
    assert answer.status_code == 403


def test_get_only_reads(host: Host) -> None:
    """As in ClickHouse, GET implies read-only."""
    answer = host.http.get("/", params={"query": "CREATE TABLE x (a UInt8) ENGINE = Memory"})
    assert answer.headers["x-clickhouse-exception-code"] == "164"


def test_query_times_out(host: Host) -> None:
    """A query beyond its time ends with 159; the setting of the host is the default."""
    sql = "SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 1"
    answer = host.http.post("/", params={"max_execution_time": "1"}, content=sql)
    assert (answer.status_code, answer.headers["x-clickhouse-exception-code"]) == (408, "159")


def test_failure_within_a_result_breaks_the_connection(host: Host) -> None:
    """A client never takes a part of a result for the whole."""
    sql = "SELECT throwIf(number = 3000000) FROM numbers(4000000) SETTINGS max_threads = 1, max_block_size = 65409"
    with pytest.raises(httpx.RemoteProtocolError):
        host.http.post("/", content=sql)
    assert host.sql("SELECT 1") == "1\n"


def test_documents_are_limited(host: Host) -> None:
    """A result that cannot be streamed may not fill the memory."""
    sql = "SELECT number, repeat('x', 90) FROM numbers(5000000) FORMAT JSONCompact"
    answer = host.http.post("/", content=sql)
    assert answer.headers["x-clickhouse-exception-code"] == "396"


def test_typed_client(host: Host) -> None:
    """Rows go in and come out as Python values; errors have the platform's kinds."""
    with OlapClient(str(host.http.base_url)) as client:
        client.execute(KEYED)
        client.insert("t", ({"k": f"k{i}", "v": i, "ver": 1} for i in range(2000)))
        rows = client.query("SELECT k, v FROM t WHERE k = {k:String}", params={"k": "k7"})
        assert rows == [{"k": "k7", "v": 7}]
        assert client.query("SELECT 1 AS x WHERE 0") == []
        with pytest.raises(NotFound):
            client.query("SELECT * FROM nope")
        with pytest.raises(Invalid):
            client.execute("CREATE TABLE x (a UInt8) ENGINE = Kafka")
        with pytest.raises(Invalid):
            client.insert("t; DROP TABLE t", [{}])
    with OlapClient("http://127.0.0.1:9") as nobody, pytest.raises(Unavailable):
        nobody.query("SELECT 1")
