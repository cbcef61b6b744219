"""Read a Java serialization stream into plain values, without loading or running any class.

Flink's snapshots hold Java-serialised logical types and checkpoint properties. The stream's grammar is self-describing, so it can be
walked into `JavaObject` trees: class name, fields by name, what a class wrote itself. Nothing is instantiated, whatever the stream
names. Sizes are bounded by the bytes that are left, nesting by `DEPTH_MAX`.

Source: Java Object Serialization Specification, section 6, "Object Serialization Stream Protocol".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from headrace.state.javadata import DataReader

MAGIC, VERSION = 0xACED, 5
DEPTH_MAX = 100  # logical types nest a few levels; each level of theirs is about five of the stream's
_WRITE_METHOD, _SERIALIZABLE, _EXTERNALIZABLE, _BLOCK_DATA = 1, 2, 4, 8
_END = object()


@dataclass(slots=True)
class JavaClass:
    """A class description: name, flags, (type code, field name) pairs, super class."""

    name: str
    flags: int = 0
    fields: list[tuple[str, str]] = field(default_factory=list)
    parent: JavaClass | None = None


@dataclass(slots=True)
class JavaObject:
    """An object: its class's name, its fields (those of super classes too), and what its classes wrote by themselves."""

    class_name: str
    fields: dict[str, Any] = field(default_factory=dict)
    written: list[Any] = field(default_factory=list)

    @property
    def simple_name(self) -> str:
        """The class's name without package and outer classes."""
        return self.class_name.rpartition(".")[2].rpartition("$")[2]


@dataclass(frozen=True, slots=True)
class JavaEnum:
    """A constant of an enum."""

    class_name: str
    constant: str


def read_java_object(reader: DataReader) -> Any:
    """Read one stream with one object, as `InstantiationUtil.serializeObject` writes it.

    Returns:
        None, str, JavaObject, JavaEnum, JavaClass, list (an array), or a number.

    Raises:
        Corrupt: not such a stream.
    """
    if reader.u16() != MAGIC or reader.u16() != VERSION:
        raise reader.corrupt("not a Java serialization stream")
    return _Stream(reader).content(0)


