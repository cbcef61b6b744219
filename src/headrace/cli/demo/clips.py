"""Recordings of real players, cut into clips that a replay strings together. Pure.

A recording is JSON lines (`apps/live-quality/recordings`): `t` receive time in s, `k` the kind: `cmcd` with the event report
as sent (`wire`), `js` with a row of the page's own log, `cut` and `release` when a CDN was throttled. One player's event
reports are one `Track`; its marks (cut, pathway switch, page stopwatch) come from the other rows.

A `Clip` is a stretch of one track, its events at offsets from the clip's start:

    start[cdn]    the first 45 s of an undisturbed player on that CDN
    stuck[cdn]    from the moment its CDN was throttled, never steered away
    joining[cdn]  from the first event of a player that starts while its CDN is throttled
    moved[cdn]    from the moment a player of a throttled CDN changed its pathway

Nothing is invented: a replayed event is a recorded one with another session id, sequence number, room and time. Where a
session goes from one clip to the next, the next one begins at its own recorded moment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from headrace.core.errors import Corrupt, NotFound

_FIELD = re.compile(r'(sid|cid)="[^"]*"|(sn|ts)=\d+')
_VALUE = re.compile(r"(?:^|,)(ts|sn)=(\d+)")
_SID = re.compile(r'sid="([^"]*)"')
_CDN = re.compile(r'com\.headrace-cdn="([^"]*)"')
CLIP_EVENTS_MIN = 5
# A replayed session ends after this long, so that a demo of two minutes sees whole sessions come, go and be summed up.
START_LENGTH_MAX_MS = 45_000


class Event(msgspec.Struct, frozen=True):
    """One event report: offset from the clip's start in ms, and the report with `{sid} {cid} {sn} {ts}` to fill in."""

    offset_ms: int
    template: str

    def render(self, *, sid: str, cid: str, sn: int, ts_ms: int) -> str:
        """The report as a player of that session would send it."""
        return self.template % {"sid": sid, "cid": cid, "sn": sn, "ts": ts_ms}


class Stopwatch(msgspec.Struct, frozen=True):
    """What the page itself measured of a session, ms; join is None when it never played."""

    join_ms: float | None
    stall_ms: float
    stalls: int


class Clip(msgspec.Struct, frozen=True):
    """A stretch of one recorded player; `whole` carries the page's stopwatch when nothing was cut off."""

    kind: str
    cdn: str
    source: str
    events: tuple[Event, ...]
    whole: Stopwatch | None = None

    @property
    def length_ms(self) -> int:
        """Offset of the last event."""
        return self.events[-1].offset_ms


class _Track(msgspec.Struct):
    sid: str
    events: list[tuple[int, str]] = []
    switches: list[tuple[int, str, str]] = []
    stopwatch: Stopwatch | None = None


def template_of(wire: str) -> str:
    """A report with its session id, room, sequence number and time replaced by places to fill in."""
    escaped = wire.replace("%", "%%")
    return _FIELD.sub(_place, escaped)


def _place(match: re.Match[str]) -> str:
    quoted, plain = match.group(1), match.group(2)
    return f'{quoted}="%({quoted})s"' if quoted else f"{plain}=%({plain})d"


def parse_recording(text: str, *, source: str) -> tuple[dict[str, _Track], int | None, str]:
    """Tracks by session, the time of the cut in ms (None when undisturbed) and the CDN that was cut.

    Raises:
        Corrupt: a line is not a row of a recording; names file and line.
    """
    tracks: dict[str, _Track] = {}
    cut_ms: int | None = None
    cut_cdn = ""
    for number, line in enumerate(text.splitlines(), 1):
        try:
            row: dict[str, Any] = msgspec.json.decode(line)
            if row["k"] == "cmcd":
                _add_event(tracks, row["wire"])
            elif row["k"] == "js":
                _add_mark(tracks, row["ev"])
            elif row["k"] == "cut":
                cut_ms, cut_cdn = round(row["t"] * 1000), row["cdn"]
        except (msgspec.MsgspecError, KeyError, TypeError, AttributeError) as error:
            raise Corrupt(
                f"not a row of a recording: {error!r}",
                context={"file": source, "line": number},
                hint="record again: `headrace demo-live --record`",
            ) from error
    return tracks, cut_ms, cut_cdn


