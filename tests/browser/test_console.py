"""The console in a real browser, against a feed whose every figure is known."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from headrace.console.live_model import Selection
from tests.browser.feed import Feed
from tests.browser.world import CELLS, KILL_S, World
from tests.browser.world_failures import failures
from tests.waiting import wait_until

pytestmark = pytest.mark.browser
STORY_S = KILL_S + 100
PAGES = ["#/", "#/quality", "#/jobs", "#/jobs/live-quality", "#/state/live-quality", "#/state/archive", "#/failures"]


@pytest.fixture
def feed(static_files: Path) -> Iterator[Feed]:
    """A feed whose clock stands still 100 s after the kill."""
    now_ms = time.time_ns() // 1_000_000 // 1000 * 1000
    made = Feed(World(origin_ms=now_ms - STORY_S * 1000))
    made.frozen_ms = now_ms
    made.start()
    yield made
    made.stop()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page that must not log an error, nor ask any other host."""
    made = context.new_page()
    problems: list[str] = []
    made.on("pageerror", lambda error: problems.append(str(error)))
    made.on(
        "request",
        lambda request: None if request.url.startswith(("http://127.0.0.1", "data:")) else problems.append(request.url),
    )
    yield made
    assert problems == []


def values(page: Page, selector: str) -> list[str]:
    """The raw numbers behind what is shown."""
    return [str(found.get_attribute("data-value")) for found in page.locator(selector).all()]


def test_overview_shows_the_figures_of_the_feed(feed: Feed, page: Page) -> None:
    """Tiles, processes, topics, jobs and the journal show exactly what the API says, with units."""
    page.goto(feed.url)
    expect(page.get_by_test_id("connection")).to_have_text("live")
    overview = feed.world.overview(feed.now_ms())
    rate = next(topic.rate_records_per_s for topic in overview.topics if topic.name == "ods.cmcd_raw")
    assert values(page, "[data-test=tile-ingest]") == [f"{rate:g}"]
    assert values(page, "[data-test=tile-latency]") == [f"{overview.latency.p99_ms:g}"]
    expect(page.get_by_test_id("tile-processes")).to_contain_text("11 of 11")
    expect(page.locator("[data-test^=process-]")).to_have_count(len(overview.processes))
    expect(page.get_by_test_id("process-taskmanager-1").locator("td").nth(4)).to_have_text("1")
    expect(page.locator("[data-test^=topic-]")).to_have_count(len(overview.topics))
    expect(page.locator("[data-test^=job-]")).to_have_count(2)
    expect(page.locator("[data-test=panel-journal] li").first).to_contain_text("taskmanager-1 after SIGKILL")
    expect(page.locator("[data-test=chart-latency] canvas")).to_be_visible()
    assert int(page.get_by_test_id("chart-latency").get_attribute("data-points") or 0) >= 600


def test_board_shows_sessions_stalls_weights_and_decisions(feed: Feed, page: Page) -> None:
    """Per CDN the board shows the feed's sessions, stall share and weight, draws the weights, and lists every decision with its reason."""
    page.goto(feed.url + "#/quality")
    board = feed.world.board(feed.now_ms(), Selection())
    expect(page.locator("[data-test^=cdn-]")).to_have_count(2)
    for cdn in board.cdns:
        card = f"[data-test=cdn-{cdn.cdn}]"
        shown = [float(values(page, f"{card} [data-test={name}]")[0]) for name in ("sessions", "stall-share", "weight")]
        assert shown == pytest.approx([cdn.sessions, cdn.stall_share, cdn.weight])
    assert values(page, ".tile[data-test=sessions]") == [str(board.sessions)]
    expect(page.locator("[data-test=chart-weights] canvas")).to_be_visible()
    expect(page.locator("[data-test=chart-weights] .legend-item")).to_have_count(2)
    expect(page.locator("[data-test=decision]")).to_have_count(len(board.decisions))
    expect(page.locator("[data-test=decision]").first).to_contain_text(board.decisions[0].reason)
    expect(page.locator("[data-test=panel-steers] li")).to_have_count(len(CELLS))


