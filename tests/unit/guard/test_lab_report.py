"""The matrix's page: what failed comes first and says why, bars are in order of time, text is escaped."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import msgspec
import pytest
from tests.unit.guard.lab_timelines import T0, timeline

from headrace.guard.lab.experiment import Outcome
from headrace.guard.lab.matrix import judge_all
from headrace.guard.lab.report import known_moments, render_bar, render_page, tick_step
from headrace.guard.lab.timeline import Timeline
from headrace.guard.lab.workload import Books

BALANCED = Books(produced=1234, lost=0, doubled=0, miscounted=0)
LOST = timeline(hosts=("h1",))
NOISE = Timeline(case="loss_40", host="h2", hosts=("h2",), fault_ms=T0, verdicts=("h2",))


def test_moments_are_in_the_order_in_which_they_came() -> None:
    """Flink may restart before it has answered that it was told; moments before the fault, or unknown ones, are left out."""
    names = [name for name, _ in known_moments(LOST)]
    assert names == ["suspect", "verdict", "restarting", "told", "running", "flowing", "caught_up"]
    quiet = msgspec.structs.replace(LOST, case="loss_40", verdict_ms=None, restarts=0)
    assert {"flowing", "caught_up"}.isdisjoint(name for name, _ in known_moments(quiet))
    assert known_moments(msgspec.structs.replace(LOST, suspect_ms=T0 - 1, caught_up_ms=None))[0][0] == "verdict"


def test_stretches_of_a_bar_join_without_overlap() -> None:
    """Each begins where the one before it ends, within the picture; the label says the same in words."""
    root = ElementTree.fromstring(render_bar(LOST))
    stretches = [(float(each.get("x", "")), float(each.get("width", ""))) for each in root.iter("rect")]
    assert len(stretches) == 7
    for (x, width), (after, _) in pairwise(stretches):
        assert x + width <= after + 1.1  # a moment at the same time is drawn one pixel wide
    assert all(0 <= x <= 640 for x, _ in stretches)
    assert "verdict 1.25 s" in root.get("aria-label", "")
    assert render_bar(NOISE) == ""


@pytest.mark.parametrize(("length", "step"), [(0.5, 0.1), (3.5, 1), (48, 10), (125, 50), (0, 0.002)])
def test_ticks_are_round(length: float, step: float) -> None:
    """1, 2 or 5 times a power of ten."""
    assert tick_step(length) == pytest.approx(step)


def test_failed_cases_come_first_and_say_why() -> None:
    """And the head counts them."""
    page = render_page(judge_all([Outcome(timelines=(LOST, NOISE), books=BALANCED)], seed=9))
    assert page.index("loss_40") < page.index("host_dead")
    assert "false verdict on h2" in page
    assert "1 passed" in page
    assert "1 failed" in page
    assert "Seed 9" in page
    assert "1,234 records, 0 lost" in page
    assert "kafka_away (F22)" in page


def test_text_cannot_become_markup() -> None:
    """Whatever a host or a sign is called."""
    odd = msgspec.structs.replace(LOST, signs=("held:<b>",), verdicts=("h1", "<script>"))
    page = render_page(judge_all([Outcome(timelines=(odd,), books=msgspec.structs.replace(BALANCED, lost=2))]))
    assert "<script>" not in page
    assert "<b>" not in page
    assert "lost: 2" in page
