"""From a pipeline file to a checked, compiled job: what a deploy does before it touches anything.

1. Flink validates the script against all tables of the catalog (places and nearest names are the driver's). 2. The script may not take back what the platform promises.
3. The profile's job configuration must have checkpoints on. 4. Flink compiles the plan; it is kept as an artifact beside the database, named by the job's fingerprint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace.catalog.tables import Entry, TableCatalog, fingerprint_of
from headrace.connectors.files import archive_uri
from headrace.connectors.model import Mode, RenderContext
from headrace.connectors.registry import SYSTEMS, render_options
from headrace.core.errors import Internal, Invalid, Place
from headrace.core.home import Endpoints, Home
from headrace.core.schema import Table
from headrace.core.units import parse_duration_ms
from headrace.flink.protocol import Compile, DriverFace, Script, TableDef, Validate, Validated
from headrace.jobs.model import JobSpec
from headrace.sql.head import RESERVED_CONFIG
from headrace.sql.project import Pipeline, Target

CHECKPOINT_INTERVAL = "execution.checkpointing.interval"


@dataclass(frozen=True)
class Planner:
    """Plans jobs and renders their tables for a stack.

    Args:
        job_config: the profile's configuration of every job; has to switch checkpoints on.
        plans: folder of the compiled plans.
    """

    driver: DriverFace
    catalog: TableCatalog
    endpoints: Endpoints
    home: Home
    job_config: Mapping[str, str]
    plans: Path

    def plan(self, pipeline: Pipeline, *, project: str, target: Target) -> JobSpec:
        """Check and compile a pipeline; stores nothing but the plan's file.

        Raises:
            Invalid: the SQL is wrong, names unknown tables, reads a write-only system, or sets what it may not.
        """
        head, script = pipeline.head, Script(pipeline.file.text, pipeline.file.path)
        entries = {entry.table.name: entry for entry in self.catalog.entries()}
        validated = self._validate(script, entries, job=head.name)
        used = [entries[name].table for name in sorted({*validated.sources, *validated.sinks}) if name in entries]
        _check_directions(validated, entries, file=script.file)
        spec = JobSpec(
            name=head.name,
            project=project,
            target=target.name,
            tier=head.tier,
            parallelism=head.parallelism or target.parallelism,
            freshness=head.freshness,
            config=dict(head.config),
            script=script,
            tables=tuple(used),
            sources=validated.sources,
            sinks=validated.sinks,
        )
        self._compile(spec)
        return spec

    def configuration(self, spec: JobSpec) -> dict[str, str]:
        """The whole configuration of a job: profile, then parallelism, then the pipeline's own lines.

        Raises:
            Internal: checkpoints would be off; a rescale or restart would silently lose state (peers-and-flink 3.3).
        """
        config = {**self.job_config, **spec.config, "parallelism.default": str(spec.parallelism)}
        interval = config.get(CHECKPOINT_INTERVAL, "")
        try:
            parse_duration_ms(interval, what=CHECKPOINT_INTERVAL)
        except Invalid as error:
            raise Internal(
                "refusing to run a job without checkpoints",
                context={"job": spec.name, CHECKPOINT_INTERVAL: interval},
                hint="the cluster profile has to set it",
            ) from error
        return config

    def definitions(self, tables: Sequence[Table], *, job: str, mode: Mode = "streaming") -> tuple[TableDef, ...]:
        """The tables with the physical options that this stack needs now."""
        context = RenderContext(
            endpoints=self.endpoints, archive_uri=archive_uri(self.home.archive), job=job, mode=mode
        )
        return tuple(
            TableDef(name=table.name, ddl=table.ddl, options=render_options(table, context)) for table in tables
        )

    def _validate(self, script: Script, entries: Mapping[str, Entry], *, job: str) -> Validated:
        tables = [entry.table for entry in entries.values()]
        definitions = self.definitions(tables, job=job)
        validated = self.driver.validate(Validate(script=script, tables=definitions)).check()
        if not validated.sinks:
            raise Invalid(
                "the pipeline writes nothing", place=Place(script.file), hint="end it with `INSERT INTO … SELECT …`"
            )
        for key in validated.settings:
            if key.startswith(RESERVED_CONFIG):
                line = next((st.line for st in validated.statements if st.kind == "set"), 0)
                raise Invalid(
                    "a pipeline cannot set this",
                    place=Place(script.file, line),
                    context={"key": key},
                    hint="it belongs to the platform's profile: checkpoints and restarts are always on",
                )
        return validated

    def _compile(self, spec: JobSpec) -> None:
        request = Compile(
            script=spec.script,
            tables=self.definitions(spec.tables, job=spec.name),
            config=self.configuration(spec),
        )
        compiled = self.driver.compile(request)
        path = self.plan_path(spec)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(compiled.plan, "utf-8")
        part.replace(path)

    def plan_path(self, spec: JobSpec) -> Path:
        """Where the compiled plan of this version of the job is kept."""
        return self.plans / spec.name / f"{fingerprint_of(spec)}.json"


def _check_directions(validated: Validated, entries: Mapping[str, Entry], *, file: str) -> None:
    for name in validated.sources:
        table = entries[name].table if name in entries else None
        if table is not None and not SYSTEMS[table.system].capabilities.source:
            raise Invalid(
                "a job cannot read this table",
                place=Place(file),
                context={"table": name, "system": table.system},
                hint="read the table that feeds it instead",
            )
