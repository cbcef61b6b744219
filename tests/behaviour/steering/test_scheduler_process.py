"""The scheduler as a process: rows in, weights out, and what happens when something is taken away."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from headrace.flows.cdn.decide import replay
from headrace.flows.cdn.model import hash_inputs
from tests.behaviour.steering.stand import CellFeed, Stand
from tests.waiting import wait_until

KEY = "steer:north:unicom"
GOOD = {"A": 0.005, "B": 0.005}
A_BAD = {"A": 0.8, "B": 0.005}


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    """Valkey; the test starts the rest."""
    with Stand(tmp_path / "home") as one:
        one.start_valkey()
        yield one


def _record(stand: Stand) -> dict[str, Any]:
    raw = stand.redis().get(KEY)
    return json.loads(raw) if raw else {}


def _feed_until(
    stand: Stand, feed: CellFeed, shares: dict[str, float], test: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    def turn() -> dict[str, Any] | None:
        feed.send(stand.clock.now_ms(), shares)
        record = _record(stand)
        return record if record and test(record) else None

    found = wait_until(turn, timeout_s=40, what=f"a decision on {shares}", every_s=0.25)
    assert found is not None
    return found


def _log_rows(feed: CellFeed) -> list[dict[str, Any]]:
    consumer = Consumer({"bootstrap.servers": feed.bootstrap, "group.id": "test", "log_level": 0})
    partitions = consumer.list_topics("ads.decision_log", timeout=10).topics["ads.decision_log"].partitions
    consumer.assign([TopicPartition("ads.decision_log", number, 0) for number in partitions])
    rows: list[dict[str, Any]] = []

    def read() -> bool:
        rows.extend(json.loads(message.value()) for message in consumer.consume(500, 0.5) if not message.error())
        return any(row["action"] == "evacuate" for row in rows)

    wait_until(read, timeout_s=20, what="the evacuation in the log")
    consumer.close()
    return rows


def test_a_fault_moves_sessions_survives_kills_and_can_be_replayed(stand: Stand) -> None:
    """From rows to the player's order; the log explains; a killed scheduler stalls nobody and goes on where it was."""
    feed = CellFeed()
    stand.write_stack(kafka=feed.bootstrap)
    stand.start_steering()
    stand.start_scheduler()
    calm = _feed_until(stand, feed, GOOD, lambda record: record["last_input_ts_ms"] > 0)
    assert calm["weights"] == {"A": 0.5, "B": 0.5}
    for junk in (b"not json", b'{"sec_ms":"x"}', None):
        feed.send_raw(junk)
    bad = _feed_until(stand, feed, A_BAD, lambda record: record["weights"]["A"] < 0.1)
    assert bad["weights"] == {"A": 0.02, "B": 0.98}
    assert "A failed" in bad["reason"]
    wait_until(lambda: stand.first_shares(60).get("B", 0) > 0.9, timeout_s=10, what="players to be told")

    rows = _log_rows(feed)
    assert all(hash_inputs(row["inputs"].encode()) == row["inputs_hash"] for row in rows)
    for row, again in zip(rows, replay(row["inputs"] for row in rows), strict=True):
        assert (again.action, again.reason, again.weights) == (row["action"], row["reason"], json.loads(row["weights"]))

    stand.kill("scheduler", signal.SIGKILL)
    killed_ms = stand.clock.now_ms()
    assert stand.first_shares(60)["B"] > 0.9
    stand.start_scheduler()
    renewed = wait_until(lambda: _record(stand)["ts_ms"] > killed_ms, timeout_s=30, what="a new process to decide")
    assert renewed
    assert _record(stand)["weights"] == {"A": 0.02, "B": 0.98}
    assert _record(stand)["version"] == bad["version"]
    assert stand.kill("scheduler", signal.SIGTERM) == 0


def test_silence_holds_the_weights_and_says_so(stand: Stand) -> None:
    """No more rows, as when the job is down: weights stay, the reason tells, the heartbeat says holding."""
    feed = CellFeed()
    stand.write_stack(kafka=feed.bootstrap)
    stand.start_scheduler()
    _feed_until(stand, feed, GOOD, lambda record: record["last_input_ts_ms"] > 0)
    wait_until(lambda: "last weights kept" in _record(stand)["reason"], timeout_s=30, what="the hold")
    heartbeat = json.loads(stand.redis().get("steer:heartbeat") or b"{}")
    assert heartbeat["mode"] == "holding"
    assert _record(stand)["weights"] == {"A": 0.5, "B": 0.5}


def test_valkey_away_is_outlived(stand: Stand) -> None:
    """Valkey killed and back empty: the scheduler writes its weights again, with the memory it had kept."""
    feed = CellFeed()
    stand.write_stack(kafka=feed.bootstrap)
    stand.start_scheduler()
    bad = _feed_until(stand, feed, A_BAD, lambda record: record["weights"]["A"] < 0.1)
    stand.kill("valkey")
    wait_until(lambda: "decisions_not_stored" in stand.log("scheduler"), timeout_s=15, what="the complaint")
    stand.start_valkey()
    wait_until(lambda: _record(stand).get("weights") == bad["weights"], timeout_s=15, what="the weights to be back")


def test_a_corrupt_record_and_a_wrong_cdn_table_at_the_start(stand: Stand) -> None:
    """Damaged state: told, default weights. Wrong cdn.csv: told with file and line, nothing decided until it is right."""
    feed = CellFeed()
    stand.write_stack(kafka=feed.bootstrap)
    stand.redis().set(KEY, b'{"weights":1}')
    table = stand.home.data / "dims" / "cdn.csv"
    right = table.read_text()
    table.write_text("cdn,hosts,capacity_sessions,price,floor\nA,a,-5,1,0\n")
    stand.start_scheduler()
    wait_until(lambda: "cdn.csv:2: number out of range" in stand.log("scheduler"), timeout_s=20, what="the complaint")
    assert stand.redis().get(KEY) == b'{"weights":1}'
    table.write_text(right)
    wait_until(lambda: _record(stand).get("weights") == {"A": 0.5, "B": 0.5}, timeout_s=20, what="default weights")
    assert "decision_damaged" in stand.log("scheduler")


def test_no_stack_is_told(stand: Stand) -> None:
    """Without stack.json the process ends with one sentence and a hint."""
    stand.start_scheduler()
    wait_until(lambda: "no stack is running here" in stand.log("scheduler"), timeout_s=20, what="the complaint")
    assert "headrace up" in stand.log("scheduler")
