"""What the line charts of this folder share: what one shows, and the SVG document around its parts. Pure: text in, text out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

# Distinguishable in grey and by readers with red-green weakness (Okabe, Ito 2008).
SERIES_COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7")


@dataclass(frozen=True)
class Chart:
    """One chart.

    Attributes:
        series: name to its points (x, y), x ascending.
        x_unit: what the x axis counts.
        y_unit: what the y axis counts.
    """

    title: str
    series: Mapping[str, Sequence[tuple[float, float]]]
    x_unit: str
    y_unit: str


@dataclass(frozen=True)
class Frame:
    """Where the plot lies in the picture, in px."""

    left: int
    top: int
    right: int
    bottom: int
    plot: tuple[int, int]

    def render(self, chart: Chart, parts: Sequence[str]) -> str:
        """The document: title and units, and the given parts between them."""
        width, height = self.left + self.plot[0] + self.right, self.top + self.plot[1] + self.bottom
        units = (
            f'<text x="{self.left}" y="{height - 8}" fill="#555">{escape(chart.x_unit)}</text>'
            f'<text x="8" y="{self.top - 8}" fill="#555">{escape(chart.y_unit)}</text>'
        )
        return document(chart.title, (width, height), [*parts, units])


def document(title: str, size_px: tuple[int, int], parts: Sequence[str]) -> str:
    """An SVG document of this width and height, with its title, around the parts."""
    width, height = size_px
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="10.5" role="img" aria-label="{escape(title)}">'
        f'<rect width="100%" height="100%" fill="white"/>'
        f'<text x="8" y="18" font-size="14" font-weight="bold">{escape(title)}</text>'
    )
    return "\n".join([head, *parts, "</svg>"]) + "\n"


def round_step(span: float, ticks: int) -> float:
    """A round distance of marks over a span, so that there are about `ticks`."""
    raw = max(span, 1e-9) / ticks
    power = 10.0 ** math.floor(math.log10(raw))
    return next(power * part for part in (1, 2, 2.5, 5, 10) if power * part >= raw)
