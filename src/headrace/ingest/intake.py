"""One batch from body to answer: parse, judge clocks, shed, enrich, send, wait for Kafka, write the books.

    body -> rows + problems -> skew -> shed -> enrich, encode -> Kafka (rows to ods.*, problems to dlq.*) -> status

The answer comes only when every message of the batch was acknowledged. Statuses, and what a CMCD reporter makes of them
(@svta/cml-cmcd 2.7.0: silent for ever after 410, sends again after 429 and 5xx, goes on after all others):

    200  at least one row was accepted; refused and shed rows are counted in the body
    400  no row could be taken; 413 when the body is too large: nothing was kept, sending it again would not help
    410  every readable row belongs to sessions that are shed: be silent
    503  Kafka did not acknowledge: send the batch again (rows that were acknowledged will be doubled; readers
         drop doubles by sid and sn)

A reporter sends the lines of one session, so it sees 200 or 410. A relay that mixes sessions sees 200 with `shed` > 0 while any is
kept: 410 would silence those too, and the shed ones are few enough to be dropped here again and again.
"""

from __future__ import annotations

import msgspec

from headrace.core.clock import Clock
from headrace.core.prefixes import Locality
from headrace.ingest import reasons
from headrace.ingest.bodies import BadBody, inflate, is_json
from headrace.ingest.budget import Budget
from headrace.ingest.enrich import SessionCdns, fill_cdn, ua_family
from headrace.ingest.ledger import Counts, Ledger
from headrace.ingest.reasons import Problem
from headrace.ingest.references import References
from headrace.ingest.shedding import is_shed
from headrace.ingest.sink import MESSAGE_OVERHEAD_BYTES, Message, Sink
from headrace.ingest.skew import decide_skew, needs_verdict
from headrace.ingest.streams import Parsed, Stream

RAW_BYTES_MAX = 2048  # of a refused row that its dead letter keeps: enough to see what is wrong
PROBLEMS_SHOWN_MAX = 5
_SEND_AGAIN = "kafka did not acknowledge: send the batch again"
_CDN_COLUMNS = frozenset(("sid", "cdn", "url"))
_TOO_LARGE = frozenset((reasons.BODY_TOO_LARGE, reasons.BATCH_TOO_LONG))
_encoder = msgspec.json.Encoder(decimal_format="number")


class IntakeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one batch."""

    line_bytes_max: int
    inflated_bytes_max: int
    batch_rows_max: int
    skew_limit_ms: int


class Batch(msgspec.Struct):
    """One request's body with what is needed from its head; `held_bytes` is its share of the budget."""

    stream: Stream
    body: bytes
    content_type: str
    is_gzip: bool
    address: str
    user_agent: str
    held_bytes: int
    problem: Problem | None = None  # found while the body was read


class ShownProblem(msgspec.Struct, frozen=True):
    """A refused row as the sender is told of it."""

    line: int
    reason: str
    detail: str
    hint: str


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the sender gets: the fate of its rows."""

    status: int
    accepted: int = 0
    dead: int = 0
    shed: int = 0
    returned: int = 0
    problems: list[ShownProblem] = []
    hint: str = ""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A refused row in `dlq.<stream>`; `raw` is at most RAW_BYTES_MAX of it, other bytes than UTF-8 are escaped."""

    stream: str
    reason: str
    detail: str
    hint: str
    recv_ms: int
    ip_prefix: str
    line: int
    raw: str


def decide_status(*, accepted: int, dead: int, shed: int, returned: int) -> int:
    """The HTTP status for the fates of a batch's rows; see the module's table. Pure."""
    if returned:
        return 503
    if accepted:
        return 200
    if shed:
        return 410
    return 400 if dead else 200


