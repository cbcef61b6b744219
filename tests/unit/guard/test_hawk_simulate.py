"""The simulator plays production's decisions: deaths are found and fenced, noise is not believed, and bad limits show."""

from __future__ import annotations

import msgspec
import pytest

from headrace.core.rand import seeded
from headrace.guard.hawk.fence import Fence
from headrace.guard.hawk.options import HawkOptions
from headrace.guard.hawk.simulate import (
    Result,
    account,
    distribution,
    false_per_year_at_most,
    limits,
    merge,
    play_episode,
    poisson,
    simulate,
    split,
)
from headrace.guard.hawk.simulate_faults import (
    RACK_HOSTS,
    Episode,
    Fault,
    Rates,
    draw_episode,
    episode_rates,
    is_quiet,
    pause,
)
from headrace.guard.hawk.simulate_stage import Stage

OPTIONS = HawkOptions()
CALM = Rates(loss=0.0, late=0.0)
KINDS = tuple(episode_rates(2000, Rates(), OPTIONS))


def played(
    kind: str, count: int, *, seed: int = 1, rates: Rates | None = None, options: HawkOptions = OPTIONS
) -> Result:
    """Some episodes of one kind."""
    random, result = seeded(seed), Result()
    for _ in range(count):
        play_episode(result, draw_episode(kind, 2000, random, options), rates or Rates(), options, random)
    return result


def test_the_same_seed_gives_the_same_result() -> None:
    """A printed seed repeats a finding."""
    one, other = (simulate(500, 1, seed=3, rates=Rates(), options=OPTIONS) for _ in range(2))
    assert msgspec.json.encode(one) == msgspec.json.encode(other)
    assert sum(one.episodes.values()) > 20


def test_deaths_are_found_in_time() -> None:
    """With the loss of an ordinary network; none is missed."""
    result = played("death", 40)
    assert (result.deaths, result.missed, result.false_total) == (40, 0, 0)
    assert min(result.detection_ms) >= OPTIONS.dead_after_ms
    assert max(result.detection_ms) <= 1700


def test_deaths_are_found_with_longer_limits_too() -> None:
    """An episode lasts as long as its limits need; none is missed because it ended first."""
    result = played("death", 10, options=limits(2400))
    assert (result.deaths, result.missed) == (10, 0)
    assert min(result.detection_ms) >= 2400


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("death", "core", "switch")])
def test_noise_convicts_nobody_wrongly(kind: str) -> None:
    """And whom it does convict had stopped its TaskManagers before."""
    result = played(kind, 15, seed=5)
    assert result.false == {}
    assert result.unfenced == 0


def test_a_network_that_is_out_for_all_is_braked() -> None:
    """Two seconds for everybody: held, no verdict, everybody goes on."""
    everybody = frozenset(range(RACK_HOSTS))
    fault = Fault(start_ms=300, end_ms=2300, hosts=everybody, silent=True)
    stage = Stage(Episode("core", (fault,), (0,) * RACK_HOSTS, 4500, RACK_HOSTS), CALM, OPTIONS, seeded(1))
    stage.play()
    assert stage.braked
    assert all(host.verdict_ms is None and host.held for host in stage.hosts)
    assert all(host.fence is Fence.RUN for host in stage.hosts)


def test_a_switch_of_one_rack_in_a_large_fleet_is_believed() -> None:
    """Forty of two thousand are no network fault of all; each had stopped before."""
    rack = frozenset(range(RACK_HOSTS))
    fault = Fault(start_ms=300, end_ms=20_000, hosts=rack, silent=True)
    episode = Episode("switch", (fault,), (0,) * RACK_HOSTS, 4000, 2000)
    stage, result = Stage(episode, CALM, OPTIONS, seeded(1)), Result()
    stage.play()
    account(result, stage)
    assert (result.justified, result.false_total, result.unfenced) == (RACK_HOSTS, 0, 0)


def test_limits_that_are_too_short_show_as_false_verdicts() -> None:
    """The simulator can see what it is built to see: with 300 ms, a network that loses 85 % kills; with 1,200 it does much less."""
    rates = Rates(loss=0.85)
    short, usual = (played("burst", 8, seed=2, rates=rates, options=options) for options in (limits(300), OPTIONS))
    assert short.false_total > usual.false_total


