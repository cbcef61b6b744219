"""The live demonstration: what it needs, and how it judges."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.cli.demo import testbed
from headrace.cli.demo.live import LivePlan, LiveRun, fullest, judge_live
from headrace.core.errors import Unsupported

CUT_MS = 1_795_000_000_000
ADDRESSES = {"A": "10.77.0.2", "B": "10.77.0.3"}


def _page(kind: str, sid: str, after_ms: int, **fields: Any) -> dict[str, Any]:
    return {"t": 0, "k": "js", "ev": {"ts": CUT_MS + after_ms, "sid": sid, "k": kind, **fields}}


def _fragment(sid: str, cdn: str, after_ms: int = -1000) -> dict[str, Any]:
    return _page("frag", sid, after_ms, url=f"http://{ADDRESSES[cdn]}/v0_00001.ts", ms=9.0)


def test_without_root_it_says_so() -> None:
    """A sentence and a way out, before anything is started."""
    with pytest.raises(Unsupported, match="needs root") as caught:
        testbed.check(root=False)
    assert "headrace demo" in caught.value.hint


def test_missing_programs_are_named_by_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install, all at once."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(testbed, "SEARCH_PATH", "/nowhere")
    with pytest.raises(Unsupported) as caught:
        testbed.check(root=True)
    assert "chromium" in str(caught.value)
    assert "ffmpeg" in str(caught.value)


def test_the_cdn_with_most_players_is_cut() -> None:
    """By their last segments: what the playlist named first does not matter; without steering it does."""
    rows = [_fragment("a", "A", -9000), _fragment("a", "B"), _fragment("b", "B"), _fragment("c", "A")]
    assert fullest(rows, ADDRESSES, LivePlan()) == ("B", ("a", "b"))
    assert fullest(rows, ADDRESSES, LivePlan(steering=False)) == ("A", ("c",))


def test_a_run_is_judged_by_the_players_that_were_hit() -> None:
    """Two of three are on the cut CDN; one that stays there fails the guarantee, and stall is the median over all."""
    rows = [
        _page("switch", "a", 4000, **{"from": "B", "to": "A"}),
        *(_page("resume", sid, 5000, ms=900.0) for sid in ("a", "b")),
        *(_page("sum", sid, 9000, join_ms=500.0, stall_ms=0.0, stalls=0) for sid in ("a", "b", "c")),
    ]
    run = LiveRun(rows, cut_ms=CUT_MS, cut_cdn="B", hit=("a", "b"), decided_ms=CUT_MS + 2500)
    sessions = [{"sid": sid, "join_ms": 510, "stall_ms": 20} for sid in ("a", "b", "c")]
    judged = {row.name.split(",")[0]: row for row in judge_live(LivePlan(), run, sessions).guarantees}
    assert (judged["cut to decision"].measured, judged["cut to decision"].passed) == (2.5, True)
    assert judged["cut to 80 % of the 2 players of CDN B on the other"].measured == "never"
    assert judged["median extra stall per player"].measured == 900
    rows.append(_page("switch", "b", 6000, **{"from": "B", "to": "A"}))
    assert judge_live(LivePlan(), run, sessions).passed
