"""Why a row becomes a dead letter: one word per reason, and the sentence that helps whoever sent it."""

from __future__ import annotations

import msgspec

# Of a single row.
MALFORMED = "malformed"
NOT_UTF8 = "not_utf8"
WRONG_TYPE = "wrong_type"
OUT_OF_RANGE = "out_of_range"
MISSING_FIELD = "missing_field"
UNKNOWN_FIELD = "unknown_field"
LINE_TOO_LONG = "line_too_long"
CLOCK_SKEWED = "clock_skewed"
TOO_OLD = "too_old"
# Of a body that cannot be split into rows; it counts as one.
TRUNCATED_GZIP = "truncated_gzip"
BAD_GZIP = "bad_gzip"
BODY_TOO_LARGE = "body_too_large"
BATCH_TOO_LONG = "batch_too_long"

_HINTS = {
    MALFORMED: 'send CMCD v2 lines such as `e=ps,sid="s0",sta=p,ts=1795364250779,v=2`, or one JSON object a line',
    NOT_UTF8: "encode the body as UTF-8",
    WRONG_TYPE: "send the type that the table declares; `headrace table show` prints it",
    OUT_OF_RANGE: "send a value within the range of the column's type; a session id has 1 to 256 characters",
    MISSING_FIELD: "the column is NOT NULL in the table: always send it",
    UNKNOWN_FIELD: "add the column to the table (`headrace table apply`) or stop sending it",
    LINE_TOO_LONG: "send less in one beacon, or raise `headrace.ingest.gateway.max-line-bytes`",
    CLOCK_SKEWED: "set the player's clock: its time is ahead of ours by more than `headrace.ingest.gateway.skew-limit-ms`",
    TOO_OLD: "a recording is replayed or the player's clock is behind: shift `ts` to now, or raise "
    "`headrace.ingest.gateway.skew-limit-ms`",
    TRUNCATED_GZIP: "the compressed body ended early: send all of it, with the right Content-Length",
    BAD_GZIP: "compress the body with gzip, or leave out `Content-Encoding`",
    BODY_TOO_LARGE: "send smaller batches, or raise `headrace.ingest.gateway.max-body-bytes` and `max-inflated-bytes`",
    BATCH_TOO_LONG: "send fewer beacons in one request, or raise `headrace.ingest.gateway.max-batch-rows`",
}
REASONS = tuple(_HINTS)


class Problem(msgspec.Struct, frozen=True):
    """Why one row (or one whole body) is refused; `line` counts from 1, 0 means the whole body."""

    line: int
    reason: str
    detail: str
    raw: bytes

    @property
    def hint(self) -> str:
        """What the sender can do about it."""
        return _HINTS[self.reason]