def test_weights_chart_is_painted_in_the_colours_of_the_cards(feed: Feed, page: Page) -> None:
    """The stacked chart holds pixels near each CDN's colour: a CDN looks the same wherever it is shown."""
    page.goto(feed.url + "#/quality")
    page.wait_for_selector("[data-test=chart-weights] canvas")
    count = """([selector, slot]) => {
      const canvas = document.querySelector(selector), probe = document.createElement('i');
      probe.style.color = `var(--cdn-${slot})`; document.body.append(probe);
      const want = getComputedStyle(probe).color.match(/\\d+/g).map(Number); probe.remove();
      const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      let n = 0;
      for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 100 && [0, 1, 2].every((c) => Math.abs(data[i + c] - want[c]) < 12)) n++;
      return n;
    }"""
    for slot in (0, 1):
        wait_until(
            lambda s=slot: page.evaluate(count, ["[data-test=chart-weights] canvas", s]) > 500,
            timeout_s=60,
            what=f"colour {slot}",
        )  # type: ignore[misc]


def test_selecting_a_region_narrows_the_board(feed: Feed, page: Page) -> None:
    """Choosing region and ISP shows the figures of that cell, and the address keeps the choice."""
    page.goto(feed.url + "#/quality")
    page.get_by_test_id("select-region").select_option("north")
    page.get_by_test_id("select-isp").select_option("telecom")
    want = feed.world.board(feed.now_ms(), Selection(region="north", isp="telecom"))
    expect(page.locator("[data-test=panel-steers] li")).to_have_count(1)
    wait_until(
        lambda: values(page, ".tile[data-test=sessions]") == [str(want.sessions)],
        timeout_s=60,
        what="the cell's sessions",
    )
    assert page.url.endswith("#/quality?region=north&isp=telecom")
    page.reload()
    expect(page.get_by_test_id("select-region")).to_have_value("north")


def test_job_page_shows_graph_checkpoints_and_exceptions(feed: Feed, page: Page) -> None:
    """A job's page has every vertex and edge, the last checkpoints with the failed one, restarts, and the exception's text on demand."""
    page.goto(feed.url + "#/")
    page.get_by_test_id("job-live-quality").get_by_role("link").click()
    detail = feed.world.detail(feed.now_ms())
    expect(page.locator("[data-test^=vertex-]")).to_have_count(len(detail.vertices))
    expect(page.locator(".graph path")).to_have_count(sum(len(vertex.inputs) for vertex in detail.vertices))
    expect(page.get_by_test_id("vertex-v2")).to_contain_text("running")
    expect(page.get_by_test_id("checkpoint")).to_have_count(10)
    expect(page.locator(".bars .failed")).to_have_count(1)
    assert values(page, "[data-test=restarts]") == ["1"]
    page.get_by_text("TaskManager lost").click()
    expect(page.locator("pre")).to_contain_text("no longer reachable")


def test_state_page_shows_the_tiers_to_scale(feed: Feed, page: Page) -> None:
    """From the job's page to its state: the largest operator, strips in proportion to the budget, the parts of the budget, flows and charts."""
    page.goto(feed.url + "#/jobs/live-quality")
    page.get_by_test_id("state-link").click()
    expect(page.get_by_test_id("saying")).to_contain_text("State is 3.0 times its memory budget")
    operator = feed.world.large_state(feed.world.seconds(feed.now_ms()))
    assert values(page, "[data-test=tier-memory]") == [str(operator.memory_limit_bytes)]
    assert values(page, "[data-test=tier-files]") == [str(operator.file_bytes)]
    assert values(page, "[data-test=tier-checkpoint]") == [str(operator.checkpoint_bytes)]
    assert values(page, "[data-test=packed]") == [f"{operator.rates.packed_bytes_per_s:.0f}"]
    parts = [int(value) for value in values(page, "[data-test^=part-]")]
    assert sum(parts) == operator.memory_limit_bytes
    assert float(values(page, "[data-test=amplification]")[0]) == pytest.approx(1.9)
    widths = page.evaluate("[...document.querySelectorAll('.strip')].map((strip) => strip.offsetWidth)")
    drawn = [operator.memory_limit_bytes or 0, operator.file_bytes or 0, operator.checkpoint_bytes or 0]
    assert [width / widths[0] for width in widths] == pytest.approx([each / drawn[0] for each in drawn], rel=0.01)
    expect(page.locator("[data-test=chart-state-bytes] canvas")).to_be_visible()
    assert int(page.get_by_test_id("chart-state-bytes").get_attribute("data-points") or 0) >= 290


