"""Tables and jobs on the real stack: apply, deploy, rows through Kafka and Flink into the OLAP store, stop, go on, replace, refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import Producer
from tests.cluster.running import RunningStack, headrace, headrace_json
from tests.waiting import wait_until

FILES = {
    "headrace.toml": 'name = "till"\n[targets.local]\nparallelism = 1\n',
    "tables/till_sale.sql": """CREATE TABLE till_sale (
  shop STRING NOT NULL,
  amount BIGINT NOT NULL
) WITH ('layer' = 'ods', 'system' = 'kafka', 'owner' = 'till', 'retention' = '1 d', 'key' = 'shop', 'partitions' = '2');
""",
    "tables/till_total.sql": """CREATE TABLE till_total (
  shop STRING NOT NULL,
  sales BIGINT NOT NULL,
  total BIGINT NOT NULL,
  PRIMARY KEY (shop) NOT ENFORCED
) WITH ('layer' = 'dws', 'system' = 'clickhouse', 'owner' = 'till');
""",
    "pipelines/till.sql": """-- name: till
-- tier: P1
INSERT INTO till_total SELECT shop, COUNT(*), SUM(amount) FROM till_sale WHERE amount < 1000 GROUP BY shop;
""",
}
# What the started cluster has to have done by then; a loaded machine of two cores needs a minute for a start.
PATIENCE_S = 120


def write_project(folder: Path, **changed: str) -> Path:
    """The project on disk, its pipeline replaced by `pipeline` if given."""
    for path, text in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(changed.get("pipeline", text) if path.startswith("pipelines/") else text)
    return folder


def sell(stack: RunningStack, shop: str, *amounts: int) -> None:
    """Rows into the topic, acknowledged."""
    producer = Producer({"bootstrap.servers": stack.endpoints.kafka})
    for amount in amounts:
        producer.produce("ods.till_sale", key=shop, value=json.dumps({"shop": shop, "amount": amount}))
    assert producer.flush(30) == 0


def totals(stack: RunningStack) -> dict[str, tuple[int, int]]:
    """Shop → (sales, total), the newest row of each."""
    sql = "SELECT shop, sales, total FROM till_total FINAL FORMAT JSONEachRow"
    lines = httpx.post(stack.endpoints.olap, content=sql, trust_env=False).raise_for_status().text.splitlines()
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return {row["shop"]: (int(row["sales"]), int(row["total"])) for row in rows}


def await_totals(stack: RunningStack, wanted: dict[str, tuple[int, int]]) -> None:
    """Block until the store shows exactly these."""
    wait_until(lambda: totals(stack) == wanted, timeout_s=PATIENCE_S, what=f"totals {wanted}", every_s=0.5)


def backend_of(stack: RunningStack, job: str) -> str:
    """The state backend's class, as Flink names it."""
    with httpx.Client(base_url=stack.endpoints.flink, trust_env=False) as flink:
        running = [one for one in flink.get("/jobs/overview").json()["jobs"] if one["state"] == "RUNNING"]
        (jid,) = [one["jid"] for one in running if one["name"] == job]
        return str(flink.get(f"/jobs/{jid}/checkpoints/config").json()["state_backend"])


