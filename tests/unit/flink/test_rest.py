from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from headrace.core.errors import Conflict, HeadraceError, Internal, Invalid, NotFound, Unavailable
from headrace.flink.rest import FlinkRest
from headrace.testing.fakes import FakeClock

JOB = "a" * 32
VERTEX = "b" * 32


def rest(answers: Callable[[httpx.Request], httpx.Response], clock: FakeClock | None = None) -> FlinkRest:
    """A client of a JobManager that answers as told."""
    return FlinkRest("http://flink:1", clock or FakeClock(), transport=httpx.MockTransport(answers))


def always(value: object, status: int = 200) -> FlinkRest:
    """A client whose every question gets `value`."""
    return rest(lambda _: httpx.Response(status, json=value))


def test_unknown_metrics_are_none() -> None:
    """NaN (a legacy source's busy ratio), missing rows and the lowest possible watermark all mean: unknown."""
    lowest = str(-(2**63))

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/watermarks"):
            return httpx.Response(
                200,
                json=[
                    {"id": "0.currentInputWatermark", "value": "1000"},
                    {"id": "1.currentInputWatermark", "value": lowest},
                ],
            )
        return httpx.Response(
            200,
            json=[
                {"id": "busyTimeMsPerSecond", "max": "NaN", "sum": "NaN"},
                {"id": "numRecordsInPerSecond", "max": 3.0, "sum": 5.0},
            ],
        )

    load = rest(answer).vertex_load(JOB, VERTEX)
    assert (load.busy_ratio, load.backpressured_ratio, load.watermark_ms) == (None, None, None)
    assert load.records_in_per_s == 5.0


def test_ratios_are_of_the_busiest_subtask() -> None:
    """Ms per second become ratios; the watermark is the lowest."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/watermarks"):
            return httpx.Response(200, json=[{"id": "0.x", "value": "2000"}, {"id": "1.x", "value": "1000"}])
        return httpx.Response(200, json=[{"id": "busyTimeMsPerSecond", "max": 500.0, "sum": 700.0}])

    load = rest(answer).vertex_load(JOB, VERTEX)
    assert (load.busy_ratio, load.watermark_ms) == (0.5, 1000)


def test_failures_are_newest_first_with_labels_and_a_summary() -> None:
    """The summary is the deepest cause, without the frames."""
    stack = "java.lang.RuntimeException: outer\n\tat a.b(C.java:1)\nCaused by: java.io.IOException: disk full\n\tat d.e(F.java:2)\n"
    entry = {
        "exceptionName": "java.lang.RuntimeException",
        "stacktrace": stack,
        "timestamp": 5,
        "taskName": "t",
        "failureLabels": {"type": "disk"},
    }
    failure = always({"exceptionHistory": {"entries": [entry], "truncated": False}}).failures(JOB)[0]
    assert failure.summary == "java.io.IOException: disk full"
    assert (failure.labels, failure.at_ms, failure.task) == ({"type": "disk"}, 5, "t")
    assert always({"exceptionHistory": {"entries": []}, "status": {"id": "IN_PROGRESS"}}).failures(JOB) == ()


def test_a_job_that_failed_before_it_ran_says_why() -> None:
    """Without an exception history, the job's result is asked."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/exceptions"):
            return httpx.Response(200, json={"exceptionHistory": {"entries": [], "truncated": False}})
        if request.url.path.endswith("/execution-result"):
            cause = {"class": "x.Failed", "stack-trace": "x.Failed: cannot map state\n\tat y"}
            return httpx.Response(
                200, json={"status": {"id": "COMPLETED"}, "job-execution-result": {"failure-cause": cause}}
            )
        return httpx.Response(
            200, json={"jid": JOB, "name": "j", "state": "FAILED", "start-time": 1, "end-time": 9, "duration": 8}
        )

    failure = rest(answer).failures(JOB)[0]
    assert (failure.summary, failure.at_ms) == ("x.Failed: cannot map state", 9)


def test_checkpoints_without_any() -> None:
    """A job that has made none yet has counts of zero and no latest."""
    found = always(
        {
            "counts": {"restored": 0, "total": 0, "in_progress": 0, "completed": 0, "failed": 0},
            "latest": {"completed": None},
            "history": [],
        }
    ).checkpoints(JOB)
    assert found.latest.completed is None
    assert found.counts.total == 0


