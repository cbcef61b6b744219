"""A control plane over fakes: one stack's home, store, catalog, job host and reconciler, without a process."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from tests.unit.platform_fakes import FakeCluster, FakeDriver, FakeOlap, FakeTopics

from headrace.catalog.journal import Journal
from headrace.catalog.store import Store, open_store
from headrace.catalog.tables import TableCatalog
from headrace.connectors.external import Externals
from headrace.core.home import Endpoints, Home
from headrace.jobs.host import Deployed, JobHost
from headrace.jobs.planning import Planner
from headrace.jobs.realize import Realizer
from headrace.jobs.reconciler import Reconciler
from headrace.jobs.repository import JobRepository
from headrace.sql.apply import TableApplier
from headrace.sql.project import DimFile, Project, SourceFile, parse_project
from headrace.testing.fakes import FakeClock

ENDPOINTS = Endpoints(
    kafka="127.0.0.1:9092",
    flink="http://127.0.0.1:8081",
    redis="127.0.0.1:6379",
    olap="http://127.0.0.1:8123",
    headraced="http://127.0.0.1:8080",
    gateway="http://127.0.0.1:8090",
    steering="http://127.0.0.1:8091",
    driver="/nowhere/driver.sock",
)
PROJECT_TOML = 'name = "shop"\n[targets.local]\nparallelism = 2\n[dims]\ncity = "dims/city.csv"\n'
ORDERS = """CREATE TABLE orders (
  id STRING NOT NULL,
  amount BIGINT,
  ts_ms BIGINT NOT NULL
) WITH ('layer' = 'ods', 'system' = 'kafka', 'owner' = 'shop', 'retention' = '1 d', 'key' = 'id')
"""
TOTALS = """CREATE TABLE totals (
  id STRING NOT NULL,
  total BIGINT,
  PRIMARY KEY (id) NOT ENFORCED
) WITH ('layer' = 'dws', 'system' = 'clickhouse', 'owner' = 'shop')
"""
PIPELINE = "-- name: total\n-- tier: P0\nINSERT INTO totals SELECT id, SUM(amount) FROM orders GROUP BY id;\n"
CITY = DimFile("city", "city,region\nx,north\n", "dims/city.csv")


def project_files(**changed: str) -> tuple[SourceFile, ...]:
    """The files of a small project; a keyword `tables__orders` replaces `tables/orders.sql`, and so on."""
    files = {
        "headrace.toml": PROJECT_TOML,
        "tables/orders.sql": ORDERS,
        "tables/totals.sql": TOTALS,
        "pipelines/total.sql": PIPELINE,
    }
    for key, text in changed.items():
        files["headrace.toml" if key == "toml" else key.replace("__", "/") + ".sql"] = text
    return tuple(SourceFile(path, text) for path, text in files.items())


def small_project(**changed: str) -> Project:
    """The project of `project_files`."""
    return parse_project(project_files(**changed))


@dataclass
class Parts:
    """Everything that a test may want to look at or to break."""

    home: Home
    clock: FakeClock
    store: Store
    cluster: FakeCluster
    driver: FakeDriver
    topics: FakeTopics
    olap: FakeOlap
    catalog: TableCatalog
    journal: Journal
    jobs: JobRepository
    planner: Planner
    applier: TableApplier
    host: JobHost
    reconciler: Reconciler

    def reborn(self) -> Parts:
        """The same stack after the daemon was killed and started again: same disk, same cluster, new objects."""
        self.store.close()
        parts = make_parts(self.home.root, cluster=self.cluster, driver=self.driver, clock=self.clock)
        parts.topics.specs.update(self.topics.specs)
        parts.journal.close_cut_off()
        return parts

    def settle(self, rounds: int = 8) -> None:
        """Let the reconciler work, one second a round."""
        for _ in range(rounds):
            self.clock.advance(1.0)
            self.reconciler.step()


_IDS = itertools.count(1)


def make_parts(
    root: Path,
    *,
    cluster: FakeCluster | None = None,
    driver: FakeDriver | None = None,
    clock: FakeClock | None = None,
) -> Parts:
    """A control plane in `root`."""
    home, clock = Home(root), clock or FakeClock()
    store = open_store(home.database)
    cluster = cluster or FakeCluster(home)
    driver = driver or FakeDriver(cluster)
    topics, olap = FakeTopics(), FakeOlap()
    externals = Externals(topics, olap)
    catalog, journal, jobs = TableCatalog(store), Journal(store, clock), JobRepository(store)
    planner = Planner(
        driver=driver,
        catalog=catalog,
        endpoints=ENDPOINTS,
        home=home,
        job_config={"execution.checkpointing.interval": "1 s"},
        plans=home.data / "plans",
    )
    realizer = Realizer(
        jobs=jobs,
        journal=journal,
        driver=driver,
        cluster=cluster,
        planner=planner,
        home=home,
        clock=clock,
        new_flink_id=lambda: f"{next(_IDS):06x}".ljust(32, "0"),
    )
    host = JobHost(jobs=jobs, realizer=realizer, planner=planner, cluster=cluster, externals=externals, clock=clock)
    return Parts(
        home=home,
        clock=clock,
        store=store,
        cluster=cluster,
        driver=driver,
        topics=topics,
        olap=olap,
        catalog=catalog,
        journal=journal,
        jobs=jobs,
        planner=planner,
        applier=TableApplier(driver, catalog, journal, externals, home, clock),
        host=host,
        reconciler=Reconciler(host, clock),
    )


def deployed(parts: Parts, *, pipeline: str = PIPELINE, fresh: bool = False) -> Deployed:
    """Apply and deploy the small project, one second later."""
    parts.clock.advance(1.0)
    project = small_project(pipelines__total=pipeline)
    parts.applier.apply(project, (CITY,), actor="test")
    return parts.host.deploy(project, project.pipeline("total"), target=project.target("local"), fresh=fresh)
