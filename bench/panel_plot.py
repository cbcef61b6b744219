"""Panels one above the other over the same linear x axis, as SVG text: what several figures of a run did at the same time. Pure: text in, text out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from state_plot import short
from svg_chart import SERIES_COLOURS, document, round_step

LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 64, 24, 54, 40
PANEL_PX = (640, 84)
GAP_PX = 34
TICKS_X, TICKS_Y = 8, 3
BOUND_COLOUR = "#999"
# Of a step, beyond the last mark: the end of a run that took a moment longer than asked for.
OVER = 0.05
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: with the unit of y.
        series: name to its points (x, y), x ascending.
        is_log: y on a logarithmic axis, for positive values; else from 0.
        bound: a value to be drawn as a dashed line, or None.
    """

    title: str
    series: Mapping[str, Points]
    is_log: bool = False
    bound: float | None = None


def render_panels(title: str, panels: Sequence[Panel], x_unit: str) -> str:
    """The panels as an SVG document.

    Raises:
        ValueError: a panel has no point.
    """
    if not panels or not all(any(panel.series.values()) for panel in panels):
        raise ValueError("nothing to draw")
    last_x = max(x for panel in panels for points in panel.series.values() for x, _ in points)
    step = round_step(last_x, TICKS_X)
    high_x = max(math.ceil(last_x / step - OVER) * step, step)
    bottom = TOP_PX + len(panels) * (PANEL_PX[1] + GAP_PX) - GAP_PX
    parts: list[str] = []
    marks = [step * i for i in range(round(high_x / step) + 1)]
    for number, panel in enumerate(panels):
        parts += _panel(panel, TOP_PX + number * (PANEL_PX[1] + GAP_PX), marks)
    parts += [
        f'<text x="{_across(x, marks):.1f}" y="{bottom + 14}" text-anchor="middle" fill="#555">{x:g}</text>'
        for x in marks
    ]
    parts.append(f'<text x="{LEFT_PX}" y="{bottom + 30}" fill="#555">{escape(x_unit)}</text>')
    return document(title, (LEFT_PX + PANEL_PX[0] + RIGHT_PX, bottom + BOTTOM_PX), parts)


def _across(x: float, marks: Sequence[float]) -> float:
    return LEFT_PX + x / marks[-1] * PANEL_PX[0]


def _panel(panel: Panel, top: float, marks: Sequence[float]) -> list[str]:
    ys = [y for points in panel.series.values() for _, y in points] + ([] if panel.bound is None else [panel.bound])
    ticks = _decades(ys) if panel.is_log else _multiples(max(ys))

    def place(y: float) -> float:
        share = math.log(y / ticks[0]) / math.log(ticks[-1] / ticks[0]) if panel.is_log else y / ticks[-1]
        return top + (1 - share) * PANEL_PX[1]

    right = LEFT_PX + PANEL_PX[0]
    parts = [f'<text x="{LEFT_PX}" y="{top - 6:.1f}" fill="#222">{escape(panel.title)}</text>']
    parts += [
        f'<line x1="{_across(x, marks):.1f}" x2="{_across(x, marks):.1f}" y1="{top}" y2="{top + PANEL_PX[1]}" stroke="#eee"/>'
        for x in marks
    ]
    for tick in ticks:
        parts.append(f'<line x1="{LEFT_PX}" x2="{right}" y1="{place(tick):.1f}" y2="{place(tick):.1f}" stroke="#ddd"/>')
        parts.append(
            f'<text x="{LEFT_PX - 6}" y="{place(tick) + 3.5:.1f}" text-anchor="end" fill="#555">{short(tick)}</text>'
        )
    if panel.bound is not None:
        y = place(panel.bound)
        parts.append(
            f'<line x1="{LEFT_PX}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{BOUND_COLOUR}" stroke-dasharray="4 3"/>'
        )
    label_x = float(right)
    for colour, (name, points) in zip(SERIES_COLOURS, panel.series.items(), strict=False):
        path = " ".join(f"{_across(x, marks):.1f},{place(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        if len(panel.series) > 1:
            parts.append(
                f'<text x="{label_x:.1f}" y="{top - 6:.1f}" text-anchor="end" fill="{colour}">{escape(name)}</text>'
            )
            label_x -= 20 + 6 * len(name)
    return parts


def _decades(ys: Sequence[float]) -> list[float]:
    """Powers of ten around all values, two at least."""
    low, high = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)))
    return [10.0**power for power in range(low, max(high, low + 1) + 1)]


def _multiples(highest: float) -> list[float]:
    step = round_step(highest, TICKS_Y)
    return [step * i for i in range(math.ceil(highest / step - 1e-9) + 1)]
