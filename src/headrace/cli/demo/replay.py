"""Thousands of sessions from a handful of recorded players, steered by the real steering endpoint.

A `Session` plays one clip after another (`clips.py`): which one follows from where steering sends it and from which CDNs
are degraded at that moment. `Crowd` keeps a number of sessions alive and yields the reports that are due. Both are pure
but for the random generator they are handed; `Replayer` is the edge: it polls steering for each session at the TTL it was
told, posts reports to the gateway in batches by client address, and sends a batch again when it was not acknowledged.

    session on a healthy CDN     start[cdn]
    its CDN degrades             stuck[cdn], from the recorded cut on
    it starts on a degraded CDN  joining[cdn]
    steering moves it away       moved[cdn], from the recorded pathway switch on
    steering moves it otherwise  start[new], from the same offset on (at most its middle)
    the clip ends                the session falls silent; a new one takes its place
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from headrace.cli.demo.clips import START_LENGTH_MAX_MS, Clip, ClipLibrary, Event
from headrace.core.rand import Random

ADDRESSES = (
    "10.16.{}.{}",
    "10.20.{}.{}",
    "10.32.{}.{}",
    "10.36.{}.{}",
    "10.48.{}.{}",
    "10.52.{}.{}",
)  # dims/ip_prefix.csv
ROOMS = 8


@dataclass
class Session:
    """One replayed viewer; times are wall ms."""

    sid: str
    cid: str
    address: str
    started_ms: int
    cdn: str = ""
    clip: Clip | None = None
    clip_started_ms: int = 0
    index: int = 0
    sn: int = 0
    poll_at_ms: int = 0
    clips: list[str] = field(default_factory=list)
    switches: int = 0

    def play(self, clip: Clip, *, now_ms: int, from_ms: int = 0) -> None:
        """Go on with `clip` at its offset `from_ms`."""
        self.clip, self.clip_started_ms = clip, now_ms - from_ms
        self.index = next((n for n, event in enumerate(clip.events) if event.offset_ms >= from_ms), len(clip.events))
        self.clips.append(f"{clip.kind}[{clip.cdn}] {clip.source}")

    @property
    def whole_clip(self) -> Clip | None:
        """The clip when the session is one undisturbed recording from start to end."""
        return self.clip if len(self.clips) == 1 and self.clip and self.clip.whole else None

    def due(self) -> tuple[int, Event] | None:
        """When the next report is due and which; None at the clip's end."""
        if self.clip is None or self.index >= len(self.clip.events):
            return None
        event = self.clip.events[self.index]
        return self.clip_started_ms + event.offset_ms, event


class Crowd:
    """Keeps `size` sessions alive; the caller tells steering's answers and faults, and asks for what is due."""

    def __init__(self, library: ClipLibrary, random: Random, *, size: int, tag: str) -> None:
        self._library, self._random, self._size, self._tag = library, random, size, tag
        self.alive: dict[str, Session] = {}
        self.ended: list[Session] = []
        self.degraded: set[str] = set()
        self._count = 0
        self._due: list[tuple[int, int, str]] = []
        self._polls: list[tuple[int, str]] = []

    def fill(self, now_ms: int, *, at_most: int) -> list[Session]:
        """Start sessions until the crowd is full, `at_most` now; each first asks steering."""
        born: list[Session] = []
        while len(self.alive) < self._size and len(born) < at_most:
            number = self._count
            self._count += 1
            pattern = ADDRESSES[number % len(ADDRESSES)]
            address = pattern.format(number // 250 % 250, number % 250 + 1)
            room = f"room{int(self._random.paretovariate(1.2)) % ROOMS}"
            session = Session(f"{self._tag}-{number:06d}", room, address, now_ms, poll_at_ms=now_ms)
            self.alive[session.sid] = session
            heapq.heappush(self._polls, (now_ms, session.sid))
            born.append(session)
        return born

    def polls_due(self, now_ms: int) -> Iterator[Session]:
        """Sessions whose steering poll is due."""
        while self._polls and self._polls[0][0] <= now_ms:
            session = self.alive.get(heapq.heappop(self._polls)[1])
            if session is not None:
                yield session

    def steered(self, session: Session, cdn: str, *, ttl_s: float, now_ms: int) -> None:
        """Steering answered: the first pathway of its list, and when to ask again."""
        session.poll_at_ms = now_ms + round(ttl_s * 1000)
        heapq.heappush(self._polls, (session.poll_at_ms, session.sid))
        if cdn == session.cdn:
            return
        old, session.cdn = session.cdn, cdn
        if not old:
            self._play(session, "joining" if cdn in self.degraded else "start", cdn, now_ms)
        elif old in self.degraded and self._library.of("moved", old):
            session.switches += 1
            self._play(session, "moved", old, now_ms)
        else:
            session.switches += 1
            self._play(
                session, "start", cdn, now_ms, from_ms=min(now_ms - session.clip_started_ms, START_LENGTH_MAX_MS // 2)
            )

    def degrade(self, cdn: str, now_ms: int) -> int:
        """The CDN crawls from now on; returns how many sessions that hits."""
        self.degraded.add(cdn)
        hit = [session for session in self.alive.values() if session.cdn == cdn]
        for session in hit:
            self._play(session, "stuck", cdn, now_ms)
        return len(hit)

    def due(self, now_ms: int) -> Iterator[tuple[Session, str]]:
        """Reports that are due, as sent; sessions at their end leave."""
        while self._due and self._due[0][0] <= now_ms:
            _, token, sid = heapq.heappop(self._due)
            session = self.alive.get(sid)
            if session is None or token != len(session.clips):
                continue
            found = session.due()
            if found is None:
                self._end(session)
                continue
            at_ms, event = found
            yield session, event.render(sid=sid, cid=session.cid, sn=session.sn, ts_ms=at_ms)
            session.index += 1
            session.sn += 1
            self._push(session)

    def shares(self) -> Mapping[str, float]:
        """Share of the living sessions by the CDN they are on."""
        counts: dict[str, int] = {}
        for session in self.alive.values():
            counts[session.cdn] = counts.get(session.cdn, 0) + 1
        total = sum(count for cdn, count in counts.items() if cdn) or 1
        return {cdn: count / total for cdn, count in counts.items() if cdn}

    def _play(self, session: Session, kind: str, cdn: str, now_ms: int, *, from_ms: int = 0) -> None:
        choices = self._library.of(kind, cdn) or self._library.of("start", cdn)
        if not choices:
            return
        session.play(self._random.choice(choices), now_ms=now_ms, from_ms=from_ms)
        self._push(session)

    def _push(self, session: Session) -> None:
        found = session.due()
        at_ms = found[0] if found else session.clip_started_ms + (session.clip.length_ms if session.clip else 0)
        heapq.heappush(self._due, (at_ms, len(session.clips), session.sid))

    def _end(self, session: Session) -> None:
        self.alive.pop(session.sid, None)
        self.ended.append(session)
