"""The CDNs of an application and where the small tables ("dims") of a home lie.

`<home>/data/dims/cdn.csv` has the columns `cdn,hosts,capacity_sessions,price,floor`: hosts separated by `|`, capacity in concurrent
sessions, price per unit of traffic, floor the share that the CDN must keep (contract or exploration). `parse_cdns` is pure;
`DimFile` re-reads a file when it changes and keeps the last good content, so that a broken edit is logged and never acted on.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from headrace.core.errors import HeadraceError, Invalid, Place, Unavailable
from headrace.core.log import Logger

T = TypeVar("T")
COLUMNS = ("cdn", "hosts", "capacity_sessions", "price", "floor")
CDNS_MAX = 64  # one weight and one hash per CDN and poll


class Cdn(msgspec.Struct, frozen=True):
    """One CDN: capacity in concurrent sessions, price per unit, floor as a share in [0, 1)."""

    name: str
    hosts: tuple[str, ...]
    capacity_sessions: float
    price: float
    floor: float


def parse_cdns(text: str, file: str) -> tuple[Cdn, ...]:
    """Read `cdn.csv`; rows come back sorted by name.

    Raises:
        Invalid: a missing column, a number that is none or out of range, a CDN named twice, floors above 1, or no row at all;
            names file and line.
    """
    reader = csv.DictReader(io.StringIO(text))
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise Invalid(
            f"cdn table lacks columns: {', '.join(missing)}",
            place=Place(file, 1),
            hint="first line: `" + ",".join(COLUMNS) + "`",
        )
    rows: dict[str, Cdn] = {}
    for row in reader:
        cdn = _parse_row(row, place=Place(file, reader.line_num))
        if cdn.name in rows:
            raise Invalid(
                "CDN named twice", place=Place(file, reader.line_num), context={"cdn": cdn.name}, hint="one row per CDN"
            )
        rows[cdn.name] = cdn
    if not rows or len(rows) > CDNS_MAX:
        raise Invalid(
            f"cdn table must name 1 to {CDNS_MAX} CDNs, it names {len(rows)}",
            place=Place(file, reader.line_num),
            hint="add a row such as `A,cdn-a.example,20000,1.0,0.02`",
        )
    if sum(cdn.floor for cdn in rows.values()) >= 1:
        raise Invalid(
            "floors add up to 1 or more", place=Place(file), hint="leave room to move: floors of 0.01 to 0.02"
        )
    return tuple(rows[name] for name in sorted(rows))


def _parse_row(row: Mapping[str, str | None], *, place: Place) -> Cdn:
    name = (row["cdn"] or "").strip()
    if not name:
        raise Invalid("CDN without a name", place=place, hint="the first column is the CDN's pathway id")
    numbers = {key: _parse_number(row[key], column=key, place=place) for key in ("capacity_sessions", "price", "floor")}
    if numbers["capacity_sessions"] <= 0 or numbers["price"] < 0 or not 0 <= numbers["floor"] < 1:
        raise Invalid(
            "number out of range",
            place=place,
            context={"cdn": name},
            hint="capacity_sessions > 0, price >= 0, 0 <= floor < 1",
        )
    hosts = tuple(host.strip() for host in (row["hosts"] or "").split("|") if host.strip())
    return Cdn(name, hosts, numbers["capacity_sessions"], numbers["price"], numbers["floor"])


def _parse_number(text: str | None, *, column: str, place: Place) -> float:
    try:
        number = float(text or "")
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise Invalid(
            "not a number", place=place, context={"column": column, "value": text}, hint="write it as 20000 or 0.02"
        )
    return number


def default_weights(cdns: Sequence[Cdn]) -> dict[str, float]:
    """The weights of a cell that nobody has decided on yet: in proportion to capacity."""
    total = sum(cdn.capacity_sessions for cdn in cdns)
    return {cdn.name: cdn.capacity_sessions / total for cdn in cdns}


class DimFile(Generic[T]):
    """A parsed file of `<home>/data/dims`, re-read when its modification time or size changes.

    A file that is missing or wrong is logged once per change and leaves the last good value (at first: `default`).
    """

    def __init__(self, path: Path, parse: Callable[[str, str], T], *, default: T, log: Logger) -> None:
        self.path = path
        self.value = default
        self.error: HeadraceError | None = None
        self._parse = parse
        self._log = log
        self._seen: tuple[int, int] | None = (-1, -1)

    def refresh(self) -> bool:
        """Look at the file; True if a new value was taken."""
        try:
            stat = self.path.stat()
            stamp: tuple[int, int] | None = (stat.st_mtime_ns, stat.st_size)
        except OSError:
            stamp = None
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            self.value = self._load(missing=stamp is None)
        except HeadraceError as error:
            self.error = error
            self._log.warning("dim_not_read", path=self.path, error=str(error), kept="last good value")
            return False
        self.error = None
        self._log.info("dim_read", path=self.path)
        return True

    def _load(self, *, missing: bool) -> T:
        if missing:
            raise Unavailable(
                "dim file is missing", context={"path": self.path}, hint="`headrace table apply` writes the app's dims"
            )
        try:
            text = self.path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Invalid(
                f"cannot read dim file: {error}", place=Place(str(self.path)), hint="a CSV file in UTF-8"
            ) from error
        return self._parse(text, str(self.path))
