"""`headrace bench NAME`: run one of the scripts in bench/, one per published number."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import cyclopts

from headrace.cli.face import Face, run
from headrace.core.errors import NotFound, nearest
from headrace.stack.assets import find_assets

JsonOption = Annotated[bool, cyclopts.Parameter(name="--json", negative="", help="one JSON object on the last line")]
QuickOption = Annotated[bool, cyclopts.Parameter(name="--quick", negative="", help="fewer repeats, at most 10 minutes")]
TiersOption = Annotated[
    bool,
    cyclopts.Parameter(
        name="--tiers", negative="", help="of `state`: state larger than memory; may limit memory (root)"
    ),
]


def register(app: cyclopts.App) -> None:
    """Add `bench`."""
    app.command(bench)


def bench(
    name: Annotated[str, cyclopts.Parameter(help="live-quality, gateway, olap, …")],
    /,
    *,
    as_json: JsonOption = False,
    quick: QuickOption = False,
    tiers: TiersOption = False,
) -> None:
    """Measure one published number and print it."""
    flags = [flag for flag, wanted in (("--json", as_json), ("--quick", quick), ("--tiers", tiers)) if wanted]
    # The script prints its own result; the face only reports what keeps it from running.
    run(lambda face: _bench(face, name, flags))


def _bench(face: Face, name: str, flags: list[str]) -> None:
    folder = find_assets().root / "bench"
    script = folder / f"{name.replace('-', '_')}.py"
    if not script.is_file():
        known = sorted(path.stem.replace("_", "-") for path in folder.glob("*.py") if _is_bench(path))
        raise NotFound(
            "no such bench",
            context={"name": name},
            hint=f"did you mean {', '.join(nearest(name, known)) or ', '.join(known)}?",
        )
    code = subprocess.run([sys.executable, str(script), *flags], check=False).returncode
    if code != 0:
        face.say(f"the bench ended with code {code}")
        raise SystemExit(code)


def _is_bench(path: Path) -> bool:
    return "--json" in path.read_text("utf-8")
