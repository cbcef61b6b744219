"""`headrace demo` and `headrace demo-live`."""

from __future__ import annotations

import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated

import cyclopts
from rich.console import Console

from headrace.cli.demo.clips import ClipLibrary
from headrace.cli.demo.conductor import Conductor, DemoPlan, bring_up, command
from headrace.cli.demo.guarantees import Report
from headrace.cli.demo.live import SETTLE_S, LivePlan, judge_live, keep_time, load_sessions, page_rows, run_live
from headrace.cli.demo.report import Inspector, count_before, render_report
from headrace.cli.demo.testbed import check
from headrace.cli.face import Face, run
from headrace.core.clock import SystemClock
from headrace.core.errors import Invalid
from headrace.core.home import resolve_home
from headrace.core.rand import seeded
from headrace.serve.olap_client import OlapClient
from headrace.stack.assets import find_assets
from headrace.stack.client import find_status

HomeOption = Annotated[str | None, cyclopts.Parameter(name="--home", help="folder of the stack [.headrace]")]
JsonOption = Annotated[bool, cyclopts.Parameter(name="--json", negative="", help="print one JSON object at the end")]
SecondsOption = Annotated[float | None, cyclopts.Parameter(name="--seconds", help="end by itself: seconds of traffic")]
BrowserOption = Annotated[bool, cyclopts.Parameter(name="--no-browser", negative="", help="do not open the console")]
SessionsOption = Annotated[int, cyclopts.Parameter(name="--sessions", help="viewers at once")]
SECONDS_DEFAULT, SECONDS_MIN = 180.0, 100.0


def demo(
    *,
    sessions: SessionsOption = 2000,
    seconds: SecondsOption = None,
    no_browser: BrowserOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replay real players by the thousand, degrade a CDN, kill a TaskManager, and report every guarantee.

    Leaves the console open until Ctrl-C unless --seconds is given. The exit code says whether all guarantees held.
    """
    plan = DemoPlan(sessions=sessions, seconds=seconds or SECONDS_DEFAULT)
    run(lambda face: _demo(face, plan, home, stay=seconds is None, browser=not no_browser), as_json=as_json)


def demo_live(  # noqa: PLR0913 - one parameter per option of the command
    *,
    players: Annotated[int, cyclopts.Parameter(name="--players", help="browsers frames that watch")] = 4,
    late_players: Annotated[int, cyclopts.Parameter(name="--late-players", help="more that start after the cut")] = 0,
    seconds: Annotated[float, cyclopts.Parameter(name="--seconds", help="how long they watch")] = 75.0,
    cut_at: Annotated[float, cyclopts.Parameter(name="--cut-at", help="when the CDN is throttled, s; 0: never")] = 25.0,
    first: Annotated[
        str,
        cyclopts.Parameter(
            name="--first", help="CDN that the playlist names first; without steering the one that is cut"
        ),
    ] = "A",
    steering: Annotated[bool, cyclopts.Parameter(name="--steering", help="or leave the players alone")] = True,
    record: Annotated[
        Path | None, cyclopts.Parameter(name="--record", help="write a recording for `headrace demo`")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Real players (Chromium, hls.js) over two real CDNs in network namespaces, one of them throttled; needs root."""
    plan = LivePlan(
        players=players,
        late_players=late_players,
        seconds=seconds,
        cut_at=cut_at or None,
        first=first,
        steering=steering,
        record=record,
    )
    run(lambda face: _demo_live(face, plan, home), as_json=as_json)


def _demo(face: Face, plan: DemoPlan, home_option: str | None, *, stay: bool, browser: bool) -> None:
    if plan.seconds < SECONDS_MIN:
        raise Invalid(
            "too short to show a whole minute and a recovery",
            context={"seconds": plan.seconds},
            hint=f"at least {SECONDS_MIN:g}",
        )
    clock, home, app = SystemClock(), resolve_home(home_option), find_assets().root / "apps/live-quality"
    library = ClipLibrary.load(app / "recordings")
    was_up = find_status(home) is not None
    try:
        endpoints = bring_up(home, app, say=face.say)
        if browser:
            webbrowser.open(endpoints.headraced)
        before = count_before(endpoints)
        conductor = Conductor(
            plan, home=home, endpoints=endpoints, library=library, clock=clock, random=seeded(plan.seed)
        )
        conductor.play(face.say)
        report = Inspector(conductor, before, home=home, endpoints=endpoints, clock=clock).judge(face.say)
        if not face.as_json:
            render_report(report, face.out)
        if stay:
            face.say(f"console: {endpoints.headraced}  (Ctrl-C ends the demo)")
            while True:
                clock.sleep(1.0)
    except KeyboardInterrupt:
        face.say("ending")
        raise
    finally:
        if not was_up:
            command("down", home=home)
    _finish(face, report)


def _demo_live(face: Face, plan: LivePlan, home_option: str | None) -> None:
    check()
    clock, home, app = SystemClock(), resolve_home(home_option), find_assets().root / "apps/live-quality"
    was_up = find_status(home) is not None
    try:
        endpoints = bring_up(home, app, say=face.say)
        started_ms = clock.now_ms()
        with tempfile.TemporaryDirectory(prefix="headrace-live-") as folder:
            live = run_live(
                plan,
                endpoints=endpoints,
                players=app / "players",
                folder=Path(folder) / "testbed",
                clock=clock,
                say=face.say,
            )
        face.say("other viewers go on until the last minute of the players' sessions is summed up")
        keep_time(endpoints, ClipLibrary.load(app / "recordings"), clock, seconds=60.0 + SETTLE_S)
        sids = [row["sid"] for row in page_rows(live.rows, "sum")]
        report = judge_live(plan, live, load_sessions(OlapClient(endpoints.olap), sids, since_ms=started_ms))
        if not face.as_json:
            render_report(report, face.out)
    finally:
        if not was_up:
            command("down", home=home)
    _finish(face, report)


def _finish(face: Face, report: Report) -> None:
    if face.as_json:
        face.show(report, _nothing)
    if not report.passed:
        raise SystemExit(1)


def _nothing(_report: Report, _console: Console) -> None:
    """The report was drawn before the stack went down."""
