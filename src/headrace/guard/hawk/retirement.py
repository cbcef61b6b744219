"""Which hosts get no work until somebody has looked at them: convicted, or ill, too often within a day. Pure.

Probation (`probation`) ends by itself; a host that comes back from it and fails again and again costs its jobs a restart each time. So
verdicts and gray classes are *strikes*, on wall clocks since they are kept over restarts; a host with `retire_strikes` of them within `retire_window_s` is
retired. An operator re-admits it, with a clean record. What is no fault of the host is no strike: a rack that was lost; three lost processes are one,
since a job may crash them. Never below `retire_hosts_min` living hosts: work on a bad host is better than no work.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from headrace.guard.hawk.model import FailureClass
from headrace.guard.hawk.options import HawkOptions
from headrace.guard.hawk.probation import PROCESS_LOSSES

STRIKES_MAX = 64  # kept of one host; three times what retires it when all of them are of processes, and room
BY_POLICY = "policy"
_PROCESS = {FailureClass.PROCESS_LOST, FailureClass.PROCESS_FROZEN}
_NO_FAULT = {FailureClass.RACK_LOST}


class Strike(msgspec.Struct, frozen=True):
    """Something that was wrong with a host, at wall `at_ms`."""

    at_ms: int
    failure: FailureClass


class Record(msgspec.Struct, frozen=True):
    """What is held against a host.

    Args:
        strikes: oldest first.
        retired_ms: wall ms since when it gets no work, None while it does.
        by: `policy`, or who retired it.
        reason: in words.
    """

    strikes: tuple[Strike, ...] = ()
    retired_ms: int | None = None
    by: str = ""
    reason: str = ""


def strike(record: Record, failure: FailureClass, now_ms: int, options: HawkOptions) -> Record:
    """The record with one more strike, without those that are older than the window."""
    if failure in _NO_FAULT:
        return record
    kept = (each for each in record.strikes if _counts(each, now_ms, options))
    strikes = (*kept, Strike(now_ms, failure))[-STRIKES_MAX:]
    return msgspec.structs.replace(record, strikes=strikes)


def count_strikes(record: Record, now_ms: int, options: HawkOptions) -> int:
    """How many count now; a strike of the future (a wall clock that was set back) counts as one of now."""
    recent = [each for each in record.strikes if _counts(each, now_ms, options)]
    processes = sum(each.failure in _PROCESS for each in recent)
    return len(recent) - processes + processes // PROCESS_LOSSES


def decide_retirements(
    records: Mapping[str, Record], living: Collection[str], now_ms: int, options: HawkOptions
) -> dict[str, Record]:
    """The records of hosts that are to be retired now, the worst first, as many as leave enough living hosts.

    Args:
        records: of all hosts with strikes, retired ones included.
        living: hosts that take part and are heard; retired ones may be among them.
        now_ms: wall ms.
        options: `retire_strikes` (0: nobody), `retire_window_s`, `retire_hosts_min`.
    """
    if not options.retire_strikes:
        return {}
    strikes = {host: count_strikes(record, now_ms, options) for host, record in records.items()}
    due = [host for host, record in records.items() if record.retired_ms is None]
    due = sorted(
        (host for host in due if strikes[host] >= options.retire_strikes), key=lambda one: (-strikes[one], one)
    )
    working = {host for host in living if host not in records or records[host].retired_ms is None}
    retired: dict[str, Record] = {}
    for host in due:
        if len(working - {host}) < options.retire_hosts_min:
            continue  # a dead one takes no living host away; another may still be due
        working.discard(host)
        reason = f"{strikes[host]} strikes in {options.retire_window_s / 3600:g} h"
        retired[host] = retire(records[host], BY_POLICY, reason, now_ms)
    return retired


def retire(record: Record, by: str, reason: str, now_ms: int) -> Record:
    """The record of a host that gets no work from now on; one that is retired already stays as it is."""
    if record.retired_ms is not None:
        return record
    return msgspec.structs.replace(record, retired_ms=now_ms, by=by, reason=reason)


def _counts(each: Strike, now_ms: int, options: HawkOptions) -> bool:
    return now_ms - each.at_ms < options.retire_window_s * 1000
