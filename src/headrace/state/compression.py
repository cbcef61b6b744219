"""Checksums and compression of stored state: CRC32C, LZ4 blocks (SlimBase), framed Snappy (Flink's snapshot compression)."""

from __future__ import annotations

import cramjam
import google_crc32c

from headrace.core.errors import Unsupported
from headrace.state.javadata import DataReader

CODEC_NONE, CODEC_LZ4 = 0, 1
_MASK = 0xFFFFFFFF
_STREAM, _COMPRESSED, _PLAIN, _SKIPPABLE_MIN = 0xFF, 0x00, 0x01, 0x80
FRAME_BYTES_MAX = 1 << 20  # the framing format says 64 KiB of content; Flink writes that too


def crc32c(data: bytes, more: bytes = b"") -> int:
    """CRC32C (Castagnoli) of `data` followed by `more`."""
    first = google_crc32c.value(data)
    return int(google_crc32c.extend(first, more) if more else first)


def decompress_block(codec: int, stored: bytes, raw_length: int, *, place: str) -> bytes:
    """One block's raw bytes.

    Raises:
        Unsupported: an unknown codec.
        ValueError: the bytes are not such a block, or of another length.
    """
    if codec == CODEC_NONE:
        raw = stored
    elif codec == CODEC_LZ4:
        try:
            raw = bytes(cramjam.lz4.decompress_block(stored, output_len=raw_length))
        except cramjam.DecompressionError as error:
            raise ValueError(f"not an LZ4 block: {error}") from error
    else:
        raise Unsupported(f"blocks of codec {codec}", hint="read it with a newer Headrace", context={"file": place})
    if len(raw) != raw_length:
        raise ValueError(f"{len(raw)} bytes instead of {raw_length}")
    return raw


def unframe_snappy(reader: DataReader) -> bytes:
    """The content of one or several framed Snappy streams, up to the reader's end.

    Raises:
        Corrupt: not such streams, or a checksum that does not fit.

    Source: Snappy's framing_format.txt.
    """
    content = bytearray()
    while reader.remaining >= 4:
        kind = reader.u8()
        frame = reader.take(int.from_bytes(reader.take(3), "little"))
        if kind in {_COMPRESSED, _PLAIN}:
            content += _frame(reader, kind, frame)
        elif kind < _SKIPPABLE_MIN:
            raise reader.corrupt("unknown kind of Snappy frame", kind=hex(kind))
    return bytes(content)


def _frame(reader: DataReader, kind: int, frame: bytes) -> bytes:
    stored, body = int.from_bytes(frame[:4], "little"), frame[4:]
    if kind == _COMPRESSED:
        try:
            if cramjam.snappy.decompress_raw_len(body) > FRAME_BYTES_MAX:
                raise reader.corrupt("a Snappy frame is too large")
            body = bytes(cramjam.snappy.decompress_raw(body))
        except cramjam.DecompressionError as error:
            raise reader.corrupt(f"not a Snappy frame: {error}") from error
    checksum = crc32c(body)
    masked = (((checksum >> 15) | (checksum << 17)) + 0xA282EAD8) & _MASK
    if masked != stored:
        raise reader.corrupt("a Snappy frame's checksum does not fit", stored=hex(stored), computed=hex(masked))
    return body
