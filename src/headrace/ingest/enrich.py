"""What the gateway adds to a row: where the client is, what it is, and which CDN its session uses.

`SessionCdns` remembers the CDN of the sessions seen last, because only responses carry a URL: state changes and time intervals are
given the session's last known CDN. It is bounded; the session not heard of for longest goes first.
"""

from __future__ import annotations

import csv
import io
import ipaddress
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from headrace.core.errors import Invalid, Place

SESSIONS_MAX = 200_000  # about 50 MB at 250 bytes an entry: ten times the sessions of the demo
_UA_FAMILIES = (  # the first that is found in the header; order matters, since Edge and Opera also say Chrome, Chrome also Safari
    ("edg", "edge"),
    ("opr/", "opera"),
    ("firefox/", "firefox"),
    ("chrome/", "chrome"),
    ("crios/", "chrome"),
    ("safari/", "safari"),
    ("applecoremedia", "applecoremedia"),
    ("exoplayer", "exoplayer"),
    ("media3", "exoplayer"),
    ("okhttp", "okhttp"),
    ("lavf", "ffmpeg"),
    ("curl/", "curl"),
    ("python", "python"),
    ("node", "node"),
)


class CdnTable:
    """CDN names and the hosts that they serve from; immutable."""

    def __init__(self, hosts: Mapping[str, str]) -> None:
        self._hosts = dict(hosts)
        self.names = frozenset(self._hosts.values())

    @classmethod
    def parse(cls, text: str, *, file: str) -> CdnTable:
        """Read CSV with the columns `cdn` and `hosts` (separated by `|`); other columns are not ours.

        Raises:
            Invalid: a missing column, or a host that two CDNs claim; names file and line.
        """
        reader = csv.DictReader(io.StringIO(text))
        if reader.fieldnames is None or not {"cdn", "hosts"} <= set(reader.fieldnames):
            raise Invalid("header must name cdn and hosts", place=Place(file, 1), hint="first line: `cdn,hosts`")
        hosts: dict[str, str] = {}
        for row in reader:
            for host in filter(None, (row["hosts"] or "").split("|")):
                if hosts.setdefault(host.lower(), row["cdn"]) != row["cdn"]:
                    raise Invalid(
                        "two CDNs claim the same host", place=Place(file, reader.line_num), context={"host": host}
                    )
        return cls(hosts)

    def known(self, name: str) -> bool:
        """Whether a reported name may be believed: without a table all are, with one only its own (no made-up cells)."""
        return not self.names or name in self.names

    def of_url(self, url: str) -> str | None:
        """The CDN that serves `url`, by its host with or without the port."""
        parts = url.split("/", 3)
        if len(parts) < 3:
            return None
        host = parts[2]
        return self._hosts.get(host) or self._hosts.get(host.rsplit("@", 1)[-1].rsplit(":", 1)[0].lower())


class SessionCdns:
    """The last known CDN of the sessions seen last."""

    def __init__(self, *, limit: int = SESSIONS_MAX) -> None:
        self._limit = limit
        self._cdns: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._cdns)

    def get(self, sid: str) -> str | None:
        """The session's CDN; being asked for keeps a session from being forgotten."""
        cdn = self._cdns.pop(sid, None)
        if cdn is not None:
            self._cdns[sid] = cdn
        return cdn

    def put(self, sid: str, cdn: str) -> None:
        """Remember a session's CDN."""
        self._cdns.pop(sid, None)
        self._cdns[sid] = cdn
        if len(self._cdns) > self._limit:
            del self._cdns[next(iter(self._cdns))]


def fill_cdn(rows: Iterable[Any], table: CdnTable, sessions: SessionCdns) -> None:
    """Set `cdn` of each row, in order: as reported, else from the URL's host, else the session's last known."""
    last_sid, last_cdn = "", None
    for row in rows:
        sid = row.sid
        if sid != last_sid:
            if last_cdn is not None:
                sessions.put(last_sid, last_cdn)
            last_sid, last_cdn = sid, sessions.get(sid)
        cdn = row.cdn
        if not cdn or not table.known(cdn):
            cdn = (row.url and table.of_url(row.url)) or last_cdn
            row.cdn = cdn
        last_cdn = cdn
    if last_cdn is not None:
        sessions.put(last_sid, last_cdn)


@lru_cache(maxsize=4096)
def ua_family(user_agent: str) -> str:
    """The family of a User-Agent header, `other` if it is none of ours."""
    text = user_agent.lower()
    return next((family for mark, family in _UA_FAMILIES if mark in text), "other")


class Proxies:
    """The peers whose `X-Forwarded-For` is believed."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(network) for network in networks]
        self._trusted = lru_cache(maxsize=4096)(self._is_trusted)

    def client_address(self, peer: str, forwarded_for: str) -> str:
        """The client's address: the last one in the chain that no trusted proxy has, else the peer."""
        if not forwarded_for or not self._trusted(peer):
            return peer
        address = peer
        for hop in reversed(forwarded_for.split(",")):
            address = hop.strip()
            if not self._trusted(address):
                break
        return address

    def _is_trusted(self, address: str) -> bool:
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(ip in network for network in self._networks)
