"""Read values in Java's DataInput form (big-endian) from a byte buffer, with bounds.

Every reader of this package takes a `DataReader`. Reading past the end is `Corrupt` with the file and the offset, so that a truncated
file is told apart from a bug of ours.
"""

from __future__ import annotations

import mmap
import struct

from headrace.core.errors import Corrupt

Buffer = bytes | mmap.mmap
_I16, _U16, _I32, _I64 = struct.Struct(">h"), struct.Struct(">H"), struct.Struct(">i"), struct.Struct(">q")
_F32, _F64 = struct.Struct(">f"), struct.Struct(">d")
STRING_HIGH_BIT = 0x80


class DataReader:
    """A cursor over `data[position:end]`; `place` is the file that errors name."""

    __slots__ = ("data", "end", "place", "position")

    def __init__(self, data: Buffer, position: int = 0, end: int | None = None, *, place: str = "") -> None:
        self.data = data
        self.position = position
        self.end = len(data) if end is None else end
        self.place = place

    @property
    def remaining(self) -> int:
        """Bytes that are left."""
        return self.end - self.position

    def corrupt(self, message: str, **context: object) -> Corrupt:
        """An error that names this file and offset."""
        return Corrupt(message, context={"file": self.place, "offset": self.position, **context})

    def _advance(self, count: int) -> int:
        start = self.position
        if count < 0 or start + count > self.end:
            raise self.corrupt("file ends too early", wanted_bytes=count, left_bytes=self.remaining)
        self.position = start + count
        return start

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        start = self._advance(count)
        return bytes(self.data[start : start + count])

    def u8(self) -> int:
        """One unsigned byte."""
        return self.data[self._advance(1)]

    def i8(self) -> int:
        """One signed byte."""
        value = self.u8()
        return value - 256 if value > 127 else value

    def flag(self) -> bool:
        """A boolean of one byte."""
        return self.u8() != 0

    def i16(self) -> int:
        """A signed short."""
        return int(_I16.unpack_from(self.data, self._advance(2))[0])

    def u16(self) -> int:
        """An unsigned short."""
        return int(_U16.unpack_from(self.data, self._advance(2))[0])

    def i32(self) -> int:
        """A signed int."""
        return int(_I32.unpack_from(self.data, self._advance(4))[0])

    def i64(self) -> int:
        """A signed long."""
        return int(_I64.unpack_from(self.data, self._advance(8))[0])

    def f32(self) -> float:
        """A float."""
        return float(_F32.unpack_from(self.data, self._advance(4))[0])

    def f64(self) -> float:
        """A double."""
        return float(_F64.unpack_from(self.data, self._advance(8))[0])

    def count(self, what: str, *, bytes_each: int = 1) -> int:
        """A length or number of things, refused when so many cannot be in what is left."""
        value = self.i32()
        if value < 0 or value * bytes_each > self.remaining:
            raise self.corrupt(f"impossible number of {what}", count=value, left_bytes=self.remaining)
        return value

    def utf(self) -> str:
        """A string as `writeUTF` writes it: u16 length, modified UTF-8."""
        return self.text(self.u16())

    def text(self, length: int) -> str:
        """`length` bytes of modified UTF-8."""
        data = self.take(length)
        try:
            return modified_utf8(data)
        except UnicodeDecodeError:
            raise self.corrupt("a string is not UTF-8", bytes=length) from None

    def block(self) -> bytes:
        """A byte array: int length, bytes."""
        return self.take(self.count("bytes"))

    def string(self) -> str | None:
        """A string as Flink's StringSerializer writes it: length + 1 and each UTF-16 unit as varints; 0 is null."""
        length = self.varint()
        if length == 0:
            return None
        if length - 1 > self.remaining:
            raise self.corrupt("impossible length of a string", count=length - 1, left_bytes=self.remaining)
        units = [self.varint() for _ in range(length - 1)]
        if all(unit < STRING_HIGH_BIT for unit in units):
            return bytes(units).decode("ascii")
        try:
            return b"".join(unit.to_bytes(2, "little") for unit in units).decode("utf-16-le", "replace")
        except OverflowError:
            raise self.corrupt("a character of a string is out of range") from None

    def varint(self) -> int:
        """Seven bits a byte, low first, top bit: more follows; at most 35 bits."""
        value = shift = 0
        while True:
            byte = self.u8()
            value |= (byte & 0x7F) << shift
            if byte < STRING_HIGH_BIT:
                return value
            shift += 7
            if shift > 28:
                raise self.corrupt("a variable-length number is too long")


def modified_utf8(data: bytes) -> str:
    """Decode Java's modified UTF-8: like UTF-8, but NUL has two bytes and supplementary characters are surrogate pairs."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.replace(b"\xc0\x80", b"\x00").decode("utf-8", "surrogatepass")
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
