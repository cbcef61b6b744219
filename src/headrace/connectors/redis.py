"""Redis or Valkey: the newest row per key as a hash, under a key made from a template.

`'key-template' = 'cell:{region}:{isp}:{cdn}'`: each name in braces is a column. The sink writes the row's other columns as fields of the hash, at least
once; a replay writes the same values again. `retention` becomes the time to live of each key, counted from its last write.
"""

from __future__ import annotations

import re

from headrace.connectors.model import Capabilities, OptionSpec, RenderContext, System, need_column, option_values
from headrace.core.errors import Invalid, Place
from headrace.core.schema import Table
from headrace.core.units import parse_duration_ms

OPTIONS = (
    OptionSpec(name="key-template", doc="the key, with `{column}` for values; default: table name and primary key"),
    OptionSpec(
        name="version-column",
        form="columns",
        doc="a row with a smaller value than the stored one is dropped, so that late changes of old rows do no harm",
    ),
    OptionSpec(
        name="flush-interval", form="duration", default="100 ms", doc="longest wait of a row in the sink's batch"
    ),
    OptionSpec(name="flush-rows", form="int", default="500", maximum=100_000, doc="largest batch of the sink"),
)
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def check(table: Table, place: Place | None) -> None:
    """Refuse a template that names no columns, or columns that the table lacks."""
    names = _PLACEHOLDER.findall(key_template(table))
    if not names:
        raise Invalid(
            "all rows would have one Redis key",
            place=place,
            context={"table": table.name, "key-template": key_template(table)},
            hint="declare a primary key, or 'key-template' = 'cell:{region}'",
        )
    for name in names:
        need_column(table, name, option="key-template", place=place)
    if not table.primary_key:
        raise Invalid(
            "a Redis table needs a primary key",
            place=place,
            context={"table": table.name},
            hint="add `PRIMARY KEY (…) NOT ENFORCED`: the sink keeps the newest row per key",
        )


def key_template(table: Table) -> str:
    """The declared template, else `<table>:{key}:…`."""
    declared = option_values(OPTIONS, table)["key-template"]
    return declared or ":".join([table.name, *(f"{{{name}}}" for name in table.primary_key)])


def render(table: Table, context: RenderContext) -> dict[str, str]:
    """Physical options of the sink."""
    options = option_values(OPTIONS, table)
    host, _, port = context.endpoints.redis.rpartition(":")
    rendered = {
        "connector": "redis",
        "host": host,
        "port": port,
        "key-template": key_template(table),
        "sink.flush-interval": options["flush-interval"],
        "sink.flush-rows": options["flush-rows"],
    }
    if options["version-column"]:
        rendered["version-column"] = options["version-column"]
    if table.retention:
        rendered["ttl"] = f"{parse_duration_ms(table.retention, what='retention')} ms"
    return rendered


SYSTEM = System(
    name="redis",
    options=OPTIONS,
    capabilities=Capabilities(source=False, sink=True, upsert=True, bounded_read=False, guarantee="idempotent"),
    render=render,
    check=check,
)
