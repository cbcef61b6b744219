"""A recount of the live-quality tables from ODS rows, in plain Python: the second opinion on the SQL.

The SQL (apps/live-quality/pipelines) expresses the definitions as windows and OVER aggregates; here the same definitions are a loop
over each session's beats, written without looking at how SQL does it, so that a mistake in one shows as a difference. In steps: drop late rows →
collapse each session's rows to one `Beat` per millisecond → walk the beats (`Interval`) → sum up (`Session`, `Minute`). `Cell`s are counted from the
rows directly, late ones included.

Invariants: the result depends on the set of rows only, not on their order or on repetitions; attempts = plays + start failures + exits before
start + pending. Every session is taken as ended, so nothing is pending: it is a recount of an archive, not of a moment.

Source of the definitions: CTA-5004-B states, CTA-2066 metrics, and the rule for a seek to the live edge in apps/live-quality/README.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

import msgspec

LATE_MS = 5_000
SLOT_MS = 5_000  # the heartbeat
SILENT_SLOTS = 4  # the next beat this many slots on leaves three whole slots empty: the session had ended
MINUTE_MS = 60_000
PRELOAD_MS = 1_000  # a page that plays at once preloads just before it starts
SLOW_RESPONSE_MS = 1_000  # a segment's duration
SLOW_FETCH_AGE_MS = 1_200  # what a `slow` event means when it carries no age: 1.2 x segment duration
NO_CDN = "none"
UNKNOWN_STATE = "-"
STATES = "sprkaefqd"  # in this order, the later wins between states of one millisecond and one sequence number
JOIN_BOUNDS_MS = (250, 500, 750, 1000, 1500, 2000, 3000, 5000, 10000)


class Row(msgspec.Struct, frozen=True):
    """An ODS row, as far as it is counted (apps/live-quality/tables/cmcd_raw.sql)."""

    sid: str
    ts_ms: int
    recv_ms: int
    e: str
    sn: int | None = None
    cid: str | None = None
    sta: str | None = None
    br: int | None = None
    ltc: int | None = None
    rc: int | None = None
    ttlb: int | None = None
    age_ms: int | None = None
    cen: str | None = None
    cdn: str | None = None
    region: str | None = None
    isp: str | None = None

    @property
    def event_ms(self) -> int:
        """When it happened: for a response, when its last byte arrived."""
        return self.ts_ms + (self.ttlb or 0) if self.e == "rr" else self.ts_ms

    @property
    def late_ms(self) -> int:
        """How long after the event the gateway got it."""
        return self.recv_ms - self.event_ms


class Place(msgspec.Struct, frozen=True, order=True):
    """Where a session is: region, ISP, CDN, room."""

    region: str
    isp: str
    cdn: str
    cid: str


class Beat(msgspec.Struct, frozen=True):
    """All that a session said in one millisecond; `states` is every state named, `state` the last one."""

    sid: str
    ms: int
    state: str | None
    states: frozenset[str]
    error: bool
    cid: str
    region: str
    isp: str
    cdn: str | None
    br: int | None
    ltc: int | None


class Interval(msgspec.Struct, frozen=True, order=True):
    """A row of `play_interval`, in its order of columns; `first` marks a session's first beat, which closes nothing."""

    sid: str
    session_ms: int
    from_ms: int
    to_ms: int
    cid: str
    region: str
    isp: str
    cdn: str
    state: str
    state_eff: str
    stalls: int
    errors: int
    br: int
    ltc: int | None
    first: bool
    states: frozenset[str]

    @property
    def playing_ms(self) -> int:
        """Its length, if playing."""
        return self.to_ms - self.from_ms if self.state_eff == "p" else 0

    @property
    def stalled_ms(self) -> int:
        """Its length, if stalled."""
        return self.to_ms - self.from_ms if self.state_eff == "r" else 0


class Session(msgspec.Struct, frozen=True):
    """A row of `play_session`, in its order of columns."""

    sid: str
    session_ms: int
    cid: str
    region: str
    isp: str
    cdn: str
    outcome: str
    s_ms: int | None
    p_ms: int | None
    f_ms: int | None
    q_ms: int | None
    exit_ms: int | None
    last_ms: int
    join_ms: int | None
    play_ms: int
    stall_ms: int
    stalls: int
    br_ms: int
    errors: int


