"""Curves over a logarithmic x axis as SVG text, in the manner of state_plot.py: a line and its points a series, a value on two logarithmic axes.

Pure: text in, text out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from state_plot import COLOURS, OTHER_COLOUR, short
from svg_chart import Chart, Frame

LEFT_PX = 64
TOP_PX = 62
PLOT_PX = (560, 260)
BOTTOM_PX = 48
RIGHT_PX = 24
FRAME = Frame(left=LEFT_PX, top=TOP_PX, right=RIGHT_PX, bottom=BOTTOM_PX, plot=PLOT_PX)


def render_curves(curves: Chart) -> str:
    """The chart, all values positive, as an SVG document.

    Raises:
        ValueError: no series has a point.
    """
    points = [point for one in curves.series.values() for point in one]
    if not points:
        raise ValueError("nothing to draw")
    xs = sorted({x for x, _ in points})
    low = 10 ** math.floor(math.log10(min(y for _, y in points)))
    high = 10 ** math.ceil(math.log10(max(y for _, y in points) * 1.001))

    def place(x: float, y: float) -> tuple[float, float]:
        across = math.log(x / xs[0]) / math.log(xs[-1] / xs[0]) if len(xs) > 1 else 0.5
        up = math.log(y / low) / math.log(high / low)
        return LEFT_PX + across * PLOT_PX[0], TOP_PX + (1 - up) * PLOT_PX[1]

    body = [_mark_x(x, place(x, low)) for x in xs]
    body += [
        _mark_y(10.0**power, place(xs[0], 10.0**power))
        for power in range(round(math.log10(low)), round(math.log10(high)) + 1)
    ]
    for name, one in curves.series.items():
        body += _line([place(x, y) for x, y in one], COLOURS.get(name, OTHER_COLOUR), name, one)
    return FRAME.render(curves, [_legend(list(curves.series)), *body])


def _mark_x(value: float, at: tuple[float, float]) -> str:
    x, bottom = at
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP_PX}" y2="{bottom:.1f}" stroke="#eee"/>'
        f'<text x="{x:.1f}" y="{bottom + 14:.1f}" text-anchor="middle" fill="#555">{value:g}</text>'
    )


def _mark_y(value: float, at: tuple[float, float]) -> str:
    x, y = at
    return (
        f'<line x1="{x:.1f}" x2="{LEFT_PX + PLOT_PX[0]}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        f'<text x="{x - 6:.1f}" y="{y + 3.5:.1f}" text-anchor="end" fill="#555">{short(value)}</text>'
    )


def _line(
    places: Sequence[tuple[float, float]], colour: str, name: str, values: Sequence[tuple[float, float]]
) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"><title>{escape(name)}, {ratio:g}: {short(value)}</title></circle>'
        for (x, y), (ratio, value) in zip(places, values, strict=True)
    ]
    return [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>', *dots]


def _legend(names: Sequence[str]) -> str:
    parts, x = [], 8
    for name in names:
        parts.append(f'<rect x="{x}" y="28" width="10" height="10" fill="{COLOURS.get(name, OTHER_COLOUR)}"/>')
        parts.append(f'<text x="{x + 14}" y="37">{escape(name)}</text>')
        x += 30 + 7 * len(name)
    return "".join(parts)
