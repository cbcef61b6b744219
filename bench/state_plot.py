"""Grouped horizontal bars as SVG text: all that docs/benchmarks needs of a plotting library.

One group a row of the table, one bar a series; values on a linear or logarithmic axis. Pure: text in, text out; nothing
in the output depends on the clock or on fonts that are installed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

BAR_PX = 11
GROUP_GAP_PX = 9
LABEL_PX = 190
PLOT_PX = 520
VALUE_PX = 70
TOP_PX = 64
BOTTOM_PX = 34
# Distinguishable in grey and by readers with red-green weakness (Okabe, Ito 2008).
COLOURS = {
    "slimbase": "#0072b2",
    "rocksdb": "#d55e00",
    "rocksdb-bloom": "#e69f00",
    "forst": "#cc79a7",
    "hashmap": "#999999",
}
OTHER_COLOUR = "#009e73"


@dataclass(frozen=True)
class Chart:
    """One chart.

    Attributes:
        groups: label of each group to the values of its series, in drawing order.
        unit: what the axis counts.
        logarithmic: values span decades; all must be positive then.
        line: a value to mark, such as 1.0 for ratios.
    """

    title: str
    groups: Mapping[str, Mapping[str, float]]
    unit: str
    logarithmic: bool = False
    line: float | None = None


def render_chart(chart: Chart) -> str:
    """The chart as an SVG document."""
    values = [value for group in chart.groups.values() for value in group.values()]
    low, high = _range(values, chart)
    body: list[str] = []
    y = float(TOP_PX)
    for label, group in chart.groups.items():
        body += _group(label, group, y, lambda value: _place(value, low, high, chart.logarithmic))
        y += len(group) * BAR_PX + GROUP_GAP_PX
    ticks = _ticks(low, high, chart.logarithmic)
    axis = [_tick(tick, _place(tick, low, high, chart.logarithmic), y) for tick in ticks]
    if chart.line is not None and low <= chart.line <= high:
        x = LABEL_PX + _place(chart.line, low, high, chart.logarithmic)
        axis.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP_PX - 4}" y2="{y:.1f}" stroke="#333" stroke-dasharray="3 3"/>'
        )
    names = list(dict.fromkeys(name for group in chart.groups.values() for name in group))
    width, height = LABEL_PX + PLOT_PX + VALUE_PX, y + BOTTOM_PX
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" width="{width}" height="{height:.0f}" '
        f'font-family="sans-serif" font-size="10.5" role="img" aria-label="{escape(chart.title)}">'
        f'<rect width="100%" height="100%" fill="white"/>'
        f'<text x="8" y="18" font-size="14" font-weight="bold">{escape(chart.title)}</text>'
    )
    unit = f'<text x="{LABEL_PX}" y="{height - 6:.0f}" fill="#555">{escape(chart.unit)}</text>'
    return "\n".join([head, _legend(names), *axis, *body, unit, "</svg>"]) + "\n"


def _range(values: Sequence[float], chart: Chart) -> tuple[float, float]:
    marked = [*values, *([chart.line] if chart.line is not None else [])]
    if not chart.logarithmic:
        return 0.0, max(marked, default=1.0) or 1.0
    return 10 ** math.floor(math.log10(min(marked))), 10 ** math.ceil(math.log10(max(marked) * 1.001))


def _place(value: float, low: float, high: float, logarithmic: bool) -> float:
    share = math.log(value / low) / math.log(high / low) if logarithmic else (value - low) / (high - low)
    return share * PLOT_PX


def _ticks(low: float, high: float, logarithmic: bool) -> list[float]:
    if logarithmic:
        return [10.0**power for power in range(round(math.log10(low)), round(math.log10(high)) + 1)]
    step = 10 ** math.floor(math.log10(high))
    step = next(step * part for part in (1, 0.5, 0.2, 0.1) if high / (step * part) >= 4)
    return [step * i for i in range(int(high / step) + 1)]


def _tick(value: float, x: float, bottom: float) -> str:
    at = LABEL_PX + x
    return (
        f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP_PX - 4}" y2="{bottom:.1f}" stroke="#ddd"/>'
        f'<text x="{at:.1f}" y="{bottom + 13:.1f}" text-anchor="middle" fill="#555">{short(value)}</text>'
    )


def _group(label: str, group: Mapping[str, float], y: float, place: object) -> list[str]:
    assert callable(place)
    middle = y + len(group) * BAR_PX / 2 + 3
    parts = [f'<text x="{LABEL_PX - 8}" y="{middle:.1f}" text-anchor="end">{escape(label)}</text>']
    for i, (name, value) in enumerate(group.items()):
        top, width = y + i * BAR_PX, max(1.0, place(value))
        parts.append(
            f'<rect x="{LABEL_PX}" y="{top:.1f}" width="{width:.1f}" height="{BAR_PX - 2}" fill="{COLOURS.get(name, OTHER_COLOUR)}"/>'
            f'<text x="{LABEL_PX + width + 4:.1f}" y="{top + BAR_PX - 3:.1f}" font-size="8.5" fill="#444">{short(value)}</text>'
        )
    return parts


def _legend(names: Sequence[str]) -> str:
    parts, x = [], 8
    for name in names:
        parts.append(f'<rect x="{x}" y="30" width="10" height="10" fill="{COLOURS.get(name, OTHER_COLOUR)}"/>')
        parts.append(f'<text x="{x + 14}" y="39">{escape(name)}</text>')
        x += 30 + 7 * len(name)
    return "".join(parts)


def short(value: float) -> str:
    """A number in at most five characters or so: 0.52, 8.1, 230, 16.4k, 1.2M."""
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"