class Minute(msgspec.Struct):
    """The measures of a row of `qoe_1m`, in its order of columns."""

    attempts: int = 0
    plays: int = 0
    exits_before_start: int = 0
    start_failures: int = 0
    playback_failures: int = 0
    joins: int = 0
    join_ms: int = 0
    join_le: list[int] = msgspec.field(default_factory=lambda: [0] * len(JOIN_BOUNDS_MS))
    play_ms: int = 0
    stall_ms: int = 0
    stalls: int = 0
    sessions: set[str] = msgspec.field(default_factory=set)
    impacted_sessions: set[str] = msgspec.field(default_factory=set)
    br_ms: int = 0
    br_weight_ms: int = 0
    errors: int = 0
    ltc_count: int = 0
    ltc_ms: int = 0
    beacons_received: int = 0
    beacons_expected: int = 0

    def measures(self) -> tuple[int, ...]:
        """The columns after the key, as `qoe_1m` has them."""
        values: list[int] = []
        for name in self.__struct_fields__:
            value = getattr(self, name)
            values.extend(value if isinstance(value, list) else [len(value) if isinstance(value, set) else value])
        return tuple(values)


class Cell(msgspec.Struct):
    """The measures of a row of `cell_1s`, in its order of columns; sets hold session ids."""

    sessions: set[str] = msgspec.field(default_factory=set)
    playing: set[str] = msgspec.field(default_factory=set)
    stalled: set[str] = msgspec.field(default_factory=set)
    seeking: set[str] = msgspec.field(default_factory=set)
    stall_starts: set[str] = msgspec.field(default_factory=set)
    inflight: set[str] = msgspec.field(default_factory=set)
    errors: set[str] = msgspec.field(default_factory=set)
    slow_responses: set[str] = msgspec.field(default_factory=set)
    responding: set[str] = msgspec.field(default_factory=set)
    starts: set[str] = msgspec.field(default_factory=set)
    plays: set[str] = msgspec.field(default_factory=set)
    inflight_age_ms_max: int | None = None
    last_ts_ms: int = 0
    last_recv_ms: int = 0

    def measures(self) -> tuple[int | None, ...]:
        """The columns after the key, as `cell_1s` has them."""
        values = (getattr(self, name) for name in self.__struct_fields__)
        return tuple(len(value) if isinstance(value, set) else value for value in values)


class Recount(msgspec.Struct, frozen=True):
    """All tables. Keys: `qoe_1m` by (minute, region, isp, cdn, cid), `cell_1s` by (second, region, isp, cdn)."""

    late: list[Row]
    intervals: list[Interval]
    sessions: list[Session]
    minutes: dict[tuple[int, str, str, str, str], Minute]
    cells: dict[tuple[int, str, str, str], Cell]


def recount(rows: Iterable[Row]) -> Recount:
    """Count everything from the rows of an archive; order and repetition of rows change nothing."""
    unique = list(dict.fromkeys(rows))
    on_time = [row for row in unique if row.late_ms <= LATE_MS]
    walked = [interval for beats in _sessions_of(on_time) for interval in walk(beats)]
    sessions = [
        _session(list(part)) for _, part in groupby(sorted(walked), key=lambda item: (item.sid, item.session_ms))
    ]
    return Recount(
        late=sorted(
            (row for row in unique if row.late_ms > LATE_MS),
            key=lambda row: (row.sid, row.sn or 0, row.ts_ms, row.e, repr(row)),
        ),
        intervals=sorted(interval for interval in walked if not interval.first),
        sessions=sessions,
        minutes=_minutes(on_time, walked, sessions),
        cells=_cells(unique),
    )


