"""The board in a real browser over the real stack: players' beacons in, and the page shows what the stores hold."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import redis
from playwright.sync_api import BrowserContext, expect

from headrace.serve.olap_client import OlapClient
from tests.cluster.running import RunningStack, headrace
from tests.waiting import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.cluster]
APP = Path(__file__).parents[2] / "apps/live-quality"
CELLS = {"10.16.1.9": ("north", "unicom"), "10.48.1.9": ("south", "mobile")}
SESSIONS = 40  # per cell and CDN
SHARE_A = 0.25  # of A's sessions rebuffer all the time
MINUTE = 60


@dataclass
class Crowd:
    """Sessions that say the same each second: a quarter of those on CDN A rebuffer, all others play."""

    gateway: str
    stop: threading.Event = field(default_factory=threading.Event)
    failures: list[str] = field(default_factory=list)

    def run(self) -> None:
        """One beacon per session and second until told to stop."""
        sn = 0
        with httpx.Client(trust_env=False, timeout=30) as http:
            while not self.stop.wait(1 - time.time() % 1):
                sn += 1
                for address in CELLS:
                    self._post(http, address, sn)

    def _post(self, http: httpx.Client, address: str, sn: int) -> None:
        now_ms = time.time_ns() // 1_000_000
        rows = [
            {"sid": f"{address}-{cdn}-{i}", "sn": sn, "ts_ms": now_ms, "cid": "room-1", "cdn": cdn, "e": "t",
             "sta": "r" if cdn == "A" and i < SESSIONS * SHARE_A else "p", "br": 2800}
            for cdn in "AB"
            for i in range(SESSIONS)
        ]  # fmt: skip
        answer = http.post(
            f"{self.gateway}/v1/beacons/cmcd_raw",
            content="\n".join(map(json.dumps, rows)),
            headers={"content-type": "application/x-ndjson", "x-forwarded-for": address},
        )
        if not answer.is_success:
            self.failures.append(answer.text)


@pytest.fixture
def board_stack(stack: RunningStack, static_files: Path) -> Iterator[RunningStack]:
    """The stack with the app's tables, its cells pipeline and a crowd."""
    for words in (("table", "apply", str(APP)), ("job", "deploy", str(APP), "cells")):
        done = headrace(*words, home=stack.home.root)
        assert done.returncode == 0, done.stdout + done.stderr
    crowd = Crowd(stack.endpoints.gateway)
    thread = threading.Thread(target=crowd.run, daemon=True)
    thread.start()
    yield stack
    crowd.stop.set()
    thread.join(30)
    headrace("job", "stop", "cells", home=stack.home.root)
    assert crowd.failures == []


def raw(page: Any, selector: str) -> float | None:
    """The number behind what is shown, if it is known."""
    text = page.locator(selector).first.get_attribute("data-value")
    return float(text) if text else None


