"""SQL jobs of `bench/state.py`: run them in the Flink environment, one fork per backend, and read what came out."""

from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from state_setup import HARNESS_JAR, ROOT, SCRATCH, Backend, all_lines

SCRIPT = Path(__file__).with_name("state_job.py")
# Room for hashmap with 3 M keys (1 GB live) and Nexmark's joins.
JOB_HEAP = "6g"
# Samples before this share of the rows belong to the start: class loading, compilation, empty state.
STEADY_FROM = 0.25


@dataclass(frozen=True)
class Job:
    """One INSERT and the tables that it needs."""

    name: str
    ddl: Sequence[str]
    insert: str


def job_options(backend: Backend, folder: Path, port: int) -> dict[str, str]:
    """Options of every measured job: parallelism 1, 1 GiB managed memory, incremental checkpoints every 10 s."""
    jars = [HARNESS_JAR, *([backend.jar] if backend.jar else [])]
    return {
        **backend.options,
        "parallelism.default": "1",
        "taskmanager.numberOfTaskSlots": "1",
        "taskmanager.memory.managed.size": "1g",
        "execution.checkpointing.interval": "10 s",
        "execution.checkpointing.incremental": "true",
        "execution.checkpointing.dir": folder.joinpath("checkpoints").as_uri(),
        # Otherwise the end of a bounded job waits for one more checkpoint, and that wait is measured.
        "execution.checkpointing.checkpoints-after-tasks-finish": "false",
        "restart-strategy.type": "disable",
        "table.exec.resource.default-parallelism": "1",
        "io.tmp.dirs": str(folder),
        "rest.port": str(port),
        "rest.bind-port": str(port),
        "metrics.fetcher.update-interval": "200 ms",
        "pipeline.jars": ";".join(jar.as_uri() for jar in jars),
    }


def run_jobs(
    backend: Backend,
    jobs: Sequence[Job],
    options: Mapping[str, str] | None = None,
    *,
    heap: str = JOB_HEAP,
    wrap: Callable[[list[str]], list[str]] = list,
) -> list[dict[str, Any]]:
    """Run the jobs in one fork, whose command may be wrapped; an entry per job as `state_job.py` prints it.

    Raises:
        ForkFailed: the fork said nothing at all.
    """
    SCRATCH.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    with tempfile.TemporaryDirectory(dir=SCRATCH, prefix=f"{backend.name}-") as folder:
        spec = {
            "conf": {**job_options(backend, Path(folder), port), **(options or {})},
            "rest_port": port,
            "jobs": [{"name": job.name, "ddl": list(job.ddl), "insert": job.insert} for job in jobs],
        }
        python = ROOT / "runtimes" / "flink" / ".venv" / "bin" / "python"
        env = {"JVM_ARGS": f"-Xmx{heap} -XX:+UseG1GC", "FLINK_LOG_DIR": folder}
        lines = all_lines(wrap([str(python), str(SCRIPT)]), stdin=json.dumps(spec), env=env, may_fail=True)
    return [json.loads(line) for line in lines if line.startswith("{")]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def steady_rate(samples: Sequence[Sequence[float]], rows: int) -> float | None:
    """Rows per second between the first sample past `STEADY_FROM` of the rows and the last one; None when too short."""
    steady = [(at, read) for at, read in samples if read >= STEADY_FROM * rows]
    if len(steady) < 2 or steady[-1][1] <= steady[0][1]:
        return None
    # The counter stands still at the end while the job finishes: count until it first had its last value.
    last = next(sample for sample in steady if sample[1] == steady[-1][1])
    return (last[1] - steady[0][1]) / (last[0] - steady[0][0])