def _sessions_of(rows: Sequence[Row]) -> Iterator[list[Beat]]:
    """The beats of each session id, by time; responses say nothing of the state at their own time."""
    at: dict[str, dict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.e != "rr":
            at[row.sid][row.ts_ms].append(row)
    for sid in sorted(at):
        yield [_beat(at[sid][ms]) for ms in sorted(at[sid])]


def _beat(rows: Sequence[Row]) -> Beat:
    stated = [(row.sn or 0, STATES.find(row.sta) + 1) for row in rows if row.sta is not None]
    place = max(stated)[1] if stated else 0
    return Beat(
        sid=rows[0].sid,
        ms=rows[0].ts_ms,
        state=STATES[place - 1] if place else None,  # a state that no standard knows is none
        states=frozenset(row.sta for row in rows if row.sta is not None),
        error=any(row.e == "e" for row in rows),
        cid=max(row.cid or "" for row in rows),
        region=max(row.region or "" for row in rows),
        isp=max(row.isp or "" for row in rows),
        cdn=max((row.cdn for row in rows if row.cdn is not None), default=None),
        br=max((row.br for row in rows if row.br is not None), default=None),
        ltc=max((row.ltc for row in rows if row.ltc is not None), default=None),
    )


def walk(beats: Sequence[Beat]) -> Iterator[Interval]:
    """One interval per beat of one session id, `beats` ascending by time."""
    before: Beat | None = None
    session_ms, played, waited_for, cdn, br = 0, False, "", "", 0
    for beat in beats:
        first = before is None or beat.ms // SLOT_MS - before.ms // SLOT_MS >= SILENT_SLOTS
        if first or before is None:
            session_ms, played, waited_for, cdn, br = beat.ms, False, "", "", 0
            yield _interval(beat, beat.ms, session_ms, (UNKNOWN_STATE, UNKNOWN_STATE), (cdn, br, 0))
        else:
            played = played or "p" in before.states
            waited_for = before.state if before.state in ("p", "r", "a") else waited_for
            cdn = cdn if before.cdn is None else before.cdn
            br = br if before.br is None else before.br
            effective = _effective(before.state, played, waited_for)
            stalls = int(played and before.state == "p" and "r" in beat.states)
            yield _interval(beat, before.ms, session_ms, (before.state or UNKNOWN_STATE, effective), (cdn, br, stalls))
        before = beat


def _effective(state: str | None, played: bool, waited_for: str) -> str:
    """A seek that follows a stall without play or pause between is the player's jump to the live edge: still stalled."""
    if state is None:
        return UNKNOWN_STATE
    if state == "r":
        return "r" if played else "s"
    return "r" if state == "k" and played and waited_for == "r" else state


def _interval(
    beat: Beat, from_ms: int, session_ms: int, states: tuple[str, str], memory: tuple[str, int, int]
) -> Interval:
    cdn, br, stalls = memory
    return Interval(
        sid=beat.sid,
        session_ms=session_ms,
        from_ms=from_ms,
        to_ms=beat.ms,
        cid=beat.cid,
        region=beat.region,
        isp=beat.isp,
        cdn=cdn or (NO_CDN if beat.cdn is None else beat.cdn),
        state=states[0],
        state_eff=states[1],
        stalls=stalls,
        errors=int(beat.error),
        br=br,
        ltc=beat.ltc,
        first=session_ms == beat.ms,
        states=beat.states,
    )


def _session(parts: Sequence[Interval]) -> Session:
    """Sum up one session; `parts` in order of time."""

    def first_ms(state: str) -> int | None:
        return next((part.to_ms for part in parts if state in part.states), None)

    s_ms, p_ms, f_ms, q_ms, d_ms = (first_ms(state) for state in "spfqd")
    last_ms = parts[-1].to_ms
    outcome = _outcome(s_ms, p_ms, f_ms)
    exit_ms = last_ms if q_ms is None else q_ms
    return Session(
        sid=parts[0].sid,
        session_ms=parts[0].session_ms,
        cid=max(part.cid for part in parts),
        region=max(part.region for part in parts),
        isp=max(part.isp for part in parts),
        cdn=next((part.cdn for part in parts if part.cdn != NO_CDN), NO_CDN),
        outcome=outcome,
        s_ms=s_ms,
        p_ms=p_ms,
        f_ms=f_ms,
        q_ms=q_ms,
        exit_ms=exit_ms if outcome == "ebvs" else None,
        last_ms=last_ms,
        join_ms=_join_ms(s_ms, p_ms, d_ms),
        play_ms=sum(part.playing_ms for part in parts),
        stall_ms=sum(part.stalled_ms for part in parts),
        stalls=sum(part.stalls for part in parts),
        br_ms=sum(part.br * part.playing_ms for part in parts),
        errors=sum(part.errors for part in parts),
    )


def _outcome(s_ms: int | None, p_ms: int | None, f_ms: int | None) -> str:
    """What became of an attempt that is over."""
    if s_ms is None:
        return "resumed"
    if p_ms is not None:
        return "play"
    return "ebvs" if f_ms is None else "vsf"


def _join_ms(s_ms: int | None, p_ms: int | None, d_ms: int | None) -> int | None:
    """From the preloading within the second before the start, else from the start, to the first frame."""
    if s_ms is None or p_ms is None or p_ms < s_ms:
        return None
    preloaded = d_ms is not None and s_ms - PRELOAD_MS <= d_ms <= s_ms
    return p_ms - (d_ms if d_ms is not None and preloaded else s_ms)


def _minutes(
    rows: Sequence[Row], intervals: Sequence[Interval], sessions: Sequence[Session]
) -> dict[tuple[int, str, str, str, str], Minute]:
    table: dict[tuple[int, str, str, str, str], Minute] = defaultdict(Minute)

    def at(ms: int, item: Interval | Session | Place) -> Minute:
        return table[ms - ms % MINUTE_MS, item.region, item.isp, item.cdn, item.cid]

    for interval in intervals:
        own = at(interval.to_ms, interval)
        own.stalls += interval.stalls
        own.errors += interval.errors
        own.ltc_count += interval.ltc is not None
        own.ltc_ms += interval.ltc or 0
        if interval.stalls:
            own.impacted_sessions.add(interval.sid)
        for from_ms, to_ms in _cut(interval.from_ms, interval.to_ms):
            _add_time(at(from_ms, interval), interval, to_ms - from_ms)
        own.sessions.add(interval.sid)
    for session in sessions:
        if session.s_ms is not None:
            _add_session(session, at)
    for place, event_ms, received, expected in _completeness(rows):
        minute = at(event_ms, place)
        minute.beacons_received += received
        minute.beacons_expected += expected
    return dict(table)


def _cut(from_ms: int, to_ms: int) -> Iterator[tuple[int, int]]:
    """The parts of an interval between minute borders; the last one may be empty: it starts at `to_ms`'s own minute."""
    border = to_ms - to_ms % MINUTE_MS
    if from_ms < border:
        yield from_ms, border
        yield border, to_ms
    else:
        yield from_ms, to_ms


def _add_time(minute: Minute, interval: Interval, length_ms: int) -> None:
    minute.sessions.add(interval.sid)
    if interval.state_eff == "p":
        minute.play_ms += length_ms
        minute.br_ms += interval.br * length_ms
        minute.br_weight_ms += length_ms if interval.br > 0 else 0
    elif interval.state_eff == "r":
        minute.stall_ms += length_ms
        minute.impacted_sessions.add(interval.sid)


def _add_session(session: Session, at: Callable[[int, Session], Minute]) -> None:
    """Count an attempt, and what became of it, each in the minute in which it happened."""
    if session.s_ms is not None:
        at(session.s_ms, session).attempts += 1
    if session.f_ms is not None:
        minute = at(session.f_ms, session)
        minute.start_failures += session.outcome == "vsf"
        minute.playback_failures += session.outcome == "play"
    if session.outcome == "play" and session.p_ms is not None:
        minute = at(session.p_ms, session)
        minute.plays += 1
        if session.join_ms is not None:
            minute.joins += 1
            minute.join_ms += session.join_ms
            minute.join_le = [
                count + (session.join_ms <= bound) for count, bound in zip(minute.join_le, JOIN_BOUNDS_MS, strict=True)
            ]
    if session.exit_ms is not None:
        at(session.exit_ms, session).exits_before_start += 1


def _completeness(rows: Sequence[Row]) -> Iterator[tuple[Place, int, int, int]]:
    """Per session and minute: its place, the minute, distinct sequence numbers, and how many they span."""
    groups: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.sid, row.event_ms - row.event_ms % MINUTE_MS].append(row)
    for (_, minute_ms), group in groups.items():
        numbers = {row.sn or 0 for row in group}
        known = [(row.sn or 0, row.cdn) for row in group if row.cdn is not None]
        place = Place(
            region=max(row.region or "" for row in group),
            isp=max(row.isp or "" for row in group),
            cdn=max(known)[1] if known else NO_CDN,
            cid=max(row.cid or "" for row in group),
        )
        yield place, minute_ms, len(numbers), max(numbers) - min(numbers) + 1


