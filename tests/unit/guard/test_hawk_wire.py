"""Datagrams fit one frame whatever they carry; keys are files that only their owner reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.core.errors import Conflict, Invalid, NotFound
from headrace.guard.hawk import dependencies
from headrace.guard.hawk.keys import host_key, new_key, observers_key, read_key, write_key
from headrace.guard.hawk.model import FailureClass, HostReport, ProcessReport, View
from headrace.guard.hawk.wire import (
    BALLOT_HOSTS_MAX,
    CONVICTIONS_MAX,
    DATAGRAM_BYTES_MAX,
    NAME_BYTES_MAX,
    NONCE_BYTES,
    PROCESSES_MAX,
    BallotBody,
    Conviction,
    Datagram,
    Heartbeat,
    Join,
    Kind,
    Rejected,
    check_name,
    decode,
    encode,
)

KEY = b"k" * 32
LONG = "n" * NAME_BYTES_MAX
GREATEST = (1 << 64) - 1


def test_the_largest_heartbeat_fits() -> None:
    """As many TaskManagers as are named, with names, numbers and gray classes and dependencies as long as they get."""
    process = ProcessReport(LONG, 4_194_304, 4_194_304, 1 << 31, True)
    gray = tuple(FailureClass)[-5:]
    unreachable = ("d" * dependencies.NAME_BYTES_MAX,) * dependencies.DEPENDENCIES_MAX
    report = HostReport(1 << 43, "r" * 32, (process,) * PROCESSES_MAX, gray, True, True, True, unreachable)
    for body in (Heartbeat(report), Join(bytes(8), report)):
        kind = Kind.JOIN if isinstance(body, Join) else Kind.HEARTBEAT
        data = encode(Datagram(kind, LONG, GREATEST, GREATEST, body), KEY)
        assert len(data) <= DATAGRAM_BYTES_MAX
        assert decode(data, lambda *_: KEY).body == body


def test_the_largest_ballot_fits() -> None:
    """All hosts that a ballot names, and all convictions that it tells."""
    views = {f"{number:02}{LONG[2:]}": View.SUSPECT for number in range(BALLOT_HOSTS_MAX)}
    conviction = Conviction(LONG, GREATEST, FailureClass.PROCESS_FROZEN)
    body = BallotBody(bytes(NONCE_BYTES), bytes(NONCE_BYTES), views, 1 << 31, 1 << 31, (conviction,) * CONVICTIONS_MAX)
    assert len(encode(Datagram(Kind.BALLOT, LONG, GREATEST, GREATEST, body), KEY)) <= DATAGRAM_BYTES_MAX


def test_what_does_not_fit_is_refused() -> None:
    """A body that is too long is our own mistake and said so; a name is checked where it is given."""
    report = HostReport(rack="r" * DATAGRAM_BYTES_MAX)
    with pytest.raises(Invalid, match="too long"):
        encode(Datagram(Kind.HEARTBEAT, "h", 1, 1, Heartbeat(report)), KEY)
    for name in ("", LONG + "n", "é" * 33):
        with pytest.raises(Invalid, match="name is empty or too long"):
            check_name(name)


def test_a_body_of_another_kind_is_rejected() -> None:
    """Authentic, but not what the kind promises: counted, not believed."""
    data = encode(Datagram(Kind.BALLOT, "o1", 1, 1, ("x",)), KEY)
    with pytest.raises(Rejected, match="body"):
        decode(data, lambda *_: KEY)


def test_keys_differ_by_use() -> None:
    """A host's key opens nothing but that host."""
    key = new_key()
    assert len({key, observers_key(key), host_key(key, "a"), host_key(key, "b")}) == 4


def test_a_key_file_is_written_once_and_read_by_its_owner(tmp_path: Path) -> None:
    """Never overwritten, refused when others may read it, or when it is damaged or missing."""
    path, key = tmp_path / "keys" / "hawk.key", new_key()
    write_key(path, key)
    assert read_key(path) == key
    with pytest.raises(Conflict, match="there is a key already"):
        write_key(path, key)
    path.chmod(0o640)
    with pytest.raises(Invalid, match="may be read by others") as refused:
        read_key(path)
    assert "chmod 600" in refused.value.hint
    path.chmod(0o600)
    path.write_text("no key\n")
    with pytest.raises(Invalid, match="damaged"):
        read_key(path)
    with pytest.raises(NotFound, match="no Hawk key"):
        read_key(tmp_path / "other.key")
