"""The gateway in front of a real Kafka broker: bad input, a killed broker, a broker that stands still.

These tests kill and freeze their broker, so they have a stack of their own with nothing in it but Kafka and the gateway.
"""

from __future__ import annotations

import functools
import gzip
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil
import pytest
from confluent_kafka import Consumer, TopicPartition
from tests.cluster.running import RunningStack, end_stack, start_stack
from tests.waiting import wait_until

from headrace.testing.beacons import cmcd_raw_table, recorded_events, rekeyed_batches, write_home

pytestmark = pytest.mark.cluster
APP = Path(__file__).parents[2] / "apps/live-quality"
DAY = 86_400_000
TOPIC, DEAD = "ods.cmcd_raw", "dlq.cmcd_raw"


@pytest.fixture(scope="module")
def ingest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Kafka and the gateway, with the app's tables of prefixes and CDNs."""
    home = tmp_path_factory.mktemp("ingest")
    dims = {name: (APP / "dims" / f"{name}.csv").read_text() for name in ("ip_prefix", "cdn")}
    write_home(home, tables=[cmcd_raw_table()], dims=dims)
    try:
        stack = start_stack(home, ["kafka", "gateway"])
        wait_until(lambda: topics(stack) >= {TOPIC, DEAD}, timeout_s=60, what="the gateway to make its topics")
        yield stack
    finally:
        end_stack(home)


@functools.cache
def client() -> httpx.Client:
    """One client for all requests: each new one would load the certificates of the system."""
    return httpx.Client(timeout=30, limits=httpx.Limits(max_connections=64))


def consumer(stack: RunningStack) -> Consumer:
    """A reader that no group follows."""
    return Consumer(
        {"bootstrap.servers": stack.endpoints.kafka, "group.id": "test", "enable.auto.commit": False, "logger": None}
    )


def topics(stack: RunningStack) -> set[str]:
    """Names of the topics that exist."""
    reader = consumer(stack)
    try:
        return set(reader.list_topics(timeout=10).topics)
    finally:
        reader.close()


def messages(stack: RunningStack, topic: str) -> list[tuple[int, str, dict[str, Any]]]:
    """All that is in a topic: partition, key and decoded value."""
    reader = consumer(stack)
    try:
        numbers = reader.list_topics(topic, timeout=20).topics[topic].partitions
        ends = {n: reader.get_watermark_offsets(TopicPartition(topic, n), timeout=20)[1] for n in numbers}
        reader.assign([TopicPartition(topic, n, 0) for n in numbers])
        found: list[tuple[int, str, dict[str, Any]]] = []

        def drained() -> bool:
            for message in reader.consume(5000, timeout=0.5):
                assert message.error() is None
                key = (message.key() or b"").decode()
                found.append((message.partition(), key, msgspec.json.decode(message.value())))
            return len(found) >= sum(ends.values())

        wait_until(drained, timeout_s=60, what=f"all of {topic}")
        return found
    finally:
        reader.close()


def stats(stack: RunningStack) -> dict[str, Any]:
    """The gateway's books."""
    answer: dict[str, Any] = client().get(f"{stack.endpoints.gateway}/v1/stats").json()
    return answer