def _cells(rows: Iterable[Row]) -> dict[tuple[int, str, str, str], Cell]:
    table: dict[tuple[int, str, str, str], Cell] = defaultdict(Cell)
    for row in rows:
        key = (
            row.event_ms - row.event_ms % 1000,
            row.region or "",
            row.isp or "",
            NO_CDN if row.cdn is None else row.cdn,
        )
        cell = table[key]
        for name in _counted_as(row):
            getattr(cell, name).add(row.sid)
        age_ms = _age_ms(row)
        if age_ms is not None:
            cell.inflight_age_ms_max = max(age_ms, cell.inflight_age_ms_max or 0)
        cell.last_ts_ms = max(cell.last_ts_ms, row.ts_ms)
        cell.last_recv_ms = max(cell.last_recv_ms, row.recv_ms)
    return dict(table)


def _counted_as(row: Row) -> Iterator[str]:
    """The columns of `cell_1s` that count the row's session."""
    response, change = row.e == "rr", row.e == "ps"
    tests = {
        "sessions": True,
        "playing": row.sta == "p",
        "stalled": row.sta == "r",
        "seeking": row.sta == "k",
        "stall_starts": change and row.sta == "r",
        "inflight": _age_ms(row) is not None,
        "errors": row.e == "e" or (row.rc or 0) >= 400,
        "slow_responses": response and (row.ttlb or 0) > SLOW_RESPONSE_MS,
        "responding": response,
        "starts": change and row.sta == "s",
        "plays": change and row.sta == "p",
    }
    return (name for name, holds in tests.items() if holds)


def _age_ms(row: Row) -> int | None:
    if row.e != "ce" or row.cen not in ("inflight", "slow"):
        return None
    if row.age_ms is not None:
        return row.age_ms
    return 0 if row.cen == "inflight" else SLOW_FETCH_AGE_MS
