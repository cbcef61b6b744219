"""Files: Parquet below the stack's archive folder, committed with checkpoints; the source of batch recounts.

The filesystem sink of Flink moves a part file into place when the checkpoint that closed it completes, so readers see each row once. A table that is
`PARTITIONED BY` columns gets one folder per value and a `_SUCCESS` file.
"""

from __future__ import annotations

from pathlib import Path

from headrace.connectors.model import Capabilities, OptionSpec, RenderContext, System, option_values
from headrace.core.errors import Invalid, Place
from headrace.core.schema import Table

OPTIONS = (
    OptionSpec(
        name="format", form="choice", choices=("parquet", "json"), default="parquet", doc="json is for looking at rows"
    ),
    OptionSpec(
        name="watch",
        form="duration",
        doc="as a source: look for new files this often; without it the files present are read and the source ends",
    ),
)


def check(table: Table, place: Place | None) -> None:
    """Refuse a primary key: files only grow."""
    if table.primary_key:
        raise Invalid(
            "a files table has no primary key",
            place=place,
            context={"table": table.name},
            hint="drop the primary key; files are append-only",
        )


def render(table: Table, context: RenderContext) -> dict[str, str]:
    """Physical options of the folder as source and sink."""
    options = option_values(OPTIONS, table)
    rendered = {
        "connector": "filesystem",
        "path": f"{context.archive_uri}/{table.name}",
        "format": options["format"],
    }
    if options["format"] == "parquet":
        rendered |= {"parquet.compression": "SNAPPY", "parquet.utc-timezone": "true"}
    if table.partitioned_by:
        rendered["sink.partition-commit.policy.kind"] = "success-file"
    if options["watch"] and context.mode == "streaming":
        rendered["source.monitor-interval"] = options["watch"]
    return rendered


def archive_uri(archive: Path) -> str:
    """The archive folder as Flink names it."""
    return archive.absolute().as_uri()


SYSTEM = System(
    name="files",
    options=OPTIONS,
    capabilities=Capabilities(source=True, sink=True, upsert=False, bounded_read=True, guarantee="exactly-once"),
    render=render,
    check=check,
)