def test_a_project_lives_on_the_real_stack(stack: RunningStack, tmp_path: Path) -> None:
    """State survives stop and replacement, a version that cannot take the state over leaves the old one running, --fresh counts anew."""
    home, folder = stack.home.root, write_project(tmp_path / "till")
    applied = headrace_json("table", "apply", str(folder), home=home)
    assert [change["name"] for change in applied["changes"]] == ["till_sale", "till_total"]
    (job,) = headrace_json("job", "deploy", str(folder), home=home)["jobs"]
    assert (job["state"], job["sources"], job["sinks"]) == ("running", ["till_sale"], ["till_total"])
    sell(stack, "a", 1, 2, 3)
    await_totals(stack, {"a": (3, 6)})

    stopped = headrace_json("job", "stop", "till", home=home)
    assert (stopped["state"], (Path(stopped["restore_path"]) / "_metadata").is_file()) == ("stopped", True)
    sell(stack, "a", 4)
    sell(stack, "b", 10)
    headrace_json("job", "deploy", str(folder), home=home)
    await_totals(stack, {"a": (4, 10), "b": (1, 10)})

    write_project(folder, pipeline=FILES["pipelines/till.sql"].replace("1000", "2000"))
    (changed,) = headrace_json("job", "deploy", str(folder), home=home)["jobs"]
    assert (changed["action"], "savepoint-" in changed["restored_from"]) == ("changed", True)
    sell(stack, "b", 1500)
    await_totals(stack, {"a": (4, 10), "b": (2, 1510)})

    # Every backend reads the savepoint of every other one: out of SlimBase, around and back.
    classes = {"rocksdb": "EmbeddedRocksDBStateBackend", "hashmap": "HashMapStateBackend", "": "slimbase"}
    for turn, backend in enumerate(classes, 1):
        config = f"-- config: state.backend.type = {backend}\n" if backend else ""
        pipeline = FILES["pipelines/till.sql"].replace("-- tier", f"{config}-- tier").replace("1000", "2000")
        write_project(folder, pipeline=pipeline)
        headrace_json("job", "deploy", str(folder), home=home)
        assert classes[backend] in backend_of(stack, "till")
        sell(stack, "b", 1)
        await_totals(stack, {"a": (4, 10), "b": (2 + turn, 1510 + turn)})

    other = "-- name: till\nINSERT INTO till_total SELECT shop, COUNT(DISTINCT amount), MAX(amount) FROM till_sale GROUP BY shop;\n"
    write_project(folder, pipeline=other)
    refused = headrace("job", "deploy", str(folder), home=home)
    assert refused.returncode == 1
    assert "cannot start from the old state" in refused.stderr
    assert "--fresh" in refused.stderr
    sell(stack, "b", 1)
    await_totals(stack, {"a": (4, 10), "b": (6, 1514)})
    headrace_json("job", "deploy", str(folder), "--fresh", home=home)
    await_totals(stack, {"a": (4, 4), "b": (3, 1500)})
    headrace_json("job", "stop", "till", "--no-savepoint", home=home)
    outcomes = {entry["outcome"] for entry in headrace_json("journal", "--limit", "50", home=home)}
    assert outcomes <= {"done", "failed"}


def test_mistakes_are_told_by_the_real_parser(stack: RunningStack, tmp_path: Path) -> None:
    """Line and column of a syntax error in a table, nearest names for an unknown table in a pipeline; nothing appears."""
    home, folder = stack.home.root, write_project(tmp_path / "till")
    headrace_json("table", "apply", str(folder), home=home)
    table = folder / "tables/till_wrong.sql"
    table.write_text(
        "CREATE TABLE till_wrong (\n  shop STRING,,\n  n INT\n) WITH ('layer' = 'ods', 'system' = 'kafka');\n"
    )
    failed = headrace("table", "apply", str(folder), home=home)
    assert failed.returncode == 2
    assert "tables/till_wrong.sql:2:15" in failed.stderr
    table.unlink()
    (folder / "pipelines/till.sql").write_text(
        "-- name: till_typo\nINSERT INTO till_total SELECT shop, 1, 2 FROM till_sael;\n"
    )
    failed = headrace("job", "deploy", str(folder), "till_typo", home=home)
    assert failed.returncode == 2
    assert "pipelines/till.sql:2" in failed.stderr
    assert "till_sale" in failed.stderr
    names = [entry["table"]["name"] for entry in headrace_json("table", "list", home=home)]
    assert "till_wrong" not in names
    assert "till_typo" not in [job["name"] for job in headrace_json("job", "list", home=home)]


def test_jobs_are_suspended_and_resumed(stack: RunningStack, tmp_path: Path) -> None:
    """The supervisor's call before an orderly stop: a savepoint each; resuming starts from it."""
    home, folder = stack.home.root, write_project(tmp_path / "till")
    headrace_json("table", "apply", str(folder), home=home)
    headrace_json("job", "deploy", str(folder), "--fresh", home=home)
    url = stack.endpoints.headraced
    rows = httpx.post(f"{url}/v1/jobs:suspend", timeout=PATIENCE_S, trust_env=False).raise_for_status().json()
    mine = next(row for row in rows if row["job"] == "till")
    assert (mine.get("error", ""), "savepoint-" in mine["savepoint"]) == ("", True)
    assert "till" in httpx.post(f"{url}/v1/jobs:resume", timeout=PATIENCE_S, trust_env=False).json()

    def resumed() -> bool:
        job = headrace_json("job", "show", "till", home=home)["job"]
        return bool(job["state"] == "running" and job["restore_path"] == mine["savepoint"])

    wait_until(resumed, timeout_s=PATIENCE_S, what="the job to run from its savepoint", every_s=1.0)
    headrace_json("job", "stop", "till", "--no-savepoint", home=home)
