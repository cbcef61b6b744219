"""`headrace hawk hosts | retire | readmit`: hosts that get no work until somebody has looked at them.

They change one file, which the acting observer (`hawk observe --hosts-file`) reads every second; so they run where it runs.
"""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import cyclopts
import msgspec
from rich.console import Console

from headrace.cli.face import Face, run
from headrace.core.clock import SystemClock
from headrace.core.errors import Conflict, NotFound, nearest
from headrace.core.home import resolve_home
from headrace.guard.hawk.options import HawkOptions
from headrace.guard.hawk.retirement import Record, count_strikes, retire
from headrace.guard.hawk.roster import changing, load
from headrace.guard.hawk.wire import check_name

HOSTS_FILE = "hawk-hosts.json"  # in the home's data, which outlives `down`
HostArgument = Annotated[str, cyclopts.Parameter(help="name of the host, as its agent is called")]
FileOption = Annotated[
    Path | None, cyclopts.Parameter(name="--file", help=f"file of hosts [data/{HOSTS_FILE} of the home]")
]
HomeOption = Annotated[str | None, cyclopts.Parameter(name="--home", help="folder of the stack [.headrace]")]
JsonOption = Annotated[bool, cyclopts.Parameter(name="--json", negative="", help="print one JSON object")]


class HostRow(msgspec.Struct, frozen=True, kw_only=True):
    """A host with strikes, or a retired one; `strikes` count now, `last` is the class of the newest, wall ms."""

    host: str
    retired: bool
    strikes: int
    last: str
    last_ms: int | None
    retired_ms: int | None
    by: str
    reason: str


def hosts(*, file: FileOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List hosts with strikes and retired hosts."""
    run(lambda face: face.show(rows(_path(file, home)), _render_rows), as_json=as_json)


def retire_command(
    host: HostArgument,
    /,
    *,
    reason: Annotated[str, cyclopts.Parameter(name="--reason", help="why, for who reads it later")] = "by hand",
    file: FileOption = None,
    home: HomeOption = None,
) -> None:
    """Keep new work off a host until it is re-admitted; what runs there goes on."""
    run(lambda face: _retire(face, host, reason, _path(file, home)))


def readmit(host: HostArgument, /, *, file: FileOption = None, home: HomeOption = None) -> None:
    """Let a retired host have work again, with a clean record."""
    run(lambda face: _readmit(face, host, _path(file, home)))


def rows(path: Path) -> list[HostRow]:
    """What `hawk hosts` shows: retired ones first, then by strikes."""
    now_ms, options = SystemClock().now_ms(), HawkOptions()
    found = [_row(host, record, count_strikes(record, now_ms, options)) for host, record in load(path).items()]
    return sorted(found, key=lambda row: (not row.retired, -row.strikes, row.host))


def _row(host: str, record: Record, strikes: int) -> HostRow:
    newest = record.strikes[-1] if record.strikes else None
    return HostRow(
        host=host,
        retired=record.retired_ms is not None,
        strikes=strikes,
        last=newest.failure if newest else "",
        last_ms=newest.at_ms if newest else None,
        retired_ms=record.retired_ms,
        by=record.by,
        reason=record.reason,
    )


def _path(file: Path | None, home: str | None) -> Path:
    return file if file is not None else resolve_home(home).data / HOSTS_FILE


def _retire(face: Face, host: str, reason: str, path: Path) -> None:
    with changing(path) as records:
        known = records.get(check_name(host), Record())
        if known.retired_ms is not None:
            raise Conflict("host is retired already", context={"host": host, "by": known.by, "reason": known.reason})
        records[host] = retire(known, getpass.getuser(), reason, SystemClock().now_ms())
    face.say(f"{host} gets no new work until `headrace hawk readmit {host}`")


def _readmit(face: Face, host: str, path: Path) -> None:
    with changing(path) as records:
        retired = [name for name, record in records.items() if record.retired_ms is not None]
        if host not in retired:
            close = ", ".join(nearest(host, retired)) or ", ".join(retired) or "nobody is retired"
            raise NotFound("no such host is retired", context={"host": host}, hint=f"did you mean: {close}")
        del records[host]
    face.say(f"{host} gets work again within two minutes")


def _render_rows(found: list[HostRow], out: Console) -> None:
    if not found:
        out.print("no host has a strike, none is retired")
    for row in found:
        state = f"retired by {row.by}: {row.reason}" if row.retired else "takes part"
        out.print(f"{row.host:<20} {row.strikes:>3} strikes  {row.last:<16} {state}", highlight=False)
