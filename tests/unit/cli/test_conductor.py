"""When the demo's traffic starts."""

from __future__ import annotations

import pytest

from headrace.cli.demo.conductor import start_delay_s


@pytest.mark.parametrize(("past_s", "delay"), [(0, 0), (10, 0), (25, 0), (30, 0), (31, 23), (45, 9), (59, 0)])
def test_a_minute_ends_within_the_window(past_s: int, delay: int) -> None:
    """Starting `past_s` into a minute, the wait puts a minute's end 30 to 66 s after the start."""
    assert start_delay_s(1_795_000_020_000 + past_s * 1000, first_s=30, last_s=66) == delay
