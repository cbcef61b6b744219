"""Run a live-quality pipeline file, unchanged, in a MiniCluster: `python quality_flink.py <spec.json>` in the Flink environment.

The spec: `app` (project folder), `pipeline` (file name), `mode` (batch or streaming), `tables` (name → physical options, which replace the declared
ones; a table without an entry goes nowhere), `config` (wins over the pipeline's head), `jars` (URIs of the functions' jars). Ends when the job has ended, so its source must be bounded.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from pyflink.common import Configuration
from pyflink.table import EnvironmentSettings, TableEnvironment


def with_options(ddl: str, options: dict[str, str]) -> str:
    """The declaration under other options."""
    pairs = ", ".join(f"'{key}' = '{value}'" for key, value in options.items())
    return ddl[: ddl.rindex(") WITH (")] + f") WITH ({pairs})"


def statements(text: str) -> list[str]:
    """The file's statements; its comments contain no semicolon inside quotes, and its literals contain no comment."""
    plain = re.sub(r"^\s*--.*$", "", text, flags=re.M)
    plain = plain.replace("EXECUTE STATEMENT SET", "").replace("BEGIN", "", 1)
    parts = (part.strip() for part in plain.split(";"))
    return [part for part in parts if part and part != "END"]


def head_config(text: str) -> dict[str, str]:
    """The `-- config:` lines."""
    return dict(match.groups() for match in re.finditer(r"^-- config: (\S+) = (.*)$", text, flags=re.M))


def main(spec: dict[str, Any]) -> None:
    """Register tables and views, run all INSERTs as one job, wait for its end."""
    app = Path(spec["app"])
    text = (app / "pipelines" / spec["pipeline"]).read_text()
    batch = spec["mode"] == "batch"
    configuration = Configuration()
    configuration.set_string("pipeline.jars", ";".join(spec["jars"]))
    builder = EnvironmentSettings.new_instance().with_configuration(configuration)
    environment = TableEnvironment.create((builder.in_batch_mode() if batch else builder.in_streaming_mode()).build())
    for key, value in {"parallelism.default": "2", **head_config(text), **spec.get("config", {})}.items():
        environment.get_config().set(key, value)
    for path in sorted((app / "tables").glob("*.sql")):
        options = spec["tables"].get(path.stem, {"connector": "blackhole"})
        environment.execute_sql(with_options(path.read_text(), options))
    job = environment.create_statement_set()
    for statement in statements(text):
        if statement.startswith("INSERT"):
            job.add_insert_sql(statement)
        else:
            environment.execute_sql(statement)
    job.execute().wait()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