def test_state_page_finds_a_job_and_follows_the_choice_of_operator(feed: Feed, page: Page) -> None:
    """Without a job in the address the page takes the first that runs; an operator within memory says so, by keyboard, and a reload keeps it."""
    page.goto(feed.url + "#/state")
    expect(page.get_by_test_id("select-job")).to_have_value("live-quality")
    assert page.url.endswith("#/state/live-quality")
    page.get_by_test_id("operator").nth(1).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("saying")).to_contain_text("All state is in memory")
    expect(page.get_by_test_id("tier-files")).to_contain_text("all state fits memory")
    page.reload()
    expect(page.get_by_test_id("saying")).to_contain_text("All state is in memory")
    page.get_by_test_id("select-job").select_option("archive")
    expect(page.get_by_test_id("panel-no-state")).to_contain_text("state.backend.type")


def test_state_page_says_what_is_missing(feed: Feed, page: Page) -> None:
    """No such job, a job that restarts, a JobManager that does not answer, no job at all: each in words, and figures known stay."""
    page.goto(feed.url + "#/state/nonsense")
    expect(page.locator("main")).to_contain_text("No job has this name")
    feed.world.gone = ("flink",)
    page.goto(feed.url + "#/state/live-quality")
    expect(page.get_by_test_id("unreachable")).to_contain_text("Flink unreachable since")
    expect(page.get_by_test_id("saying")).to_contain_text("times its memory budget")
    feed.frozen_ms = feed.world.origin_ms + (KILL_S + 3) * 1000
    expect(page.locator("main")).to_contain_text("The job is restarting")
    feed.world.empty = True
    page.goto(feed.url + "#/state")
    page.reload()
    expect(page.locator("main")).to_contain_text("headrace job deploy")


def test_failures_page_shows_each_timeline_to_one_scale(feed: Feed, page: Page) -> None:
    """Newest first, every moment after the fault, phases as long as they took, books, quantiles of what was injected."""
    page.goto(feed.url + "#/failures")
    expect(page.get_by_test_id("failure")).to_have_count(6)
    known = failures(feed.now_ms())
    for shown, failure in zip(page.get_by_test_id("failure").all(), known.failures, strict=True):
        for name, at_ms in failure.moments.items():
            if name != "fault":
                assert shown.get_by_test_id(f"moment-{name}").get_attribute("data-value") == str(at_ms - failure.at_ms)
    injected = [one for one in known.failures if "fault" in one.moments]
    found = sorted(one.moments["verdict"] - one.moments["fault"] for one in injected)
    assert values(page, "[data-test=tile-found]") == [str(found[1])]
    assert values(page, "[data-test=tile-passed]") == ["7"]
    flows = sorted(one.moments["flowing"] - one.moments["fault"] for one in injected)
    assert values(page, "[data-test=tile-flows]") == [str(flows[1])]
    expect(page.locator(".phase.cut")).to_have_count(1)  # one was still catching up when the slowest flowed
    expect(page.get_by_test_id("failure").last.get_by_test_id("books")).to_have_text("0 lost, 0 doubled")
    widths = page.evaluate(
        "[...document.querySelectorAll('[data-test=phase-running]')].map((one) => one.getBoundingClientRect().width)"
    )
    lengths = [one.moments["running"] - one.moments["restarting"] for one in known.failures if "running" in one.moments]
    assert [width / widths[0] for width in widths] == pytest.approx([each / lengths[0] for each in lengths], rel=0.02)