def post(stack: RunningStack, body: bytes, **headers: str) -> httpx.Response:
    """One batch."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return client().post(f"{stack.endpoints.gateway}/v1/beacons/cmcd_raw", content=body, headers=fields)


def line(sid: str, *, sn: int = 0, ahead_ms: int = 0) -> bytes:
    """A good beacon of now."""
    return f'e=ps,sid="{sid}",sn={sn},sta=p,ts={time.time_ns() // 1_000_000 + ahead_ms},v=2'.encode()


def assert_reconciles(books: dict[str, Any]) -> None:
    """The law of the books, with nothing in flight."""
    assert books["pending"] == 0
    assert books["received"] == books["accepted"] + books["dead"] + books["shed"]
    assert books["offered"] == books["received"] + books["returned"]
    assert books["dead"] == sum(books["by_reason"].values())


BAD = [
    ("malformed", b"this is no beacon!", {}, 400),
    ("malformed", b'{"sid":', {"content_type": "application/x-ndjson"}, 400),
    ("line_too_long", b'e=ps,sid="' + b"x" * 9000 + b'"', {}, 400),
    ("body_too_large", b"x" * ((1 << 20) + 1), {}, 413),
    ("body_too_large", gzip.compress(bytes(5 << 20)), {"content_encoding": "gzip"}, 413),
    ("batch_too_long", b"x\n" * 6000, {}, 413),
    ("truncated_gzip", gzip.compress(line("gz") * 50)[:-12], {"content_encoding": "gzip"}, 400),
    ("bad_gzip", line("gz"), {"content_encoding": "gzip"}, 400),
    ("wrong_type", b'e=ps,sid="x",ts="yesterday"', {}, 400),
    ("out_of_range", b'br=(99999999999),e=ps,sid="x",ts=1', {}, 400),
    ("unknown_field", b'e=ps,foo=1,sid="x",ts=1', {}, 400),
    ("missing_field", b'sid="x",sn=1', {}, 400),
    ("not_utf8", b'cid="\xff\xfe",e=ps,sid="x",ts=1', {}, 400),
    ("clock_skewed", line("ahead", ahead_ms=DAY), {}, 400),
    ("too_old", line("replayed", ahead_ms=-DAY), {}, 400),
]


def test_every_bad_input_has_its_letter(ingest: RunningStack) -> None:
    """Each is answered with reason and hint, is in the dead-letter topic with both, and the books reconcile with the topics."""
    before, letters_before = stats(ingest), len(messages(ingest, DEAD))
    rows_before = len(messages(ingest, TOPIC))
    for reason, body, headers, status in BAD:
        answer = post(ingest, body, **headers)
        told = answer.json()["problems"][0]
        assert (answer.status_code, told["reason"], bool(told["hint"])) == (status, reason, True)
    good = post(ingest, b"\n".join([line("good"), b"garbage!", line("good", ahead_ms=5000)]))
    assert (good.status_code, good.json()["accepted"], good.json()["dead"]) == (200, 2, 1)
    after = stats(ingest)
    assert_reconciles(after)
    letters = [letter for _, _, letter in messages(ingest, DEAD)][letters_before:]
    assert sorted(letter["reason"] for letter in letters) == sorted([*(bad[0] for bad in BAD), "malformed"])
    assert all(letter["hint"] and letter["recv_ms"] and "raw" in letter and "ip_prefix" in letter for letter in letters)
    assert after["dead"] - before["dead"] == len(BAD) + 1
    rows = messages(ingest, TOPIC)
    assert after["accepted"] - before["accepted"] == 2 == len(rows) - rows_before
    mine = [row for _, key, row in rows if key == "good"]
    assert len({row["skew_ms"] for row in mine}) == 1
    assert all(row["region"] == "lab" and row["ts_ms"] <= row["recv_ms"] for row in mine)


def test_replayed_recent_beacons_can_be_told_apart(ingest: RunningStack) -> None:
    """A batch that is sent twice within the limit is in the topic twice, the same by (sid, sn, ts): readers drop the double."""
    body = b"\n".join(line("twice", sn=number) for number in range(3))
    assert [post(ingest, body).status_code for _ in range(2)] == [200, 200]
    rows = [row for _, key, row in messages(ingest, TOPIC) if key == "twice"]
    assert len(rows) == 6
    assert len({(row["sid"], row["sn"], row["ts_ms"]) for row in rows}) == 3
    assert_reconciles(stats(ingest))


def murmur2(data: bytes) -> int:
    """Kafka's own hash of keys (org.apache.kafka.common.utils.Utils.murmur2)."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = 0x9747B28C ^ len(data)
    for at in range(0, len(data) & ~3, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & mask
        h = (h * m & mask) ^ ((k ^ k >> 24) * m & mask)
    rest = data[len(data) & ~3 :]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def test_a_session_has_the_partition_that_java_would_choose(ingest: RunningStack) -> None:
    """The key is the session, and its partition is the same as that of any Java producer of the table."""
    sids = [f"viewer-{number}" for number in range(40)]
    assert post(ingest, b"\n".join(map(line, sids))).status_code == 200
    found = {key: part for part, key, row in messages(ingest, TOPIC) if key in sids and row["sid"] == key}
    assert found == {sid: (murmur2(sid.encode()) & 0x7FFFFFFF) % 4 for sid in sids}


class Load:
    """Four players that send batches of ten until told to stop, and keep what was acknowledged."""

    def __init__(self, stack: RunningStack) -> None:
        self.stack = stack
        self.stop = threading.Event()
        self.acknowledged: set[tuple[str, int]] = set()
        self.statuses: list[int] = []
        self.pool = ThreadPoolExecutor(4)
        self.players = [self.pool.submit(self.play, f"killed-{number}") for number in range(4)]

    def play(self, sid: str) -> None:
        """One player: a batch that was answered 503, or not at all, is sent again, as the CMCD reporter does."""
        sn = 0
        while not self.stop.is_set():
            numbers = range(sn, sn + 10)
            body = b"\n".join(line(sid, sn=number) for number in numbers)
            try:
                status = post(self.stack, body).status_code
            except httpx.TransportError:
                status = 0
            self.statuses.append(status)
            if status == 200:
                self.acknowledged |= {(sid, number) for number in numbers}
                sn += 10

    def count(self, status: int) -> int:
        """Answers of a status so far."""
        return self.statuses.count(status)

    def end(self) -> None:
        """Stop, and raise what a player raised."""
        self.stop.set()
        for player in self.players:
            player.result(60)


def test_a_killed_broker_loses_nothing_acknowledged(ingest: RunningStack) -> None:
    """Kill -9 of the broker under load: every row that was answered 2xx is in the topic, nobody is silenced, the books reconcile."""
    load = Load(ingest)
    try:
        wait_until(lambda: load.count(200) > 40, timeout_s=60, what="load to flow")
        ingest.kill("kafka")
        wait_until(lambda: ingest.process("kafka").restarts > 0, timeout_s=60, what="the broker's restart")
        ingest.wait_ready("kafka")
        flowing = load.count(200)
        wait_until(lambda: load.count(200) > flowing + 40, timeout_s=90, what="load to flow again")
    finally:
        load.end()
    assert set(load.statuses) <= {200, 503}
    written = {(row["sid"], row["sn"]) for _, key, row in messages(ingest, TOPIC) if key.startswith("killed-")}
    assert load.acknowledged <= written
    assert_reconciles(stats(ingest))


def test_memory_is_bounded_while_the_broker_stands_still(ingest: RunningStack) -> None:
    """A broker that is stopped (SIGSTOP) under load: memory stays within the budget, players are told 503, never 410, and all flows again."""
    pids = {name: ingest.process(name).pid for name in ("kafka", "gateway")}
    broker, gateway = pids["kafka"], psutil.Process(pids["gateway"])
    events = [{"cid": "room1", "e": "ps", "sid": "s", "sn": str(n), "sta": "p", "ts": str(n)} for n in range(50)]
    bodies = list(rekeyed_batches(events, sessions=64, rows=500, newest_ms=time.time_ns() // 1_000_000))
    before = stats(ingest)
    rss = [gateway.memory_info().rss]
    os.kill(broker, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(32) as pool:
            sent = [pool.submit(post, ingest, bodies[number % 64]) for number in range(400)]
            wait_until(
                lambda: rss.append(gateway.memory_info().rss) or all(one.done() for one in sent),  # type: ignore[func-returns-value]
                timeout_s=120,
                what="all answers",
            )
        statuses = {one.result().status_code for one in sent}
        held = stats(ingest)["in_flight_bytes"]
    finally:
        os.kill(broker, signal.SIGCONT)
    assert statuses == {503}
    assert held <= before["budget_bytes"]
    assert max(rss) - rss[0] < before["budget_bytes"] + (48 << 20)
    wait_until(lambda: post(ingest, line("after")).status_code == 200, timeout_s=60, what="the gateway to recover")
    wait_until(lambda: stats(ingest)["pending"] == 0, timeout_s=30, what="nothing in flight")
    books = stats(ingest)
    assert_reconciles(books)
    assert books["shed"] == before["shed"]


def test_recorded_players_go_through_whole(ingest: RunningStack) -> None:
    """Real recorded beacons are all accepted: none is malformed, unknown or of a wrong type."""
    events = recorded_events(APP / "recordings")
    if not events:
        pytest.skip("the app has no recordings yet")
    before = stats(ingest)
    for body in rekeyed_batches(events, sessions=20, rows=50, newest_ms=time.time_ns() // 1_000_000):
        assert post(ingest, body).json() == {"accepted": 50, "dead": 0, "shed": 0}
    assert stats(ingest)["accepted"] - before["accepted"] == 1000


def test_an_orderly_stop_flushes_and_leaves_with_0(ingest: RunningStack) -> None:
    """SIGTERM while batches are on their way: each is answered or its connection closed, and what was answered 2xx is in the topic."""
    load = Load(ingest)
    wait_until(lambda: load.count(200) > 20, timeout_s=60, what="load to flow")
    pid = ingest.process("gateway").pid
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not psutil.pid_exists(pid), timeout_s=8, what="the gateway to leave")
    load.end()
    written = {(row["sid"], row["sn"]) for _, key, row in messages(ingest, TOPIC) if key.startswith("killed-")}
    assert load.acknowledged <= written
    ingest.wait_ready("gateway")
