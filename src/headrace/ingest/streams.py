"""A stream: what a table's schema makes of a body of beacons.

From the columns of a catalog table come
 - `Incoming`, a msgspec struct for one JSON row: types, ranges, NOT NULL and unknown fields are checked in C;
 - `Reported`, a struct for one CMCD report, with a regular expression whose groups are its fields, in the alphabetical order in
   which the CMCD reporter writes keys.

Fast path: the whole body in one `decode_lines`, or one `finditer` and one `msgspec.convert` (about 8 us a beacon with encoding;
bench/gateway.py). When anything in a body is not clean, each of its lines is tried alone, and a line that fails again goes
to the slow path, which parses by the book (`headrace.ingest.cmcd`) and names what is wrong. Both paths give the same rows: the
regular expression accepts only a subset of the grammar (tests/unit/ingest/test_streams.py compares them).

Columns that the gateway itself fills (`GATEWAY_COLUMNS`) are no fields of a row: sending them is an unknown field. Numbers with
a fraction sent for integer columns are cut to integers (a player may report `ttlb=9.7`). Pure; holds no connection and no clock.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Annotated, Any

import msgspec

from headrace.core.errors import Invalid, nearest
from headrace.core.schema import Column, Table
from headrace.ingest import cmcd, reasons
from headrace.ingest.reasons import Problem

GATEWAY_COLUMNS = frozenset(("recv_ms", "skew_ms", "region", "isp", "ip_prefix", "ua_family"))
KEY_LENGTH_MAX = 256  # characters; CTA-5004-B allows 64 for sid; bounds the memory of the session table
_REPORTED_CDN, _OUR_CDN = "cdn", "com.headrace-cdn"  # ours goes before the standard key unless it is empty
_INTEGER_BITS = {"TINYINT": 8, "SMALLINT": 16, "INT": 32, "INTEGER": 32, "BIGINT": 64}
# Possessive quantifiers (`?+`, `*+`): keys are tried in order and never again, which halves the time of a match.
_INTEGER = r"([0-9]{1,15}+)(?:\.[0-9]{1,3}+)?+"  # more than three decimals are no RFC 8941 number
_TEXT = r'"([^"\\\x00-\x1f\x7f]*+)"'
_WORD = r"([A-Za-z*][\w!#$%&'*+.^`|~:/-]*+)"
# A key without a column: any plain value, so that the line stays on the fast path.
_PASSED_OVER = (
    r"(?:=(?:[A-Za-z*][\w!#$%&'*+.^`|~:/-]*+|-?[0-9]{1,12}\.[0-9]{1,3}|-?[0-9]{1,15}|\?[01]"
    r'|"[^"\\\x00-\x1f\x7f]*+"|\(-?[0-9]{1,15}\)|\("[^"\\\x00-\x1f\x7f]*+"\)))?'
)


class Parsed(msgspec.Struct):
    """The rows of one body (structs with one attribute per column) and what was wrong with the others.

    `skews_ms` is empty, or says for each row how far its clock ran ahead.
    """

    rows: list[Any]
    problems: list[Problem]
    skews_ms: list[int] = []

    @property
    def count(self) -> int:
        """Rows read, good and bad."""
        return len(self.rows) + len(self.problems)


class Stream:
    """Parses the bodies of one stream; immutable.

    Raises:
        Invalid: the table is not one that takes beacons.
    """

    def __init__(self, table: Table) -> None:
        if table.layer != "ods" or table.system != "kafka":
            raise Invalid(
                "not a stream: beacons go into ODS tables on Kafka",
                context={"table": table.name, "layer": table.layer, "system": table.system},
                hint="declare 'layer' = 'ods', 'system' = 'kafka'",
            )
        self.name = table.name
        self.topic = f"{table.layer}.{table.name}"
        self.dead_letter_topic = f"dlq.{table.name}"
        self.partitions = int(table.options.get("partitions", "1"))
        self.columns = frozenset(column.name for column in table.physical)
        self.key = table.options.get("key", "")
        self.fields = tuple(c for c in table.physical if c.name not in GATEWAY_COLUMNS)
        if self.key and self.key not in {column.name for column in self.fields}:
            raise Invalid("the key is no column that a client sends", context={"table": table.name, "key": self.key})
        self.has_required = any(not column.nullable for column in self.fields)
        self._types = {column.name: _python_type(column, is_key=column.name == self.key) for column in self.fields}
        self._json = msgspec.json.Decoder(_incoming(self.fields, self._types))
        self._cmcd = _CmcdPlan(self.fields, self._types)

    def parse_json(self, body: bytes, *, line_bytes_max: int) -> Parsed:
        """Newline-delimited JSON to rows."""
        if len(body) <= line_bytes_max or max(map(len, body.split(b"\n"))) <= line_bytes_max:
            try:
                return Parsed(self._json.decode_lines(body), [])
            except (msgspec.MsgspecError, UnicodeDecodeError):
                pass  # some line is not clean: find out which, below
        return _each_line(body, line_bytes_max, self._parse_json_line)

    def parse_cmcd(self, body: bytes, *, line_bytes_max: int) -> Parsed:
        """CMCD event reports, one a line, to rows."""
        if len(body) <= line_bytes_max or max(map(len, body.split(b"\n"))) <= line_bytes_max:
            rows = self._cmcd.parse_clean(body)
            if rows is not None:
                return Parsed(rows, [])
        return _each_line(body, line_bytes_max, self._parse_cmcd_line)

    def parse_cmcd_slowly(self, line: str) -> Any:
        """One CMCD line by the reference parser.

        Raises:
            LineError: not a dictionary of structured fields.
            _Refused: a value that the table does not take.
        """
        values: dict[str, Any] = {}
        for key, member in cmcd.parse_line(line).items():
            known = key in cmcd.STANDARD_KEYS or key in cmcd.OUR_KEYS
            if not known and (key.startswith(cmcd.OUR_PREFIX) or not cmcd.is_custom_key(key)):
                raise _Refused(reasons.UNKNOWN_FIELD, _unknown(key, cmcd.STANDARD_KEYS | cmcd.OUR_KEYS.keys()))
            column = cmcd.column_of(key)
            if known and column in self._types:
                values[key] = self._coerce(column, member)
        if _REPORTED_CDN in values:
            values.pop(_REPORTED_CDN if values.get(_OUR_CDN) else _OUR_CDN, None)
        return self._build({cmcd.column_of(key): value for key, value in values.items()})

    def _build(self, values: Mapping[str, Any]) -> Any:
        try:
            return msgspec.convert(values, self._json.type)
        except msgspec.ValidationError as error:
            raise _Refused(*self._explain(str(error))) from error

    def _coerce(self, column: str, member: cmcd.Member) -> Any:
        item = (member[0] if member else None) if isinstance(member, list) else member
        base = _base_type(self._types[column])
        if base is int and isinstance(item, float):
            return int(item)
        if base is float and isinstance(item, int) and not isinstance(item, bool):
            return float(item)
        return item

    def _parse_cmcd_line(self, raw: bytes) -> Any:
        rows = self._cmcd.parse_clean(raw)
        if rows is not None:
            return rows[0]
        return self.parse_cmcd_slowly(raw.decode())

    def _parse_json_line(self, raw: bytes) -> Any:
        raw.decode()
        try:
            return self._json.decode(raw)
        except msgspec.ValidationError as error:
            raise _Refused(*self._explain(str(error))) from error

    def _explain(self, message: str) -> tuple[str, str]:
        """The reason and the detail for what msgspec says about a row."""
        if found := re.search(r"missing required field `(.*?)`", message):
            return reasons.MISSING_FIELD, f"no `{found[1]}`"
        if found := re.search(r"unknown field `(.*?)`", message):
            return reasons.UNKNOWN_FIELD, _unknown(found[1], self._types)
        if "got `null`" in message:
            return reasons.MISSING_FIELD, _lower(message)
        if re.search(r"[<>]= ?|out of range|of length", message):
            return reasons.OUT_OF_RANGE, _lower(message)
        return reasons.WRONG_TYPE, _lower(message)


class _Refused(ValueError):
    """A row that can be read but not be taken."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class _CmcdPlan:
    """The fast path for clean CMCD lines of one schema."""

    def __init__(self, fields: Iterable[Column], types: Mapping[str, Any]) -> None:
        required = {column.name for column in fields if not column.nullable}
        self._has_cdn = _REPORTED_CDN in types
        pattern, names, group_types = [], [], []
        for key in sorted(cmcd.STANDARD_KEYS | cmcd.OUR_KEYS.keys()):
            column = cmcd.column_of(key)
            value = _value_pattern(key, types[column]) if column in types else None
            pattern.append(rf"(?:{re.escape(key)}{value or _PASSED_OVER},)?+")
            if value:
                names.append("cdn_reported" if key == _REPORTED_CDN else column)
                group_types.append(types[column] if column in required else types[column] | None)
        self._required_absent = required - set(names)
        # Every line must begin where a line begins; otherwise a search would find the end of a line that is not clean.
        self._pattern = re.compile("(?m:^)" + "".join(pattern) + r"\n", re.ASCII)
        self._tuples = list[tuple[tuple(group_types)]]  # type: ignore[misc]
        self._row: Callable[..., Any] = msgspec.defstruct(
            "Reported", [(name, Any, None) for name in names], omit_defaults=True
        )

    def parse_clean(self, body: bytes) -> list[Any] | None:
        """All rows of a body whose lines are all clean, else None."""
        if self._required_absent:
            return None
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return None
        text = text.removesuffix("\n").replace("\n", ",\n") + ",\n"
        groups = [found.groups() for found in self._pattern.finditer(text)]
        if len(groups) != text.count("\n"):
            return None
        try:
            rows = [self._row(*values) for values in msgspec.convert(groups, self._tuples, strict=False)]
        except msgspec.ValidationError:
            return None
        if self._has_cdn and 'cdn="' in text:
            for row in rows:
                if row.cdn_reported is not None:
                    row.cdn = row.cdn or row.cdn_reported
                    row.cdn_reported = None
        return rows


