"""What `table`, `job` and `journal` print, and how they fail: over real HTTP to the real routes, with fakes behind them."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import uvicorn
from litestar import Litestar
from litestar.di import Provide

from headrace.cli.main import app as cli
from headrace.console.api_catalog import EXCEPTION_HANDLERS, ROUTES, Services
from headrace.core.home import StackInfo
from tests.golden.golden import check
from tests.unit.platform_parts import CITY, ENDPOINTS, PIPELINE, TOTALS, Parts, make_parts, project_files
from tests.waiting import wait_until

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    """A control plane over fakes that listens, with a `stack.json` that says where."""
    parts = make_parts(tmp_path / "home")
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
    )
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, timeout_s=20, what="the server")
    port = server.servers[0].sockets[0].getsockname()[1]
    endpoints = msgspec.structs.replace(ENDPOINTS, headraced=f"http://127.0.0.1:{port}")
    stack = StackInfo(home=str(parts.home.root), supervisor_pid=1, started_at_ms=0, endpoints=endpoints)
    parts.home.stack_file.write_bytes(msgspec.json.encode(stack))
    yield parts
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def run(parts: Parts, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in a small project's folder; gives exit code and all output, made the same on every machine."""

    def call(*words: str, **changed: str) -> tuple[int, str]:
        folder = tmp_path / "shop"
        for file in (*project_files(**changed),):
            (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
            (folder / file.path).write_text(file.text)
        (folder / "dims").mkdir(exist_ok=True)
        (folder / "dims/city.csv").write_text(CITY.text)
        code = 0
        try:
            cli([*(word.replace("DIR", str(folder)) for word in words), "--home", str(parts.home.root)])
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = capsys.readouterr()
        text = (out + err).replace(str(tmp_path), "<tmp>")
        text = re.sub(r"\b[0-9a-f]{32}\b", "<flink id>", text)
        return code, re.sub(r"savepoint-[0-9a-f]{6}-", "savepoint-<id>-", text)

    return call


def test_a_day_with_the_commands(run: Run) -> None:
    """Every command's output for people, in the order in which a newcomer meets them."""
    commands = [
        ("table", "list"),
        ("job", "list"),
        ("table", "apply", "DIR"),
        ("table", "apply", "DIR"),
        ("table", "list"),
        ("table", "show", "orders"),
        ("job", "deploy", "DIR"),
        ("job", "list"),
        ("job", "stop", "total"),
        ("job", "show", "total"),
        ("journal",),
    ]
    text = ""
    for words in commands:
        code, output = run(*words)
        assert code == 0, output
        text += f"$ headrace {' '.join(words)}\n{output}\n"
    check("cli/day.txt", "\n".join(line.rstrip() for line in text.splitlines()))


def test_json_is_one_object_on_the_last_line(run: Run) -> None:
    """Machines read the last line of stdout."""
    for words in (("table", "apply", "DIR"), ("job", "deploy", "DIR"), ("job", "stop", "total")):
        code, output = run(*words, "--json")
        assert code == 0
        assert isinstance(json.loads(output.strip().splitlines()[-1]), dict)
    assert json.loads(run("table", "list", "--json")[1])[0]["table"]["name"] == "orders"


@pytest.mark.parametrize(
    ("name", "words", "changed"),
    [
        ("syntax_error", ("table", "apply", "DIR"), {"tables__totals": TOTALS.replace("total BIGINT", "total BROKEN")}),
        ("unknown_layer", ("table", "apply", "DIR"), {"tables__totals": TOTALS.replace("'dws'", "'dwz'")}),
        ("unknown_system", ("table", "apply", "DIR"), {"tables__totals": TOTALS.replace("clickhouse", "clickhose")}),
        ("two_tables", ("table", "apply", "DIR"), {"tables__again": TOTALS}),
        ("bad_head", ("job", "deploy", "DIR"), {"pipelines__total": PIPELINE.replace("tier", "teir")}),
        ("two_pipelines", ("job", "deploy", "DIR"), {"pipelines__total2": PIPELINE}),
        ("unknown_table", ("job", "deploy", "DIR"), {"pipelines__total": PIPELINE.replace("orders", "ordres")}),
        ("unknown_pipeline", ("job", "deploy", "DIR", "totla"), {}),
        ("unknown_target", ("job", "deploy", "DIR", "--target", "prod"), {}),
        ("unknown_job", ("job", "stop", "totla"), {}),
        ("no_project", ("table", "apply", "DIR/tables"), {}),
    ],
)
def test_mistakes_get_a_sentence_a_place_and_a_hint(
    run: Run, name: str, words: tuple[str, ...], changed: dict[str, str]
) -> None:
    """Exit code 2, one sentence with the place, one hint; nothing half-done is left."""
    assert run("table", "apply", "DIR")[0] == 0
    code, output = run(*words, **changed)
    assert code == 2, output
    check(f"cli/error_{name}.txt", output)


def test_without_a_stack_the_way_to_one_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No stack in the home: exit code 1 and `headrace up`."""
    with pytest.raises(SystemExit) as ended:
        cli(["table", "list", "--home", str(tmp_path)])
    assert ended.value.code == 1
    assert "hint: start one: `headrace up`" in capsys.readouterr().err
