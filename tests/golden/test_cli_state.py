"""What `headrace state inspect | query` prints for checkpoints that a real Flink wrote, and how it fails."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as parquet
import pytest
from rich.console import Console

from headrace.cli.main import app as cli
from headrace.cli.state_views import render_inspection, render_records
from headrace.state import find_state, inspect_checkpoint
from tests.golden.golden import check

FIXTURES = Path(__file__).parents[1] / "unit/state/fixtures"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command with the fixtures unpacked below DIR; gives exit code, stdout and stderr, the same on every machine."""
    for archive in FIXTURES.glob("*.zip"):
        with zipfile.ZipFile(archive) as content:
            content.extractall(tmp_path / archive.stem)
    (tmp_path / "some.zip").touch()

    def call(*words: str) -> tuple[int, str, str]:
        code = 0
        try:
            cli(["state", *(word.replace("DIR", str(tmp_path)) for word in words)])
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = (text.replace(str(tmp_path), "<dir>") for text in capsys.readouterr())
        return code, "\n".join(line.rstrip() for line in out.splitlines()), err

    return call


def test_a_look_into_savepoints(run: Run) -> None:
    """Inspection of readable and unreadable state, rows of every kind of state."""
    commands = [
        ("inspect", "DIR/sql-hashmap/canonical"),
        ("inspect", "DIR/python-rocksdb/checkpoint"),
        ("inspect", "DIR/python-slimbase/checkpoint"),
        (
            "query",
            "DIR/sql-hashmap/canonical",
            "--operator",
            "GroupAggregate",
            "--state",
            "distinctAcc_0",
            "--key",
            "Köln",
        ),
        ("query", "DIR/sql-hashmap/canonical", "--operator", "GlobalWindow", "--state", "window-aggs"),
        ("query", "DIR/sql-hashmap/canonical", "--operator", "GlobalWindow", "--state", "event_window"),
        ("query", "DIR/sql-hashmap/checkpoint", "--operator", "Join", "--state", "right-records", "--limit", "3"),
        ("query", "DIR/python-rocksdb/canonical", "--operator", "remember", "--state", "by_note", "--key", "Lima"),
        ("query", "DIR/sql-hashmap/canonical", "--operator", "Join", "--state", "left", "--key", "1200"),
    ]
    text = ""
    for words in commands:
        code, out, err = run(*words)
        assert code == 0, err
        text += f"$ headrace state {' '.join(words)}\n{out}\n{err}\n"
    check("cli/state.txt", text)


@pytest.mark.parametrize("width", [80, 140])
def test_a_terminal_folds_nothing_letter_by_letter(run: Run, tmp_path: Path, width: int) -> None:
    """Each width has its layout: serializers below their state, rows field below field, where they do not fit."""
    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, color_system=None, width=width, soft_wrap=True)
    for name in ("sql-hashmap/canonical", "sql-rocksdb/checkpoint"):
        render_inspection(inspect_checkpoint(tmp_path / name), console)
        console.print()
    for operator, state in (("GroupAgg", "accState"), ("Rank", "data-state"), ("Join", "left")):
        query = find_state(tmp_path / "sql-hashmap/canonical", operator=operator, state=state)
        render_records(query, list(query.records(limit=2)), console)
        console.print()
    lines = [line.rstrip() for line in drawn.getvalue().replace(str(tmp_path), "<dir>").splitlines()]
    assert max(map(len, lines)) <= width
    check(f"cli/state_{width}.txt", "\n".join(lines))


def test_stored_text_does_not_steer_the_terminal(run: Run, tmp_path: Path) -> None:
    """Control characters of values are shown as escapes; a row stays one line."""
    drawn = io.StringIO()
    query = find_state(tmp_path / "sql-hashmap/canonical", operator="Join", state="left")
    render_records(query, [{"key": {"f0": "a\x1b[2J"}, "value": "two\nlines [bold]"}], Console(file=drawn))
    assert drawn.getvalue().splitlines()[1:] == [r"a\x1b[2J  two\nlines [bold]"]


