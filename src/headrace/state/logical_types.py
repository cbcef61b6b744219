"""SQL types as they stand in RowData serializers' snapshots: Java-serialised `LogicalType` trees, turned into values.

Only names and numbers are taken from the tree (root, nullability, precision, children); the classes are Flink's but are never loaded.
"""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.state.javadata import DataReader
from headrace.state.javaobjects import JavaEnum, JavaObject, read_java_object

UNKNOWN = "UNKNOWN"
_ROOTS = {
    "CharType": "CHAR",
    "VarCharType": "VARCHAR",
    "BooleanType": "BOOLEAN",
    "BinaryType": "BINARY",
    "VarBinaryType": "VARBINARY",
    "DecimalType": "DECIMAL",
    "TinyIntType": "TINYINT",
    "SmallIntType": "SMALLINT",
    "IntType": "INTEGER",
    "BigIntType": "BIGINT",
    "FloatType": "FLOAT",
    "DoubleType": "DOUBLE",
    "DateType": "DATE",
    "TimeType": "TIME_WITHOUT_TIME_ZONE",
    "TimestampType": "TIMESTAMP_WITHOUT_TIME_ZONE",
    "LocalZonedTimestampType": "TIMESTAMP_WITH_LOCAL_TIME_ZONE",
    "YearMonthIntervalType": "INTERVAL_YEAR_MONTH",
    "DayTimeIntervalType": "INTERVAL_DAY_TIME",
    "ArrayType": "ARRAY",
    "MultisetType": "MULTISET",
    "MapType": "MAP",
    "RowType": "ROW",
    "DistinctType": "DISTINCT_TYPE",
    "StructuredType": "STRUCTURED_TYPE",
    "RawType": "RAW",
}
_SPELLED = {
    "INTEGER": "INT",
    "TIME_WITHOUT_TIME_ZONE": "TIME",
    "TIMESTAMP_WITHOUT_TIME_ZONE": "TIMESTAMP",
    "TIMESTAMP_WITH_LOCAL_TIME_ZONE": "TIMESTAMP_LTZ",
    "INTERVAL_YEAR_MONTH": "INTERVAL YEAR TO MONTH",
    "INTERVAL_DAY_TIME": "INTERVAL DAY TO SECOND",
}
_LENGTH_MAX = 2**31 - 1


class LogicalType(msgspec.Struct, frozen=True):
    """One SQL type.

    Args:
        root: the type root's name as in Flink's `LogicalTypeRoot`, or `UNKNOWN`.
        precision: of DECIMAL, TIME, TIMESTAMP; the length of CHAR, VARCHAR, BINARY, VARBINARY.
        scale: of DECIMAL.
        children: of ROW, ARRAY, MAP, MULTISET, DISTINCT_TYPE, STRUCTURED_TYPE.
        names: of a ROW's or structured type's children.
    """

    root: str
    nullable: bool = True
    precision: int = 0
    scale: int = 0
    children: tuple[LogicalType, ...] = ()
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        """As it is written in SQL; "NOT NULL" is left out."""
        name = _SPELLED.get(self.root, self.root)
        if self.root == "DECIMAL":
            return f"DECIMAL({self.precision}, {self.scale})"
        if self.root in {"VARCHAR", "VARBINARY"} and self.precision == _LENGTH_MAX:
            return "STRING" if self.root == "VARCHAR" else "BYTES"
        if self.precision:
            return f"{name}({self.precision})"
        if self.names:
            return f"{name}<{', '.join(f'{n} {child}' for n, child in zip(self.names, self.children, strict=True))}>"
        return f"{name}<{', '.join(map(str, self.children))}>" if self.children else name


def read_logical_type(reader: DataReader) -> LogicalType:
    """Read one Java-serialised type."""
    return logical_type_of(read_java_object(reader))


def logical_type_of(tree: Any) -> LogicalType:
    """The type that a walked Java object describes; `UNKNOWN` when it is none of Flink's."""
    if not isinstance(tree, JavaObject):
        return LogicalType(UNKNOWN)
    fields = tree.fields
    root = fields.get("typeRoot")
    root_name = root.constant if isinstance(root, JavaEnum) else _ROOTS.get(tree.simple_name, UNKNOWN)
    children, names = _children(tree)
    precision = fields.get("precision", fields.get("length", 0))
    return LogicalType(
        root=root_name,
        nullable=bool(fields.get("isNullable", True)),
        precision=precision if isinstance(precision, int) else 0,
        scale=fields["scale"] if isinstance(fields.get("scale"), int) else 0,
        children=children,
        names=names,
    )


def _children(tree: JavaObject) -> tuple[tuple[LogicalType, ...], tuple[str, ...]]:
    for name in ("fields", "attributes"):
        if name in tree.fields:
            members = [item for item in _list(tree.fields[name]) if isinstance(item, JavaObject)]
            types = tuple(logical_type_of(member.fields.get("type")) for member in members)
            return types, tuple(str(member.fields.get("name")) for member in members)
    parts = [tree.fields[name] for name in ("elementType", "keyType", "valueType", "sourceType") if name in tree.fields]
    return tuple(map(logical_type_of, parts)), ()


def _list(tree: Any) -> list[Any]:
    """The elements of a walked Java list: an ArrayList's own data, an array, or what an unmodifiable list wraps."""
    if isinstance(tree, list):
        return tree
    if not isinstance(tree, JavaObject):
        return []
    for name in ("list", "c", "a"):
        if name in tree.fields:
            return _list(tree.fields[name])
    return [item for item in tree.written if not isinstance(item, bytes)]
