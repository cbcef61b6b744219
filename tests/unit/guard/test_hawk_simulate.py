"""The simulator plays production's decisions: deaths are found and fenced, noise is not believed, and bad limits show."""

from __future__ import annotations

import msgspec
import pytest

from headrace.core.rand import seeded
from headrace.guard.hawk.options import HawkOptions
from headrace.guard.hawk.simulate import (
    RACK_HOSTS,
    Episode,
    Fault,
    Rates,
    Result,
    Stage,
    account,
    draw_episode,
    episode_rates,
    is_quiet,
    limits,
    poisson,
    simulate,
)

OPTIONS = HawkOptions()
CALM = Rates(loss=0.0, late=0.0)
KINDS = tuple(episode_rates(2000, Rates(), OPTIONS))


def played(
    kind: str, count: int, *, seed: int = 1, rates: Rates | None = None, options: HawkOptions = OPTIONS
) -> Result:
    """Some episodes of one kind."""
    random, result = seeded(seed), Result(episodes={}, detection_ms=[], false={})
    for _ in range(count):
        episode = draw_episode(kind, 2000, random, options)
        stage = Stage(episode, rates or Rates(), options, random)
        stage.play()
        account(result, episode, stage, options)
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
    assert all(host.fence == "run" for host in stage.hosts)


def test_a_switch_of_one_rack_in_a_large_fleet_is_believed() -> None:
    """Forty of two thousand are no network fault of all; each had stopped before."""
    rack = frozenset(range(RACK_HOSTS))
    fault = Fault(start_ms=300, end_ms=20_000, hosts=rack, silent=True)
    episode = Episode("switch", (fault,), (0,) * RACK_HOSTS, 4000, 2000)
    stage, result = Stage(episode, CALM, OPTIONS, seeded(1)), Result(episodes={}, detection_ms=[], false={})
    stage.play()
    account(result, episode, stage, OPTIONS)
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