def test_a_reader_that_goes_away_is_no_bug(run: Run, tmp_path: Path) -> None:
    """`| head` ends the command quietly, with the exit code of SIGPIPE."""
    words = ["query", str(tmp_path / "sql-hashmap/canonical"), "--operator", "Join", "--state", "left", "--json"]
    command = [sys.executable, "-u", "-c", "from headrace.cli.main import app; app()", "state", *words]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_long_reads_say_how_far_they_are(run: Run, tmp_path: Path) -> None:
    """Bytes rise to all of them, for rows and for inspections."""
    folder = tmp_path / "sql-slimbase/checkpoint"
    heard: list[tuple[int, int]] = []
    inspect_checkpoint(folder, tell=lambda done, total: heard.append((done, total)))
    query = find_state(folder, operator="Join", state="left")
    seen: list[tuple[int, int]] = []
    assert len(list(query.records(tell=lambda done, total: seen.append((done, total))))) == 60
    for told in (heard, seen):
        assert told == sorted(told)
        assert len({total for _, total in told}) == 1
        assert told[-1][0] == told[-1][1]


def test_inspection_as_json(run: Run) -> None:
    """One object on the last line with everything that is printed."""
    code, out, _ = run("inspect", "DIR/sql-rocksdb/canonical", "--json")
    assert code == 0
    found = json.loads(out.splitlines()[-1])
    join = next(operator for operator in found["operators"] if operator["name"].startswith("Join"))
    assert [(state["name"], state["keys"]) for state in join["states"]] == [("left-records", 60), ("right-records", 60)]
    assert join["skew"]["key_groups"] == 200
    assert sum(join["skew"]["bars"]) == 120


def test_rows_as_json_lines(run: Run) -> None:
    """One object a line: decimals as text, bytes as hex."""
    code, out, _ = run("query", "DIR/sql-rocksdb/canonical", "--operator", "GroupAgg", "--state", "accState", "--json")
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert {row["key"]["f0"] for row in rows} >= {"Lima", "Köln"}
    assert next(row for row in rows if row["key"]["f0"] == "Lima")["value"]["f1"] == "381.00"


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_rows_as_columns(run: Run, tmp_path: Path, ending: str) -> None:
    """Types survive: decimals, texts, rows as structs; no rows give an empty file; nothing half-done stays."""
    target = tmp_path / f"rows.{ending}"
    words = (
        "query",
        "DIR/sql-rocksdb/canonical",
        "--operator",
        "GroupAgg",
        "--state",
        "accState",
        "--out",
        str(target),
    )
    assert run(*words)[0] == 0
    table = parquet.read_table(target) if ending == "parquet" else feather.read_table(target)
    assert table.num_rows == 5
    value = table.schema.field("value").type
    assert pa.types.is_decimal(value.field("f1").type)
    assert value.field("f1").type.precision == 38
    assert value.field("f0").type == pa.int64()
    assert run(*words, "--key", "nobody")[0] == 0
    assert [path.name for path in tmp_path.iterdir() if path.suffix not in {"", ".zip"}] == [target.name]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_folder", ("inspect", "DIR/gone")),
        ("no_checkpoint", ("inspect", "DIR/sql-hashmap/checkpoint/shared")),
        ("unknown_operator", ("query", "DIR/python-hashmap/canonical", "--operator", "rembember", "--state", "count")),
        (
            "unknown_state",
            ("query", "DIR/python-hashmap/canonical", "--operator", "remember", "--state", "python-state-cuont"),
        ),
        ("no_operator_named", ("query", "DIR/sql-hashmap/canonical")),
        ("no_state_named", ("query", "DIR/sql-hashmap/canonical", "--operator", "Join")),
        ("ambiguous_operator", ("query", "DIR/sql-hashmap/canonical", "--operator", "a", "--state", "accState")),
        (
            "key_of_wrong_type",
            ("query", "DIR/sql-hashmap/canonical", "--operator", "Join", "--state", "left", "--key", "nobody"),
        ),
        ("zipped", ("inspect", "DIR/some.zip")),
        ("native_rows", ("query", "DIR/sql-rocksdb/checkpoint", "--operator", "Join", "--state", "left-records")),
        (
            "format",
            ("query", "DIR/sql-hashmap/native", "--operator", "Join", "--state", "left", "--out", "DIR/rows.csv"),
        ),
    ],
)
def test_mistakes_get_a_sentence_and_a_hint(run: Run, name: str, words: tuple[str, ...]) -> None:
    """Exit code 1 or 2, one sentence, one hint."""
    code, out, err = run(*words)
    assert (code, out) == (1 if name == "native_rows" else 2, "")
    check(f"cli/error_state_{name}.txt", err)