def _value_pattern(key: str, python_type: Any) -> str:
    """The value of `key` as one group; a type without a fast path never matches, so that its line takes the slow path."""
    base = _base_type(python_type)
    if base is int:
        integer = r"([0-9]{1,15}+)" if key in ("ts", "sn") else _INTEGER
        return rf"=\({integer}\)" if key in cmcd.NUMBER_LIST_KEYS else f"={integer}"
    if base is str:
        if key in cmcd.STRING_LIST_KEYS:
            return rf"=\({_TEXT}\)"
        return f"={_TEXT}" if key in cmcd.STRING_KEYS or key in cmcd.OUR_KEYS else f"={_WORD}"
    return r"(?!)()"


def _each_line(body: bytes, line_bytes_max: int, parse: Callable[[bytes], Any]) -> Parsed:
    parsed = Parsed([], [])
    for number, raw in enumerate(body.split(b"\n"), start=1):
        line = raw.removesuffix(b"\r")
        if not line.strip():
            continue
        try:
            if len(line) > line_bytes_max:
                raise _Refused(reasons.LINE_TOO_LONG, f"{len(line)} bytes, at most {line_bytes_max}")
            parsed.rows.append(parse(line))
        except UnicodeDecodeError as error:
            parsed.problems.append(Problem(number, reasons.NOT_UTF8, f"byte {error.start + 1} of the line", line))
        except _Refused as error:
            parsed.problems.append(Problem(number, error.reason, str(error), line))
        except (cmcd.LineError, msgspec.DecodeError) as error:
            parsed.problems.append(Problem(number, reasons.MALFORMED, _lower(str(error)), line))
    return parsed