class Intake:
    """Takes batches; lives on one event loop. `shed_share` is set from outside, once per tick."""

    def __init__(
        self, references: References, sink: Sink, ledger: Ledger, *, budget: Budget, limits: IntakeLimits, clock: Clock
    ) -> None:
        self._references, self._sink, self._ledger = references, sink, ledger
        self._budget, self._limits, self._clock = budget, limits, clock
        self.sessions = SessionCdns()
        self.shed_share = 0.0

    async def take(self, batch: Batch) -> Answer:
        """See a batch through; the caller gives its share of the budget back."""
        recv_ms = self._clock.now_ms()
        parsed = self._parse(batch)
        offered = parsed.count
        fates = Counts(offered=offered)
        counts = self._ledger.of(batch.stream.name)
        counts.offered += offered
        try:
            return await self._settle(batch, parsed, recv_ms=recv_ms, fates=fates)
        finally:
            fates.returned = offered - fates.accepted - fates.dead - fates.shed
            _book(counts, fates)

    async def _settle(self, batch: Batch, parsed: Parsed, *, recv_ms: int, fates: Counts) -> Answer:
        """Decide, send and wait; writes into `fates` what became of the rows."""
        locality = self._references.prefixes.lookup(batch.address)
        self._judge_clocks(batch.stream, parsed, recv_ms)
        shed = self._shed(batch.stream, parsed)
        rows, problems = len(parsed.rows), parsed.problems
        messages = self._encode(batch, parsed, locality=locality, recv_ms=recv_ms)
        letters = [_dead_letter(batch.stream, problem, locality, recv_ms) for problem in problems]
        if self._sink.stalled or not self._hold(batch, messages, letters):
            return Answer(503, returned=fates.offered, hint=_SEND_AGAIN)
        started_s = self._clock.monotonic_s()
        rows_sent = self._sink.send(batch.stream.topic, messages)
        letters_sent = self._sink.send(batch.stream.dead_letter_topic, letters)
        batch.body, parsed.rows = b"", []
        del messages, letters  # librdkafka has its own copy: waiting for it must not hold a second one
        fates.accepted = rows - await rows_sent
        # Which letters failed is not known; the total is exact, the reasons are those of the first ones.
        for problem in problems[: len(problems) - await letters_sent]:
            fates.add_dead(problem.reason)
        fates.shed = shed
        self._ledger.observe_ack((self._clock.monotonic_s() - started_s) * 1000)
        return _answer(fates, problems)

    def _hold(self, batch: Batch, messages: list[Message], letters: list[Message]) -> bool:
        """Let the batch hold what its messages weigh from now on, instead of its body."""
        size = sum(len(message["value"]) for message in messages) + sum(len(letter["value"]) for letter in letters)
        wanted = size + MESSAGE_OVERHEAD_BYTES * (len(messages) + len(letters))
        if not self._budget.resize(batch.held_bytes, wanted):
            return False
        batch.held_bytes = wanted
        return True

    def _parse(self, batch: Batch) -> Parsed:
        if batch.problem is not None:
            return Parsed([], [batch.problem])
        limits = self._limits
        try:
            body = batch.body
            if batch.is_gzip:
                body = inflate(body, bytes_max=limits.inflated_bytes_max)
            if body.count(b"\n") >= limits.batch_rows_max:
                raise BadBody(reasons.BATCH_TOO_LONG, f"at most {limits.batch_rows_max} lines are taken")
        except BadBody as error:
            return Parsed([], [Problem(0, error.reason, str(error), batch.body[:RAW_BYTES_MAX])])
        parse = batch.stream.parse_json if is_json(batch.content_type, body) else batch.stream.parse_cmcd
        return parse(body, line_bytes_max=limits.line_bytes_max)

    def _judge_clocks(self, stream: Stream, parsed: Parsed, recv_ms: int) -> None:
        """Correct the times of clocks that run ahead, and move rows beyond the limit to the problems."""
        limit_ms = self._limits.skew_limit_ms
        if "ts_ms" not in stream.columns or not needs_verdict(
            [row.ts_ms for row in parsed.rows], recv_ms=recv_ms, limit_ms=limit_ms
        ):
            return
        key = stream.key
        times = [(str(getattr(row, key, "")), row.ts_ms) for row in parsed.rows]
        verdicts = decide_skew(times, recv_ms=recv_ms, limit_ms=limit_ms)
        kept = []
        for line, (row, verdict) in enumerate(zip(parsed.rows, verdicts, strict=True), start=1):
            if verdict.reason:
                parsed.problems.append(Problem(line, verdict.reason, verdict.detail, _encoder.encode(row)))
                continue
            row.ts_ms -= verdict.skew_ms
            kept.append((row, verdict.skew_ms))
        parsed.rows = [row for row, _ in kept]
        parsed.skews_ms = [skew_ms for _, skew_ms in kept]

    def _shed(self, stream: Stream, parsed: Parsed) -> int:
        """Drop the rows of sessions that are shed; gives how many."""
        if self.shed_share <= 0.0 or not stream.key:
            return 0
        kept = [not is_shed(str(getattr(row, stream.key)), self.shed_share) for row in parsed.rows]
        shed = len(kept) - sum(kept)
        if shed:
            parsed.rows = [row for row, keep in zip(parsed.rows, kept, strict=True) if keep]
            parsed.skews_ms = [skew for skew, keep in zip(parsed.skews_ms, kept, strict=False) if keep]
        return shed

    def _encode(self, batch: Batch, parsed: Parsed, *, locality: Locality, recv_ms: int) -> list[Message]:
        """Rows to messages. What is the same for the whole batch is encoded once and appended to every row."""
        columns, key, rows = batch.stream.columns, batch.stream.key, parsed.rows
        if columns >= _CDN_COLUMNS and key == "sid":
            fill_cdn(rows, self._references.cdns, self.sessions)
        facts = {
            "recv_ms": recv_ms,
            "region": locality.region,
            "isp": locality.isp,
            "ip_prefix": locality.prefix,
            "ua_family": ua_family(batch.user_agent),
        }
        tail = _encoder.encode({name: value for name, value in facts.items() if name in columns})[1:]
        join = b"," if len(tail) > 1 else b""
        encode = _encoder.encode
        if parsed.skews_ms and "skew_ms" in columns:
            tails = [b',"skew_ms":%d' % skew + join + tail if skew else join + tail for skew in parsed.skews_ms]
            values = [_append(encode(row), end) for row, end in zip(rows, tails, strict=True)]
        elif not batch.stream.has_required:
            values = [_append(encode(row), join + tail) for row in rows]
        else:
            tail = join + tail
            values = [encode(row)[:-1] + tail for row in rows]
        if not key:
            return [{"value": value} for value in values]
        return [{"value": value, "key": str(getattr(row, key))} for value, row in zip(values, rows, strict=True)]


