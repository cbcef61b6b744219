"""State for hours: what is judged of its windows, and that each rule can fail."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from panel_plot import Panel, render_panels
from state_hours import STALL_MS, NoRoom, Verdict, judge, mean, parse, parts, size_gb, windows_of
from state_hours_report import render_report

GIB = 1 << 30
DONE = {"end": "done"}


def lines(count: int = 20, **changes: Any) -> list[dict[str, Any]]:
    """A load and windows of a steady run; `changes` gives a figure by the window's number."""
    steady: dict[str, Any] = {
        "wall_s": 60.0,
        "operations": 600_000,
        "changed_bytes": 10**9,
        "written_bytes": 6 * 10**9,
        "live_bytes": 10**10,
        "local_bytes": 2 * 10**10,
        "checkpoint_bytes": 25 * 10**9,
        "resident_bytes": 5 * GIB // 4,
        "longest_ms": 300.0,
    }
    windows = []
    for number in range(count):
        figures = {name: value(number) for name, value in changes.items()}
        windows.append({"phase": f"window_{number}", "row_count": number * 600, **steady, **figures})
    return [{"phase": "load"}, *windows, {"phase": "check"}]


def failures(verdicts: list[Verdict]) -> list[str]:
    """First words of what does not hold."""
    return [verdict.what.split()[0] for verdict in verdicts if not verdict.holds]


def test_steady_run_holds() -> None:
    """Nothing grows, nothing fails."""
    verdicts = judge(windows_of(lines(), 60), DONE, GIB, STALL_MS)
    assert failures(verdicts) == []
    assert len(verdicts) == 9


