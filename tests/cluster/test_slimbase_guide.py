"""The guide `docs/guide/slimbase.md` is run as it stands: a plain PyFlink job, two settings and one jar."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from headrace.stack.assets import find_assets
from headrace.stack.jdk import choose_jdk, system_jdks

GUIDE = Path(__file__).parents[2] / "docs/guide/slimbase.md"
pytestmark = pytest.mark.cluster


@pytest.mark.timeout(280)
def test_a_plain_job_runs_by_the_guide(tmp_path: Path) -> None:
    """The page's Python block ends well in an embedded cluster, and its state went through SlimBase."""
    (block,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), flags=re.S)
    script = tmp_path / "job.py"
    script.write_text(block, "utf-8")
    jar = next(jar for jar in find_assets().jars("headrace") if jar.name == "headrace-slimbase.jar")
    env = {
        **os.environ,
        "SLIMBASE_JAR": str(jar),
        "CHECKPOINTS": str(tmp_path / "checkpoints"),
        "JAVA_HOME": str(choose_jdk("", env=os.environ, installed=system_jdks()).home),
        "JVM_ARGS": "-Xmx512m -XX:+UseSerialGC",
        "FLINK_LOG_DIR": str(tmp_path),
    }
    command = [str(find_assets().runtime_python), str(script)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path, timeout=270, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "done"
    logs = done.stdout + done.stderr + "".join(path.read_text("utf-8", "replace") for path in tmp_path.glob("*.log"))
    assert "backend built, operator" in logs
