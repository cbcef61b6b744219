"""Bodies of requests: gzip with a limit on both sides, and which of the two notations a body is in."""

from __future__ import annotations

import zlib

from headrace.ingest import reasons

_GZIP = 31  # zlib's window bits for the gzip format
CMCD_TYPE = "application/cmcd"  # CMCD_MIME_TYPE of @svta/cml-cmcd 2.7.0
_JSON_TYPES = frozenset(("application/x-ndjson", "application/ndjson", "application/jsonl", "application/json"))


class BadBody(ValueError):
    """A body of which no row can be read; `reason` is one of `headrace.ingest.reasons`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def inflate(body: bytes, *, bytes_max: int) -> bytes:
    """Decompress gzip (also of several members), never to more than `bytes_max`.

    Raises:
        BadBody: no gzip, cut short, or too large when decompressed.
    """
    parts: list[bytes] = []
    size = 0
    rest = body
    while rest:
        stream = zlib.decompressobj(_GZIP)
        try:
            part = stream.decompress(rest, bytes_max - size + 1)
        except zlib.error as error:
            raise BadBody(reasons.BAD_GZIP, str(error)) from error
        size += len(part)
        if size > bytes_max:
            raise BadBody(reasons.BODY_TOO_LARGE, f"more than {bytes_max} bytes when decompressed")
        if not stream.eof:
            raise BadBody(reasons.TRUNCATED_GZIP, f"{len(body)} compressed bytes end within the stream")
        parts.append(part)
        rest = stream.unused_data
    return b"".join(parts)


def is_json(content_type: str, body: bytes) -> bool:
    """Whether a body is newline-delimited JSON; decided by its type, else by its first character (sendBeacon cannot set a type)."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == CMCD_TYPE:
        return False
    return media_type in _JSON_TYPES or body.lstrip()[:1] in (b"{", b"[")