@pytest.mark.parametrize(
    ("name", "of_window", "failing"),
    [
        ("resident_bytes", lambda i: 5 * GIB // 4 + i * (8 << 20), ["resident_bytes"]),
        ("resident_bytes", lambda i: 4 * GIB if i == 3 else GIB, ["process"]),
        ("local_bytes", lambda i: 2 * 10**9 + i * 15 * 10**8, ["local_share"]),
        ("local_bytes", lambda i: 10**11 if i == 0 else 10**10, ["local_share"]),
        ("checkpoint_bytes", lambda i: 2 * 10**9 + i * 15 * 10**8, ["checkpoint_share"]),
        ("written_bytes", lambda i: 10**9 + i * 2 * 10**8, ["written_per_changed"]),
        ("longest_ms", lambda i: 1_001.0 if i == 7 else 5.0, ["no"]),
    ],
)
def test_what_grows_is_found(name: str, of_window: Any, failing: list[str]) -> None:
    """Each figure that may grow has a rule that says so, and no other rule does."""
    verdicts = judge(windows_of(lines(**{name: of_window}), 60), DONE, GIB, STALL_MS)
    assert failures(verdicts) == failing


def test_wrong_state_and_short_runs_fail() -> None:
    """A run that did not come to its end fails whatever its figures are, and so does one with nothing to compare."""
    assert failures(judge(windows_of(lines(), 60), {"end": "failed", "message": "wrong state"}, GIB, None)) == ["came"]
    assert failures(judge(windows_of(lines(3), 60), DONE, GIB, None)) == ["at"]


def test_rows_live_as_long_as_they_may() -> None:
    """Live bytes count rows of the last time to live, not all that ever came."""
    window = windows_of(lines(2), 60)[1]
    assert window["live_bytes"] == 10**10 + 600 * 108


def test_bytes_written_are_compared_by_sums() -> None:
    """A window in which little changed does not outweigh the others."""
    windows = [{"written_bytes": 10, "changed_bytes": 1}, {"written_bytes": 90, "changed_bytes": 99}]
    assert mean(windows, "written_per_changed") == 1.0
    before, last = parts([{"at": i} for i in range(10)])
    assert [one["at"] for one in before] == [2, 3, 4, 5, 6, 7]
    assert [one["at"] for one in last] == [8, 9]


def test_files_that_shrink_again_have_not_grown() -> None:
    """Files grow until they are merged; it is the height that they come to that must not grow."""
    sawtooth = lines(local_bytes=lambda i: 10**10 + i % 10 * 2 * 10**9)
    assert failures(judge(windows_of(sawtooth, 60), DONE, GIB, None)) == []


def test_size_and_time_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts `make test-long` sets them there."""
    monkeypatch.setenv("SLIMBASE_STATE_GB", "2.5")
    monkeypatch.setenv("SLIMBASE_STATE_MINUTES", "7")
    options = parse([])
    assert (options.gb, options.minutes, options.managed_gib) == (2.5, 7, 1.0)


def test_state_is_as_large_as_the_disk_allows() -> None:
    """Files and checkpoints are several times the state; a size that was asked for is not made smaller without a word."""
    assert size_gb(None, 600 * 10**9) == 20.0
    assert size_gb(None, 60 * 10**9) == 10.0
    assert size_gb(0.5, 60 * 10**9) == 0.5
    assert size_gb(None, 60 * 10**9, share=4.0) == 15.0
    with pytest.raises(NoRoom, match="needed_gb=120"):
        size_gb(20.0, 60 * 10**9)
    with pytest.raises(NoRoom, match="needed_gb=6"):
        size_gb(None, 10**9)


SVG = "{http://www.w3.org/2000/svg}"


def report(windows: list[dict[str, Any]]) -> dict[str, str]:
    """Page and chart of a run."""
    setup = {
        "state_gb": 20.0,
        "budget_bytes": GIB,
        "limit_bytes": 2 * GIB,
        "free_bytes": 8 * 10**10,
        "is_little_disk": True,
        "checkpoint_s": 10,
    }
    machine = {"cores": 2, "memory_gib": 24, "java": "17"}
    verdicts = [vars(Verdict("process holds at most 1664 MiB: 1700", False))]
    load = {"operations": 185_000_000, "wall_s": 344.2}
    return render_report(
        {"setup": {**setup, "ttl_s": 60}, "machine": machine, "load": load, "windows": windows, "verdicts": verdicts}
    )


def steady(count: int) -> list[dict[str, Any]]:
    """Windows with all figures that a report has."""
    more = {
        "runs_most": 20,
        "waited_ms": 0,
        "p99_below_ns": 262_144,
        "p9999_below_ns": 4_194_304,
        "checkpoint_ms_longest": 1_500.0,
        "disk_read_ms": 0.1,
    }
    return [{**window, **more} for window in windows_of(lines(count), 60)]


def test_report_leaves_out_no_window() -> None:
    """The slowest operation is on the page whichever window had it, rows cover all windows, and what failed says so."""
    windows = steady(31)
    windows[17]["longest_ms"] = 1_290.0
    page = report(windows)["state-hours.md"]
    assert "**1,290 ms**, 1 of 31 windows" in page
    rows = [line for line in page.splitlines() if line.startswith("| ") and "–" in line.split("|")[1]]
    assert [row.split("|")[1].strip() for row in rows][-2:] == ["25–27", "28–30"]
    assert "| 31 |" in page
    assert "**Failed**: process holds" in page


def test_chart_has_a_line_a_series_and_a_point_a_window() -> None:
    """Five panels with one line, one with two."""
    drawn = ElementTree.fromstring(report(steady(20))["state-hours.svg"])
    assert [len(line.attrib["points"].split()) for line in drawn.findall(f"{SVG}polyline")] == [20] * 7


@pytest.mark.parametrize("is_log", [True, False])
def test_panels_keep_points_and_bounds_within_their_frame(is_log: bool) -> None:
    """The largest value is at most at the top, the least at least at the bottom."""
    panel = Panel("ms", {"a": [(1.0, 3.0), (2.0, 970.0)]}, is_log=is_log, bound=1_000.0)
    drawn = ElementTree.fromstring(render_panels("t", [panel], "minutes"))
    frame = [
        float(line.attrib[end])
        for line in drawn.findall(f"{SVG}line")
        if line.attrib["stroke"] == "#eee"
        for end in ("y1", "y2")
    ]
    ys = [
        float(point.split(",")[1])
        for line in drawn.findall(f"{SVG}polyline")
        for point in line.attrib["points"].split()
    ]
    ys += [float(line.attrib["y1"]) for line in drawn.findall(f"{SVG}line") if "stroke-dasharray" in line.attrib]
    assert len(ys) == 3
    assert all(min(frame) <= y <= max(frame) for y in ys)


def test_nothing_to_report_is_refused() -> None:
    """An empty page would look like a run."""
    with pytest.raises(ValueError, match="no windows"):
        report([])
    with pytest.raises(ValueError, match="nothing to draw"):
        render_panels("t", [Panel("ms", {"a": []})], "minutes")
