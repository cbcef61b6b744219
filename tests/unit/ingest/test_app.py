"""The HTTP face without a network: routes, CORS, bodies of every bad kind."""

import asyncio
import gzip
from pathlib import Path
from typing import Any

import pytest
from tests.unit.ingest.faults import Response, World

from headrace.ingest import reasons


def ask(world: World, *args: Any, **headers: str) -> Response:
    """One request, start to end."""
    return asyncio.run(world.request(*args, **headers))


def test_preflight_of_a_browser(tmp_path: Path) -> None:
    """A player on another origin may POST any content type, compressed or not."""
    answer = ask(World(tmp_path), "OPTIONS", "/v1/beacons/cmcd_raw")
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "content-type" in answer.headers["access-control-allow-headers"]


def test_errors_carry_cors_headers_too(tmp_path: Path) -> None:
    """A browser hides answers without them, and the player could not tell 410 from a dead network."""
    world = World(tmp_path)
    world.intake.shed_share = 1.0
    answer = asyncio.run(world.post(world.line().encode()))
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (410, "*")


def test_an_unknown_stream_offers_the_known_ones(tmp_path: Path) -> None:
    """A misspelt stream is 404 with the nearest names; it is no row of any stream's books."""
    world = World(tmp_path)
    answer = asyncio.run(world.post(world.line().encode(), stream="cmcd_rw"))
    assert answer.status == 404
    assert answer.json["error"]["hint"] == "known streams: cmcd_raw"
    assert world.ledger.refused == {"unknown_stream": 1}
    assert asyncio.run(world.post(b"x", stream="../../etc/passwd")).status == 404


def test_a_new_table_is_taken_at_once(tmp_path: Path) -> None:
    """A schema that appears after the start is found by the first request for it; a damaged one leaves the old in use."""
    world = World(tmp_path)
    schemas = world.home.data / "schemas"
    text = (schemas / "cmcd_raw.json").read_text()
    (schemas / "more.json").write_text(text.replace('"name":"cmcd_raw"', '"name":"more"'))
    assert asyncio.run(world.post(world.line().encode(), stream="more")).status == 200
    (schemas / "cmcd_raw.json").write_text("{")
    world.references.refresh()
    assert asyncio.run(world.post(world.line().encode())).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/beacons/cmcd_raw", 405),
        ("POST", "/healthz", 405),
        ("GET", "/nowhere", 404),
        ("GET", "/healthz", 200),
    ],
)
def test_routes(tmp_path: Path, method: str, path: str, status: int) -> None:
    """Wrong methods and paths are named as such."""
    answer = ask(World(tmp_path), method, path)
    assert answer.status == status
    assert status == 200 or answer.json["error"]["hint"]


def test_gzip_and_ndjson(tmp_path: Path) -> None:
    """Compressed bodies of either notation are taken."""
    world = World(tmp_path)
    row = f'{{"sid":"s","e":"ps","ts_ms":{world.clock.now_ms()}}}\n'.encode()
    for body in (row * 3, (world.line() + "\n").encode() * 3):
        answer = asyncio.run(world.post(gzip.compress(body), content_encoding="gzip"))
        assert (answer.status, answer.json["accepted"]) == (200, 3)


@pytest.mark.parametrize(
    ("body", "headers", "status", "reason"),
    [
        (gzip.compress(b"e=ps" * 100)[:-9], {"content_encoding": "gzip"}, 400, reasons.TRUNCATED_GZIP),
        (b"e=ps", {"content_encoding": "gzip"}, 400, reasons.BAD_GZIP),
        (gzip.compress(b"x" * 30_000), {"content_encoding": "gzip"}, 413, reasons.BODY_TOO_LARGE),
        (b"x" * 10_001, {}, 413, reasons.BODY_TOO_LARGE),
        (b"e\n" * 101, {}, 413, reasons.BATCH_TOO_LONG),
        (b"\xfe\xff", {}, 400, reasons.NOT_UTF8),
    ],
)
def test_bodies_that_cannot_be_read(
    tmp_path: Path, body: bytes, headers: dict[str, str], status: int, reason: str
) -> None:
    """Each is one dead letter with reason and hint, answered once that letter is in Kafka; the books agree."""
    world = World(tmp_path)
    answer = asyncio.run(world.post(body, **headers))
    assert (answer.status, answer.json["dead"]) == (status, 1)
    assert answer.json["problems"][0]["reason"] == reason
    assert answer.json["problems"][0]["hint"]
    (letter,) = world.sink.topics["dlq.cmcd_raw"]
    assert (letter["reason"], letter["stream"]) == (reason, "cmcd_raw")
    assert world.ledger.of("cmcd_raw").by_reason == {reason: 1}
    assert world.budget.used_bytes == 0


def test_a_body_in_parts(tmp_path: Path) -> None:
    """A chunked body is put together, and given up as soon as it passes the limit."""
    world = World(tmp_path)
    line = world.line().encode()
    answer = ask(world, "POST", "/v1/beacons/cmcd_raw", [line[:9], line[9:]], content_length="none")
    assert (answer.status, answer.json["accepted"]) == (200, 1)
    parts = [b"x" * 4000] * 10
    assert ask(world, "POST", "/v1/beacons/cmcd_raw", parts, content_length="none").status == 413
    assert world.budget.used_bytes == 0


def test_a_client_that_goes_away(tmp_path: Path) -> None:
    """A body that breaks off is no row, is answered by nobody, and gives its memory back."""
    world = World(tmp_path)

    async def scenario() -> None:
        response = Response()
        messages = [{"type": "http.request", "body": b"e=ps", "more_body": True}, {"type": "http.disconnect"}]

        async def receive() -> dict[str, Any]:
            return messages.pop(0)

        scope = {"type": "http", "method": "POST", "path": "/v1/beacons/cmcd_raw", "client": None, "headers": []}
        await world.app(scope, receive, response.take)
        assert response.status == 0

    asyncio.run(scenario())
    assert world.ledger.refused == {"disconnected": 1}
    assert world.budget.used_bytes == 0


def test_an_unknown_encoding(tmp_path: Path) -> None:
    """Brotli is not ours; the answer says what is."""
    answer = asyncio.run(World(tmp_path).post(b"x", content_encoding="br"))
    assert (answer.status, answer.json["error"]["kind"]) == (422, "Unsupported")


def test_stats_and_metrics_agree(tmp_path: Path) -> None:
    """Both faces show the same books, by reason."""
    world = World(tmp_path)
    asyncio.run(world.post((world.line() + "\ngarbage!").encode()))
    stats = ask(world, "GET", "/v1/stats").json
    assert (stats["received"], stats["accepted"], stats["dead"], stats["shed"], stats["pending"]) == (2, 1, 1, 0, 0)
    assert stats["by_reason"] == stats["streams"]["cmcd_raw"]["by_reason"] == {"malformed": 1}
    metrics = ask(world, "GET", "/metrics").body.decode()
    assert 'headrace_gateway_accepted_rows_total{stream="cmcd_raw"} 1\n' in metrics
    assert 'headrace_gateway_dead_rows_total{stream="cmcd_raw",reason="malformed"} 1\n' in metrics
    assert "headrace_gateway_ack_latency_ms_count 1\n" in metrics
