"""Clips and crowds: the replay invents nothing."""

from __future__ import annotations

import json
import re

import pytest

from headrace.cli.demo.clips import ClipLibrary, cut_clips, template_of
from headrace.cli.demo.replay import Crowd
from headrace.core.errors import Corrupt
from headrace.core.rand import seeded

ZERO = 1_795_000_000_000


def _wire(sid: str, at_ms: int, sn: int, *, cdn: str = "A", sta: str = "p", event: str = "t") -> str:
    return f'cid="room1",com.headrace-cdn="{cdn}",e={event},sid="{sid}",sn={sn},sta={sta},ts={ZERO + at_ms},v=2'


def _recording(*, cdn: str = "A", cut_ms: int | None = None, switch_ms: int | None = None, start_ms: int = 0) -> str:
    rows: list[dict[str, object]] = []
    for sn in range(20):
        at = start_ms + sn * 1000
        now = "B" if switch_ms is not None and at >= switch_ms else cdn
        rows.append({"t": (ZERO + at) / 1000, "k": "cmcd", "wire": _wire("s0", at, sn, cdn=now)})
    if cut_ms is not None:
        rows.append({"t": (ZERO + cut_ms) / 1000, "k": "cut", "cdn": cdn})
    if switch_ms is not None:
        rows.append(
            {"t": 0, "k": "js", "ev": {"ts": ZERO + switch_ms, "sid": "s0", "k": "switch", "from": cdn, "to": "B"}}
        )
    rows.append(
        {"t": 0, "k": "js", "ev": {"ts": 0, "sid": "s0", "k": "sum", "join_ms": 500.0, "stall_ms": 0, "stalls": 0}}
    )
    return "\n".join(json.dumps(row) for row in rows)


def _library() -> ClipLibrary:
    texts = [
        _recording(),
        _recording(cdn="B"),
        _recording(cut_ms=5000),
        _recording(cut_ms=5000, switch_ms=8000),
        _recording(cut_ms=0, start_ms=2000),
    ]
    return ClipLibrary(clip for text in texts for clip in cut_clips(text, source="t.jsonl"))


def test_template_changes_only_the_four_fields() -> None:
    """Everything but sid, cid, sn and ts of a report stays as recorded."""
    wire = 'bl=(3000),cid="room1",e=rr,sid="s0",sn=7,ts=17953,ttfb=9,url="http://x/v0%20.ts",v=2'
    made = template_of(wire) % {"sid": "q", "cid": "r", "sn": 1, "ts": 2}
    assert made == 'bl=(3000),cid="r",e=rr,sid="q",sn=1,ts=2,ttfb=9,url="http://x/v0%20.ts",v=2'


def test_clips_are_cut_where_the_recording_says() -> None:
    """One clip of each kind, beginning at the first event at or after its mark."""
    library = _library()
    assert library.counts() == {"joining[A]": 1, "moved[A]": 1, "start[A]": 1, "start[B]": 1, "stuck[A]": 1}
    assert library.of("stuck", "A")[0].length_ms == 14_000
    assert library.of("moved", "A")[0].length_ms == 11_000
    assert library.of("start", "A")[0].whole is not None


def test_damaged_recording_names_the_line() -> None:
    """A line that is no row gives Corrupt with file and line."""
    with pytest.raises(Corrupt, match=r"file=`x.jsonl`, line=`2`"):
        cut_clips('{"t": 1, "k": "cut", "cdn": "A"}\nnot json', source="x.jsonl")


def test_crowd_replays_every_event_once_and_in_order() -> None:
    """A session on a healthy CDN sends its whole clip: sequence numbers from 0, times shifted, nothing added."""
    crowd = Crowd(_library(), seeded(1), size=1, tag="t")
    (session,) = crowd.fill(ZERO, at_most=5)
    crowd.steered(session, "A", ttl_s=1000, now_ms=ZERO)
    sent = [wire for second in range(25) for _, wire in crowd.due(ZERO + second * 1000)]
    assert [int(re.findall(r"sn=(\d+)", wire)[0]) for wire in sent] == list(range(20))
    assert [int(re.findall(r"ts=(\d+)", wire)[0]) for wire in sent] == [ZERO + n * 1000 for n in range(20)]
    assert session.whole_clip is not None
    assert crowd.alive == {}


def test_crowd_follows_faults_and_steering() -> None:
    """Degraded CDN: stuck; steered away: moved; a session that starts there: joining; other moves keep the offset."""
    crowd = Crowd(_library(), seeded(2), size=2, tag="t")
    first, second = crowd.fill(ZERO, at_most=5)
    crowd.steered(first, "A", ttl_s=5, now_ms=ZERO)
    crowd.steered(second, "A", ttl_s=5, now_ms=ZERO)
    assert crowd.shares() == {"A": 1.0}
    crowd.steered(second, "B", ttl_s=5, now_ms=ZERO + 3000)
    assert second.index == 3
    assert crowd.degrade("A", ZERO + 4000) == 1
    crowd.steered(first, "B", ttl_s=5, now_ms=ZERO + 6000)
    assert [clip.split()[0] for clip in first.clips] == ["start[A]", "stuck[A]", "moved[A]"]
    assert [clip.split()[0] for clip in second.clips] == ["start[A]", "start[B]"]
    assert crowd.shares() == {"B": 1.0}
    crowd.alive.clear()
    third = crowd.fill(ZERO + 9000, at_most=1)[0]
    crowd.steered(third, "A", ttl_s=5, now_ms=ZERO + 9000)
    assert third.clips[0].startswith("joining[A]")


def test_a_player_belongs_to_the_cdn_that_it_was_on_when_that_was_cut() -> None:
    """The playlist named A first; steering had sent the player to B, which is cut and left again."""
    text = _recording(cut_ms=8_000, cdn="B", switch_ms=12_000).replace(
        '"from": "B", "to": "B"', '"from": "B", "to": "A"'
    )
    first = json.dumps({"t": 0, "k": "cmcd", "wire": _wire("s0", -1000, 99, cdn="A", sta="s")})
    (clip,) = cut_clips(f"{first}\n{text}", source="t.jsonl")
    assert (clip.kind, clip.cdn, clip.events[0].offset_ms) == ("moved", "B", 0)
