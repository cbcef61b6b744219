"""What a quorum of observers decides about hosts and their processes.

    processes  an agent says that one ended: told at once, it is a fact and not an inference
    hosts      two of three fresh ballots say dead → lost; say stalled, and its TaskManagers give no sign either → frozen
    settle     the quorum must hold for `settle_ms`: all hosts behind a broken switch become suspect before the first is convicted
    brake      more silent hosts than max(`brake_hosts`, `brake_share`) are a network fault, not many deaths: nobody is convicted
               those whom it held are safe for another `dead_after_ms` after it
    rack       a whole rack, and only it, silent for `rack_hold_ms`: convicted after all

An observer that sees most hosts silent while another does not is itself ill; its votes do not count. A third observer that
still hears the host is no veto: an agent which has lost two of three has stopped its TaskManagers, so they must be replaced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from headrace.guard.hawk.model import Ballot, Decision, Facts, FailureClass, HostFacts, Standing, Verdict, View
from headrace.guard.hawk.options import QUORUM, HawkOptions

ILL_SHARE = 0.5  # of the hosts silent: an observer that says so alone has lost its own network
NEWS_MS = (
    3000  # an older loss is history to an observer that has just started; a new TaskManager may run under that name
)
TOLD_MAX = 4096  # processes whose loss is remembered; a host loses a handful a day


def decide_verdicts(facts: Facts, standing: Standing, now_ms: int, options: HawkOptions) -> tuple[Decision, Standing]:
    """Decide who is lost.

    Pure. Call it a few times within `settle_ms`; each verdict is given once, as long as the caller marks hosts as convicted.

    Args:
        facts: ballots and what is known of the hosts.
        standing: what the last call returned.
        now_ms: on the clock of `Ballot.at_ms`.
        options: times and limits.
    """
    fresh = [ballot for ballot in facts.ballots if now_ms - ballot.at_ms <= options.ballot_fresh_ms]
    sick = find_sick(fresh)
    ballots = [ballot for ballot in fresh if ballot.observer not in sick]
    votes = {host: _votes(ballots, host, known, options) for host, known in facts.hosts.items() if not known.convicted}
    lost = {host: found for host, found in votes.items() if len(found[1]) >= QUORUM}
    quorum_ms = {host: standing.quorum_ms.get(host, now_ms) for host in lost}
    braked = is_braked(ballots, facts.total, options)
    brake_ms = (now_ms if standing.brake_ms is None else standing.brake_ms) if braked else None
    spared = lost.keys() - _rack_released(lost, facts, brake_ms, now_ms, options) if braked else set()
    verdicts = [
        Verdict(host, FailureClass.RACK_LOST if braked else failure, votes=observers)
        for host, (failure, observers) in sorted(lost.items())
        if host not in spared and (braked or now_ms - quorum_ms[host] >= options.settle_ms)
    ]
    # Hosts come back one after the other: the last ones, too few for the brake, are not dead because others were sooner. Their time begins anew.
    quorum_ms.update(dict.fromkeys(spared, now_ms + options.dead_after_ms))
    processes, told = _process_verdicts(facts.hosts, standing.told)
    decision = Decision(
        verdicts=(*processes, *verdicts),
        held=tuple(sorted(spared)),
        link_faults=tuple(sorted(host for host, (_, observers) in votes.items() if len(observers) == 1)),
        sick_observers=tuple(sorted(sick)),
    )
    return decision, Standing(quorum_ms, brake_ms, told)


def find_sick(ballots: Sequence[Ballot]) -> set[str]:
    """Observers that hold more than half of their hosts for silent while at least one other does not."""
    blind = {ballot.observer for ballot in ballots if ballot.hosts >= 2 and ballot.silent > ILL_SHARE * ballot.hosts}
    return blind if len(blind) < len(ballots) else set()


def is_braked(ballots: Sequence[Ballot], hosts: int, options: HawkOptions) -> bool:
    """Whether more hosts are silent than can have died at once; the second greatest count decides, as in a vote."""
    counts = sorted((ballot.silent for ballot in ballots), reverse=True)
    if len(counts) < QUORUM:
        return False
    return counts[QUORUM - 1] > max(options.brake_hosts, options.brake_share * hosts)


def _votes(
    ballots: Sequence[Ballot], host: str, known: HostFacts, options: HawkOptions
) -> tuple[FailureClass, tuple[str, ...]]:
    """The failure that most observers vote for, and who does; a stalled host counts only when its TaskManagers are silent, too."""
    dead = tuple(ballot.observer for ballot in ballots if ballot.views.get(host) == View.DEAD)
    deaf = known.silence_ms is not None and known.silence_ms >= options.flink_silence_ms
    if len(dead) >= QUORUM or not deaf:
        return FailureClass.HOST_LOST, dead
    silent = tuple(ballot.observer for ballot in ballots if ballot.views.get(host) in (View.DEAD, View.STALLED))
    return FailureClass.HOST_FROZEN, silent


def _rack_released(
    lost: Mapping[str, object], facts: Facts, brake_ms: int | None, now_ms: int, options: HawkOptions
) -> set[str]:
    """The lost hosts of the one rack that is wholly silent, once the brake has held it long enough; else nobody."""
    racks = {facts.hosts[host].rack for host in lost}
    if brake_ms is None or now_ms - brake_ms < options.rack_hold_ms or len(racks) != 1 or "" in racks:
        return set()
    rack = next(iter(racks))
    convicted = sum(known.convicted and known.rack == rack for known in facts.hosts.values())
    size = facts.racks.get(rack, 0)
    whole = len(lost) + convicted >= size > 0
    return set(lost) if whole and (facts.total - size) * 2 >= facts.total else set()


def _process_verdicts(
    hosts: Mapping[str, HostFacts], told: frozenset[tuple[str, int]]
) -> tuple[list[Verdict], frozenset[tuple[str, int]]]:
    verdicts, news = [], set()
    for host, known in sorted(hosts.items()):
        for process in known.processes:
            if not process.lost_pid or (process.name, process.lost_pid) in told:
                continue
            news.add((process.name, process.lost_pid))
            if process.lost_age_ms > NEWS_MS or known.convicted:
                continue
            failure = FailureClass.PROCESS_FROZEN if process.frozen else FailureClass.PROCESS_LOST
            verdicts.append(Verdict(host, failure, process.name, process.lost_pid))
    if not news:
        return [], told
    # Bounded: when there are too many, those that no agent names any more are forgotten.
    kept = told if len(told) < TOLD_MAX else told & _named(hosts)
    return verdicts, kept | news


def _named(hosts: Mapping[str, HostFacts]) -> set[tuple[str, int]]:
    return {(process.name, process.lost_pid) for known in hosts.values() for process in known.processes}


def cast(
    observer: str, views: Mapping[str, View], *, now_ms: int, hosts: int, limit: int, convicted: int = 0
) -> Ballot:
    """The ballot of an observer's own views; when more than `limit` hosts are silent, the dead are named first.

    Args:
        observer: who votes.
        views: of hosts that are not convicted; what is convicted needs no votes and leaves its place to others.
        now_ms: when.
        hosts: how many hosts it watches.
        limit: how many can be named.
        convicted: hosts that were convicted a short while ago; counted as silent, for the brake.
    """
    silent = {host: view for host, view in views.items() if view is not View.ALIVE}
    order = {View.DEAD: 0, View.STALLED: 1, View.SUSPECT: 2}
    named = sorted(silent, key=lambda host: (order[silent[host]], host))[:limit]
    return Ballot(observer, now_ms, {host: silent[host] for host in named}, len(silent) + convicted, hosts)


def with_convicted(hosts: Mapping[str, HostFacts], names: set[str]) -> dict[str, HostFacts]:
    """The same facts with these hosts marked as convicted."""
    return {
        host: msgspec.structs.replace(known, convicted=True) if host in names else known
        for host, known in hosts.items()
    }