def test_short_silences_need_not_be_played() -> None:
    """An episode that cannot make anybody suspicious is skipped; what may, is played."""
    random = seeded(1)
    for _ in range(200):
        episode = draw_episode("pause", 2000, random, OPTIONS)
        if is_quiet(episode, OPTIONS):
            stage = Stage(episode, CALM, OPTIONS, random)
            stage.play()
            assert stage.hosts[0].verdict_ms is None
            assert not stage.hosts[0].held


def test_rates_add_up() -> None:
    """Numbers of episodes follow their rates."""
    random = seeded(9)
    for mean in (0.5, 20, 5000):
        drawn = [poisson(random, mean) for _ in range(400)]
        assert sum(drawn) / len(drawn) == pytest.approx(mean, rel=0.15)
    assert episode_rates(2000, Rates(), OPTIONS)["death"] == pytest.approx(0.2)


def test_a_clock_that_is_a_tenth_wrong_does_not_let_a_convicted_host_write() -> None:
    """The lease runs on the host's clock and silence on the observers'; between their limits there is room for this."""
    random, result = seeded(4), Result()
    for rate in (0.9, 0.95, 1.05, 1.1):
        for _ in range(5):
            fault = Fault(start_ms=310, end_ms=310 + 5000, hosts=frozenset({0}), silent=True)
            play_episode(result, Episode("drift", (fault,), (0,), 9000, 1000, rate), Rates(), OPTIONS, random)
    assert (result.justified, result.unfenced, result.false_total) == (20, 0, 0)


def test_a_clock_that_is_a_fifth_slow_shows_as_a_host_that_still_writes() -> None:
    """More than the limits leave room for: the simulator sees it."""
    result = Result()
    fault = Fault(start_ms=310, end_ms=310 + 5000, hosts=frozenset({0}), silent=True)
    play_episode(result, Episode("drift", (fault,), (0,), 9000, 1000, 0.75), Rates(), OPTIONS, seeded(4))
    assert result.unfenced == 1


def test_a_rolling_restart_convicts_nobody() -> None:
    """Whoever says good-bye is not judged; whoever could not is known by its kernel; all take part again as new incarnations."""
    result = played("rolling", 4, seed=8)
    assert (result.false_total, result.justified, result.unfenced) == (0, 0, 0)


def test_pauses_are_convicted_only_when_they_are_long() -> None:
    """Below the lease nothing happens; beyond silence, conviction is certain and fenced."""
    for length_ms, held, convicted in ((700, 0, 0), (1100, 10, 0), (2400, 0, 10)):
        random, result = seeded(2), Result()
        for _ in range(10):
            play_episode(result, pause(350, length_ms), CALM, OPTIONS, random)
        assert (result.pauses, result.justified + result.false_total) == (held, convicted)


def test_parts_add_up_to_the_whole() -> None:
    """Seeds of parts differ, sums are of all of them."""
    parts = split(2, 7, 4)
    assert [seed for _, seed in parts] == [7, 8, 9, 10]
    results = [simulate(500, hours, seed=seed, rates=Rates(), options=OPTIONS) for hours, seed in parts]
    total = merge(results)
    assert total.host_hours == pytest.approx(1000)
    assert sum(total.episodes.values()) == sum(sum(one.episodes.values()) for one in results)


def test_the_bound_of_false_verdicts() -> None:
    """None in 5.3 x 10^7 host-hours is fewer than one a year at 2,000 hosts; ten in 10^6 are at least their mean."""
    assert false_per_year_at_most(0, 5.3e7, 2000) < 1 < false_per_year_at_most(0, 5.2e7, 2000)
    assert false_per_year_at_most(10, 1e6, 2000) > 10 * 2000 * 8766 / 1e6


def test_the_distribution_ends_at_one() -> None:
    """Shares grow to 1."""
    shares = distribution([1310, 1250, 1290, 1400], 50)
    assert shares == [(1250, 0.25), (1300, 0.5), (1350, 0.75), (1400, 1.0)]
    assert distribution([]) == []