def _unknown(name: str, known: Iterable[str]) -> str:
    if name in GATEWAY_COLUMNS:
        return f"`{name}` is set by the gateway"
    close = ", ".join(f"`{near}`" for near in nearest(name, known))
    return f"no column for `{name}`" + (f"; close: {close}" if close else "")


def _incoming(fields: Iterable[Column], types: Mapping[str, Any]) -> type[msgspec.Struct]:
    members: list[Any] = [
        (c.name, types[c.name] | None, None) if c.nullable else (c.name, types[c.name]) for c in fields
    ]
    return msgspec.defstruct("Incoming", members, kw_only=True, forbid_unknown_fields=True, omit_defaults=True)


def _python_type(column: Column, *, is_key: bool) -> Any:
    """The msgspec type that checks values of a Flink type; types without a check of their own take anything."""
    if is_key and column.type.upper().startswith(("STRING", "VARCHAR", "CHAR")):
        return Annotated[str, msgspec.Meta(min_length=1, max_length=KEY_LENGTH_MAX)]
    name = column.type.upper().removesuffix(" NOT NULL").split("(")[0].strip()
    if bits := _INTEGER_BITS.get(name):
        return Annotated[int, msgspec.Meta(ge=-(2 ** (bits - 1)), le=2 ** (bits - 1) - 1)]
    if name.startswith(("ARRAY", "MULTISET")):
        return list[Any]
    if name.startswith(("MAP", "ROW")):
        return dict[str, Any]
    return _SIMPLE_TYPES.get(name.split(" ")[0], str)


_SIMPLE_TYPES: dict[str, Any] = {
    "BOOLEAN": bool,
    "FLOAT": float,
    "DOUBLE": float,
    "DECIMAL": Decimal,
    "NUMERIC": Decimal,
}


def _base_type(python_type: Any) -> Any:
    return getattr(python_type, "__origin__", python_type)


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
