"""The matrix as one page of HTML: what passed, what failed and why, what was not played, and a timeline for each case.

A timeline is one bar on an axis of its own, in seconds after the fault: the moments in the order in which they came, each stretch in the
colour of the moment that ends it. Pure: a report in, text out; no script, no file beside it.
"""

from __future__ import annotations

import math
from html import escape

from headrace.guard.lab.faults import FAULTS
from headrace.guard.lab.matrix import Judgement, MatrixReport
from headrace.guard.lab.timeline import Timeline

WIDTH, BAR_TOP, BAR_HEIGHT, AXIS_TOP, HEIGHT = 640, 8, 18, 30, 50
MARGIN = 12
TICKS = 6
# One hue a phase, told apart in light and dark and by those who see no red: detection, telling, restart, data.
COLOURS = {
    "suspect": "#e69f00",
    "verdict": "#d55e00",
    "told": "#cc79a7",
    "restarting": "#7a5fbf",
    "running": "#0072b2",
    "flowing": "#009e73",
    "caught_up": "#8fcfb9",
}
DATA = ("flowing", "caught_up")
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5b6675; --line: #dfe4ea; --page: #fff; --good: #0a7d4f; --bad: #c0341d; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --soft: #9aa6b5; --line: #303a47; --page: #141a22; --good: #4cc38a; --bad: #ff8a70; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .6rem; } p { margin: .3rem 0; }
.soft, .what, .moments { color: var(--soft); } .good { color: var(--good); } .bad { color: var(--bad); }
.case { border-top: 1px solid var(--line); padding: .8rem 0; } .case h3 { font-size: 1rem; margin: 0; display: flex; gap: .6rem; flex-wrap: wrap; }
.case h3 span { font-weight: normal; } .moments { font-size: .85rem; font-variant-numeric: tabular-nums; }
svg { width: 100%; height: auto; display: block; margin: .3rem 0 0; } svg text { fill: var(--soft); font: 10.5px system-ui, sans-serif; }
svg .axis { stroke: var(--line); }
table { border-collapse: collapse; width: 100%; font-size: .9rem; } td, th { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0; border-top: 1px solid var(--line); }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: .85rem; } .legend i { display: inline-block; width: .8rem; height: .8rem; border-radius: 2px; margin-right: .35rem; vertical-align: -1px; }
"""


def render_page(report: MatrixReport) -> str:
    """The whole page; failed cases first."""
    pairs = sorted(zip(report.judgements, report.timelines, strict=True), key=lambda pair: not pair[0].problems)
    failed = sum(bool(judgement.problems) for judgement in report.judgements)
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Failure matrix</title><style>{_STYLE}</style></head><body>",
        "<h1>Failure matrix</h1>",
        _summary(report, failed),
        _books(report),
        "<h2>Cases</h2>",
        _legend(),
        *(_case(judgement, timeline) for judgement, timeline in pairs),
        "<h2>Not played</h2>",
        _not_played(report),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def render_bar(timeline: Timeline) -> str:
    """The timeline as SVG; empty when no moment is known."""
    moments = known_moments(timeline)
    if not moments:
        return ""
    step = tick_step(moments[-1][1])
    end = step * max(1, math.ceil(moments[-1][1] / step))

    def place(seconds: float) -> float:
        return MARGIN + (WIDTH - 2 * MARGIN) * seconds / end

    body, before = [], 0.0
    for name, at in moments:
        word = name.replace("_", " ")
        body.append(
            f'<rect x="{place(before):.1f}" y="{BAR_TOP}" width="{max(1.0, place(at) - place(before)):.1f}" height="{BAR_HEIGHT}" '
            f'fill="{COLOURS[name]}"><title>{word} {at:.2f} s</title></rect>'
        )
        before = at
    for number in range(round(end / step) + 1):
        x = place(number * step)
        body.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{BAR_TOP}" y2="{AXIS_TOP + 4}"/>')
        body.append(f'<text x="{x:.1f}" y="{AXIS_TOP + 16}" text-anchor="middle">{number * step:g}</text>')
    label = f"{timeline.case}: " + ", ".join(f"{name.replace('_', ' ')} {at:.2f} s" for name, at in moments)
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">'
    return head + "".join(body) + "</svg>"


def known_moments(timeline: Timeline) -> list[tuple[str, float]]:
    """The moments that are known, with their seconds after the fault, in the order in which they came.

    When output flows again says nothing of a fault from which the job had not to recover: then it did not stop, or stopped later.
    """
    found = []
    fault = FAULTS.get(timeline.case)
    stood = timeline.restarts > 0 or fault is None or fault.lost or fault.recovers
    for name in COLOURS:
        if name in DATA and not stood:
            continue
        at_ms = getattr(timeline, f"{name}_ms")
        if at_ms is not None and at_ms >= timeline.fault_ms:
            found.append((name, (at_ms - timeline.fault_ms) / 1000))
    return sorted(found, key=lambda moment: moment[1])


def tick_step(length: float) -> float:
    """1, 2 or 5 times a power of ten, so that an axis of `length` has some six ticks."""
    rough = max(length, 0.01) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)


def _summary(report: MatrixReport, failed: int) -> str:
    passed = len(report.judgements) - failed
    words = [f'<span class="good">{passed} passed</span>']
    words.append(f'<span class="bad">{failed} failed</span>' if failed else "0 failed")
    words.append(f"{len(report.not_played)} not played")
    return (
        f'<p>{", ".join(words)}. <span class="soft">Seed {report.seed}; times are seconds after the fault.</span></p>'
    )


def _books(report: MatrixReport) -> str:
    produced = sum(each.produced for each in report.books)
    if report.books_problems:
        return f'<p class="bad">Books: {escape("; ".join(report.books_problems))}.</p>'
    return (
        f"<p>Books of {_count(len(report.books), 'cluster')}: {produced:,} records, 0 lost, 0 doubled, 0 keys miscounted "
        "(read committed).</p>"
    )


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _legend() -> str:
    marks = (
        f'<span><i style="background:{colour}"></i>{"caught up" if name == "caught_up" else name}</span>'
        for name, colour in COLOURS.items()
    )
    return f'<p class="legend">{"".join(marks)}</p>'


def _case(judgement: Judgement, timeline: Timeline) -> str:
    fault = FAULTS[judgement.case]
    mark = '<span class="bad">failed</span>' if judgement.problems else '<span class="good">passed</span>'
    where = ", ".join(timeline.hosts) or "no host" if not timeline.problem else ""
    head = f"<h3>{escape(judgement.case)} {mark} <span class='soft'>{escape(' · '.join(filter(None, (fault.plan, where))))}</span></h3>"
    moments = known_moments(timeline)
    told = [f"{name.replace('_', ' ')} {at:.2f}" for name, at in moments]
    told.append(_count(timeline.restarts, "restart"))
    told += [f"verdict on {', '.join(timeline.verdicts)}" if timeline.verdicts else "no verdict"]
    if timeline.gap_ms is not None:
        told.append(f"no output for {timeline.gap_ms / 1000:.2f} s at most")
    told += [f"told {', '.join(timeline.signs)}" if timeline.signs else ""]
    problems = f'<p class="bad">{escape("; ".join(judgement.problems))}</p>' if judgement.problems else ""
    return (
        f'<section class="case">{head}<p class="what">{escape(fault.what)}</p>{problems}{render_bar(timeline)}'
        f'<p class="moments">{escape(" · ".join(filter(None, told)))}</p></section>'
    )


def _not_played(report: MatrixReport) -> str:
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(why)}</td></tr>" for name, why in report.not_played.items())
    return f"<table>{rows}</table>" if rows else "<p>None.</p>"
