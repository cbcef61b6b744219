"""CDNs, clients' addresses and programs."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import Invalid
from headrace.ingest.enrich import CdnTable, Proxies, SessionCdns, fill_cdn, ua_family

TABLE = CdnTable.parse("cdn,hosts,price\nA,10.77.0.2|cdn-a.example,1\nB,cdn-b.example,1\n", file="cdn.csv")


def row(sid: str, *, cdn: str | None = None, url: str | None = None) -> SimpleNamespace:
    """A row as far as CDNs go."""
    return SimpleNamespace(sid=sid, cdn=cdn, url=url)


def test_reported_then_host_then_last_known() -> None:
    """The CDN comes from the report, else the URL's host, else what the session used last, also in an earlier batch."""
    sessions = SessionCdns()
    rows = [
        row("s"), row("s", url="http://10.77.0.2:80/a.ts"), row("s"), row("t", cdn="B", url="http://10.77.0.2/a.ts"),
        row("s", url="https://CDN-B.example/x"), row("u", url="http://elsewhere/a.ts"), row("t"),
    ]  # fmt: skip
    fill_cdn(rows, TABLE, sessions)
    assert [one.cdn for one in rows] == [None, "A", "A", "B", "B", None, "B"]
    later = [row("s"), row("t"), row("u")]
    fill_cdn(later, TABLE, sessions)
    assert [one.cdn for one in later] == ["B", "B", None]


def test_an_invented_cdn_is_not_believed() -> None:
    """A name that the table does not list makes no cell of its own; without a table every name is taken."""
    invented, free = row("s", cdn="zzz", url="http://10.77.0.2/a"), row("s", cdn="zzz")
    fill_cdn([invented], TABLE, SessionCdns())
    fill_cdn([free], CdnTable({}), SessionCdns())
    assert (invented.cdn, free.cdn) == ("A", "zzz")


def test_two_cdns_cannot_have_one_host() -> None:
    """A table that contradicts itself is refused, with the line."""
    with pytest.raises(Invalid, match=r"cdn.csv:3: two CDNs claim the same host"):
        CdnTable.parse("cdn,hosts\nA,x\nB,y|x\n", file="cdn.csv")
    with pytest.raises(Invalid, match="header must name"):
        CdnTable.parse("name\nA\n", file="cdn.csv")


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["A", "B", ""])), max_size=60))
def test_sessions_are_bounded_and_the_oldest_goes(steps: list[tuple[str, str]]) -> None:
    """Never more than the limit; what is left are the sessions heard of last, with their last CDN."""
    sessions, model = SessionCdns(limit=3), dict[str, str]()
    for sid, cdn in steps:
        if cdn:
            sessions.put(sid, cdn)
        else:
            assert sessions.get(sid) == model.get(sid)
        if cdn or sid in model:
            model[sid] = cdn or model[sid]
            model = dict([*((k, v) for k, v in model.items() if k != sid), (sid, model[sid])][-3:])
        assert len(sessions) == len(model) <= 3


def test_forwarded_addresses_are_believed_of_trusted_peers_only() -> None:
    """The client is the last hop that is no trusted proxy; anybody else's header is ignored."""
    proxies = Proxies(["127.0.0.0/8", "192.168.0.0/16", "::1/128"])
    assert proxies.client_address("127.0.0.1", "10.16.0.9") == "10.16.0.9"
    assert proxies.client_address("127.0.0.1", "1.1.1.1, 10.16.0.9, 192.168.1.1") == "10.16.0.9"
    assert proxies.client_address("8.8.8.8", "10.16.0.9") == "8.8.8.8"
    assert proxies.client_address("127.0.0.1", "") == "127.0.0.1"
    assert proxies.client_address("", "10.16.0.9") == ""


@pytest.mark.parametrize(
    ("header", "family"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0 Safari/537.36", "chrome"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/139.0 Safari/537.36 Edg/139.0", "edge"),
        ("Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Safari/605.1.15", "safari"),
        ("Mozilla/5.0 (X11; rv:140.0) Gecko/20100101 Firefox/140.0", "firefox"),
        ("", "other"),
    ],
)
def test_ua_families(header: str, family: str) -> None:
    """Browsers are told apart although each claims to be the others."""
    assert ua_family(header) == family