def test_board_shows_what_the_stores_hold(board_stack: RunningStack, context: BrowserContext) -> None:
    """Sessions and stall share per CDN on the page equal the cells in the OLAP store, weights equal the steering keys, and marks appear."""
    endpoints = board_stack.endpoints
    page = context.new_page()
    page.goto(f"{endpoints.headraced}/#/quality")
    for cdn, share in (("A", SHARE_A), ("B", 0.0)):
        card = f"[data-test=cdn-{cdn}]"
        wait_until(
            lambda c=card: raw(page, f"{c} [data-test=sessions]") == 2 * SESSIONS,
            timeout_s=2 * MINUTE,
            what=f"sessions of {cdn}",
        )  # type: ignore[misc]
        wait_until(
            lambda c=card, s=share: raw(page, f"{c} [data-test=stall-share]") == s,
            timeout_s=MINUTE,
            what=f"stalls of {cdn}",
        )  # type: ignore[misc]
    sql = """
      SELECT cdn, max(n) AS sessions, max(w) / max(n) AS share FROM (
        SELECT cdn, sec_ms, sum(sessions) AS n, sum(least(sessions, stalled + seeking)) AS w FROM cell_1s_olap FINAL
        WHERE sec_ms > {since_ms:Int64} AND cdn != 'none' GROUP BY cdn, sec_ms)
      GROUP BY cdn ORDER BY cdn
    """
    with OlapClient(endpoints.olap) as olap:

        def newest() -> list[dict[str, Any]] | None:
            """The last 20 s, once both CDNs are there."""
            rows = olap.query(sql, params={"since_ms": time.time_ns() // 1_000_000 - 20_000})
            return rows if len(rows) == 2 else None

        rows = wait_until(newest, timeout_s=MINUTE, what="cells in OLAP") or []
    assert [(row["cdn"], int(row["sessions"]), row["share"]) for row in rows] == [
        ("A", 2 * SESSIONS, SHARE_A),
        ("B", 2 * SESSIONS, 0.0),
    ]

    host, _, port = endpoints.redis.rpartition(":")
    keys = redis.Redis(host=host, port=int(port))

    def mean_weight() -> float:
        """Both cells have as many sessions, so the mean is plain."""
        weights = [
            json.loads(keys.get(f"steer:{region}:{isp}") or b"")["weights"]["A"] for region, isp in CELLS.values()
        ]
        return round(sum(weights) / len(weights), 2)

    def shown_weight() -> float | None:
        """What the page says; 0 is a weight, too."""
        weight = raw(page, "[data-test=cdn-A] [data-test=weight]")
        return None if weight is None else round(weight, 2)

    wait_until(lambda: shown_weight() == mean_weight(), timeout_s=MINUTE, what="weight of A")
    expect(page.locator("[data-test=chart-weights] canvas")).to_be_visible()
    wait_until(
        lambda: page.locator("[data-test=decision]").count() > 0, timeout_s=MINUTE, what="a decision with its reason"
    )

    board = httpx.get(f"{endpoints.headraced}/v1/quality/board", trust_env=False).json()
    assert [cdn["sessions"] for cdn in board["cdns"]] == [2 * SESSIONS] * 2
    assert (
        httpx.post(
            f"{endpoints.headraced}/v1/journal/marks", json={"text": "CDN A degraded", "subject": "A"}, trust_env=False
        ).status_code
        == 204
    )
    page.goto(f"{endpoints.headraced}/#/")
    expect(page.get_by_test_id("panel-journal")).to_contain_text("CDN A degraded")
    page.get_by_test_id("job-cells").get_by_role("link").click()
    expect(page.locator("[data-test^=vertex-]").first).to_be_visible()


def test_state_page_shows_what_flink_reports(board_stack: RunningStack, context: BrowserContext) -> None:
    """The real job's state page draws the budget and the records that the operator's gauges give, and says where the state is."""
    page = context.new_page()
    page.goto(f"{board_stack.endpoints.headraced}/#/jobs/cells")
    page.get_by_test_id("state-link").click()
    expect(page.get_by_test_id("saying")).to_contain_text("All state is in memory", timeout=MINUTE * 1000)
    wait_until(
        lambda: (raw(page, "[data-test=part-records]") or 0) > 0, timeout_s=MINUTE, what="records in the picture"
    )
    operator = page.get_by_test_id("panel-tiers").get_attribute("data-operator") or ""
    vertex, _, name = operator.partition(".")
    job = next(
        row["jid"]
        for row in board_stack.flink_json("/jobs/overview")["jobs"]
        if row["name"] == "cells" and row["state"] == "RUNNING"
    )
    gauge = quote(f"{name}.slimbase.memoryLimitBytes")
    path = f"/jobs/{job}/vertices/{vertex}/subtasks/metrics?get={gauge}&agg=sum"
    assert raw(page, "[data-test=tier-memory]") == board_stack.flink_json(path)[0]["sum"]
    wait_until(
        lambda: (raw(page, "[data-test=hit-memory]") or 0) == 1.0, timeout_s=MINUTE, what="lookups that memory answers"
    )


def test_page_goes_on_when_the_control_plane_is_killed(board_stack: RunningStack, context: BrowserContext) -> None:
    """After SIGKILL of headraced the page says so, keeps its figures, and goes on by itself; the job runs on meanwhile."""
    page = context.new_page()
    page.goto(f"{board_stack.endpoints.headraced}/#/")
    expect(page.get_by_test_id("connection")).to_have_text("live", timeout=MINUTE * 1000)
    board_stack.kill("headraced")
    expect(page.get_by_test_id("banner")).to_contain_text("Connection lost", timeout=MINUTE * 1000)
    board_stack.wait_ready("headraced")
    expect(page.get_by_test_id("connection")).to_have_text("live", timeout=MINUTE * 1000)
    expect(page.get_by_test_id("job-cells")).to_contain_text("running", timeout=MINUTE * 1000)
