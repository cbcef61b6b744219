"""The Python examples of docs/guide/state.md run."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from tests.unit.state.conftest import Unpack

GUIDE = Path(__file__).resolve().parents[3] / "docs/guide/state.md"


def examples() -> list[str]:
    """The page's Python blocks, in order."""
    return re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)


def test_reading_a_savepoint(unpack: Unpack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inspect, then the largest value of a state."""
    shutil.copytree(unpack("sql-hashmap") / "canonical", tmp_path / "savepoint-7d0c21-5d3f0a")
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    exec(examples()[0], scope)
    assert scope["largest"]


def test_the_embedded_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Put, append, delete, checkpoint, restore; where the native module is built."""
    pytest.importorskip("headrace.state._slimbase")
    monkeypatch.chdir(tmp_path)
    exec(examples()[1], {})
    assert capsys.readouterr().out == "b'Porto' [b'stalled'] 998\n"
