"""The bench of Hawk's simulator: a run in pieces is the run in one, and its plots are drawings of its figures."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from hawk_plot import render_lines
from hawk_simulation import load_parts, run_parts
from headrace.guard.hawk.simulate import merge
from svg_chart import Chart


def test_a_run_in_pieces_is_the_run_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a first piece has written is not played again; time that is up ends a piece after its first part."""
    monkeypatch.setattr("hawk_simulation.PART_HOURS", 1.0)
    keep = tmp_path / "parts.jsonl"
    first = run_parts(2, 7, processes=1, keep=keep, seconds=0)
    assert [part.seed for part in first] == [7]
    whole = run_parts(2, 7, processes=1, keep=keep, seconds=600)
    assert sorted(load_parts(keep)) == sorted(part.seed for part in whole) == [7, 8]
    in_one = run_parts(2, 7, processes=1, keep=None, seconds=600)
    kept, fresh = (merge(part.result for part in sorted(each, key=lambda one: one.seed)) for each in (whole, in_one))
    assert msgspec.json.encode(kept) == msgspec.json.encode(fresh)
    assert kept.host_hours == pytest.approx(4000)


def test_lines_are_drawn_where_their_figures_are() -> None:
    """The first point of the least x is at the left, shares of 0 and 1 are at the bottom and the top."""
    text = render_lines(Chart("t", {"a": [(0.0, 0.0), (10.0, 1.0)]}, "x", "share"))
    (points,) = re.findall(r'polyline points="([^"]+)"', text)
    left, right = (tuple(map(float, point.split(","))) for point in points.split())
    assert left[0] < right[0]
    assert left[1] > right[1]
    with pytest.raises(ValueError, match="nothing"):
        render_lines(Chart("t", {"a": []}, "x", "share"))