class _Stream:
    """The state of one stream: the reader and the table of what can be referred back to."""

    def __init__(self, reader: DataReader) -> None:
        self.reader = reader
        self.handles: list[Any] = []

    def content(self, depth: int) -> Any:
        """The next element, whatever it is."""
        if depth > DEPTH_MAX:
            raise self.reader.corrupt("a Java object is nested too deeply")
        code = self.reader.u8()
        method = _CONTENTS.get(code)
        if method is None:
            raise self.reader.corrupt("unknown element of a Java serialization stream", code=hex(code))
        return method(self, depth + 1)

    def null(self, _depth: int) -> None:
        """Null."""
        return None

    def end(self, _depth: int) -> Any:
        """The end of what a class wrote by itself."""
        return _END

    def reference(self, _depth: int) -> Any:
        """An element that was read before."""
        index = self.reader.i32() - 0x7E0000
        if not 0 <= index < len(self.handles):
            raise self.reader.corrupt("a Java stream refers to what it does not hold", handle=index)
        return self.handles[index]

    def class_description(self, depth: int) -> JavaClass:
        """A class: name, flags, fields, annotations, super class."""
        described = JavaClass(self.reader.utf())
        self.reader.take(8)  # serialVersionUID
        self.handles.append(described)
        described.flags = self.reader.u8()
        for _ in range(self.reader.u16()):
            code, name = chr(self.reader.u8()), self.reader.utf()
            if code in "[L":
                self.content(depth)
            described.fields.append((code, name))
        self.annotations(depth)
        described.parent = self._class(depth)
        return described

    def proxy_description(self, depth: int) -> JavaClass:
        """A class made at run time: its interfaces."""
        described = JavaClass(
            "proxy of " + ", ".join(self.reader.utf() for _ in range(self.reader.count("interfaces")))
        )
        described.flags = _SERIALIZABLE
        self.handles.append(described)
        self.annotations(depth)
        described.parent = self._class(depth)
        return described

    def _class(self, depth: int) -> JavaClass | None:
        found = self.content(depth)
        if found is not None and not isinstance(found, JavaClass):
            raise self.reader.corrupt("a Java stream has no class where one must be")
        return found

    def _needed_class(self, depth: int) -> JavaClass:
        found = self._class(depth)
        if found is None:
            raise self.reader.corrupt("a Java object has no class")
        return found

    def annotations(self, depth: int) -> list[Any]:
        """What a class wrote by itself."""
        found: list[Any] = []
        while (item := self.content(depth)) is not _END:
            found.append(item)
        return found

    def object(self, depth: int) -> JavaObject:
        """An object: its class, then its fields from the top of its lineage down."""
        described = self._needed_class(depth)
        made = JavaObject(described.name)
        self.handles.append(made)
        lineage: list[JavaClass] = []
        level: JavaClass | None = described
        while level is not None and len(lineage) <= DEPTH_MAX:
            lineage.insert(0, level)
            level = level.parent
        for level in lineage:
            if level.flags & _SERIALIZABLE:
                for code, name in level.fields:
                    made.fields[name] = self.value(code, depth)
                if level.flags & _WRITE_METHOD:
                    made.written += self.annotations(depth)
            elif level.flags & _EXTERNALIZABLE:
                if not level.flags & _BLOCK_DATA:
                    raise self.reader.corrupt("a Java object has its own old format", class_name=level.name)
                made.written += self.annotations(depth)
        return made

    def value(self, code: str, depth: int) -> Any:
        """A field or array element of a type."""
        if code in "[L":
            return self.content(depth)
        primitive = _PRIMITIVES.get(code)
        if primitive is None:
            raise self.reader.corrupt("unknown type of a Java field", code=code)
        return primitive(self.reader)

    def string(self, _depth: int) -> str:
        """A string."""
        self.handles.append(self.reader.utf())
        return str(self.handles[-1])

    def long_string(self, _depth: int) -> str:
        """A string over 65,535 bytes."""
        self.handles.append(self.reader.text(self.reader.i64()))
        return str(self.handles[-1])

    def array(self, depth: int) -> list[Any]:
        """An array."""
        described = self._needed_class(depth)
        made: list[Any] = []
        self.handles.append(made)
        for _ in range(self.reader.count("array elements")):
            made.append(self.value(described.name[1:2], depth))
        return made

    def class_itself(self, depth: int) -> JavaClass | None:
        """A class as a value."""
        found = self._class(depth)
        self.handles.append(found)
        return found

    def block(self, _depth: int) -> bytes:
        """Up to 255 bytes that a class wrote."""
        return self.reader.take(self.reader.u8())

    def long_block(self, _depth: int) -> bytes:
        """More bytes that a class wrote."""
        return self.reader.block()

    def enum(self, depth: int) -> JavaEnum:
        """A constant of an enum."""
        described = self._needed_class(depth)
        self.handles.append(None)
        index = len(self.handles) - 1
        made = JavaEnum(described.name, str(self.content(depth)))
        self.handles[index] = made
        return made


_PRIMITIVES: dict[str, Any] = {
    "B": DataReader.i8,
    "C": DataReader.u16,
    "D": DataReader.f64,
    "F": DataReader.f32,
    "I": DataReader.i32,
    "J": DataReader.i64,
    "S": DataReader.i16,
    "Z": DataReader.flag,
}
_CONTENTS: dict[int, Any] = {
    0x70: _Stream.null,
    0x71: _Stream.reference,
    0x72: _Stream.class_description,
    0x73: _Stream.object,
    0x74: _Stream.string,
    0x75: _Stream.array,
    0x76: _Stream.class_itself,
    0x77: _Stream.block,
    0x78: _Stream.end,
    0x7A: _Stream.long_block,
    0x7C: _Stream.long_string,
    0x7D: _Stream.proxy_description,
    0x7E: _Stream.enum,
}
