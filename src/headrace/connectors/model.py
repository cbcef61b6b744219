"""What every connector module says about its system, as data, and the checks that follow from it.

A `System` has its options (name, form, default, sentence), its capabilities, and three functions: `check` (pure, refuses a table the
system cannot hold), `render` (pure, logical table → physical options of Flink's WITH clause), `ensure` (creates the topic or table there,
idempotent). User-declared options never reach Flink by themselves: only what `render` writes does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from headrace.connectors.external import Externals
from headrace.core.errors import Invalid, Place, nearest
from headrace.core.home import Endpoints
from headrace.core.schema import Column, Table
from headrace.core.units import parse_duration_ms

LAYERS = ("ods", "dwd", "dws", "ads", "dim")
COMMON_OPTIONS = ("layer", "owner", "system", "retention")
TABLE_NAME = re.compile(r"^[a-z][a-z0-9_]{0,62}$")

Mode = Literal["streaming", "batch"]


class OptionSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One option of a system; `form` is text, int, duration, columns (comma-separated names), or choice."""

    name: str
    doc: str
    form: Literal["text", "int", "duration", "columns", "choice"] = "text"
    default: str = ""
    choices: tuple[str, ...] = ()
    minimum: int = 1
    maximum: int = 1_000_000


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What jobs may do with tables of a system; guarantees are of the sink."""

    source: bool
    sink: bool
    upsert: bool
    bounded_read: bool
    guarantee: Literal["exactly-once", "idempotent", "at-least-once", "none"]


class RenderContext(msgspec.Struct, frozen=True, kw_only=True):
    """Where physical options point: the stack's endpoints, its data folder, the job that will use the table.

    `mode` batch makes the same table bounded, for recounts and queries.
    """

    endpoints: Endpoints
    archive_uri: str
    job: str
    mode: Mode = "streaming"


def _accept(_table: Table, _place: Place | None) -> None:
    """No check beyond the options."""


def _nothing(_table: Table, _externals: Externals) -> list[str]:
    """Nothing to create."""
    return []


@dataclass(frozen=True, kw_only=True)
class System:
    """A system that stores tables; see the module's text for the functions."""

    name: str
    options: tuple[OptionSpec, ...]
    capabilities: Capabilities
    render: Callable[[Table, RenderContext], dict[str, str]]
    check: Callable[[Table, Place | None], None] = _accept
    ensure: Callable[[Table, Externals], list[str]] = _nothing

    def option(self, table: Table, name: str) -> str:
        """The declared value of an option, else its default."""
        spec = next(spec for spec in self.options if spec.name == name)
        return table.options.get(name, spec.default)


def option_values(specs: tuple[OptionSpec, ...], table: Table) -> dict[str, str]:
    """All options with defaults filled in."""
    return {spec.name: table.options.get(spec.name, spec.default) for spec in specs}


def check_options(system: System, table: Table, *, place: Place | None) -> None:
    """Refuse unknown options, values of the wrong form, and names of columns that the table does not have.

    Raises:
        Invalid: the first offence, with the nearest known names.
    """
    known = {spec.name: spec for spec in system.options}
    for key, value in table.options.items():
        spec = known.get(key)
        if spec is None:
            close = ", ".join(nearest(key, [*known, *COMMON_OPTIONS])) or ", ".join([*COMMON_OPTIONS, *known])
            raise Invalid(
                f"unknown option of a {system.name} table",
                place=place,
                context={"table": table.name, "option": key},
                hint=f"known: {close}",
            )
        _check_value(spec, value, table, place=place)


def _check_value(spec: OptionSpec, value: str, table: Table, *, place: Place | None) -> None:
    context: Mapping[str, object] = {"table": table.name, spec.name: value}
    if spec.form == "int" and not (value.isdecimal() and spec.minimum <= int(value) <= spec.maximum):
        hint = f"a whole number from {spec.minimum} to {spec.maximum}"
        raise Invalid("bad option value", place=place, context=context, hint=hint)
    if spec.form == "choice" and value not in spec.choices:
        raise Invalid("bad option value", place=place, context=context, hint=f"one of {', '.join(spec.choices)}")
    if spec.form == "duration":
        parse_duration_ms(value, what=spec.name, place=place)
    if spec.form == "columns":
        for name in split_columns(value):
            need_column(table, name, option=spec.name, place=place)


def split_columns(value: str) -> tuple[str, ...]:
    """The names in a comma-separated list."""
    return tuple(part.strip() for part in value.split(",") if part.strip())


def need_column(table: Table, name: str, *, option: str, place: Place | None) -> Column:
    """The stored column of that name.

    Raises:
        Invalid: the table has none; the nearest are offered.
    """
    columns = {column.name: column for column in table.physical}
    if name not in columns:
        close = ", ".join(nearest(name, columns)) or ", ".join(columns)
        raise Invalid(
            "option names a column that is not stored",
            place=place,
            context={"table": table.name, "option": option, "column": name},
            hint=f"columns: {close}",
        )
    return columns[name]