def savepoint(*states: dict[str, object]) -> Callable[[httpx.Request], httpx.Response]:
    """A JobManager that goes through `states` when polled."""
    left = list(states)

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(202, json={"request-id": "c" * 32})
        return httpx.Response(200, json=left.pop(0) if len(left) > 1 else left[0])

    return answer


IN_PROGRESS: dict[str, object] = {"status": {"id": "IN_PROGRESS"}}


def test_stop_with_savepoint_polls_until_the_path_is_there() -> None:
    """The path of the finished savepoint is returned."""
    clock = FakeClock()
    done = {"status": {"id": "COMPLETED"}, "operation": {"location": "file:/s/1"}}
    assert rest(savepoint(IN_PROGRESS, IN_PROGRESS, done), clock).stop_with_savepoint(JOB, "file:///s") == "file:/s/1"
    assert len(clock.sleeps) == 2


@pytest.mark.parametrize(
    ("trace", "kind", "words"),
    [
        ("x.CheckpointException: Trigger failure\nCaused by: java.io.IOException: Failed to create savepoint directory\n\tat y", Unavailable, "savepoint failed: Failed to create savepoint directory"),
        ("org.apache.flink.runtime.messages.FlinkJobNotFoundException: Could not find Flink job (a)", NotFound, "job has ended"),
    ],
)  # fmt: skip
def test_a_failed_savepoint_says_why(trace: str, kind: type[HeadraceError], words: str) -> None:
    """The deepest cause is the message; a job that ended meanwhile is not found."""
    failed = {"status": {"id": "COMPLETED"}, "operation": {"failure-cause": {"class": "x", "stack-trace": trace}}}
    with pytest.raises(kind, match=words):
        rest(savepoint(failed)).savepoint(JOB, "file:///s")


def test_a_savepoint_that_takes_too_long_is_given_up() -> None:
    """The wait has a bound; the job is not touched."""
    with pytest.raises(Unavailable, match="did not finish in time"):
        rest(savepoint(IN_PROGRESS)).savepoint(JOB, "file:///s", timeout_s=1)


@pytest.mark.parametrize(
    ("status", "errors", "kind"),
    [
        (404, ["org.apache.flink.runtime.rest.NotFoundException: Job x not found"], NotFound),
        (
            409,
            ["Job cancellation failed because the job has already reached another terminal state (FINISHED)."],
            Conflict,
        ),
        (400, ["Bad request: cannot resolve path parameter"], Invalid),
        (503, ["Service temporarily unavailable due to an ongoing leader election. Please refresh."], Unavailable),
        (500, ["java.lang.IllegalStateException: oops\n\tat x"], Internal),
        (500, ["org.apache.flink.runtime.messages.FlinkJobNotFoundException: Could not find Flink job (x)"], NotFound),
    ],
)
def test_refusals_are_told_apart(status: int, errors: list[str], kind: type[HeadraceError]) -> None:
    """Each status becomes its kind, without a stack trace in the message."""
    with pytest.raises(kind) as caught:
        always({"errors": errors}, status).job(JOB)
    assert "\tat" not in caught.value.message
    assert caught.value.context["status"] == str(status)


def test_no_jobmanager_is_unavailable_with_a_hint() -> None:
    """A refused connection points at the status command."""

    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    with pytest.raises(Unavailable, match="flink does not answer") as caught:
        rest(refuse).overview()
    assert "headrace status" in caught.value.hint


def test_an_answer_of_another_flink_is_said_so() -> None:
    """A shape that we do not know is our problem, and the hint names the version."""
    with pytest.raises(Internal, match="something unexpected"):
        always({"taskmanagers": "many"}).overview()


def test_names_of_metrics_are_asked_for_in_parts() -> None:
    """A request line has a bound, so many names become several questions."""
    asked: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        names = request.url.params["get"].split(",")
        asked.append(len(names))
        return httpx.Response(200, json=[{"id": name, "value": "1"} for name in names])

    assert len(rest(answer).job_metrics(JOB, [f"m{i}" for i in range(90)])) == 90
    assert asked == [40, 40, 10]
