"""TaskManagers are killed under load, again and again: every row counts once, in SQL state of several kinds, with skewed keys.

`HEADRACE_TEST_KILLS` sets the number of kills: 3 in `make test`, 50 in `make test-long`.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from random import Random

import httpx
import pytest
from confluent_kafka import Producer
from tests.cluster.running import RunningStack, headrace_json
from tests.waiting import wait_until

KILLS = int(os.environ.get("HEADRACE_TEST_KILLS", "3"))
KEYS = 200
ROWS_A_ROUND = 20_000
SEED = 20_261
PATIENCE_S = 240
FILES = {
    "headrace.toml": 'name = "skew"\n[targets.local]\nparallelism = 2\n',
    "tables/skew_row.sql": """CREATE TABLE skew_row (
  k STRING NOT NULL,
  v BIGINT NOT NULL,
  tag STRING NOT NULL
) WITH ('layer' = 'ods', 'system' = 'kafka', 'owner' = 'skew', 'retention' = '1 d', 'key' = 'tag', 'partitions' = '4');
""",
    "tables/skew_total.sql": """CREATE TABLE skew_total (
  k STRING NOT NULL,
  n BIGINT NOT NULL,
  total BIGINT NOT NULL,
  tags BIGINT NOT NULL,
  greatest BIGINT NOT NULL,
  PRIMARY KEY (k) NOT ENFORCED
) WITH ('layer' = 'dws', 'system' = 'clickhouse', 'owner' = 'skew');
""",
    # Value state (sums), map state (distinct), and a two-phase plan over skewed keys.
    "pipelines/skew.sql": """-- name: skew
-- tier: P1
-- parallelism: 2
INSERT INTO skew_total SELECT k, COUNT(*), SUM(v), COUNT(DISTINCT tag), MAX(v) FROM skew_row GROUP BY k;
""",
}
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(7200)]
Totals = dict[str, tuple[int, int, int, int]]


class Ledger:
    """What was produced and acknowledged, added up in plain Python."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self.sum: Counter[str] = Counter()
        self.tags: dict[str, set[str]] = {}
        self.greatest: dict[str, int] = {}

    def add(self, key: str, value: int, tag: str) -> None:
        """One row."""
        self.count[key] += 1
        self.sum[key] += value
        self.tags.setdefault(key, set()).add(tag)
        self.greatest[key] = max(value, self.greatest.get(key, value))

    def totals(self) -> Totals:
        """Key → (n, total, tags, greatest)."""
        return {key: (self.count[key], self.sum[key], len(self.tags[key]), self.greatest[key]) for key in self.count}


def zipf_keys(random: Random, count: int) -> list[str]:
    """Keys of which the first has a fifth of all rows."""
    weights = [1 / (rank + 1) for rank in range(KEYS)]
    return [f"k{index}" for index in random.choices(range(KEYS), weights, k=count)]


def produce(stack: RunningStack, random: Random, ledger: Ledger) -> None:
    """A round of rows, acknowledged."""
    producer = Producer({"bootstrap.servers": stack.endpoints.kafka, "linger.ms": 20})
    for key in zipf_keys(random, ROWS_A_ROUND):
        value, tag = random.randrange(1_000_000), f"t{random.randrange(500)}"
        producer.produce("ods.skew_row", key=tag, value=json.dumps({"k": key, "v": value, "tag": tag}))
        ledger.add(key, value, tag)
        producer.poll(0)
    assert producer.flush(60) == 0


def stored(stack: RunningStack) -> Totals:
    """The newest row of each key in the OLAP store."""
    sql = "SELECT k, n, total, tags, greatest FROM skew_total FINAL FORMAT JSONEachRow"
    answer = httpx.post(stack.endpoints.olap, content=sql, trust_env=False, timeout=30).raise_for_status()
    rows = [json.loads(line) for line in answer.text.splitlines()]
    return {row["k"]: (int(row["n"]), int(row["total"]), int(row["tags"]), int(row["greatest"])) for row in rows}


def rows_counted(stack: RunningStack) -> int:
    """Rows that the job has counted and shown."""
    return sum(row[0] for row in stored(stack).values())


def test_no_row_is_lost_or_counted_twice(stack: RunningStack, tmp_path: Path) -> None:
    """Kill after kill, once the job counts again: at the end every key's count, sum, distinct count and maximum is right."""
    home, folder = stack.home.root, tmp_path / "skew"
    for path, text in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    headrace_json("table", "apply", str(folder), home=home)
    headrace_json("job", "deploy", str(folder), home=home)
    random, ledger = Random(SEED), Ledger()
    print(f"seed {SEED}, {KILLS} kills")
    for kill in range(KILLS):
        # Counted from the ledger and not from the store: a quick job has counted part of a round before the store can be asked.
        enough = sum(ledger.count.values()) + ROWS_A_ROUND // 2
        produce(stack, random, ledger)
        wait_until(lambda: rows_counted(stack) >= enough, timeout_s=PATIENCE_S, what=f"rows after kill {kill}")  # noqa: B023
        victim = f"taskmanager-{kill % 2 + 1}"
        stack.kill(victim)
        stack.wait_ready(victim)
    produce(stack, random, ledger)
    wanted = ledger.totals()
    wait_until(lambda: rows_counted(stack) >= sum(ledger.count.values()), timeout_s=PATIENCE_S, what="all rows")
    differing = {key: (stored(stack).get(key), row) for key, row in wanted.items() if stored(stack).get(key) != row}
    assert differing == {}
    headrace_json("job", "stop", "skew", "--no-savepoint", home=home)