def _append(encoded: bytes, tail: bytes) -> bytes:
    """A JSON object with more members; it may have had none."""
    return encoded[:-1] + (tail if len(encoded) > 2 else tail.removeprefix(b","))


def _dead_letter(stream: Stream, problem: Problem, locality: Locality, recv_ms: int) -> Message:
    letter = DeadLetter(
        stream=stream.name,
        reason=problem.reason,
        detail=problem.detail,
        hint=problem.hint,
        recv_ms=recv_ms,
        ip_prefix=locality.prefix,
        line=problem.line,
        raw=problem.raw[:RAW_BYTES_MAX].decode("utf-8", "backslashreplace"),
    )
    return {"value": _encoder.encode(letter)}


def _book(counts: Counts, fates: Counts) -> None:
    """Add the fates of one batch to the books of its stream (`offered` is there already)."""
    counts.accepted += fates.accepted
    counts.shed += fates.shed
    counts.returned += fates.returned
    for reason, rows in fates.by_reason.items():
        counts.add_dead(reason, rows)


def _answer(fates: Counts, problems: list[Problem]) -> Answer:
    returned = fates.offered - fates.accepted - fates.dead - fates.shed
    status = decide_status(accepted=fates.accepted, dead=fates.dead, shed=fates.shed, returned=returned)
    if status == 400 and problems[0].reason in _TOO_LARGE:
        status = 413
    return Answer(
        status,
        fates.accepted,
        fates.dead,
        fates.shed,
        returned,
        [ShownProblem(p.line, p.reason, p.detail, p.hint) for p in problems[:PROBLEMS_SHOWN_MAX]],
        _SEND_AGAIN if returned else "",
    )
