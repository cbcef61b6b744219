"""Run SQL jobs one after another in one JVM and say how long each took: the part of `bench/state.py` that is PyFlink.

Runs under the Flink environment's Python. Reads one JSON object on stdin, `{"conf": {...}, "rest_port": N, "jobs": [{"name", "ddl":
[...], "insert"}]}`, and prints one JSON line per job: `{"name", "wall_s", "samples": [[seconds, records read by the vertex after
the source], ...], "state_bytes": of the largest checkpoint seen}` or `{"name", "error"}`. Each job gets its own mini-cluster, as a plain PyFlink script does.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import urllib.error
import urllib.request
from typing import Any

from pyflink.common import Configuration
from pyflink.table import EnvironmentSettings, TableEnvironment

SAMPLE_S = 0.25


class Progress:
    """Polls the job's REST endpoint for the records that have left the source, in a thread, until stopped."""

    def __init__(self, port: int) -> None:
        self.samples: list[tuple[float, int]] = []
        self.state_bytes = 0
        self._root = f"http://127.0.0.1:{port}/jobs"
        self._stopped = threading.Event()
        self._begin = time.perf_counter()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End polling."""
        self._stopped.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._stopped.wait(SAMPLE_S):
            try:
                for job in self._get("")["jobs"]:
                    vertices = self._get(f"/{job['id']}")["vertices"]
                    read = max((vertex["metrics"]["read-records"] for vertex in vertices[1:]), default=0)
                    self.samples.append((round(time.perf_counter() - self._begin, 3), read))
                    newest = self._get(f"/{job['id']}/checkpoints")["latest"]["completed"]
                    self.state_bytes = max(self.state_bytes, newest["state_size"] if newest else 0)
            except (urllib.error.URLError, OSError, KeyError, ValueError):
                # The cluster is not there yet, or not any more.
                continue

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(self._root + path, timeout=2) as answer:
            return json.load(answer)


def run_job(spec: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    """Declare the job's tables, run it to its end."""
    settings = (
        EnvironmentSettings.Builder().in_streaming_mode().with_configuration(_configuration(spec["conf"])).build()
    )
    environment = TableEnvironment.create(settings)
    for statement in job["ddl"]:
        environment.execute_sql(statement)
    progress = Progress(spec["rest_port"])
    begin = time.perf_counter()
    try:
        environment.execute_sql(job["insert"]).wait()
    finally:
        wall_s = time.perf_counter() - begin
        progress.stop()
    return {
        "name": job["name"],
        "wall_s": round(wall_s, 3),
        "samples": progress.samples,
        "state_bytes": progress.state_bytes,
    }


def _configuration(options: dict[str, str]) -> Configuration:
    configuration = Configuration()
    for name, value in options.items():
        configuration.set_string(name, value)
    return configuration


def main() -> int:
    """Run all jobs of the specification; a failed one does not keep the next from running."""
    spec = json.load(sys.stdin)
    failed = 0
    for job in spec["jobs"]:
        try:
            outcome = run_job(spec, job)
        except Exception as error:  # the loop's top: the caller counts and shows it
            failed += 1
            outcome = {"name": job["name"], "error": str(error)[-4_000:]}
        print(json.dumps(outcome), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
