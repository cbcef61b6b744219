"""The page STYLE says what we agreed on; these tests check the part of it that a machine can check."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 1000
SOURCES = ("src", "runtimes", "scripts", "bench")


def _tracked(*suffixes: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in listed.stdout.splitlines() if name.endswith(suffixes) and (ROOT / name).is_file()]


def _modules(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    for path in _tracked(".py"):
        if path.relative_to(ROOT).parts[0] in folders:
            yield path, ast.parse(path.read_text())


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def test_functions_and_files_are_short() -> None:
    """No function is over 70 lines and no file over 1,000."""
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for path, tree in _modules(*SOURCES)
        for node in _functions(tree)
        if node.end_lineno and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    endings = (".py", ".ts", ".java", ".rs")
    counts = ((path, len(path.read_text().splitlines())) for path in _tracked(*endings) if "tests" not in path.parts)
    long += [f"{path.relative_to(ROOT)} has {count} lines" for path, count in counts if count > FILE_LINES_MAX]
    assert long == []


def test_public_items_have_docstrings() -> None:
    """Every module, public class and public function says what it is."""
    missing = []
    for path, tree in _modules("src", "runtimes", "scripts"):
        if not ast.get_docstring(tree):
            missing.append(f"{path.relative_to(ROOT)} (module)")
        public = [n for n in tree.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))]
        public += [
            m
            for c in public
            if isinstance(c, ast.ClassDef)
            for m in c.body
            if isinstance(m, (ast.FunctionDef, ast.AsyncFunctionDef))
        ]
        missing += [
            f"{path.relative_to(ROOT)}:{n.lineno} {n.name}"
            for n in public
            if not n.name.startswith("_") and not ast.get_docstring(n)
        ]
    assert missing == []


def test_tests_say_what_must_hold() -> None:
    """Every test function has a docstring."""
    missing = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path, tree in _modules("tests")
        for node in _functions(tree)
        if node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert missing == []


def test_no_drawers_and_no_todo() -> None:
    """There is no utils.py, and no TODO without an issue."""
    drawers = [
        str(path.relative_to(ROOT)) for path in _tracked(".py") if path.name in {"utils.py", "helpers.py", "misc.py"}
    ]
    word = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b(?!\(#\d+\))")
    here = Path(__file__).name
    left = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in _tracked(".py", ".ts", ".java", ".sql")
        if path.name != here
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if word.search(line)
    ]
    assert drawers + left == []


def test_no_sleep_in_tests() -> None:
    """Tests poll with a deadline (tests/waiting.py) or move a fake clock; they never just sleep."""
    sleeping = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in _tracked(".py")
        if path.relative_to(ROOT).parts[0] == "tests" and path.name not in {"waiting.py", Path(__file__).name}
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"\b(time|asyncio)\.sleep\(", line)
    ]
    assert sleeping == []


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "README.md"])
def test_pages_name_files_that_exist(page: str) -> None:
    """Architecture text does not rot: every path in backticks is there."""
    text = (ROOT / page).read_text()
    named = re.findall(r"`((?:src|apps|java|runtimes|docs|tests|bench|console|scripts)/[^`\s*{}<>]*)`", text)
    assert named, f"{page} names no files"
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_no_machine_paths_or_registry_hosts() -> None:
    """Nothing tracked knows the machine it was written on, or a registry's address."""
    hosts = (
        "pypi" + ".org",
        "repo1.maven" + ".org",
        "repo.maven" + ".apache.org",
        "registry.npmjs" + ".org",
        "files.python" + "hosted.org",
        "static.crates" + ".io",
    )
    found = []
    for path in _tracked(""):
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {word}" for word in (*hosts, str(ROOT) + "/") if word in text]
    assert found == []
