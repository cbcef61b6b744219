"""Skipping time changes no verdict: the same seed, played plainly and with jumps, ends in the same convictions at the same moments."""

from __future__ import annotations

import msgspec
import pytest

from headrace.core.rand import seeded
from headrace.guard.hawk.options import HawkOptions
from headrace.guard.hawk.simulate import limits, simulate
from headrace.guard.hawk.simulate_faults import Rates, draw_episode, episode_rates
from headrace.guard.hawk.simulate_skip import SkippingStage
from headrace.guard.hawk.simulate_stage import Stage

KINDS = tuple(episode_rates(2000, Rates(), HawkOptions()))
MANY_HOSTS = {"switch", "core", "observer_sleep", "rolling"}
# The second to fourth are networks and limits so bad that well hosts are convicted: then every path of a decision is taken.
WORLDS = (
    (Rates(), HawkOptions()),
    (Rates(loss=0.5), limits(300)),
    (Rates(loss=0.5, late=0.2), limits(400)),
    (Rates(loss=0.75), HawkOptions()),
)
Outcome = list[tuple[int | None, bool, bool]]


def outcome(stage: type[Stage], kind: str, seed: int, rates: Rates, options: HawkOptions) -> tuple[Outcome, bool, int]:
    """Per host when it was convicted, whether it stopped its TaskManagers, whether they still ran at the verdict; the brake; the steps."""
    episode = draw_episode(kind, 400 if kind == "core" else 2000, seeded(seed), options)
    played = stage(episode, rates, options, seeded(seed))
    played.play()
    return [(host.verdict_ms, host.held, host.unfenced) for host in played.hosts], played.braked, played.steps


@pytest.mark.parametrize("world", range(len(WORLDS)))
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_verdicts_at_the_same_moments(kind: str, world: int) -> None:
    """Host by host, for every kind of episode."""
    rates, options = WORLDS[world]
    for seed in range(1 if kind in MANY_HOSTS else 6):
        *plain, plain_steps = outcome(Stage, kind, 100 * world + seed, rates, options)
        *skipped, skipped_steps = outcome(SkippingStage, kind, 100 * world + seed, rates, options)
        assert skipped == plain, f"seed {100 * world + seed}"
        assert skipped_steps <= plain_steps


def test_bad_worlds_convict_hosts() -> None:
    """The comparison would say little if nobody were convicted in it."""
    for number, (rates, options) in enumerate(WORLDS[1:], 1):
        hosts = [outcome(SkippingStage, "starvation", 100 * number + seed, rates, options)[0][0] for seed in range(40)]
        assert any(verdict_ms is not None for verdict_ms, _, _ in hosts), f"world {number}"


def test_the_same_run_either_way() -> None:
    """A whole fleet: all figures are the same but the number of steps, which is a third or less."""
    plain, skipped = (
        simulate(800, 2, seed=11, rates=Rates(), options=HawkOptions(), stage=stage) for stage in (Stage, SkippingStage)
    )
    assert skipped.steps * 3 < plain.steps
    plain.steps = skipped.steps = 0
    assert msgspec.json.encode(plain) == msgspec.json.encode(skipped)
