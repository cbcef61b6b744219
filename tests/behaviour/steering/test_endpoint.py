"""The steering endpoint as a process over real Valkey: it always answers, whatever is taken away from it."""

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.serve.assign import priority
from headrace.serve.decisions import SteerRecord, encode_record
from tests.behaviour.steering.stand import Stand
from tests.waiting import wait_until

KEY = "steer:north:unicom"
POLL = "/v1/steering/live-quality"


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    """Valkey and the steering process."""
    with Stand(tmp_path / "home") as one:
        one.start_valkey()
        one.start_steering()
        yield one


def _decide(stand: Stand, weights: dict[str, float], ttl_s: float = 2.0) -> None:
    record = SteerRecord(version=1, ts_ms=stand.clock.now_ms(), weights=weights, ttl_s=ttl_s)
    stand.redis().set(KEY, encode_record(record))


def _wait_for_decision(stand: Stand, weights: dict[str, float]) -> None:
    def seen() -> bool:
        answers = [stand.get(f"{POLL}?sid=w{number}")[1]["PATHWAY-PRIORITY"] for number in range(20)]
        return answers == [priority(f"w{number}", weights) for number in range(20)]

    wait_until(seen, timeout_s=10, what="the decision to be served")


def test_decided_weights_reach_sessions_of_their_cell_only(stand: Stand) -> None:
    """A manifest as players expect it, sessions split by weight within the cell; other cells by capacity."""
    _decide(stand, {"A": 0.1, "B": 0.9})
    _wait_for_decision(stand, {"A": 0.1, "B": 0.9})
    status, body = stand.get(f"{POLL}?sid=x%20y&_HLS_pathway=A&_HLS_throughput=500")
    assert (status, body["VERSION"], body["RELOAD-URI"]) == (200, 1, f"{POLL}?sid=x%20y")
    assert body["TTL"] == 2
    assert sorted(body["PATHWAY-PRIORITY"]) == ["A", "B"]
    assert 0.82 <= stand.first_shares()["B"] <= 0.97
    elsewhere = [stand.get(f"{POLL}?sid=s{number}", address="10.32.0.1")[1] for number in range(50)]
    assert {one["PATHWAY-PRIORITY"][0] for one in elsewhere} == {"A", "B"}
    assert all(8 <= one["TTL"] <= 12 for one in elsewhere)


@pytest.mark.parametrize(
    "path",
    [
        POLL,
        f"{POLL}?sid=",
        f"{POLL}?sid=%ff%fe",
        f"{POLL}?sid={'x' * 4000}",
        f"{POLL}?sid=a&sid=b&_HLS_throughput=nonsense",
        "/v1/steering/no-such-app?sid=1",
        "/v1/steering/?sid=1",
        "/anything",
    ],
)
def test_any_poll_is_answered_with_an_order(stand: Stand, path: str) -> None:
    """Always 200 with all CDNs: a player that gets anything else stops being steered."""
    status, body = stand.get(path)
    assert status == 200
    assert sorted(body["PATHWAY-PRIORITY"]) == ["A", "B"]


def test_a_client_without_sid_keeps_its_order(stand: Stand) -> None:
    """Without a session id the address decides, the same way each time; addresses differ."""
    orders = {address: stand.get(POLL, address=address)[1]["PATHWAY-PRIORITY"] for address in _addresses()}
    assert orders == {address: stand.get(POLL, address=address)[1]["PATHWAY-PRIORITY"] for address in _addresses()}
    assert len({tuple(order) for order in orders.values()}) == 2


def _addresses() -> list[str]:
    return [f"10.16.0.{number}" for number in range(20)]


def test_browsers_of_other_origins_may_ask(stand: Stand) -> None:
    """The preflight is answered."""
    assert stand.get(POLL, method="OPTIONS")[0] == 200


def test_without_valkey_the_last_good_weights_are_served_also_after_a_restart(stand: Stand) -> None:
    """Valkey killed: same answers. Steering killed as well and started again: still the same answers."""
    weights = {"A": 0.05, "B": 0.95}
    _decide(stand, weights)
    _wait_for_decision(stand, weights)
    last = stand.home.data / "steering" / "last.json"
    wait_until(lambda: last.exists() and "0.95" in last.read_text(), timeout_s=10, what="the last weights to be saved")
    stand.kill("valkey")
    wait_until(lambda: stand.get("/v1/stats")[1]["refresh_failures"] > 0, timeout_s=15, what="a failed refresh")
    _wait_for_decision(stand, weights)
    stand.kill("steering")
    stand.start_steering()
    _wait_for_decision(stand, weights)
    stand.start_valkey()
    _decide(stand, {"A": 0.9, "B": 0.1})
    _wait_for_decision(stand, {"A": 0.9, "B": 0.1})


@pytest.mark.parametrize("raw", [b"\xff", b"{}", b'{"version":1,"ts_ms":1,"weights":{"A":7},"ttl_s":2}'])
def test_a_damaged_record_changes_nothing_and_is_told(stand: Stand, raw: bytes) -> None:
    """The last good weights stay; counted, and logged once with the key."""
    weights = {"A": 0.05, "B": 0.95}
    _decide(stand, weights)
    _wait_for_decision(stand, weights)
    stand.redis().set(KEY, raw)
    wait_until(lambda: stand.get("/v1/stats")[1]["damaged_records"] > 1, timeout_s=10, what="the damage to be seen")
    _wait_for_decision(stand, weights)
    assert stand.log("steering").count("decision_damaged") == 1
    assert KEY in stand.log("steering")


def test_a_broken_dim_is_told_with_file_and_line_and_the_last_good_one_stays(stand: Stand) -> None:
    """A wrong number in cdn.csv: logged with its place, answers as before."""
    table = stand.home.data / "dims" / "cdn.csv"
    table.write_text("cdn,hosts,capacity_sessions,price,floor\nA,a,many,1,0\n")
    wait_until(lambda: "cdn.csv:2: not a number" in stand.log("steering"), timeout_s=10, what="the complaint")
    assert sorted(stand.get(f"{POLL}?sid=1")[1]["PATHWAY-PRIORITY"]) == ["A", "B"]


def test_sigterm_ends_it_orderly(stand: Stand) -> None:
    """Exit code 0 within the supervisor's five seconds."""
    assert stand.kill("steering", signal.SIGTERM) == 0
    assert json.loads(stand.log("steering").splitlines()[-1])["event"] != ""


def test_a_taken_port_is_told(stand: Stand) -> None:
    """The second process says which address is taken and what to do, and does not stay."""
    stand.start("second", _steering_argv(stand))
    wait_until(lambda: "cannot listen" in stand.log("second"), timeout_s=20, what="the complaint")
    assert "--port" in stand.log("second")


def _steering_argv(stand: Stand) -> list[str]:
    return [
        sys.executable,
        "-m",
        "headrace.serve.steering",
        "--home",
        str(stand.home.root),
        "--port",
        str(stand.steering_port),
        "--redis",
        "127.0.0.1:1",
    ]