def test_failures_page_alarms_and_says_when_there_is_nothing(feed: Feed, page: Page) -> None:
    """What the brake holds, what does not answer and which host has no spare stands on top; without failures the page says how to make one."""
    feed.world.alarmed = True
    page.goto(feed.url + "#/failures")
    expect(page.get_by_test_id("alarms")).to_contain_text("Verdicts are held on w1, w2, w3")
    expect(page.get_by_test_id("alarms")).to_contain_text("10.0.0.7")
    expect(page.get_by_test_id("alarms")).to_contain_text("No answer from kafka to most hosts")
    expect(page.get_by_test_id("alarms")).to_contain_text("No way from w2 to s3 ·")
    feed.world.empty = True
    expect(page.get_by_test_id("panel-timelines")).to_contain_text("headrace chaos kill")
    expect(page.get_by_test_id("alarms")).to_have_count(0)
    assert values(page, "[data-test=tile-found]") == [""]


def test_theme_follows_the_system_until_toggled_and_is_kept(feed: Feed, page: Page) -> None:
    """A light system shows light; the button switches to dark, a reload keeps it, and switching back follows the system again."""
    ground = "getComputedStyle(document.body).backgroundColor"
    page.goto(feed.url)
    light = page.evaluate(ground)
    page.get_by_test_id("theme-toggle").click()
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    assert page.evaluate(ground) == dark
    page.get_by_test_id("theme-toggle").click()
    assert page.evaluate(ground) == light
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(ground) == dark


@pytest.mark.parametrize("address", PAGES)
def test_phone_width_needs_no_sideways_scrolling(feed: Feed, page: Page, address: str) -> None:
    """At 390 px every page fits its width."""
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(feed.url + address)
    page.wait_for_selector("main h1")
    page.wait_for_selector(".panel")
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_page_survives_a_restart_of_the_server(feed: Feed, page: Page) -> None:
    """When the server goes, a banner says so and the last figures stay; when it is back, the page goes on by itself."""
    page.goto(feed.url)
    expect(page.get_by_test_id("connection")).to_have_text("live")
    feed.stop()
    expect(page.get_by_test_id("banner")).to_contain_text("Connection lost")
    expect(page.locator("[data-test^=process-]")).to_have_count(11)
    feed.start()
    expect(page.get_by_test_id("connection")).to_have_text("live")
    expect(page.get_by_test_id("banner")).to_have_count(0)


def test_unreachable_store_is_named_and_the_rest_goes_on(feed: Feed, page: Page) -> None:
    """With one store dead the board says which one since when, and still shows the other figures."""
    feed.world.gone = ("olap",)
    page.goto(feed.url + "#/quality")
    expect(page.get_by_test_id("unreachable")).to_contain_text("OLAP store unreachable since")
    expect(page.locator("[data-test^=cdn-]")).to_have_count(2)


def test_empty_stack_says_what_to_do(feed: Feed, page: Page) -> None:
    """Before any data, every page explains how to get some, and nothing is shown as zero."""
    feed.world.empty = True
    page.goto(feed.url)
    expect(page.get_by_test_id("panel-topics")).to_contain_text("headrace table apply")
    expect(page.get_by_test_id("tile-latency")).to_contain_text("–")
    page.goto(feed.url + "#/quality")
    expect(page.locator("main")).to_contain_text("headrace demo")
    page.goto(feed.url + "#/jobs/nonsense")
    expect(page.locator("main")).to_contain_text("No job has this name")


def test_pages_are_reachable_by_keyboard(feed: Feed, page: Page) -> None:
    """Tab reaches the skip link, the pages and the theme button, each with a visible focus."""
    page.goto(feed.url)
    page.wait_for_selector("main h1")
    seen = []
    for _ in range(8):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                "[document.activeElement.textContent.trim() || document.activeElement.ariaLabel, getComputedStyle(document.activeElement).outlineStyle]"
            )
        )
    assert [name for name, _ in seen] == [
        "Skip to content",
        "Headrace",
        "Overview",
        "Live quality",
        "Jobs",
        "State",
        "Failures",
        "Switch to dark theme",
    ]
    assert {style for _, style in seen} == {"solid"}
