"""The test runner: what is repeated, what that changes, and that it hides nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from test_all import Group, Outcome, maven_counts, pytest_counts, run_group

ONCE = """
from pathlib import Path
def test_steady(): pass
def test_shaky():
    mark = Path(__file__).with_suffix(".mark")
    before = mark.exists()
    mark.touch()
    assert before, "fell over"
"""
FIXTURE_TOO = """
from pathlib import Path
import pytest
MARK = Path(__file__).with_suffix(".mark")
@pytest.fixture
def clean():
    before = MARK.exists()
    MARK.touch()
    yield before
    assert before, "left behind"
def test_steady(): pass
def test_shaky(clean): assert clean, "left behind"
"""
NEVER = "def test_steady(): pass\ndef test_broken(): assert False, 'is broken'\n"
MANY = NEVER + "".join(f"def test_{i}(): assert False\n" for i in range(3))
LAST_FAILED = ("--last-failed", "--last-failed-no-failures", "none")


def outcome(folder: Path, tests: str, *, repeat: bool = True) -> Outcome:
    """Of a group with those tests."""
    path = folder / "test_it.py"
    path.write_text(tests)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "--rootdir", str(folder), str(path)]
    return run_group(Group("it", command, pytest_counts, repeat=LAST_FAILED if repeat else ()))


def test_what_passes_when_repeated_is_named(tmp_path: Path) -> None:
    """The group is well, and what the test said the first time is kept."""
    found = outcome(tmp_path, ONCE)
    assert (found.well, found.unstable) == (True, 1)
    assert found.counts == {"passed": 2, "failed": 0, "error": 0}
    assert any("fell over" in line for line in found.telling)


def test_a_test_and_its_fixture_are_one(tmp_path: Path) -> None:
    """What was left behind fails the test, and then its fixture: two words of pytest, one test to repeat."""
    found = outcome(tmp_path, FIXTURE_TOO)
    assert (found.well, found.unstable) == (True, 1)
    assert found.counts == {"passed": 2, "failed": 0, "error": 0}


def test_what_fails_again_fails(tmp_path: Path) -> None:
    """A second try does not help what is broken."""
    found = outcome(tmp_path, NEVER)
    assert (found.well, found.unstable, found.counts) == (False, 0, {"passed": 1, "failed": 1})


@pytest.mark.parametrize(("tests", "repeat", "runs"), [(ONCE, False, 1), (MANY, True, 1), (NEVER, True, 2)])
def test_what_is_repeated(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], tests: str, repeat: bool, runs: int
) -> None:
    """Groups that say so, and few failures only."""
    assert not outcome(tmp_path, tests, repeat=repeat).well
    assert capfd.readouterr().out.count("short test summary info") == runs


def test_sums_of_surefire() -> None:
    """Sums of modules with and without tests that were repeated; lines of classes do not count."""
    lines = [
        "[INFO] Tests run: 3, Failures: 0, Errors: 0, Skipped: 0, Time elapsed: 1.1 s -- in io.headrace.ATest\n",
        "[WARNING] Tests run: 12, Failures: 0, Errors: 0, Skipped: 2, Flakes: 1\n",
        "[ERROR] Tests run: 5, Failures: 1, Errors: 1, Skipped: 0\n",
    ]
    assert maven_counts(lines) == {"passed": 13, "failed": 1, "error": 1, "skipped": 2}


def test_temporary_files_of_a_group_go_with_it(tmp_path: Path) -> None:
    """What a command leaves in the folder that it is given does not outlive it; it has one of its own each time."""
    told = tmp_path / "told.txt"
    writes = (
        "import sys; from pathlib import Path; folder = Path(sys.argv[-1].partition('=')[2]); "
        f"(folder / 'left').touch(); Path({str(told)!r}).write_text(str(folder)); print('1 passed')"
    )
    found = run_group(Group("it", [sys.executable, "-c", writes], pytest_counts, scratch="-Dtest.tmp="))
    assert (found.well, found.counts) == (True, {"passed": 1})
    assert not Path(told.read_text()).exists()
