"""Durations as users write them: `1 d`, `90 s`, `5 min`, `200 ms`, Flink's own spelling.

Kept as text where declared, turned into ms here; nothing else parses durations.
"""

from __future__ import annotations

import re

from headrace.core.errors import Invalid, Place

_UNITS_MS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_SPELLINGS = {
    "milli": "ms",
    "millisecond": "ms",
    "sec": "s",
    "second": "s",
    "m": "min",
    "minute": "min",
    "hour": "h",
    "day": "d",
}
_DURATION = re.compile(r"\s*(\d{1,12})\s*([a-zA-Z]+)\s*")


def parse_duration_ms(text: str, *, what: str = "duration", place: Place | None = None) -> int:
    """Whole ms of a duration such as `7 d`, `10 min` or `500 ms`.

    Raises:
        Invalid: not a number with a unit, or zero; names `what` and the place.
    """
    match = _DURATION.fullmatch(text)
    number, unit = (int(match.group(1)), match.group(2).lower()) if match else (0, "")
    if unit not in _UNITS_MS:
        unit = _SPELLINGS.get(unit.removesuffix("s"), "")
    if number == 0 or unit not in _UNITS_MS:
        raise Invalid(
            f"{what} is not a duration",
            context={what: text},
            place=place,
            hint="a number above 0 with a unit: `7 d`, `12 h`, `10 min`, `5 s`, `200 ms`",
        )
    return number * _UNITS_MS[unit]
