"""The guide "your first pipeline" does what it says: its own commands, typed one block after the other on a real stack."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cluster.running import RunningStack, headrace
from tests.waiting import wait_until

from headrace.core.home import HOME_ENV

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/guide/first-pipeline.md"
PATIENCE_S = 120
BLOCK_TIMEOUT_S = 240
pytestmark = pytest.mark.cluster


def blocks() -> list[str]:
    """What the page tells the reader to type, in order: its `sh` blocks."""
    return re.findall(r"^```sh\n(.*?)^```$", GUIDE.read_text(), flags=re.M | re.S)


class Shell:
    """One reader's shell: blocks run in the same folder and see the variables that earlier ones set."""

    def __init__(self, folder: Path, home: Path) -> None:
        self._folder, self._variables = folder, folder / "variables.sh"
        self._variables.write_text("")
        self._env = {**os.environ, HOME_ENV: str(home), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def type(self, block: str) -> str:
        """Run a block; fails with its words when a command of it fails. Returns what it printed."""
        script = f"set -e -o pipefail; . {self._variables}\n{block}\ndeclare -p GATEWAY OLAP > {self._variables} 2>/dev/null || true\n"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self._folder,
            env=self._env,
            capture_output=True,
            text=True,
            timeout=BLOCK_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.mark.timeout(900)
def test_the_guide_can_be_typed(stack: RunningStack, tmp_path: Path) -> None:
    """Every block succeeds; the table shows its columns, the rows are there, the job goes on from its savepoint."""
    (tmp_path / "apps").symlink_to(ROOT / "apps")
    shell = Shell(tmp_path, stack.home.root)
    folder, tables, show, pipeline, beacons, rows, change = blocks()
    shell.type(folder)
    shell.type(tables)
    assert "window_start_ms" in shell.type(show)
    assert "errors" in shell.type(pipeline)
    said = shell.type(beacons)
    assert stack.endpoints.gateway in said, "`headrace status` cuts addresses off in a pipe"
    wait_until(lambda: "none" in shell.type(rows), timeout_s=PATIENCE_S, what="rows of the guide's table", every_s=1)
    assert "restarted from savepoint" in shell.type(change)
    assert headrace("job", "stop", "errors", "--no-savepoint", home=stack.home.root).returncode == 0


def test_the_guides_mistake_is_answered_as_shown(stack: RunningStack, tmp_path: Path) -> None:
    """The error text on the page is what the command says of that mistake."""
    shown = re.search(r"^```text\n(.*?)^```$", GUIDE.read_text(), flags=re.M | re.S)
    assert shown
    (tmp_path / "apps").symlink_to(ROOT / "apps")
    shell = Shell(tmp_path, stack.home.root)
    shell.type(blocks()[0])
    declared = (
        blocks()[1].replace("window_start_ms BIGINT", "window_start_ms BIGIN").replace("headrace table apply hello", "")
    )
    shell.type(declared)
    result = headrace("table", "apply", str(tmp_path / "hello"), home=stack.home.root)
    assert result.returncode != 0
    assert shown.group(1).strip() in result.stdout + result.stderr
