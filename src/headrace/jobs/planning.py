"""From a pipeline file to a checked, compiled job: what a deploy does before it touches anything.

1. The profile's job configuration must have checkpoints on. 2. Flink compiles the script against all tables of the catalog (places and nearest names are the driver's).
3. The script may not take back what the platform promises. 4. The compiled plan is kept as an artifact beside the database, named by the job's fingerprint; every
submission of this version runs it, so that its operators keep their ids, and nothing is planned twice (planning `quality` of live-quality costs 5 CPU-s).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from headrace.catalog.tables import TableCatalog, fingerprint_of
from headrace.connectors.files import archive_uri
from headrace.connectors.model import Mode, RenderContext
from headrace.connectors.registry import SYSTEMS, render_options
from headrace.core.errors import Internal, Invalid, Place
from headrace.core.home import Endpoints, Home
from headrace.core.schema import Table
from headrace.core.units import parse_duration_ms
from headrace.flink.protocol import Compile, Compiled, DriverFace, Script, TableDef
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
        tables = {entry.table.name: entry.table for entry in self.catalog.entries()}
        draft = _draft(pipeline, project=project, target=target)
        compiled = self._compile(draft, tables.values())
        _check_directions(compiled, tables, file=draft.script.file)
        used = sorted({*compiled.sources, *compiled.sinks} & tables.keys())
        spec = msgspec.structs.replace(
            draft, tables=tuple(tables[name] for name in used), sources=compiled.sources, sinks=compiled.sinks
        )
        self._keep(spec, compiled.plan)
        return spec

    def planned(self, earlier: JobSpec, pipeline: Pipeline, *, project: str, target: Target) -> JobSpec | None:
        """The spec of a pipeline that is the same as `earlier`, tables included, and was compiled then; else None."""
        tables = {entry.table.name: entry.table for entry in self.catalog.entries()}
        if any(table.name not in tables for table in earlier.tables):
            return None
        spec = msgspec.structs.replace(
            _draft(pipeline, project=project, target=target),
            tables=tuple(tables[table.name] for table in earlier.tables),
            sources=earlier.sources,
            sinks=earlier.sinks,
        )
        same = fingerprint_of(spec) == fingerprint_of(earlier)
        return spec if same and self.plan_path(spec).exists() else None

    def compiled_plan(self, spec: JobSpec) -> str:
        """The compiled plan of a planned job; compiled again should its file be gone."""
        path = self.plan_path(spec)
        if not path.exists():
            self._keep(spec, self._compile(spec, spec.tables).plan)
        return path.read_text("utf-8")

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

    def definitions(self, tables: Iterable[Table], *, job: str, mode: Mode = "streaming") -> tuple[TableDef, ...]:
        """The tables with the physical options that this stack needs now."""
        context = RenderContext(
            endpoints=self.endpoints, archive_uri=archive_uri(self.home.archive), job=job, mode=mode
        )
        return tuple(
            TableDef(name=table.name, ddl=table.ddl, options=render_options(table, context)) for table in tables
        )

    def _compile(self, spec: JobSpec, tables: Iterable[Table]) -> Compiled:
        script, config = spec.script, self.configuration(spec)
        definitions = self.definitions(tables, job=spec.name)
        compiled = self.driver.compile(Compile(script=script, tables=definitions, config=config)).check()
        for key in compiled.settings:
            if key.startswith(RESERVED_CONFIG):
                line = next((st.line for st in compiled.statements if st.kind == "set"), 0)
                raise Invalid(
                    "a pipeline cannot set this",
                    place=Place(script.file, line),
                    context={"key": key},
                    hint="it belongs to the platform's profile: checkpoints and restarts are always on",
                )
        return compiled

    def _keep(self, spec: JobSpec, plan: str) -> None:
        path = self.plan_path(spec)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(plan, "utf-8")
        part.replace(path)

    def plan_path(self, spec: JobSpec) -> Path:
        """Where the compiled plan of this version of the job is kept."""
        return self.plans / spec.name / f"{fingerprint_of(spec)}.json"


def _draft(pipeline: Pipeline, *, project: str, target: Target) -> JobSpec:
    """What the file says by itself: a spec whose tables are not known yet."""
    head = pipeline.head
    return JobSpec(
        name=head.name,
        project=project,
        target=target.name,
        tier=head.tier,
        parallelism=head.parallelism or target.parallelism,
        freshness=head.freshness,
        config=dict(head.config),
        script=Script(pipeline.file.text, pipeline.file.path),
        tables=(),
        sources=(),
        sinks=(),
    )


def _check_directions(compiled: Compiled, tables: Mapping[str, Table], *, file: str) -> None:
    for name in compiled.sources:
        table = tables.get(name)
        if table is not None and not SYSTEMS[table.system].capabilities.source:
            raise Invalid(
                "a job cannot read this table",
                place=Place(file),
                context={"table": name, "system": table.system},
                hint="read the table that feeds it instead",
            )
