"""Headers that are repeated in each chunk are measured exactly."""

from __future__ import annotations

import pytest

from headrace.serve.olap_formats import output_format


@pytest.mark.parametrize(
    ("name", "header", "rows"),
    [
        ("TSVWithNames", b"a\tb\n", b"1\t2\n"),
        ("tabseparatedwithnamesandtypes", b"a\nUInt8\n", b"1\n"),
        ("CSVWithNames", b'"a\nb","c"\n', b"1,2\n"),
        ("CSVWithNamesAndTypes", b'"a"\n"Tuple(""x"" UInt8)"\n', b'"(1)"\n'),
        ("RowBinaryWithNames", b"\x02\x01a\x02bc", b"\x01\x02"),
        ("RowBinaryWithNamesAndTypes", b"\x01\x01a\x05UInt8", b"\x01"),
        ("JSONEachRow", b"", b'{"a":1}\n'),
        ("RowBinary", b"", b"\x01"),
    ],
)
def test_header_is_measured(name: str, header: bytes, rows: bytes) -> None:
    """Cutting `header_bytes` from a chunk leaves its rows."""
    output = output_format(name)
    assert output.streams
    assert (header + rows)[output.header_bytes(header + rows) :] == rows


def test_documents_do_not_stream() -> None:
    """JSON is one document, and so is whatever is not known."""
    assert not output_format("JSONCompact").streams
    assert not output_format("Parquet").streams
