"""The HTTP face over fakes: routes, error bodies, limits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from litestar import Litestar
from litestar.di import Provide
from litestar.testing import TestClient
from tests.unit.platform_parts import CITY, make_parts, project_files

from headrace.console.api_catalog import EXCEPTION_HANDLERS, ROUTES, Services


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient[Litestar]]:
    """A client of the routes, without a daemon around."""
    parts = make_parts(tmp_path)
    services = Services(
        home=parts.home,
        clock=parts.clock,
        catalog=parts.catalog,
        journal=parts.journal,
        applier=parts.applier,
        host=parts.host,
        planner=parts.planner,
        reconciler=parts.reconciler,
        started_at_ms=0,
    )
    app = Litestar(
        list(ROUTES),
        dependencies={"services": Provide(lambda: services, sync_to_thread=False)},
        exception_handlers=EXCEPTION_HANDLERS,
        request_max_body_size=100_000,
    )
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def body(**extra: object) -> Any:
    """What the CLI sends for the small project."""
    return msgspec.to_builtins({"project": "shop", "files": project_files(), **extra})


def test_the_whole_life_of_a_project(client: TestClient[Litestar]) -> None:
    """Apply, list, show, deploy, list, show, stop, journal, query, status."""
    applied = client.post("/v1/tables:apply", json=body(dims=msgspec.to_builtins((CITY,))))
    assert (applied.status_code, [change["action"] for change in applied.json()["changes"]]) == (200, ["created"] * 3)
    assert [entry["table"]["name"] for entry in client.get("/v1/tables").json()] == ["orders", "totals"]
    assert client.get("/v1/tables/orders").json()["table"]["layer"] == "ods"
    deployed = client.post("/v1/jobs:deploy", json=body(pipeline="total", target="local")).json()
    assert (deployed["action"], deployed["state"]) == ("created", "running")
    assert [(job["name"], job["state"]) for job in client.get("/v1/jobs").json()] == [("total", "running")]
    assert client.get("/v1/jobs/total").json()["attempts"][0]["outcome"] == "open"
    assert client.post("/v1/query", json={"sql": "SELECT 1"}).json()["rows"] == [[1]]
    stopped = client.post("/v1/jobs/total:stop", json={"savepoint": True}).json()
    assert (stopped["state"], "savepoint-" in stopped["restore_path"]) == ("stopped", True)
    journal = client.get("/v1/journal?limit=2").json()
    assert [entry["action"] for entry in journal] == ["job.stop", "job.submit"]
    assert client.get("/v1/status").json()["driver"] == "ok"
    assert client.get("/healthz").json() == {"ok": True}


@pytest.mark.parametrize(
    ("method", "path", "sent", "status", "kind", "says"),
    [
        ("GET", "/v1/tables/none", None, 404, "NotFound", "no such table"),
        ("GET", "/v1/jobs/none", None, 404, "NotFound", "no such job"),
        ("GET", "/v1/nothing", None, 404, "NotFound", "no such path"),
        ("POST", "/v1/jobs/x:pause", {}, 404, "NotFound", "no such call"),
        ("POST", "/v1/jobs/x:stop", {}, 404, "NotFound", "no such job"),
        ("POST", "/v1/tables:apply", {"project": 1}, 400, "Invalid", "bad request"),
        ("POST", "/v1/tables:apply", {"project": "other", "files": []}, 200, "", ""),
        ("POST", "/v1/jobs:deploy", {"project": "a", "files": [], "pipeline": "x"}, 404, "NotFound", "no such pipeline"),
        ("POST", "/v1/query", {"sql": "x" * 200_000}, 413, "Invalid", "bad request"),
    ],
)  # fmt: skip
def test_errors_have_their_status_and_body(
    client: TestClient[Litestar], method: str, path: str, sent: object, status: int, kind: str, says: str
) -> None:
    """Every error is `{"error": …}` with the kind's status, also those of the framework."""
    answer = client.request(method, path, json=sent) if sent is not None else client.request(method, path)
    assert answer.status_code == status
    if kind:
        assert answer.json()["error"]["kind"] == kind
        assert says in answer.json()["error"]["message"]


def test_a_project_under_a_wrong_name_is_refused(client: TestClient[Litestar]) -> None:
    """The body's name and the file's must agree."""
    answer = client.post("/v1/tables:apply", json={**body(), "project": "else"})
    assert (answer.status_code, answer.json()["error"]["kind"]) == (400, "Invalid")
