"""Recount a job: its own SQL in batch mode over what its sources hold, results into files beside the real tables.

The script is the one that was deployed, unchanged; only physical options differ: sources are bounded, each sink is a folder of
JSON files. What a stream computed can then be compared row by row with what a batch over the same rows computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from headrace.connectors.files import archive_uri
from headrace.connectors.model import RenderContext
from headrace.connectors.registry import render_options
from headrace.core.clock import Clock
from headrace.core.errors import Internal, Unavailable
from headrace.core.home import Endpoints
from headrace.flink.protocol import DriverFace, Submit, TableDef
from headrace.flink.rest import FlinkRest
from headrace.jobs.model import JobSpec

RECOUNT_TIMEOUT_S = 300.0
POLL_S = 0.5


def recount(
    spec: JobSpec, *, folder: Path, archive: Path, endpoints: Endpoints, driver: DriverFace, clock: Clock
) -> dict[str, Path]:
    """Run the job's SQL as a batch; returns the folder of each sink's rows.

    Raises:
        Internal: the batch job failed; its cause is in the context.
        Unavailable: it did not end within `RECOUNT_TIMEOUT_S`.
    """
    sinks = {name: folder / name for name in spec.sinks}
    request = Submit(
        script=spec.script,
        tables=recount_tables(
            spec,
            sinks,
            RenderContext(
                endpoints=endpoints, archive_uri=archive_uri(archive), job=f"recount-{spec.name}", mode="batch"
            ),
        ),
        config=batch_config(spec.config),
        batch=True,
        job_name=f"recount {spec.name}",
        cluster=endpoints.flink,
    )
    job_id = driver.submit(request).job_id
    with FlinkRest(endpoints.flink, clock) as flink:
        _await_end(flink, job_id, clock)
    return sinks


def recount_tables(spec: JobSpec, sinks: Mapping[str, Path], context: RenderContext) -> tuple[TableDef, ...]:
    """The job's tables with bounded sources and file sinks. Pure."""
    return tuple(
        TableDef(
            name=table.name,
            ddl=table.ddl,
            options=_sink_options(sinks[table.name]) if table.name in sinks else render_options(table, context),
        )
        for table in spec.tables
    )


def batch_config(config: Mapping[str, str]) -> dict[str, str]:
    """The pipeline's own settings without those that only a stream has. Pure."""
    return {key: value for key, value in config.items() if "mini-batch" not in key and "state.ttl" not in key}


def read_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows that a recount wrote into one sink's folder."""
    decoder = msgspec.json.Decoder(dict[str, Any])
    for path in sorted(folder.rglob("part-*")):
        yield from decoder.decode_lines(path.read_bytes())


def _sink_options(folder: Path) -> dict[str, str]:
    return {"connector": "filesystem", "path": folder.absolute().as_uri(), "format": "json"}


def _await_end(flink: FlinkRest, job_id: str, clock: Clock) -> None:
    deadline = clock.monotonic_s() + RECOUNT_TIMEOUT_S
    while clock.monotonic_s() < deadline:
        job = flink.job(job_id)
        if job.state == "FINISHED":
            return
        if job.state in {"FAILED", "CANCELED"}:
            causes = [failure.summary for failure in flink.failures(job_id, limit=1)]
            raise Internal("the recount failed", context={"job": job_id, "cause": causes[0] if causes else job.state})
        clock.sleep(POLL_S)
    raise Unavailable("the recount did not end in time", context={"job": job_id, "timeout_s": RECOUNT_TIMEOUT_S})