def _add_event(tracks: dict[str, _Track], wire: str) -> None:
    sid = _SID.search(wire)
    values = dict(_VALUE.findall(wire))
    if sid and "ts" in values:
        track = tracks.setdefault(sid.group(1), _Track(sid.group(1)))
        track.events.append((int(values["ts"]), wire))


def _add_mark(tracks: dict[str, _Track], row: dict[str, Any]) -> None:
    track = tracks.setdefault(row["sid"], _Track(row["sid"]))
    if row["k"] == "switch":
        track.switches.append((int(row["ts"]), row["from"], row["to"]))
    elif row["k"] == "sum":
        track.stopwatch = Stopwatch(row["join_ms"], row["stall_ms"], row["stalls"])


def cut_clips(text: str, *, source: str) -> list[Clip]:
    """All clips of one recording."""
    tracks, cut_ms, cut_cdn = parse_recording(text, source=source)
    clips: list[Clip] = []
    for track in tracks.values():
        events = sorted(track.events, key=lambda event: event[0])
        if len(events) >= CLIP_EVENTS_MIN:
            clips += _clips_of(events, track, cut_ms=cut_ms, cut_cdn=cut_cdn, source=source)
    return clips


def _clips_of(
    events: Sequence[tuple[int, str]], track: _Track, *, cut_ms: int | None, cut_cdn: str, source: str
) -> list[Clip]:
    first_cdn = next((found.group(1) for _, wire in events if (found := _CDN.search(wire))), cut_cdn)
    name = f"{source}#{track.sid}"
    if cut_ms is None:
        kept = [event for event in events if event[0] - events[0][0] <= START_LENGTH_MAX_MS]
        # The page's sums are those of the whole session; they hold for its beginning only when it never stalled.
        exact = len(kept) == len(events) or (track.stopwatch is not None and track.stopwatch.stalls == 0)
        return [_clip("start", first_cdn, name, kept, whole=track.stopwatch if exact else None)]
    # A playlist names one CDN first; steering may have sent the player to another one long before the cut.
    before = [found.group(1) for at, wire in events if at <= cut_ms and (found := _CDN.search(wire))]
    if (before[-1] if before else first_cdn) != cut_cdn:
        return []
    moved = next((at for at, old, new in track.switches if old == cut_cdn and new != cut_cdn and at > cut_ms), None)
    clips = []
    if moved is not None:
        clips.append(_clip("moved", cut_cdn, name, [event for event in events if event[0] >= moved]))
    if events[0][0] > cut_ms:
        clips.append(_clip("joining", cut_cdn, name, events))
    elif moved is None:
        clips.append(_clip("stuck", cut_cdn, name, [event for event in events if event[0] >= cut_ms]))
    return [clip for clip in clips if len(clip.events) >= CLIP_EVENTS_MIN]


def _clip(
    kind: str, cdn: str, source: str, events: Sequence[tuple[int, str]], *, whole: Stopwatch | None = None
) -> Clip:
    zero = events[0][0] if events else 0
    made = tuple(Event(at - zero, template_of(wire)) for at, wire in events)
    return Clip(kind=kind, cdn=cdn, source=source, events=made, whole=whole)


class ClipLibrary:
    """Clips by kind and CDN."""

    def __init__(self, clips: Iterable[Clip]) -> None:
        self._by_kind: dict[tuple[str, str], list[Clip]] = {}
        for clip in clips:
            self._by_kind.setdefault((clip.kind, clip.cdn), []).append(clip)

    @classmethod
    def load(cls, folder: Path) -> ClipLibrary:
        """Read every recording of a folder.

        Raises:
            NotFound: there is none.
            Corrupt: one is damaged.
        """
        files = sorted(folder.glob("*.jsonl"))
        if not files:
            raise NotFound("no recordings", context={"folder": folder}, hint="make them: `headrace demo-live --record`")
        return cls(clip for file in files for clip in cut_clips(file.read_text("utf-8"), source=file.name))

    def of(self, kind: str, cdn: str) -> list[Clip]:
        """The clips of one kind on one CDN; empty when none was recorded."""
        return self._by_kind.get((kind, cdn), [])

    def counts(self) -> dict[str, int]:
        """How many clips there are, by `kind[cdn]`."""
        return {f"{kind}[{cdn}]": len(clips) for (kind, cdn), clips in sorted(self._by_kind.items())}
