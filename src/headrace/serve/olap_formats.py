"""Output formats as the OLAP host must know them: content type, whether chunks can be joined, and how long a chunk's header is.

chDB formats every chunk of a streamed result on its own. Formats of plain rows join by themselves; those with names on top
repeat their header, which `Output.header_bytes` measures so that it can be cut; formats that are one document cannot be streamed.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

_TEXT = "text/plain; charset=UTF-8"
_TSV = "text/tab-separated-values; charset=UTF-8"
_CSV = "text/csv; charset=UTF-8; header=present"
_JSON = "application/json; charset=UTF-8"
_NDJSON = "application/x-ndjson; charset=UTF-8"
_BINARY = "application/octet-stream"


def _none(_: bytes) -> int:
    return 0


def _lines(count: int) -> Callable[[bytes], int]:
    def measure(chunk: bytes) -> int:
        end = 0
        for _ in range(count):
            end = chunk.index(b"\n", end) + 1
        return end

    return measure


def _csv_lines(count: int) -> Callable[[bytes], int]:
    """A CSV name may hold line ends between its quotes."""

    def measure(chunk: bytes) -> int:
        seen, quoted = 0, False
        for position, byte in enumerate(chunk):
            if byte == 0x22:
                quoted = not quoted
            elif byte == 0x0A and not quoted:
                seen += 1
                if seen == count:
                    return position + 1
        return len(chunk)

    return measure


def _varint(chunk: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = chunk[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _binary_names(per_column: int) -> Callable[[bytes], int]:
    """RowBinaryWithNames(AndTypes): a count, then that many names (and types), each with its length in front."""

    def measure(chunk: bytes) -> int:
        columns, at = _varint(chunk, 0)
        for _ in range(columns * per_column):
            length, at = _varint(chunk, at)
            at += length
        return at

    return measure


class Output(msgspec.Struct, frozen=True):
    """A format: its name, content type, whether its chunks can be joined, and what measures a chunk's header."""

    name: str
    content_type: str
    streams: bool = True
    header_bytes: Callable[[bytes], int] = _none


def _family(names: str, content_type: str, measure: Callable[[int], Callable[[bytes], int]]) -> list[Output]:
    made = []
    for name in names.split():
        made.append(Output(name, content_type))
        made.append(Output(f"{name}WithNames", content_type, True, measure(1)))
        made.append(Output(f"{name}WithNamesAndTypes", content_type, True, measure(2)))
    return made


_KNOWN = {
    output.name.lower(): output
    for output in [
        *_family("TabSeparated TSV TabSeparatedRaw TSVRaw", _TSV, _lines),
        *_family("CSV", _CSV, _csv_lines),
        *_family("JSONCompactEachRow JSONCompactStringsEachRow", _NDJSON, _lines),
        *_family("RowBinary", _BINARY, _binary_names),
        *(Output(name, _NDJSON) for name in ("JSONEachRow", "JSONLines", "NDJSON", "JSONStringsEachRow")),
        *(Output(name, _BINARY) for name in ("Native", "RawBLOB", "MsgPack")),
        *(Output(name, _TEXT) for name in ("LineAsString", "TSKV")),
        *(Output(name, _JSON, False) for name in ("JSON", "JSONCompact", "JSONStrings", "JSONColumns")),
        Output("Null", _TEXT, False),
    ]
}


def output_format(name: str) -> Output:
    """The format of that name, whatever its case; one that is not known here is taken as a single document."""
    return _KNOWN.get(name.lower(), Output(name, _BINARY if name in ("Parquet", "Arrow", "ORC") else _TEXT, False))
