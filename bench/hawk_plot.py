"""Lines over linear axes as SVG text, in the manner of curve_plot.py: shares over a quantity. Pure: text in, text out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from svg_chart import SERIES_COLOURS, Chart, Frame, round_step

LEFT_PX, TOP_PX, BOTTOM_PX, RIGHT_PX = 56, 62, 48, 24
PLOT_PX = (520, 220)
FRAME = Frame(left=LEFT_PX, top=TOP_PX, right=RIGHT_PX, bottom=BOTTOM_PX, plot=PLOT_PX)
TICKS = 6


def render_lines(lines: Chart) -> str:
    """The chart, its y in [0, 1], as an SVG document.

    Raises:
        ValueError: no series has a point.
    """
    xs = sorted({x for one in lines.series.values() for x, _ in one})
    if not xs:
        raise ValueError("nothing to draw")
    step = round_step(xs[-1] - xs[0], TICKS)
    low = math.floor(xs[0] / step) * step
    high = max(math.ceil(xs[-1] / step) * step, low + step)

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT_PX + (x - low) / (high - low) * PLOT_PX[0], TOP_PX + (1 - y) * PLOT_PX[1]

    body = [_mark_x(low + step * i, place(low + step * i, 0.0)) for i in range(round((high - low) / step) + 1)]
    body += [_mark_y(share / 4, place(low, share / 4)[1]) for share in range(5)]
    for colour, points in zip(SERIES_COLOURS, lines.series.values(), strict=False):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        body.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
    return FRAME.render(lines, [*_legend(list(lines.series)), *body])


def _mark_x(value: float, at: tuple[float, float]) -> str:
    x, bottom = at
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP_PX}" y2="{bottom:.1f}" stroke="#eee"/>'
        f'<text x="{x:.1f}" y="{bottom + 14:.1f}" text-anchor="middle" fill="#555">{value:.6g}</text>'
    )


def _mark_y(share: float, y: float) -> str:
    return (
        f'<line x1="{LEFT_PX}" x2="{LEFT_PX + PLOT_PX[0]}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        f'<text x="{LEFT_PX - 6}" y="{y + 3.5:.1f}" text-anchor="end" fill="#555">{share:g}</text>'
    )


def _legend(names: Sequence[str]) -> list[str]:
    parts, x = [], LEFT_PX
    for colour, name in zip(SERIES_COLOURS, names, strict=False):
        parts.append(f'<rect x="{x}" y="28" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 14}" y="37">{escape(name)}</text>')
        x += 34 + 7 * len(name)
    return parts
