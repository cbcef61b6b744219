"""Options: one frozen msgspec Struct per module, read from TOML and overlaid by environment variables.

A class derives from `Options` under the decorator `@options("ingest.gateway")`; each field carries type, default, range and a sentence on
its trade-off (`Annotated[int, option("…", unit="bytes", ge=1)] = 1024`). The key `headrace.ingest.gateway.max-body-bytes`
is `[headrace.ingest.gateway] max-body-bytes` in TOML and `HEADRACE_INGEST_GATEWAY_MAX_BODY_BYTES` in the environment,
which wins. The reference page of options is generated from `all_options`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import msgspec

from headrace.core.errors import Invalid, nearest

T = TypeVar("T", bound="Options")
_REGISTRY: dict[str, type[Options]] = {}


def option(doc: str, *, unit: str = "", ge: float | None = None, le: float | None = None) -> msgspec.Meta:
    """Describe an option: a sentence on its trade-off, its unit and its range (inclusive)."""
    return msgspec.Meta(description=doc, ge=ge, le=le, extra={"unit": unit})


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab", kw_only=True):
    """Base of all options classes; `section` is the key without `headrace.` and without the option's own name."""

    section: ClassVar[str] = ""


def options(section: str) -> Callable[[type[T]], type[T]]:
    """Class decorator: name the section of an options class and register it for the reference page."""

    def register(cls: type[T]) -> type[T]:
        cls.section = section
        _REGISTRY[section] = cls
        return cls

    return register


def all_options() -> dict[str, type[Options]]:
    """Every options class that has been imported, by section."""
    return dict(_REGISTRY)


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file.

    Raises:
        Invalid: the file cannot be read or parsed; names the file and the parser's place.
    """
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Invalid(
            f"cannot read configuration: {error}", context={"path": path}, hint="check the file's syntax"
        ) from error


def load_options(cls: type[T], *, document: Mapping[str, Any] | None = None, env: Mapping[str, str] | None = None) -> T:
    """Build `cls` from its defaults, then the TOML `document`, then `env`.

    Raises:
        Invalid: an unknown key (the nearest known ones are offered), a wrong type or a value out of range.
    """
    table: Any = (document or {}).get("headrace", {})
    for part in cls.section.split("."):
        table = table.get(part, {}) if isinstance(table, Mapping) else {}
    fields = msgspec.structs.fields(cls)
    names = {field.encode_name for field in fields}
    values = {key: value for key, value in dict(table).items() if not isinstance(value, Mapping) or key in names}
    for key in values:
        if key not in names:
            close = ", ".join(nearest(key, names)) or ", ".join(sorted(names))
            raise Invalid(
                "unknown option", context={"key": f"headrace.{cls.section}.{key}"}, hint=f"known here: {close}"
            )
    prefix = "HEADRACE_" + cls.section.replace(".", "_").replace("-", "_").upper() + "_"
    for field in fields:
        raw = (env or {}).get(prefix + field.name.upper())
        if raw is not None:
            values[field.encode_name] = raw
    try:
        return msgspec.convert(values, cls, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid(f"bad option: {error}", context={"section": f"headrace.{cls.section}"}) from error
