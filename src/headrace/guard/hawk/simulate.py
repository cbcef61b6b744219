"""Hawk's decisions played over thousands of hosts and years of their time, with everything that goes wrong in a network.

Time is skipped twice. While nothing happens to a host, nothing is played: episodes of faults are drawn at their rates per
host-hour (`simulate_faults`). Within an episode time jumps to the next moment at which anything can change (`simulate_skip`); the
plain way, every agent each 10 ms (`simulate_stage`), gives the same verdicts from the same seed.

A verdict is *right* on a dead host, *justified* on one that nobody could reach for as long as the limits say (`unfenced` counts those
whose TaskManagers still ran at that moment), and *false* otherwise. Same seed, same result; `split` makes parts with seeds of their own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from headrace.core.rand import Random, seeded
from headrace.guard.hawk.options import HawkOptions
from headrace.guard.hawk.simulate_faults import (
    TURN_MS,
    Episode,
    Rates,
    draw_episode,
    episode_rates,
    is_quiet,
)
from headrace.guard.hawk.simulate_skip import SkippingStage
from headrace.guard.hawk.simulate_stage import Stage

HOURS_PER_YEAR = 8766
RULE_OF_THREE = 3.0  # events that a Poisson process with none seen has at most, with 95 % confidence (-ln 0.05)


class Result(msgspec.Struct, kw_only=True):
    """Sums over many episodes; times in ms.

    Args:
        host_hours: of simulated time.
        episodes: by kind, drawn; `played` of them could make somebody suspicious.
        steps: moments that were looked at.
        deaths: hosts that died; `missed` of them were not convicted within two seconds more than the limits say.
        detection_ms: of each death that was found.
        justified: verdicts on hosts that nobody could reach for as long as the limits say.
        unfenced: verdicts on hosts whose TaskManagers still ran at that moment.
        false: all other verdicts, by kind of episode.
        pauses: hosts that stopped their TaskManagers for a while without a verdict.
        braked: episodes in which the brake held a verdict.
    """

    host_hours: float = 0.0
    episodes: dict[str, int] = {}
    played: dict[str, int] = {}
    steps: int = 0
    deaths: int = 0
    missed: int = 0
    detection_ms: list[int] = []
    justified: int = 0
    false: dict[str, int] = {}
    unfenced: int = 0
    pauses: int = 0
    braked: int = 0

    @property
    def false_total(self) -> int:
        """False verdicts of all kinds of episodes."""
        return sum(self.false.values())


def simulate(
    hosts: int, hours: float, *, seed: int, rates: Rates, options: HawkOptions, stage: type[Stage] = SkippingStage
) -> Result:
    """Play `hours` of a fleet of `hosts`.

    Args:
        hosts: how many there are, in racks of RACK_HOSTS.
        hours: of the fleet's time.
        seed: of all randomness.
        rates: how often things happen.
        options: Hawk's limits; `HawkOptions.check` must hold.
        stage: the way to play an episode; both give the same.
    """
    random = seeded(seed)
    result = Result(host_hours=hosts * hours)
    for kind, rate in episode_rates(hosts, rates, options).items():
        for _ in range(poisson(random, rate * hours)):
            play_episode(result, draw_episode(kind, hosts, random, options), rates, options, random, stage=stage)
    return result


def play_episode(
    result: Result,
    episode: Episode,
    rates: Rates,
    options: HawkOptions,
    random: Random,
    *,
    stage: type[Stage] = SkippingStage,
) -> Stage | None:
    """Play one episode, with randomness of its own, and account for it; None when nobody can become suspicious in it."""
    _count(result.episodes, episode.kind)
    if is_quiet(episode, options):
        return None
    _count(result.played, episode.kind)
    played = stage(episode, rates, options, seeded(random.getrandbits(64)))
    played.play()
    account(result, played)
    return played


def account(result: Result, stage: Stage) -> None:
    """Add what an episode came to."""
    episode, options = stage.episode, stage.options
    result.steps += stage.steps
    result.braked += stage.braked
    span_ms = options.dead_after_ms - options.heartbeat_interval_ms - TURN_MS
    for host in stage.hosts:
        result.unfenced += host.unfenced
        death = next((fault for fault in episode.faults if fault.dead and host.number in fault.hosts), None)
        if death is not None:
            result.deaths += 1
            if host.verdict_ms is None:
                result.missed += 1
            else:
                result.detection_ms.append(host.verdict_ms - death.start_ms)
        elif host.verdict_ms is None:
            result.pauses += host.held
        elif host.was_unreachable(host.verdict_ms, span_ms):
            result.justified += 1
        else:
            _count(result.false, episode.kind)


def split(hours: float, seed: int, parts: int) -> list[tuple[float, int]]:
    """A run in parts that can be played beside each other: (hours, seed) of each, seeds one after the other."""
    return [(hours / parts, seed + part) for part in range(parts)]


def merge(results: Iterable[Result]) -> Result:
    """The sum of parts."""
    total = Result()
    for one in results:
        for field in ("host_hours", "steps", "deaths", "missed", "justified", "unfenced", "pauses", "braked"):
            setattr(total, field, getattr(total, field) + getattr(one, field))
        total.detection_ms = [*total.detection_ms, *one.detection_ms]
        for name in ("episodes", "played", "false"):
            for kind, count in getattr(one, name).items():
                _count(getattr(total, name), kind, count)
    return total


def false_per_year_at_most(false: int, host_hours: float, hosts: int) -> float:
    """The upper bound, with 95 % confidence, of false verdicts a year in a fleet of `hosts`.

    The rule of three when none was seen; else the normal bound of a Poisson number, one more for few of them.
    """
    bound = RULE_OF_THREE if false == 0 else false + 1.96 * math.sqrt(false) + 1
    return bound / host_hours * hosts * HOURS_PER_YEAR


def poisson(random: Random, mean: float) -> int:
    """A Poisson number; the normal approximation above 200, where it is closer than the seed's noise."""
    if mean > 200:
        return max(0, round(random.gauss(mean, math.sqrt(mean))))
    limit, count, product = math.exp(-mean), 0, random.random()
    while product > limit:
        count += 1
        product *= random.random()
    return count


def limits(dead_after_ms: int) -> HawkOptions:
    """Options whose limits stand to each other as the defaults do."""
    options = HawkOptions()
    scale = dead_after_ms / options.dead_after_ms
    return msgspec.structs.replace(
        options,
        dead_after_ms=dead_after_ms,
        fence_after_ms=round(options.fence_after_ms * scale),
        suspect_after_ms=max(2 * options.heartbeat_interval_ms, round(options.suspect_after_ms * min(scale, 1.0))),
    ).check()


def distribution(values_ms: Sequence[int], step_ms: int = 20) -> list[tuple[int, float]]:
    """The share of values that are at most so many ms, at multiples of `step_ms` from the least value to the greatest."""
    if not values_ms:
        return []
    ordered, found, count = sorted(values_ms), [], 0
    for at_ms in range(ordered[0] // step_ms * step_ms, ordered[-1] + step_ms, step_ms):
        while count < len(ordered) and ordered[count] <= at_ms:
            count += 1
        found.append((at_ms, count / len(ordered)))
    return found


def _count(numbers: dict[str, int], name: str, more: int = 1) -> None:
    numbers[name] = numbers.get(name, 0) + more
