"""The stack that cluster tests share: started once per session in a temporary home, checked to be gone at the end."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest
from tests.cluster.running import RunningStack, end_stack, start_stack

from headrace.core.clock import SystemClock
from headrace.flink.driver_client import DriverClient
from headrace.flink.rest import FlinkRest
from headrace.stack.options import StackOptions
from headrace.stack.specs import available_names


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A full stack; tests use their own topics, keys and tables in it."""
    home = tmp_path_factory.mktemp("stack")
    try:
        yield start_stack(home, available_names(StackOptions()))
    finally:
        end_stack(home)


@pytest.fixture(scope="module")
def client(stack: RunningStack) -> Iterator[DriverClient]:
    """A client of the stack's driver."""
    stack.wait_ready("driver", "jobmanager", "taskmanager-1")
    with DriverClient(stack.home.driver_socket) as client:
        yield client


@pytest.fixture(scope="module")
def flink(stack: RunningStack) -> Iterator[FlinkRest]:
    """A client of the stack's JobManager."""
    with FlinkRest(stack.endpoints.flink, SystemClock()) as flink:
        yield flink


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test that uses the shared stack is a cluster test."""
    for item in items:
        if "stack" in getattr(item, "fixturenames", ()):
            item.add_marker("cluster")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test says how its stack is: on a machine that is gone afterwards there is nobody to look at logs."""
    report = yield
    running = getattr(item, "funcargs", {}).get("stack")
    if report.failed and isinstance(running, RunningStack):
        report.sections.append(("stack", "\n".join(f"stack: {line}" for line in running.diagnosis())))
    return report
